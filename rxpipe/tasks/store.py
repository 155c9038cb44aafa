"""The task store: one SQLite file with the tasks of a batch, what became of them, and what was paid for.

The file is in WAL mode with `synchronous=FULL`: what is committed survives a power loss. Several processes may work on
one file; a task that one of them has taken belongs to it until its heartbeat stops.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec.structs import astuple

from rxpipe.errors import StateError
from rxpipe.tasks.owners import Owners
from rxpipe.tasks.schema import OVER, old, prepare, problem
from rxpipe.tasks.statements import CLAIM, DONE, ENQUEUES, PENDING, ROWS, among, depends
from rxpipe.transaction import transaction

State = Literal["pending", "running", "waiting", "done", "failed", "cancelled"]
STATES: tuple[State, ...] = ("pending", "running", "waiting", "done", "failed", "cancelled")
Redo = Literal["changed", "failed", "all"]
"""Which tasks that are over are due again: those done by a graph that has changed since, those that failed, or all."""

_CHANGED = "maker IN (SELECT id FROM maker WHERE definition <> ?1)"

_REDO: dict[Redo, str] = {
    "changed": f"state = 'done' AND {_CHANGED}",
    "failed": "state = 'failed' AND ?1 IS NOT NULL",
    "all": "state IN ('done', 'failed', 'cancelled') AND ?1 IS NOT NULL",
}

OPEN: tuple[State, ...] = ("pending", "running", "waiting")
"""The states of tasks that are not over."""

PATIENCE = 5.0
"""Seconds that a transaction waits for one of another process to end."""

_UNTAKEN = ("SELECT 1 FROM task WHERE state = 'pending'", "SELECT 1 FROM task WHERE state = 'waiting'")

_TOTALS = f"SELECT (SELECT count(*) FROM task), (SELECT count(*) FROM task WHERE {OVER})"

_LAST = "SELECT max(delivery) FROM task WHERE state = 'done' AND maker IN (SELECT id FROM maker WHERE line = ?)"


class New(msgspec.Struct, frozen=True, gc=False):
    """A task to be added: key, place (smaller is earlier), record as JSON, and a digest of what it depends on.

    The digest is empty where that is the whole record.
    """

    key: str
    priority: float
    input: bytes
    content: bytes


class Claimed(msgspec.Struct, frozen=True):
    """A task that was taken, with the number of this attempt, from 1 on."""

    attempt: int
    priority: float
    id: int
    key: str
    input: bytes
    failed: str | None
    """The kind of failure that the attempt before ended in."""


class Ended(msgspec.Struct, frozen=True):
    """What became of an attempt.

    Attributes:
        id, attempt: Which it was.
        state: The state of the task now.
        finished: When, in seconds since the epoch.
        cost: What was paid.
        kind, error: Why it failed; else None.
        due: When it is to be tried again.
        counted: Whether it counts as an attempt.
    """

    id: int
    attempt: int
    state: State
    finished: float
    cost: float = 0.0
    kind: str | None = None
    error: str | None = None
    due: float = 0.0
    counted: bool = True


class TaskStore:
    """One open task store.

    Args:
        path: The file; made with its folder, private to the user, where it does not exist.
        clock: Seconds since the epoch.

    Attributes:
        owners: The processes that work on it, this one among them.

    Raises:
        StateError: The file is something else, or cannot be used.
    """

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self.path = path
        self._clock = clock
        self.delivery = 0
        with used(path):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
            self._db = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
            self.owners = Owners(self._db, clock)
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise

    def _prepare(self) -> None:
        wrong = problem(self._db, empty=True)
        if wrong is not None:
            msg = f"task store {self.path}: {wrong}"
            raise StateError(msg)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.create_function("depends", 2, depends, deterministic=True)
        with self.transaction():
            if old(self._db):
                self.owners.require_none(self.path)
            prepare(self._db)

    def close(self) -> None:
        """Leave the store; tasks that were taken and not ended are given back."""
        if self.owners.own:
            with contextlib.suppress(sqlite3.Error), self.transaction():  # else others take the tasks over
                self.owners.leave()
            self.owners.own = 0
        self._db.close()

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        """All or nothing, and durable when it is left."""
        return transaction(self._db)

    # What follows is called within a transaction.

    def version(self) -> int:
        """A number that changes when another process, or another connection of this one, has changed the store."""
        found: int = self._db.execute("PRAGMA data_version").fetchone()[0]
        return found

    def held(self, given: Collection[int]) -> set[int]:
        """Those of some tasks that this process has taken, and that nobody has cancelled or taken over."""
        if not given:
            return set()
        these, ids = among(given)
        sql = f"SELECT id FROM task WHERE state = 'running' AND owner = ? AND {these}"
        return {task for (task,) in self._db.execute(sql, (self.owners.own, *ids))}

    def charge(self, paid: Iterable[tuple[float, int]]) -> None:
        """Note what attempts have cost, by cost and task, that are of no other consequence."""
        self._db.executemany("UPDATE task SET cost = cost + ? WHERE id = ?", paid)

    def enqueue(self, tasks: Iterable[New], *, again: bool = False) -> int:
        """Add tasks; one that is there is due again only where what it depends on changed.

        Args:
            tasks: The tasks.
            again: Whether one that is done is due again, too.

        Returns:
            How many became due.
        """
        now, before = self._clock(), self._db.total_changes
        left = list(tasks)
        at = 0
        for size in ROWS:
            while len(left) - at >= size:
                self._db.execute(ENQUEUES[size], (now, again, *chain.from_iterable(map(astuple, left[at : at + size]))))
                at += size
        return self._db.total_changes - before

    def claim(self, most: int) -> list[Claimed]:
        """Take tasks that are due, at most so many: those never tried come first, then by priority."""
        now = self._clock()
        self._db.execute("UPDATE task SET state = 'pending' WHERE state = 'waiting' AND due <= ?", (now,))
        claimed = [Claimed(*row) for row in self._db.execute(PENDING, (most,))]
        if claimed:
            these, ids = among([task.id for task in claimed])
            self._db.execute(CLAIM + these, (self.owners.own, now, *ids))
        return claimed

    def begin(self, tasks: Iterable[tuple[int, int]]) -> None:
        """Note of attempts, by task and number, that the call is about to be made: from now on they count, and last."""
        now = self._clock()
        self._db.executemany(
            "UPDATE task SET begun = 1, started = ? WHERE id = ? AND attempts = ? AND owner = ?",
            [(now, task, number, self.owners.own) for task, number in tasks],
        )

    def end(self, ended: Iterable[Ended], definition: str, line: str | None) -> int:
        """Note what became of attempts.

        Args:
            ended: The attempts.
            definition: A digest of what the graph makes of a task.
            line: Whose checkpoints say how far tasks that are done were delivered; None where nobody's do.

        Returns:
            How many no longer belonged to this process, which are left as they are.
        """
        done = defaultdict[tuple[float, float, int], list[int]](list)
        lost = 0
        for one in ended:
            if one.state == "done":
                done[one.finished, one.cost, one.attempt].append(one.id)
            else:
                lost += not self._unfinished(one)
        if done:
            self.delivery += 1  # no checkpoint comes between those that are noted together
            made = (self._maker(definition, line), None if line is None else self.delivery)
            single: list[tuple[object, ...]] = []
            for (finished, cost, attempt), tasks in done.items():
                values = (finished, cost, *made, attempt, self.owners.own)
                if len(tasks) == 1:
                    single.append((*values, *tasks))
                else:
                    these, ids = among(tasks)
                    lost += len(tasks) - self._db.execute(DONE + these, (*values, *ids)).rowcount
            if single:
                lost += len(single) - self._db.executemany(f"{DONE} id = ?", single).rowcount
        return lost

    def _maker(self, definition: str, line: str | None) -> int:
        """The number of what makes the results."""
        made = (line, definition)
        found = self._db.execute("SELECT id FROM maker WHERE line IS ? AND definition = ?", made).fetchone()
        if found is not None:
            return int(found[0])
        return self._db.execute("INSERT INTO maker (line, definition) VALUES (?, ?)", made).lastrowid or 0

    def _unfinished(self, one: Ended) -> bool:
        """Note an attempt after which the task is not done; returns whether it was this process's."""
        if one.kind is not None:
            self._db.execute(
                "INSERT OR REPLACE INTO attempt SELECT id, attempts, started, ?, ?, ?, ? FROM task "
                "WHERE id = ? AND attempts = ? AND owner = ?",
                (one.finished, one.kind, one.error or "", one.cost, one.id, one.attempt, self.owners.own),
            )
        place = (one.id, one.attempt, self.owners.own)
        changed = self._db.execute(
            "UPDATE task SET state = ?, due = ?, attempts = attempts - ?, finished = ?, cost = cost + ?, kind = ?, "
            "error = ?, owner = NULL WHERE id = ? AND attempts = ? AND owner = ?",
            (one.state, one.due, not one.counted, one.finished, one.cost, one.kind, one.error, *place),
        )
        return changed.rowcount > 0

    def deliver_again(self, line: str, after: int) -> int:
        """Have tasks done anew whose results no checkpoint knows of; what was paid for them is not paid again.

        Args:
            line: Whose checkpoints.
            after: The last delivery that its checkpoint knows of.
        """
        self.delivery = max(after, self._db.execute(_LAST, (line,)).fetchone()[0] or 0)
        return self._db.execute(
            "UPDATE task SET state = 'pending', attempts = attempts - 1 "
            "WHERE state = 'done' AND maker IN (SELECT id FROM maker WHERE line = ?) AND delivery > ?",
            (line, after),
        ).rowcount

    def outdated(self, definition: str) -> int:
        """How many tasks were done by a graph that did something else with them."""
        sql = f"SELECT count(*) FROM task WHERE state = 'done' AND {_CHANGED}"
        found: int = self._db.execute(sql, (definition,)).fetchone()[0]
        return found

    def redo(self, which: Redo, definition: str) -> int:
        """Have tasks done again that are over; returns how many."""
        sql = f"UPDATE task SET state = 'pending', attempts = 0, begun = 0, due = 0 WHERE {_REDO[which]}"
        return self._db.execute(sql, (definition,)).rowcount

    def remember(self, paid: Iterable[tuple[int, str, bytes, bytes]]) -> None:
        """Keep what was paid for: task, step, a digest of the request, and the answer."""
        self._db.executemany("INSERT OR REPLACE INTO paid VALUES (?, ?, ?, ?)", paid)

    def recall(self, task: int) -> dict[str, tuple[bytes, bytes]]:
        """What was paid for a task: by step the digest of the request, and the answer."""
        found = self._db.execute("SELECT step, request, answer FROM paid WHERE task = ?", (task,))
        return {step: (request, answer) for step, request, answer in found}

    def order(self) -> str | None:
        """What somebody wants of all who work on the store: `pause`, or nothing."""
        found = self._db.execute("SELECT value FROM meta WHERE name = 'order'").fetchone()
        return None if found is None else found[0]

    def remembers(self) -> bool:
        """Whether anything was paid for."""
        return self._db.execute("SELECT 1 FROM paid LIMIT 1").fetchone() is not None

    def open(self) -> bool:
        """Whether there are tasks that are not over."""
        if any(self._db.execute(f"{sql} LIMIT 1").fetchone() is not None for sql in _UNTAKEN):
            return True
        total, over = self._db.execute(_TOTALS).fetchone()
        return bool(total > over)

    def spent(self) -> float:
        """What all tasks have cost."""
        found: float = self._db.execute("SELECT coalesce(sum(cost), 0.0) FROM task").fetchone()[0]
        return found

    def counts(self) -> dict[State, int]:
        """How many tasks there are in each state."""
        return count_states(self._db)

    def next_due(self) -> float | None:
        """When the first task that waits is due."""
        found: float | None = self._db.execute("SELECT min(due) FROM task WHERE state = 'waiting'").fetchone()[0]
        return found

    def select(self, sql: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """The rows of a query as dicts."""
        cursor = self._db.execute(sql, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]


@contextlib.contextmanager
def used(path: Path) -> Generator[None]:
    """Tell of a store that cannot be used what may be done.

    Raises:
        StateError: It cannot.
    """
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        locked = getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        advice = "try again when the program that holds it is done" if locked else "name another file with 'store'"
        msg = f"task store {path}: cannot be used: {error}; {advice}"
        raise StateError(msg) from error


def count_states(db: sqlite3.Connection) -> dict[State, int]:
    """How many tasks there are in each state, from the indexes alone."""
    found = dict(db.execute(f"SELECT state, count(*) FROM task WHERE {OVER} GROUP BY state"))
    for state in ("pending", "waiting"):
        found[state] = db.execute(f"SELECT count(*) FROM task WHERE state = '{state}'").fetchone()[0]
    found["running"] = db.execute("SELECT count(*) FROM task").fetchone()[0] - sum(found.values())
    return {state: found.get(state, 0) for state in STATES}
