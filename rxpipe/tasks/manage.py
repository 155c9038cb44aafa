"""Tasks seen and changed by people, also while runs work on them: what `rxpipe tasks` does, for Python."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rxpipe.errors import RxpipeError, StateError
from rxpipe.tasks.progress import Progress, progress
from rxpipe.tasks.reading import chosen, no_task, reading
from rxpipe.tasks.report import Report, report
from rxpipe.tasks.store import OPEN, TaskStore

PAUSE = "pause"
"""The order that no task is to be begun."""


class Tasks:
    """The tasks of a store.

    Each call looks at the store as it is; what is changed is durable when the call returns. Runs that work on the
    store learn of it within a second.

    Args:
        path: The store.
        clock: Seconds since the epoch.

    Raises:
        StateError: There is none.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "tasks.sqlite"
        >>> TaskStore(path, time.time).close()
        >>> Tasks(path).retry(kinds=["server"])
        0
    """

    def __init__(self, path: Path | str, clock: Callable[[], float] = time.time) -> None:
        self.path = Path(path).expanduser()
        self._clock = clock
        with reading(self.path):
            pass

    def select(self, states: Sequence[str] = (), kinds: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
        """The tasks in some states, whose last attempt failed for some kind of reason; empty for all.

        Raises:
            RxpipeError: There is no such state.
        """
        with reading(self.path) as reader:
            yield from reader.tasks(states, kinds)

    def show(self, key: str) -> dict[str, Any]:
        """All about one task: its record, the attempts that failed, and what was answered to paid calls.

        Raises:
            RxpipeError: There is none with that key.
        """
        with reading(self.path) as reader:
            return reader.task(key)

    def export(self, states: Sequence[str] = (), kinds: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
        """The same as `select`, each with what was answered to its paid calls, by step.

        Raises:
            RxpipeError: There is no such state.
        """
        with reading(self.path) as reader:
            for task in reader.tasks(states, kinds):
                yield task | {"answers": reader.answers(task["key"])}

    def progress(self) -> Progress:
        """How far the tasks are."""
        with reading(self.path) as reader:
            return progress(reader, self._clock())

    def report(self) -> Report:
        """What became of the tasks."""
        with reading(self.path) as reader:
            return report(reader, self._clock())

    def retry(self, keys: Sequence[str] = (), kinds: Sequence[str] = ()) -> int:
        """Have tasks that failed tried again, as if they were new; what was paid for is not paid again.

        Args:
            keys: Those; empty for all.
            kinds: Only those that failed for some kind of reason; empty for any.

        Returns:
            How many there are.

        Raises:
            RxpipeError: There is no task with a key.
        """
        return self._change(_AGAIN, ("failed",), keys, kinds)

    def cancel(self, keys: Sequence[str] = (), states: Sequence[str] = OPEN) -> int:
        """Cancel tasks that are not over; of one that is worked on the call still ends, and its result is not kept.

        Args:
            keys: Those; empty for all.
            states: Only those in some states.

        Returns:
            How many there are.

        Raises:
            RxpipeError: There is no task with a key, or no such state, or its tasks are over.
        """
        for state in states:
            if state not in OPEN:
                msg = f"state: of tasks to cancel must be one of {', '.join(OPEN)}; got {state!r}"
                raise RxpipeError(msg)
        change = "UPDATE task SET state = 'cancelled', owner = NULL, finished = :now"
        return self._change(change, states, keys, ())

    def requeue(self, keys: Sequence[str], *, forget: bool = False) -> int:
        """Have tasks done again, whatever became of them; one that is worked on is left alone.

        Args:
            keys: Those.
            forget: Forget also what was paid for: the calls are made, and paid, again.

        Returns:
            How many there are.

        Raises:
            RxpipeError: There is no task with a key.
        """
        if not keys:
            msg = "key: must be those of tasks; got none"
            raise RxpipeError(msg)
        if forget:
            with self._writing() as db:
                self._require(db, keys)
                found = "SELECT id FROM task WHERE key = ? AND state <> 'running'"
                db.executemany(f"DELETE FROM paid WHERE task IN ({found})", [(key,) for key in keys])
        return self._change(_AGAIN, ("pending", "waiting", "done", "failed", "cancelled"), keys, ())

    def pause(self) -> None:
        """Have no task begun any more, by any run, until `resume`; what is worked on may end."""
        with self._writing() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES ('order', ?)", (PAUSE,))

    def resume(self) -> bool:
        """Let tasks be begun; whether they were paused."""
        with self._writing() as db:
            return db.execute("DELETE FROM meta WHERE name = 'order'").rowcount > 0

    def _change(self, change: str, states: Sequence[str], keys: Sequence[str], kinds: Sequence[str]) -> int:
        condition, values = chosen(states, kinds)
        with self._writing() as db:
            self._require(db, keys)
            now = self._clock()
            update = f"{change.replace(':now', '?')} WHERE {condition}"
            given: list[Any] = [now] * change.count(":now") + values
            if not keys:
                return db.execute(update, given).rowcount
            return sum(db.execute(f"{update} AND key = ?", [*given, key]).rowcount for key in keys)

    @staticmethod
    def _require(db: sqlite3.Connection, keys: Sequence[str]) -> None:
        for key in keys:
            if db.execute("SELECT 1 FROM task WHERE key = ?", (key,)).fetchone() is None:
                raise no_task(db, key)

    @contextmanager
    def _writing(self) -> Generator[sqlite3.Connection]:
        """A transaction of its own, on a store that is there."""
        with reading(self.path):
            pass  # else it would be made
        store = TaskStore(self.path, self._clock)
        try:
            with store.transaction() as db:
                yield db
        except sqlite3.OperationalError as error:
            msg = f"task store {self.path}: cannot be changed now: {error}; try again"
            raise StateError(msg) from error
        finally:
            store.close()


_AGAIN = (
    "UPDATE task SET state = 'pending', attempts = 0, begun = 0, due = 0, kind = NULL, error = NULL, finished = NULL"
)
