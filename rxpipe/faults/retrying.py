"""How often and how soon something is tried again: exponential backoff with full jitter, and a circuit breaker."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Literal

import msgspec
from reactivex.abc import SchedulerBase
from reactivex.disposable import SerialDisposable

from rxpipe.faults.transient import asked_of, transient

BreakerState = Literal["closed", "half-open", "open"]
GivenUp = Literal["dead_letter", "skip", "stop"]
"""What becomes of what cannot be handled."""


class Retry(msgspec.Struct, frozen=True):
    """What is tried again, when, and what becomes of it in the end.

    Attributes:
        attempts: How often something is tried in all; None is as often as it takes.
        first: Seconds that the first wait lasts at most; each further one up to twice as long.
        longest: Seconds that a wait lasts at most, beside what a server asks for.
        failures: Failures in a row after which the breaker opens.
        rest: Seconds that it stays open.
        also: Classes of errors that may pass, beside those that `rxpipe.faults.transient` names.
        then: What becomes of what is given up.
    """

    attempts: int | None = None
    first: float = 0.1
    longest: float = 30.0
    failures: int = 10
    rest: float = 30.0
    also: tuple[type[BaseException], ...] = ()
    then: GivenUp = "dead_letter"

    def wait(self, tried: int, error: BaseException, now: float) -> float | None:
        """The seconds until something is tried again; None where it is given up.

        Args:
            tried: How often it was tried.
            error: How that ended.
            now: Seconds since the epoch.
        """
        if not transient(error, self.also) or (self.attempts is not None and tried >= self.attempts):
            return None
        longest = min(self.longest, self.first * 2 ** min(tried - 1, 60))
        return asked_of(error, now) + random.uniform(0, longest)  # spreads the attempts


OnError = Retry | GivenUp
"""What a step does with what it cannot handle."""


class Breaker:
    """Keeps attempts away from what is down: closed, it lets all through; open, none; half-open, one that tells.

    Args:
        retry: When it opens, and for how long.
        scheduler: Where its time comes from.

    Attributes:
        state: closed, open or half-open.
    """

    def __init__(self, retry: Retry, scheduler: SchedulerBase) -> None:
        self.state: BreakerState = "closed"
        self._retry = retry
        self._scheduler = scheduler
        self._failures = 0
        self._probing = False
        self._parked: deque[Callable[[], None]] = deque()
        self._timer = SerialDisposable()

    @property
    def level(self) -> float:
        """The state as a figure: 0 closed, 1 half-open, 2 open."""
        return {"closed": 0.0, "half-open": 1.0, "open": 2.0}[self.state]

    def enter(self, attempt: Callable[[], None]) -> None:
        """Make an attempt, now or when it may be made; who makes it tells how it ended."""
        if self.state == "closed":
            attempt()
        elif self.state == "half-open" and not self._probing:
            self._probing = True
            attempt()
        else:
            self._parked.append(attempt)

    def failed(self, asked: float = 0.0) -> None:
        """An attempt has failed; the other side asks to be left alone for so many seconds."""
        self._failures += 1
        if self.state == "open" or self._failures < self._retry.failures:
            return
        self.state, self._probing = "open", False
        self._timer.disposable = self._scheduler.schedule_relative(
            max(self._retry.rest, asked), lambda *_: self._half_open()
        )

    def succeeded(self) -> None:
        """An attempt has succeeded: those that wait are made."""
        self._failures = 0
        if self.state == "closed":
            return
        self.state, self._probing = "closed", False
        self._timer.disposable = None
        while self._parked and self.state == "closed":
            self._parked.popleft()()

    def close(self) -> None:
        """Make no attempt any more."""
        self._timer.dispose()
        self._parked.clear()

    def _half_open(self) -> None:
        self.state = "half-open"
        if self._parked:
            self.enter(self._parked.popleft())
