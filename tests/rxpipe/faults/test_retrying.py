"""Waits with full jitter, and the circuit breaker, under virtual time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxpipe.faults.retrying import Breaker, Retry
from rxpipe.testing import VirtualTimeScheduler

GONE = ConnectionError("gone")


class AskingError(ConnectionError):
    retry_after = 100


@given(tried=st.integers(1, 5000), first=st.floats(0.001, 10), longest=st.floats(0.01, 600))
def test_a_wait_is_anywhere_below_its_limit(tried: int, first: float, longest: float) -> None:
    wait = Retry(first=first, longest=longest).wait(tried, GONE, 0.0)
    assert wait is not None
    assert 0 <= wait <= min(longest, first * 2 ** min(tried - 1, 60))


def test_the_whole_range_is_used_and_doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    ranges: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        ranges.append((low, high))
        return high

    monkeypatch.setattr("random.uniform", uniform)
    waits = [Retry(first=1, longest=5).wait(tried, GONE, 0.0) for tried in range(1, 6)]
    assert waits == [1, 2, 4, 5, 5]
    assert ranges == [(0, 1), (0, 2), (0, 4), (0, 5), (0, 5)]


def test_what_is_asked_for_comes_on_top() -> None:
    wait = Retry(first=1).wait(1, AskingError(), 0.0)
    assert wait is not None
    assert 100 <= wait <= 101


def test_what_is_given_up() -> None:
    assert Retry().wait(1, ValueError(), 0.0) is None
    assert Retry(also=(ValueError,)).wait(1, ValueError(), 0.0) is not None
    assert Retry(attempts=3).wait(2, GONE, 0.0) is not None
    assert Retry(attempts=3).wait(3, GONE, 0.0) is None


class Server:
    """Somebody who is down or up, and the attempts that reached it."""

    def __init__(self, failures: int = 3, rest: float = 30) -> None:
        self.time = VirtualTimeScheduler()
        self.breaker = Breaker(Retry(failures=failures, rest=rest), self.time)
        self.up = False
        self.tried: list[float] = []

    def attempt(self) -> None:
        self.tried.append(self.time.time)
        if self.up:
            self.breaker.succeeded()
        else:
            self.breaker.failed()

    def enter(self, count: int = 1) -> None:
        for _ in range(count):
            self.breaker.enter(self.attempt)


def test_a_breaker_opens_tells_and_closes() -> None:
    server = Server()
    server.enter(2)
    assert server.breaker.state == "closed"
    server.enter()
    assert (server.breaker.state, server.breaker.level) == ("open", 2)
    server.enter(4)
    server.time.advance_to(29)
    assert server.tried == [0, 0, 0]
    server.time.advance_to(30)  # one tells that it is still down
    assert (server.tried, server.breaker.state) == ([0, 0, 0, 30], "open")
    server.up = True
    server.time.advance_to(59)
    assert len(server.tried) == 4
    server.time.advance_to(60)  # the next one that it is up: all that waited are made
    assert (server.tried[4:], server.breaker.state, server.breaker.level) == ([60, 60, 60], "closed", 0)
    server.enter()
    assert len(server.tried) == 8


def test_half_open_lets_one_through() -> None:
    server = Server(failures=1)
    server.enter()
    server.time.advance_to(30)
    assert (server.breaker.state, server.breaker.level) == ("half-open", 1)
    made: list[int] = []
    server.breaker.enter(lambda: made.append(1))  # it takes its time
    server.breaker.enter(lambda: made.append(2))
    assert made == [1]
    server.breaker.succeeded()
    assert made == [1, 2]


def test_successes_between_failures_keep_it_closed() -> None:
    server = Server(failures=2)
    for up in [False, True] * 5:
        server.up = up
        server.enter()
    assert (server.breaker.state, len(server.tried)) == ("closed", 10)


def test_it_rests_as_long_as_it_is_asked_to() -> None:
    server = Server(failures=1)
    server.breaker.failed(asked=100)
    server.enter()
    server.time.advance_to(99)
    assert server.tried == []
    server.time.advance_to(100)
    assert server.tried == [100]


def test_closed_for_good_it_makes_nothing() -> None:
    server = Server(failures=1)
    server.enter(2)
    server.breaker.close()
    server.time.advance_to(1000)
    assert server.tried == [0]


@given(st.lists(st.sampled_from(["enter", "end", "up", "down", "wait"]), max_size=60))
def test_while_it_is_not_closed_one_attempt_tells(actions: list[str]) -> None:
    server = Server(failures=2, rest=1)
    under_way: list[bool] = []  # whether each is the one that tells
    begun = entered = 0

    def begin() -> None:
        nonlocal begun
        begun += 1
        assert server.breaker.state != "open"
        tells = server.breaker.state == "half-open"
        assert not (tells and any(under_way))
        under_way.append(tells)

    def end() -> None:
        under_way.pop()
        if server.up:
            server.breaker.succeeded()
        else:
            server.breaker.failed()

    for action in actions:
        if action == "enter":
            entered += 1
            server.breaker.enter(begin)
        elif action == "end" and under_way:
            end()
        elif action == "wait":
            server.time.advance_by(1)
        else:
            server.up = action == "up"
    server.up = True
    for _ in range(entered + 1):
        server.time.advance_by(1)
        while under_way:
            end()
    assert begun == entered
