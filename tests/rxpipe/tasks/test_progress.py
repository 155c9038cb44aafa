"""The figures of a batch: when it will be done, and what it will cost, against what became of it in virtual time."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from rxpipe.tasks.progress import Estimate, estimate
from tests.rxpipe.tasks.batches import working


@pytest.mark.parametrize(("tasks", "workers"), [(40, 1), (100, 4), (200, 7), (300, 16), (1000, 4)])
def test_steady(tmp_path: Path, tasks: int, workers: int) -> None:
    with working(tmp_path / "t.sqlite", tasks, workers, lambda _: 3.0) as work:
        assert work.error(0.1) < 0.1


def test_after_a_restart_the_pause_does_not_count(tmp_path: Path) -> None:
    with working(tmp_path / "t.sqlite", 200, 4, lambda _: 2.0) as work:
        work.until(100)
    with working(tmp_path / "t.sqlite", 200, 4, lambda _: 2.0, now=1_000_000.0) as work:
        assert work.error(0.6) < 0.1


def test_tasks_that_fail_are_tried_again_in_the_time_told(tmp_path: Path) -> None:
    with working(
        tmp_path / "t.sqlite", 600, 4, lambda _: 2.0, fails=lambda t: t.attempt == 1 and t.id % 4 == 0
    ) as work:
        assert work.error(0.3) < 0.1


def test_the_last_that_waits_decides(tmp_path: Path) -> None:
    with working(tmp_path / "t.sqlite", 8, 4, lambda _: 1.0, fails=lambda t: t.attempt == 1 and t.id == 5) as work:
        work.until(7)
        told, at = work.progress(), work.now
        work.until(8)
        assert told.estimate is not None
        assert told.estimate.left == pytest.approx(work.now - at, rel=0.1)


def test_a_service_that_became_slow(tmp_path: Path) -> None:
    with working(tmp_path / "t.sqlite", 600, 4, lambda now: 1.0 if now < 1075 else 3.0) as work:
        assert work.error(0.75) < 0.1


def test_nothing_done_for_long_makes_it_later(tmp_path: Path) -> None:
    with working(tmp_path / "t.sqlite", 100, 2, lambda now: 1.0 if now < 1020 else 500.0) as work:
        work.until(40)
        before = work.progress().estimate
        work.now += 200
        after = work.progress().estimate
        assert before is not None
        assert after is not None
        assert after.left > 3 * before.left
        assert after.high > after.left


def test_where_nothing_is_known_nothing_is_told(tmp_path: Path) -> None:
    with working(tmp_path / "t.sqlite", 10, 2, lambda _: 1.0, cost=0.5) as work:
        told = work.progress()
        assert (told.estimate, told.projected, told.cost) == (None, None, 0.0)
        work.until(3)
        told = work.progress()
        assert told.estimate is not None
    told = work.progress()
    assert told.estimate is None
    assert told.states["done"] == 3


def test_cost(tmp_path: Path) -> None:
    with working(
        tmp_path / "t.sqlite", 40, 4, lambda _: 1.0, cost=0.25, fails=lambda t: t.id == 3 and t.attempt < 3
    ) as work:
        work.until(20)
        told = work.progress()
        assert told.cost == 20 * 0.25 + 0.25
        work.until(40)
        assert told.projected == pytest.approx(work.progress().cost, rel=0.1)


def test_what_is_worked_on_and_what_failed(tmp_path: Path) -> None:
    with working(tmp_path / "t.sqlite", 10, 3, lambda _: 1.0, fails=lambda t: t.id == 1 and t.attempt == 1) as work:
        work.until(2)
        told = work.progress()
        assert [(one.key, one.attempt, one.seconds) for one in told.running] == [
            (f"task {n}", 1, 0.0) for n in (3, 4, 5)
        ]
        assert [(one.key, one.kind, one.error, one.attempt) for one in told.errors] == [
            ("task 0", "server", "503: busy", 1)
        ]
        assert told.total == 10
        assert told.over == 2


def simulated(takes: Callable[[float], float], tasks: int, workers: int, share: float) -> tuple[Estimate, float]:
    """What is told when a share of the tasks is over, and how long the rest took."""
    running = [(takes(0.0), 0.0) for _ in range(workers)]
    heapq.heapify(running)
    spans: list[tuple[float, float]] = []
    told, at, now = None, 0.0, 0.0
    for number in range(tasks):
        now, begun = heapq.heappop(running)
        spans.append((begun, now))
        if number + workers < tasks:
            heapq.heappush(running, (now + takes(now), now))
        if number + 1 == int(tasks * share):
            at = now
            told = estimate(spans[::-1], [since for _, since in running], tasks - number - 1, now)
    assert told is not None
    return told, now - at


@pytest.mark.parametrize("workers", [1, 4, 10])
@pytest.mark.parametrize(("kind", "least"), [("even", 82), ("exponential", 82), ("heavy", 65)])
def test_the_interval_holds_what_comes(kind: str, least: int, workers: int) -> None:
    """In nine of ten cases; in fewer where a few tasks take many times as long as all others."""
    chance = random.Random(f"{kind} {workers}")
    draws = {
        "even": lambda: chance.uniform(1, 3),
        "exponential": lambda: chance.expovariate(0.5),
        "heavy": lambda: chance.lognormvariate(0, 1),
    }
    results = [
        simulated(lambda _: draws[kind](), 400, workers, share)
        for _ in range(20)
        for share in (0.1, 0.2, 0.3, 0.5, 0.8)
    ]
    inside = sum(told.low <= took <= told.high for told, took in results)
    assert inside >= least, f"{inside}, bias {sum(told.left / took for told, took in results) / len(results)}"
    widths = [(told.high - told.low) / told.left for told, _ in results]
    assert sum(widths) / len(widths) < 1.2, "an interval that says nothing holds everything"


@pytest.mark.parametrize("now", [10.0, 9.0])
def test_a_clock_that_was_set_back(now: float) -> None:
    assert estimate([(10.0, 12.0)], [], 3, now) == estimate([(10.0, 12.0)], [], 3, 12.0)


def test_tasks_that_take_no_time() -> None:
    told = estimate([(float(n), float(n)) for n in range(20, 0, -1)], [], 10, 20.0)
    assert told is not None
    assert told.left == pytest.approx(10, rel=0.15)
    assert estimate([(5.0, 5.0)], [], 3, 5.0) is None
