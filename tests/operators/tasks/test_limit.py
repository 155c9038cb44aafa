"""Records let through as fast as is allowed, under virtual time; slots that are never lost."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import reactivex as rx
from hypothesis import given
from hypothesis import strategies as st
from reactivex.subject import Subject

from rxpipe import operators as ops
from rxpipe.context import entered
from rxpipe.elements import Batch
from rxpipe.errors import ParameterError
from rxpipe.graph import Graph
from rxpipe.tasks.attempt import Attempt, Outcome
from rxpipe.tasks.reading import Worked
from rxpipe.tasks.store import Claimed
from rxpipe.testing import TestContext, VirtualRun


class Limited:
    """A limit at work: what it let through, and when."""

    def __init__(self, **options: Any) -> None:
        self.context = TestContext()
        self.source: Subject[Any] = Subject()
        self.held: list[Batch] = []
        self.times: list[float] = []
        with entered(self.context):
            self.subscription = self.source.pipe(ops.limit(**options)).subscribe(
                self._take, scheduler=self.context.virtual
            )

    def _take(self, batch: Batch) -> None:
        self.held.append(batch)
        self.times.append(self.context.virtual.clock)

    def give(self, *numbers: int) -> None:
        """Give records."""
        self.source.on_next(Batch([{"n": number, "t": 10} for number in numbers]))
        self.advance(0)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.context.virtual.advance_by(seconds)

    def end(self, place: int = 0, error: Exception | None = None) -> None:
        """A call ends."""
        batch = self.held.pop(place)
        if error is not None:
            self.context.reject(error, batch.rows[0], leases=batch.leases)
        del batch
        self.advance(0)


def test_a_step_behind_may_wait_for_more_than_there_are_slots() -> None:
    seen: list[list[int]] = []

    def note(batch: Batch) -> None:
        seen.append(numbers([batch]))

    rows = rx.of(*(Batch([{"n": n}]) for n in range(5)))
    steps = [rows, ops.limit(concurrency=2), ops.buffer(count=3), ops.to_callback(note)]
    with VirtualRun(Graph("g", {"s": steps})) as run:
        run.advance(0.9)
        assert seen == []
        run.advance(5)
        assert seen == [[0, 1], [2, 3], [4]]


def numbers(batches: list[Batch]) -> list[int]:
    return [row["n"] for batch in batches for row in batch.rows]


def test_concurrency_is_bounded_in_order() -> None:
    limited = Limited(concurrency=2)
    limited.give(1, 2, 3)
    limited.give(4)
    assert numbers(limited.held) == [1, 2]
    limited.end(1)
    assert numbers(limited.held) == [1, 3]
    limited.end(0, ValueError("no"))
    assert numbers(limited.held) == [3, 4]


def test_rates_hold_at_once() -> None:
    limited = Limited(rate=["2/s", "4/min"])
    limited.give(*range(10))
    limited.advance(200)
    assert [round(time, 2) for time in limited.times[:4]] == [0, 0, 1.05, 1.05]
    for start in limited.times:
        assert sum(start <= time < start + 1 for time in limited.times) <= 2
        assert sum(start <= time < start + 60 for time in limited.times) <= 4
    assert len(limited.times) == 10


def test_tokens_are_weighed() -> None:
    limited = Limited(tokens="25/min", weight="t")
    limited.give(1, 2, 3)
    assert numbers(limited.held) == [1, 2]
    limited.advance(62)
    assert numbers(limited.held) == [1, 2, 3]
    limited.source.on_next(Batch([{"n": 4, "t": "many"}]))
    assert [error.reason for error in limited.context.errors] == ["weight: must be a number of tokens; got 'many'"]


class RefusedError(Exception):
    """A 429."""

    status = 429
    retry_after = 20.0


def test_a_service_that_asks_to_wait_is_left_alone() -> None:
    limited = Limited(concurrency=1)
    limited.give(1, 2, 3)
    limited.end(0, RefusedError())
    assert limited.held == []
    limited.advance(19)
    assert limited.held == []
    limited.advance(1.1)
    assert numbers(limited.held) == [2]


def test_completion_waits_for_all_and_errors_do_not() -> None:
    context, source, held, ended = TestContext(), Subject[Any](), list[Any](), list[Any]()
    with entered(context):
        source.pipe(ops.limit(concurrency=1)).subscribe(held.append, ended.append, lambda: ended.append("|"))
    source.on_next(Batch([{"n": 1}, {"n": 2}]))
    source.on_completed()
    assert (numbers(held), ended) == ([1], [])
    held.clear()
    context.virtual.advance_by(0)
    assert (numbers(held), ended) == ([2], ["|"])
    error = ValueError()
    with entered(TestContext()):
        rx.throw(error).pipe(ops.limit(concurrency=1)).subscribe(held.append, ended.append)
    assert ended == ["|", error]


@given(st.integers(0, 2**32), st.integers(1, 8))
def test_no_slot_is_ever_lost(seed: int, concurrency: int) -> None:
    rng = random.Random(seed)  # the draw of a test
    limited = Limited(concurrency=concurrency)
    for number in range(200):
        if rng.random() < 0.6:
            limited.give(number)
        while limited.held and rng.random() < 0.5:
            failed = rng.choice([None, ValueError("no"), ConnectionError("no")])
            limited.end(rng.randrange(len(limited.held)), failed)
        assert len(limited.held) <= concurrency
    while limited.held:
        limited.end()
    limited.give(*range(concurrency + 1))
    assert len(limited.held) == concurrency, "all slots are free again"


def test_ten_thousand_random_cancels_lose_no_slot() -> None:
    rng = random.Random(4)  # reproducible
    limited = Limited(concurrency=16)
    given = 0
    while given < 10_000:
        limited.give(*range(8))
        given += 8
        for _ in range(rng.randrange(16)):
            if limited.held:
                limited.end(rng.randrange(len(limited.held)), rng.choice([None, ValueError("cancelled")]))
    while limited.held:
        limited.end()
    limited.give(*range(20))
    assert len(limited.held) == 16


def test_what_is_charged_outlasts_the_run(tmp_path: Path) -> None:
    let: list[Any] = []

    def run() -> None:
        source = rx.of(Batch([{"n": number} for number in range(5)]))
        steps = [
            source,
            ops.tasks("n", store=str(tmp_path / "t.sqlite"), skip_existing=False),
            ops.limit(quota="3/day"),
        ]
        graph = Graph("quota", {"main": [*steps, ops.to_callback(lambda batch: let.append(batch.rows[0]["n"]))]})
        with graph.run(once=True, state=tmp_path / "state.db") as made:
            try:
                made.wait(timeout=1)
            except TimeoutError:
                made.stop()

    run()
    run()
    assert len(let) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": "60"}, "rate"),
        ({"quota": "60/min"}, "must be a number per day"),
        ({"concurrency": 0}, "concurrency"),
        ({"concurrency": "many"}, "concurrency"),
        ({"rate": "5/fortnight"}, "rate"),
    ],
)
def test_what_is_wrong_is_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        rx.of(Batch([])).pipe(ops.limit(**options))


def give_tasks(limited: Limited, ended: list[Outcome], *tasks: int) -> None:
    """Give records that are of tasks."""
    for task in tasks:
        attempt = Attempt(Claimed(1, 0.0, task, f"key {task}", b"{}", None), {}, lambda _: None, ended.append)
        limited.source.on_next(Batch([{"n": task}], leases=(attempt,)))
        del attempt
    limited.advance(0)


@pytest.mark.parametrize("drains", [True, False])
def test_tasks_that_wait_are_given_back_where_none_is_to_be_begun(drains: bool) -> None:
    limited, ended = Limited(concurrency=2), list[Outcome]()
    worked = limited.context.board["a[1] tasks"] = Worked("", Path("tasks.sqlite"))
    other = limited.context.board["b[1] tasks"] = Worked("other", Path("other.sqlite"), "pause")
    give_tasks(limited, ended, 1, 2, 3, 4)
    limited.give(5)
    assert numbers(limited.held) == [1, 2]
    assert other.order == "pause", "which is for another stream"
    if drains:
        limited.context.drain()
    else:
        worked.order = "pause"
        limited.end()
    assert [(one.task.id, one.until) for one in ended if one.why] == [(3, 0.0), (4, 0.0)]
    if not drains:
        assert numbers(limited.held) == [2, 5], "what is no task goes on"
        worked.order = None
        give_tasks(limited, ended, 3)
        limited.end()
        assert numbers(limited.held) == [5, 3]


def test_a_drain_does_not_wait_for_a_rate() -> None:
    limited, ended = Limited(rate="1/h"), list[Outcome]()
    give_tasks(limited, ended, 1, 2)
    limited.source.on_completed()
    limited.context.drain()
    limited.end()
    assert [(one.task.id, one.why) for one in ended] == [(2, "the run drains"), (1, "")]
