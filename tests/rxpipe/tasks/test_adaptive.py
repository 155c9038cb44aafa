"""Concurrency that follows what a service can do: against a simulated one whose capacity steps up and down."""

from __future__ import annotations

import heapq
import random
from typing import NamedTuple

import pytest

from rxpipe.tasks.adaptive import Adaptive

STEPS = ((0.0, 20), (100.0, 60), (200.0, 15), (300.0, 40))
END = 400.0
SETTLED = 60.0
"""Seconds after a step, within which the optimum must be found."""


class Moment(NamedTuple):
    """What was the case when a call ended."""

    time: float
    limit: int
    done: bool


def capacity(now: float) -> int:
    """How many calls the service works on at a time."""
    return [calls for since, calls in STEPS if since <= now][-1]


class Service:
    """Works on so many calls at a time as it has capacity; those beyond wait, or are refused at once."""

    def __init__(self, seconds: float, *, refuses: bool, seed: int) -> None:
        self.seconds, self.refuses = seconds, refuses
        self.random = random.Random(seed)
        self.adaptive = Adaptive()
        self.events: list[tuple[float, int, float, bool]] = []
        self.waiting: list[float] = []
        self.running = self.working = self.count = 0
        self.moments: list[Moment] = []

    def run(self) -> list[Moment]:
        """All calls to the end."""
        self._begin(0.0)
        while self.events[0][0] < END:
            now, _, began, done = heapq.heappop(self.events)
            self.adaptive.ended(now, now - began, self.running, overload=not done)
            self.running -= 1
            self.working -= done
            self.moments.append(Moment(now, self.adaptive.limit, done))
            while self.waiting and self.working < capacity(now):
                self._work(now, self.waiting.pop(0))
            self._begin(now)
        return self.moments

    def _begin(self, now: float) -> None:
        while self.running < self.adaptive.limit:
            self.running += 1
            if self.working < capacity(now):
                self._work(now, now)
            elif self.refuses:
                self._end(now + 0.05, now, done=False)
            else:
                self.waiting.append(now)

    def _work(self, now: float, began: float) -> None:
        self.working += 1
        self._end(now + self.seconds * self.random.uniform(0.9, 1.1), began, done=True)

    def _end(self, at: float, began: float, *, done: bool) -> None:
        self.count += 1
        heapq.heappush(self.events, (at, self.count, began, done))


@pytest.mark.parametrize("seconds", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("refuses", [False, True])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_optimum_is_found_in_a_minute_and_kept(seconds: float, refuses: bool, seed: int) -> None:
    moments = Service(seconds, refuses=refuses, seed=seed).run()
    for (since, best), until in zip(STEPS, (*(start for start, _ in STEPS[1:]), END), strict=True):
        settled = [moment for moment in moments if since + SETTLED <= moment.time < until]
        rate = sum(moment.done for moment in settled) / (until - since - SETTLED)
        assert rate >= 0.8 * best / seconds, f"throughput after the step at {since:g} s"
        limits = sorted(moment.limit for moment in settled)
        typical = limits[len(limits) // 2]
        assert abs(typical - best) <= max(2, 0.25 * best), f"limit after the step at {since:g} s"
        assert limits[0] >= 0.6 * best, "no collapse"
        assert limits[-1] <= 1.5 * best, "no overshoot"


def test_one_burst_of_errors_is_one_decrease() -> None:
    adaptive = Adaptive(start=100)
    for _ in range(100):
        adaptive.ended(0.5, 0.5, 100, overload=True)
    assert adaptive.limit == 100, "the window is not over"
    adaptive.ended(1.6, 0.5, 100, overload=True)
    assert (adaptive.limit, adaptive.last.why) == (90, "101 of 101 calls failed of overload")


def test_one_error_or_few_of_many_are_no_overload() -> None:
    adaptive = Adaptive(start=50)
    for number in range(60):
        adaptive.ended(1.0 + number, 0.5, 50, overload=number == 3)
    assert adaptive.limit > 50


def test_too_little_to_do_is_no_reason_to_grow() -> None:
    adaptive = Adaptive(start=4)
    for number in range(100):
        adaptive.ended(number * 1.0, 0.5, 2, overload=False)
    assert adaptive.limit <= 4


def test_pressure_holds_it() -> None:
    adaptive = Adaptive(start=4)
    for number in range(100):
        adaptive.ended(number * 1.0, 0.5, 4, overload=False, pressure=True)
    assert adaptive.limit <= 4
    assert "this machine" in adaptive.last.why


def test_it_never_exceeds_the_most_nor_falls_below_one() -> None:
    adaptive = Adaptive(most=8)
    for number in range(100):
        adaptive.ended(number * 1.0, 0.5, adaptive.limit, overload=False)
        assert adaptive.limit <= 8
    for number in range(100, 400):
        adaptive.ended(number * 1.0, 0.5, adaptive.limit, overload=True)
        assert adaptive.limit >= 1


@pytest.mark.parametrize("by", [-7200.0, 7200.0])
def test_a_clock_that_is_set_changes_nothing_for_long(by: float) -> None:
    service = Service(1.0, refuses=False, seed=3)
    ended, shift = service.adaptive.ended, [0.0]

    def told(now: float, seconds: float, running: int, **more: bool) -> None:
        shift[0] = by if now > 60 else 0.0
        over = now - seconds < 60 < now  # begun before the clock was set
        ended(now + shift[0], seconds + (by if over else 0.0), running, **more)

    service.adaptive.ended = told
    moments = service.run()
    late = [moment.limit for moment in moments if 180 < moment.time < 200]
    assert late
    assert all(45 <= limit <= 75 for limit in late), "as without that, about 60"
