"""Tasks whose service is down: for an hour, for good, and one that only some tasks cannot have; under virtual time."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import reactivex as rx

from rxpipe import operators as ops
from rxpipe.context import entered
from rxpipe.elements import Batch
from rxpipe.errors import RxpipeError
from rxpipe.tasks.store import TaskStore
from rxpipe.testing import TestContext

HOUR = 3600.0


class AnsweredError(RxpipeError):
    """A failure with a status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


class Asked:
    """Tasks that ask a service, when they did, and what became of them.

    Args:
        fails: Gives what a call for a task raises at a time, if it does.
        steps: What is between `tasks` and the calls.
    """

    def __init__(self, tasks: int, fails: Callable[[int, float], Exception | None], *steps: Any) -> None:
        self.context = TestContext()
        self.calls: list[tuple[int, float]] = []
        self.done = False

        def call(record: dict[str, Any]) -> dict[str, Any]:
            now = self.context.virtual.clock
            self.calls.append((record["n"], now))
            error = fails(record["n"], now)
            if error is not None:
                raise error
            return record

        source = rx.of(Batch([{"n": number} for number in range(tasks)]))
        work = [ops.tasks("n", store="t.sqlite", priority="n", ahead=32), *steps, ops.call(call)]
        with entered(self.context):
            source.pipe(*work).subscribe(lambda _: None, on_completed=self._end, scheduler=self.context.virtual)

    def _end(self) -> None:
        self.done = True

    def between(self, start: float, end: float) -> int:
        """How many calls there were in some time."""
        return sum(start <= at < end for _, at in self.calls)


def states() -> Counter[str]:
    db = sqlite3.connect("t.sqlite")
    found = Counter(state for (state,) in db.execute("SELECT state FROM task"))
    db.close()
    return found


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    prepare = TaskStore._prepare

    def quick(store: TaskStore) -> None:
        prepare(store)
        store._db.execute("PRAGMA synchronous=OFF")  # nobody cuts the power

    monkeypatch.setattr(TaskStore, "_prepare", quick)


@pytest.mark.parametrize("error", [ConnectionRefusedError("no"), AnsweredError(503)])
def test_a_service_that_is_down_for_an_hour(error: Exception) -> None:
    asked = Asked(200, lambda _, now: error if 60 < now < HOUR else None, ops.limit(concurrency=4, rate="1/s"))
    asked.context.virtual.advance_by(100)
    assert asked.context.details["degraded"]() == "the service is down"
    asked.context.virtual.advance_by(HOUR + 800)
    assert asked.done
    assert states() == {"done": 200}
    assert asked.context.errors == []
    assert asked.between(61, HOUR) < 40, "who is down is asked now and then"
    assert asked.between(HOUR, HOUR + 300) > 0, "who is there again is noticed"
    assert asked.context.details["degraded"]() is None


def test_what_is_down_for_too_long_is_waited_for_no_more() -> None:
    asked = Asked(20, lambda *_: ConnectionRefusedError("no"), ops.retry(outage="1h"))
    asked.context.virtual.advance_by(HOUR - 10)
    assert states()["failed"] == 0
    asked.context.virtual.advance_by(HOUR)
    assert asked.done
    assert states() == {"failed": 20}


def test_a_few_tasks_that_never_come_through_hold_nothing() -> None:
    asked = Asked(100, lambda number, _: ConnectionResetError("no") if number in (5, 95) else None)
    asked.context.virtual.advance_by(300)
    assert asked.done
    assert states() == {"done": 98, "failed": 2}


def test_who_answers_is_not_down() -> None:
    asked = Asked(30, lambda *_: AnsweredError(500))
    asked.context.virtual.advance_by(600)
    assert asked.done
    assert states() == {"failed": 30}
