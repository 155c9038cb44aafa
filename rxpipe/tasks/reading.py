"""A task store to look at, also while runs work on it: all questions that are asked of it are here."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from rxpipe.errors import RxpipeError, StateError, did_you_mean, nearest
from rxpipe.sqlitefile import to_look_at
from rxpipe.tasks.schema import BUSY, OVER, old, problem
from rxpipe.tasks.statements import depends
from rxpipe.tasks.store import STATES, State, TaskStore, count_states

COLUMNS = ("key", "state", "attempts", "cost", "kind", "error", "created", "started", "finished", "due", "priority")
"""What is told of a task."""


@dataclass(slots=True)
class Worked:
    """What `tasks` puts on the run's board.

    Attributes:
        stream: Its stream.
        store: Its store.
        order: Why no task is to be begun now, such as `pause`; None where they are.
    """

    stream: str
    store: Path
    order: str | None = None


def store_of(board: Mapping[str, Any], of: str) -> Path | None:
    """The task store of a run, or that of a stream; see `worked_of`."""
    worked = worked_of(board, of)
    return None if worked is None else worked.store


def worked_of(board: Mapping[str, Any], of: str) -> Worked | None:
    """The tasks of a run, or those of a stream where there are several; None where there are none.

    Args:
        board: The run's, see `rxpipe.context.Context`.
        of: The name of the stream; empty for the only one.

    Raises:
        RxpipeError: There are several, or none of that name.
    """
    found = {told.stream: told for told in board.values() if isinstance(told, Worked)}
    if of and of not in found and found:
        msg = f"of: must name a stream with a step 'tasks'; got {of!r}{did_you_mean(nearest(of, found))}"
        raise RxpipeError(msg)
    if not of and len(found) > 1:
        listed = ", ".join(map(repr, sorted(found)))
        msg = f"of: must name the stream whose tasks are meant, as several have some: {listed}; got none"
        raise RxpipeError(msg)
    return found.get(of) if of else next(iter(found.values()), None)


@contextmanager
def reading(path: Path) -> Generator[TaskReader]:
    """Open a task store to look at; nothing is changed, but one of an older format is brought up to date.

    Raises:
        StateError: There is none, or the file is something else, or of a newer version.
    """
    if not path.is_file():
        msg = f"task store {path}: must be there; got nothing: no graph has run with it, or it is somewhere else"
        raise StateError(msg)
    try:
        db = to_look_at(path)
        try:
            wrong = problem(db)
            if wrong is not None:
                msg = f"task store {path}: {wrong}"
                raise StateError(msg)
            if old(db):
                TaskStore(path, time.time).close()
            db.execute("BEGIN")  # all that is read is of one moment
            yield TaskReader(db)
        finally:
            db.close()
    except sqlite3.Error as error:
        msg = f"task store {path}: must be one that can be read; got {error}"
        raise StateError(msg) from error


class TaskReader:
    """Answers questions about the tasks of a store.

    Args:
        db: The open store.
    """

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        db.create_function("depends", 2, depends, deterministic=True)

    def counts(self) -> dict[State, int]:
        """How many tasks there are in each state."""
        return count_states(self._db)

    def cost(self) -> tuple[float, float]:
        """What was paid for tasks that are over, and for the others."""
        over = self._one(f"SELECT total(cost) FROM task WHERE {OVER}")
        begun = self._one("SELECT total(cost) FROM task WHERE state = 'pending' AND attempts > 0")
        begun += self._one("SELECT total(cost) FROM task WHERE state = 'waiting'")
        return over, begun + self._one(f"SELECT total(cost) FROM task WHERE {BUSY}")

    def joined(self) -> float | None:
        """Since when somebody works on the store, of those who still do; None where nobody does."""
        found: float | None = self._one("SELECT min(joined) FROM owner")
        return found

    def processes(self) -> int:
        """How many processes work on the store."""
        found: int = self._one("SELECT count(*) FROM owner")
        return found

    def order(self) -> str | None:
        """What is wanted of all who work on the store: `pause`, or nothing."""
        found = self._db.execute("SELECT value FROM meta WHERE name = 'order'").fetchone()
        return None if found is None else found[0]

    def ended(self, since: float) -> int:
        """How many tasks ended since a moment."""
        found: int = self._one(
            f"SELECT count(*) FROM task WHERE {OVER} AND state <> 'cancelled' AND finished >= ?", since
        )
        return found

    def spans(self, since: float, most: int) -> list[tuple[float, float]]:
        """When the last tasks that ended since a moment were begun, and ended; the last one first."""
        return self._db.execute(
            f"SELECT started, finished FROM task WHERE {OVER} AND state <> 'cancelled' AND finished >= ? "
            "AND started IS NOT NULL ORDER BY finished DESC LIMIT ?",
            (since, most),
        ).fetchall()

    def running(self) -> list[tuple[str, int, float]]:
        """The tasks that are worked on: key, attempt, and since when; the longest first."""
        return self._db.execute(
            f"SELECT key, attempts, started FROM task WHERE {BUSY} AND begun ORDER BY started, id"
        ).fetchall()

    def last_due(self) -> float | None:
        """When the last of the tasks that wait is due."""
        found: float | None = self._one("SELECT max(due) FROM task WHERE state = 'waiting'")
        return found

    def failures(self, most: int) -> list[tuple[float, str, int, str, str]]:
        """The last attempts that failed: time, key, attempt, kind, error; the last one first."""
        return self._db.execute(
            "SELECT attempt.finished, task.key, number, attempt.kind, attempt.error FROM attempt "
            "JOIN task ON task.id = attempt.task ORDER BY attempt.finished DESC LIMIT ?",
            (most,),
        ).fetchall()

    def seconds(self) -> list[float]:
        """How long the last attempt of each task took that is done; the shortest first."""
        found = self._db.execute(
            "SELECT finished - started FROM task WHERE state = 'done' AND started IS NOT NULL ORDER BY 1"
        )
        return [seconds for (seconds,) in found]

    def period(self) -> tuple[float | None, float | None]:
        """When the first task was added, and when the last one ended."""
        return self._one("SELECT min(created) FROM task"), self._one(f"SELECT max(finished) FROM task WHERE {OVER}")

    def attempts(self) -> dict[str, int]:
        """How many attempts failed, by the kind of reason."""
        return dict(self._db.execute("SELECT kind, count(*) FROM attempt GROUP BY kind ORDER BY 2 DESC, 1"))

    def reasons(self) -> list[tuple[str, int, str]]:
        """Why tasks failed for good: kind, how many, and the error of one of them; the most frequent first."""
        return self._db.execute(
            "SELECT coalesce(kind, 'other'), count(*), max(error) FROM task WHERE state = 'failed' "
            "GROUP BY 1 ORDER BY 2 DESC, 1"
        ).fetchall()

    def slowest(self, most: int) -> list[tuple[str, float, int]]:
        """The tasks done whose last attempt took longest: key, seconds, attempts."""
        return self._db.execute(
            "SELECT key, finished - started, attempts FROM task WHERE state = 'done' AND started IS NOT NULL "
            "ORDER BY 2 DESC, id LIMIT ?",
            (most,),
        ).fetchall()

    def tasks(self, states: Sequence[str] = (), kinds: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
        """The tasks in some states, whose last attempt failed for some kind of reason; empty for all.

        Raises:
            RxpipeError: There is no such state.
        """
        condition, values = chosen(states, kinds)
        found = self._db.execute(f"SELECT {', '.join(COLUMNS)} FROM task WHERE {condition} ORDER BY id", values)
        for row in found:
            yield dict(zip(COLUMNS, row, strict=True))

    def task(self, key: str) -> dict[str, Any]:
        """All about one task, with its record, the attempts that failed, and what was answered to paid calls.

        Raises:
            RxpipeError: There is none with that key; the nearest one is suggested.
        """
        row = self._db.execute(f"SELECT id, input, {', '.join(COLUMNS)} FROM task WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise no_task(self._db, key)
        number, record, *rest = row
        made = dict(zip(COLUMNS, rest, strict=True))
        return made | {"record": orjson.loads(record), "failed": self._failed(number), "answers": self.answers(key)}

    def _failed(self, task: int) -> list[dict[str, Any]]:
        names = ("number", "started", "finished", "kind", "error", "cost")
        found = self._db.execute(
            f"SELECT {', '.join(names)} FROM attempt WHERE task = ? ORDER BY finished",
            (task,),
        )
        return [dict(zip(names, row, strict=True)) for row in found]

    def answers(self, key: str) -> dict[str, Any]:
        """What was answered to a task's paid calls, by step."""
        found = self._db.execute(
            "SELECT step, answer FROM paid JOIN task ON task.id = paid.task WHERE key = ? ORDER BY step", (key,)
        )
        return {step: orjson.loads(answer) for step, answer in found}

    def others_have(self, task: int, step: str, answer: object) -> bool:
        """Whether another task remembers the same answer of a step."""
        sql = "SELECT 1 FROM paid WHERE step = ? AND answer = ? AND task <> ? LIMIT 1"
        return self._db.execute(sql, (step, orjson.dumps(answer), task)).fetchone() is not None

    def known(self) -> dict[str, tuple[State, bytes, str | None]]:
        """Of all tasks, by key: the state, the digest of what they depend on, and that of what was made of them."""
        found = self._db.execute(
            "SELECT key, state, depends(content, input), definition FROM task LEFT JOIN maker ON maker.id = task.maker "
            "ORDER BY attempts, priority, task.id"
        )
        return {key: (state, content, definition) for key, state, content, definition in found}

    def _one(self, sql: str, *values: Any) -> Any:
        return self._db.execute(sql, values).fetchone()[0]


def chosen(states: Sequence[str], kinds: Sequence[str]) -> tuple[str, list[str]]:
    """Which tasks are meant, as a condition with its values.

    Raises:
        RxpipeError: There is no such state.
    """
    for state in states:
        if state not in STATES:
            msg = f"state: must be one of {', '.join(STATES)}; got {state!r}{did_you_mean(nearest(state, STATES))}"
            raise RxpipeError(msg)
    parts = [f"{name} IN ({', '.join('?' * len(of))})" for name, of in (("state", states), ("kind", kinds)) if of]
    return " AND ".join(parts) or "true", [*states, *kinds]


def no_task(db: sqlite3.Connection, key: str) -> RxpipeError:
    """What is said of a key that no task has."""
    near = nearest(key, [found for (found,) in db.execute("SELECT key FROM task LIMIT 10000")])
    return RxpipeError(f"key: must be that of a task; got {key!r}{did_you_mean(near)}; `rxpipe tasks list` has them")
