"""The state file: one SQLite database per graph with the offsets, states and positions of the last checkpoint.

The file is in WAL mode with `synchronous=FULL`: a checkpoint that was taken survives a power loss. An older one would
not do: a state file that is empty again while sinks hold what was written, or files of a spool that are gone since the
checkpoint after it did without them, cannot be gone back to.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rxpipe.context import Change, StateKind
from rxpipe.errors import StateError
from rxpipe.language.hidden import masked
from rxpipe.log import logger
from rxpipe.private import make_folder
from rxpipe.runtime.statelock import identity, locked
from rxpipe.runtime.statereading import ANEW, APPLICATION, FORMAT, check_format, meta_of
from rxpipe.runtime.statewriting import begin, undone_if_it_fails, write_rows
from rxpipe.transaction import transaction

CACHE_KIB = 16 * 1024
"""Memory for pages of the transaction under way; those that find no room are written more than once."""

# The state has row numbers, so that values are written behind each other and only what finds them is written all over
# the file: keys come in no order, and each checkpoint would write most pages anew.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS step (name TEXT PRIMARY KEY, kind TEXT NOT NULL, description TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS state (
    step TEXT NOT NULL, key BLOB NOT NULL, part TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (step, key, part)
);
CREATE INDEX IF NOT EXISTS state_part ON state (step, part) WHERE part <> '';
"""


class StateFile:
    """One open state file, locked for this process.

    It is read on the thread of the dataflow. A checkpoint is written over a connection of its own, from any thread:
    until it is committed, readers find the one before it, and wait for nothing.

    Args:
        path: The file; made with its folder, private to the user, where it does not exist.

    Raises:
        StateError: Another run has the file (its process id is named), or the file is no state file and is left as
            it was.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = -1
        self._db: sqlite3.Connection | None = None
        self._writer: sqlite3.Connection | None = None
        self._removed: list[sqlite3.Connection] = []
        """To files that were removed; closed last, since that removes what has the name of their log of writes."""
        self._writing = threading.Lock()
        self._new: dict[str, tuple[StateKind, str]] = {}
        try:
            make_folder(path.parent)
            self._lock = locked(path)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            self._open()
        except (sqlite3.Error, OSError) as error:
            self.close()
            msg = f"state file {path}: cannot be used: {error}; move it away, or name another with --state"
            raise StateError(msg) from error
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        """Open the database, and know it again."""
        self._db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self._prepare(self._db)
        self._identity = identity(self.path.stat())

    def _stay(self) -> None:
        """Make sure that the next run will find what is written: the file and its lock are at their place.

        A file that was removed from outside is written anew.

        Raises:
            StateError: The file is closed; or another one is there, or another run has it.
        """
        _ = self.db
        lock = Path(f"{self.path}.lock")
        if not lock.exists() or identity(lock.stat()) != identity(os.fstat(self._lock)):
            old, self._lock = self._lock, locked(self.path)
            os.close(old)
        if not self.path.exists():
            self._write_anew()
        elif identity(self.path.stat()) != self._identity:
            msg = (
                f"state file {self.path}: must be the file that this run writes to; it was replaced meanwhile. Put it "
                f"back, or name another file with --state"
            )
            raise StateError(msg)

    def _write_anew(self) -> None:
        """Bring the file back; what is open has all that was in it."""
        made = f"{self.path}.new"
        descriptor = os.open(made, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            (self._writer or self.db).execute("VACUUM INTO ?", (made,))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        for beside in ("-wal", "-shm"):  # of the old file, and would be taken for the new one's
            Path(f"{self.path}{beside}").unlink(missing_ok=True)
        os.replace(made, self.path)
        self._removed += [connection for connection in (self._writer, self._db) if connection is not None]
        self._writer = None
        self._open()
        logger.warning("state file {}: was removed while this run uses it; it was written anew", self.path)

    def _prepare(self, db: sqlite3.Connection) -> None:
        """Make a new file a state file; refuse one that is something else."""
        if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
            tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            if tables:
                msg = f"state file {self.path}: must be a state file of rxpipe; got a database with {', '.join(tables)}"
                raise StateError(msg)
            db.execute(f"PRAGMA application_id = {APPLICATION}")
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=FULL")
        db.executescript(_SCHEMA)
        db.execute("INSERT OR IGNORE INTO meta VALUES ('format', ?)", (FORMAT,))
        check_format(self.path, meta_of(db, "format"))

    @property
    def db(self) -> sqlite3.Connection:
        """The open database.

        Raises:
            StateError: The file is closed.
        """
        if self._db is None:
            msg = f"state file {self.path}: is closed"
            raise StateError(msg)
        return self._db

    def meta(self, name: str) -> str | None:
        """A fact about the file."""
        return meta_of(self.db, name) or None

    def adopt(self, graph: str, fingerprint: str, values: str = "") -> bool:
        """Make the file this graph's; returns whether its state can be used.

        `values`, those of the graph's parameters that are not the defaults, are noted for who lists states.

        State of a changed graph is of no use to it. It is dropped where nothing but memory depends on it; where a
        sink's position does, going on would lose or double records, and the file is refused.

        Raises:
            StateError: The file is another graph's; or the graph changed and the file holds positions of sinks.
        """
        old, owner = self.meta("fingerprint"), self.meta("graph")
        if owner not in (None, graph):
            msg = (
                f"state file {self.path}: must be of graph {graph!r}; got that of {owner!r}; name another with --state"
            )
            raise StateError(msg)
        if old not in (None, fingerprint):
            if any(kind == "sink" for _, kind, _ in self.steps()):
                msg = (
                    f"state file {self.path}: written by another definition of graph {self.meta('graph')!r}; its sinks "
                    f"hold what that one wrote. Undo the change; or name another file with --state; or remove what the "
                    f"sinks wrote, which would be written again, and start afresh: rxpipe state reset {self.path}"
                )
                raise StateError(msg)
            count = self.reset()
            logger.warning(
                "the graph or its values changed, its saved state is of no use to it: it starts afresh, and the {:,} "
                "rows in {} are dropped",
                count,
                self.path,
            )
        with transaction(self.db):
            self._note({"graph": graph, "fingerprint": fingerprint, "values": values})
        return old == fingerprint

    def note(self, facts: Mapping[str, str]) -> None:
        """Keep facts about the file, for `meta`."""
        with transaction(self.db):
            self._note(facts)

    def _note(self, facts: Mapping[str, str]) -> None:
        self.db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", facts.items())

    def move(self, names: Mapping[str, str], forgotten: Iterable[str], facts: Mapping[str, str]) -> None:
        """Give states to the steps of other names, forget those of some, and note facts; all of it or nothing."""
        with transaction(self.db):
            for step in forgotten:
                self.db.execute("DELETE FROM state WHERE step = ?", (step,))
                self.db.execute("DELETE FROM step WHERE name = ?", (step,))
            moved = [(old, new) for old, new in names.items() if old != new]
            for before, after in [(old, f"\0{new}") for old, new in moved] + [(f"\0{new}", new) for _, new in moved]:
                self.db.execute("UPDATE state SET step = ? WHERE step = ?", (after, before))
                self.db.execute("UPDATE step SET name = ? WHERE name = ?", (after, before))
            self._note(facts)

    def steps(self) -> list[tuple[str, str, str]]:
        """Name, kind and description of every step with state."""
        return self.select("SELECT name, kind, description FROM step ORDER BY name")

    def select(self, query: str, *arguments: object) -> list[Any]:
        """The rows that a query finds.

        Raises:
            StateError: The file is closed, or damaged.
        """
        try:
            return self.db.execute(query, arguments).fetchall()
        except sqlite3.DatabaseError as error:
            self._refuse_damaged(error)
            raise

    def _refuse_damaged(self, error: sqlite3.DatabaseError) -> None:
        """If an error says that the file is damaged, say what to do."""
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
            way_out = f"Go back to a savepoint with --from-savepoint; or {ANEW}"
            msg = f"state file {self.path}: must be whole; got {error}. {way_out}"
            raise StateError(msg) from error

    def rows(self, step: str) -> Iterator[tuple[bytes, str, bytes]]:
        """All state rows of one step: key, part, value."""
        return iter(self.select("SELECT key, part, value FROM state WHERE step = ?", step))

    def reset(self, step: str | None = None) -> int:
        """Forget the state of one step, or of all; returns how many rows went."""
        where, arguments = ("", ()) if step is None else (" WHERE step = ?", (step,))
        with transaction(self.db):
            count = self.db.execute(f"DELETE FROM state{where}", arguments).rowcount
            self.db.execute(f"DELETE FROM step{where.replace('step', 'name')}", arguments)
        return count

    def saved(self, step: str, kind: StateKind, description: str) -> SavedStep:
        """The saved state of one step, which the next checkpoint makes known as one that has state."""
        self._new[step] = (kind, masked(description))
        return SavedStep(self, step)

    def write(self, changes: Sequence[tuple[str, list[Change]]]) -> int:
        """Write a part of a checkpoint, whose transaction stays open; returns how many rows it wrote.

        If it fails nothing is left of the checkpoint, as with `commit`.

        Raises:
            StateError: The file is closed, or was replaced by another one.
        """
        with self._checkpoint() as db:
            return write_rows(db, changes)

    def commit(self, changes: Sequence[tuple[str, list[Change]]]) -> int:
        """Write the last part of a checkpoint, and end its transaction; returns how many rows that part had.

        Raises:
            StateError: The file is closed, or was replaced by another one.
        """
        with self._checkpoint() as db:
            count = write_rows(db, changes)
            new = self._new.copy()
            if new:
                begin(db)
                db.executemany(
                    "INSERT OR REPLACE INTO step VALUES (?, ?, ?)", [(step, *about) for step, about in new.items()]
                )
            if db.in_transaction:
                db.execute("COMMIT")
            for step in new:
                del self._new[step]
        return count

    def undo(self) -> None:
        """Leave nothing of a checkpoint of which only parts were written."""
        with self._writing:
            if self._writer is not None and self._writer.in_transaction:
                self._writer.execute("ROLLBACK")

    @contextmanager
    def _checkpoint(self) -> Generator[sqlite3.Connection]:
        with self._writing:
            if self._writer is None or not self._writer.in_transaction:
                self._stay()
            if self._writer is None:
                self._writer = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
                self._writer.execute("PRAGMA synchronous=FULL")
                self._writer.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
            try:
                with undone_if_it_fails(self._writer):
                    yield self._writer
            except sqlite3.DatabaseError as error:
                self._refuse_damaged(error)
                raise

    def close(self) -> None:
        """Close the file and let go of its lock; once closed it stays closed. A checkpoint half written is undone."""
        with self._writing:
            db, self._db = self._db, None
            writer, self._writer = self._writer, None
        lock, self._lock = self._lock, -1
        try:
            for connection in (writer, db, *self._removed):
                if connection is not None:
                    connection.close()
        finally:
            if lock >= 0:
                os.close(lock)


class SavedStep:
    """The saved rows of one step; see `rxpipe.context.Saved`."""

    persistent = True

    def __init__(self, file: StateFile, step: str) -> None:
        self._file = file
        self._step = step
        self.empty = not file.select("SELECT 1 FROM state WHERE step = ? LIMIT 1", step)

    def get(self, key: bytes) -> dict[str, bytes]:
        """All parts of one key, as they were when the run began or a checkpoint wrote them since."""
        if self.empty:
            return {}
        return dict(self._file.select("SELECT part, value FROM state WHERE step = ? AND key = ?", self._step, key))

    def items(self) -> Iterator[tuple[bytes, str, bytes]]:
        """All rows: key, part, value."""
        return self._file.rows(self._step)

    def keys_of(self, part: str) -> list[bytes]:
        """The keys that have this part."""
        query = "SELECT key FROM state WHERE step = ? AND part = ? AND part <> ''"
        return [key for (key,) in self._file.select(query, self._step, part)]
