"""One table of an SQLite database, written in transactions; its columns grow with the records."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Generator, Iterable, Mapping, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import msgspec
import orjson

from rxpipe.elements import Row
from rxpipe.errors import RxpipeError, StateError
from rxpipe.operators.sinks._appender import in_place, sync
from rxpipe.operators.sinks._records import OPTION, as_record, plain
from rxpipe.private import make_folder, sync_folder

ROWID = "_rowid"
"""The column that numbers appended rows."""

MOST_COLUMNS = 1000
_LARGEST = 2**63
_TYPES = {int: "INTEGER", bool: "INTEGER", float: "REAL", str: "TEXT", bytes: "BLOB"}
Values = dict[str, Any]
"""A record as columns and values that SQLite takes."""


def quoted(name: str) -> str:
    """A name as SQL writes it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def values_of(row: Row) -> Values:
    """A record as columns and values.

    Raises:
        TypeError: A value has no form in SQLite.
        ValueError: A text cannot be written as UTF-8, or a name cannot be a column's.
    """
    record = as_record(row)
    fields = record if isinstance(record, Mapping) else plain(record)
    made = {}
    for name, value in fields.items():
        column = str(name)
        if not column or "\0" in column or column.lower() == ROWID:
            msg = f"a column cannot be named {column!r}"
            raise ValueError(msg)
        made[column] = _value(value)
    if len({name.lower() for name in made}) < len(made):
        msg = "two fields differ only in upper and lower case, and would be one column"
        raise ValueError(msg)
    return made


def _value(value: Any) -> Any:
    if value is None or type(value) in (float, bool, bytes):
        return value
    if isinstance(value, str):
        if not value.isascii():
            value.encode()  # refused here, not in the middle of a transaction
        return str(value)
    if isinstance(value, int):
        return int(value) if -_LARGEST <= value < _LARGEST else str(value)
    if isinstance(value, datetime | date | time):
        return orjson.loads(orjson.dumps(value, option=OPTION))
    simple = value if isinstance(value, dict | list | tuple) else plain(value)
    return simple if isinstance(simple, str) else orjson.dumps(simple, default=plain, option=OPTION).decode()


class Database:
    """One table, and the connection to its database.

    Args:
        path: The database; made with its folder, private to the user, where it does not exist.
        table: The table; made when the first rows come.
        numbered: Whether rows are appended and numbered, so that the table can go back to a position.

    Raises:
        RxpipeError: The database cannot be opened, or the table was made by something else.
    """

    def __init__(self, path: Path, table: str, *, numbered: bool) -> None:
        self.path = path
        self.table = table
        self._numbered = numbered
        self._synced_folder = False
        try:
            make_folder(path.parent)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
        except (OSError, sqlite3.Error) as error:
            msg = f"{path}: must be a database that can be written; got {error}"
            raise RxpipeError(msg) from error
        self._opened = path.stat()
        try:
            self._open()
        except sqlite3.Error as error:
            self.close()
            msg = f"{path}: must be an SQLite database that can be written; got {error}"
            raise RxpipeError(msg) from error
        except BaseException:
            self.close()
            raise

    def _open(self) -> None:
        (mode,) = self._db.execute("PRAGMA journal_mode=WAL").fetchone()
        self._wal = mode == "wal"
        self._db.execute(f"PRAGMA synchronous={'NORMAL' if self._wal else 'FULL'}")
        self._read_columns()
        if self._numbered and self._columns and ROWID not in self._columns:
            must = "must have been made by to_sqlite in mode append"
            msg = f"{self.path}: table {self.table!r} {must}; it has no column {ROWID!r}"
            raise RxpipeError(msg)
        self._db.execute("PRAGMA busy_timeout=0")  # the loop must not wait: who writes tries again later

    def _read_columns(self) -> None:
        found = self._db.execute(f"PRAGMA table_info({quoted(self.table)})").fetchall()
        self._columns = {row[1].lower(): row[1] for row in found}

    @contextlib.contextmanager
    def transaction(self) -> Generator[None]:
        """All or nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
            self._read_columns()
            raise

    def columns(self) -> set[str]:
        """The names of the columns in lower case, as SQLite compares them."""
        return set(self._columns)

    def grow(self, rows: Sequence[Values], key: Sequence[str] = ()) -> None:
        """Make the table, and add the columns that it lacks."""
        missing: dict[str, tuple[str, str]] = {}
        for row in rows:
            if not self._columns.keys() >= {name.lower() for name in row}:
                for name, value in row.items():
                    kind = _TYPES.get(type(value), "")
                    if name.lower() not in self._columns and not missing.get(name.lower(), ("", ""))[1]:
                        missing[name.lower()] = (name, kind)
        columns = [f"{quoted(name)} {kind}".strip() for name, kind in missing.values()]
        if not self._columns:
            numbers = [f"{quoted(ROWID)} INTEGER PRIMARY KEY AUTOINCREMENT"] if self._numbered else []
            self._db.execute(f"CREATE TABLE {quoted(self.table)} ({', '.join(numbers + columns)})")
            if key:
                names = ", ".join(map(quoted, key))
                self._db.execute(f"CREATE UNIQUE INDEX {quoted(self.table + '_key')} ON {quoted(self.table)} ({names})")
        else:
            for column in columns:
                self._db.execute(f"ALTER TABLE {quoted(self.table)} ADD COLUMN {column}")
        if columns or not self._columns:
            self._read_columns()

    def insert(self, rows: Sequence[Values]) -> None:
        """Add rows; those with the same columns go together."""
        start = 0
        for index in range(1, len(rows) + 1):
            if index == len(rows) or rows[index].keys() != rows[start].keys():
                names = list(rows[start])
                columns = ", ".join(map(quoted, names))
                marks = ", ".join("?" * len(names))
                text = f"INSERT INTO {quoted(self.table)} ({columns}) VALUES ({marks})"
                if not names:
                    text = f"INSERT INTO {quoted(self.table)} DEFAULT VALUES"
                self._db.executemany(text, [tuple(row[name] for name in names) for row in rows[start:index]])
                start = index

    def delete(self, key: Sequence[str], values: Iterable[tuple[Any, ...]]) -> None:
        """Delete the rows with these keys; a key may hold nulls."""
        if self._columns:
            where = " AND ".join(f"{quoted(name)} IS ?" for name in key)
            self._db.executemany(f"DELETE FROM {quoted(self.table)} WHERE {where}", values)

    def position(self) -> tuple[int, bytes]:
        """The number of the last row ever appended, and a mark of that row, to recognise the table by."""
        if not self._columns:
            return 0, b""
        found = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (self.table,)).fetchone()
        last = 0 if found is None else int(found[0])
        return last, self._mark(last)

    def _mark(self, last: int) -> bytes:
        row = self._db.execute(f"SELECT * FROM {quoted(self.table)} WHERE {quoted(ROWID)} = ?", (last,))
        found = row.fetchone()
        if found is None:
            return b""
        given = {name[0]: value for name, value in zip(row.description, found, strict=True) if value is not None}
        return hashlib.blake2b(msgspec.msgpack.encode(given), digest_size=16).digest()

    def go_back(self, last: int, mark: bytes) -> None:
        """Delete what was appended behind a position.

        Raises:
            StateError: The table is not the one that the position belongs to.
        """
        found, _ = self.position()
        if found < last or (mark and (now := self._mark(last) if last else b"") and now != mark):
            got = (
                "there is no such table"
                if not self._columns
                else f"it has {found:,}"
                if found < last
                else "it holds others"
            )
            msg = (
                f"{self.path}: table {self.table!r} must hold the {last:,} rows that this graph appended; {got}: it "
                f"was removed or replaced since the last checkpoint. Put it back, or give up its rows and reset this "
                f"step's state with `rxpipe state`"
            )
            raise StateError(msg)
        if found > last:
            self._db.execute("PRAGMA busy_timeout=5000")
            with self.transaction():
                self._db.execute(f"DELETE FROM {quoted(self.table)} WHERE {quoted(ROWID)} > ?", (last,))
                self._db.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = ?", (last, self.table))
            self._db.execute("PRAGMA busy_timeout=0")

    def sync(self) -> None:
        """Make all committed transactions durable, on any thread, also once the database is closed.

        In WAL mode with `synchronous=NORMAL` they are in the log, which is synced before its pages go to the database;
        so the log is all that has to be synced here, and once its name. SQLite takes no locks on that file that closing
        it could drop.

        Raises:
            StateError: The database is no longer at its path: it was removed or replaced.
        """
        in_place(self.path, self._opened)
        if self._wal:
            with contextlib.suppress(FileNotFoundError):
                sync(Path(f"{self.path}-wal"))
            if not self._synced_folder:
                sync_folder(self.path.parent)
                self._synced_folder = True

    def close(self) -> None:
        """Let go of the database."""
        self._db.close()
