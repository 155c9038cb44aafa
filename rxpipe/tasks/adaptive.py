"""How many calls to make at a time, learned from what they take: as many as the service does without making them wait.

Latency tells of a queue before errors do: with a shortest latency L and one of M now, about n * (1 - L / M) of n calls
wait (Brakmo and Peterson, TCP Vegas, 1995). A small queue is allowed, so that a capacity that has grown is noticed.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

_LEAST_ERRORS, _ERROR_SHARE = 2, 0.1
_LESS = 0.9
"""What a decrease leaves; there is at most one in a window, or a burst of errors would leave nothing."""

_MUCH_LESS = 0.7
"""The same where more than half of the calls wait."""

_LEAST_WINDOW = 1.0
_MEMORY = 24
"""Windows of which the shortest latency is remembered: a service that became slower for good is learned anew."""

_PROBE, _PROBED = 8, 0.8
"""Every eighth window fewer calls are made, to see what they take when none waits; else a small queue that is always
there would be taken for the service's own time."""


class Decision(NamedTuple):
    """What was decided at the end of a window, and why."""

    limit: int
    why: str


class Adaptive:
    """A limit of concurrency that follows a service's capacity.

    A window ends when as many calls have ended as are allowed at a time, and a second has passed.

    Args:
        most: What it never exceeds.
        start: What it begins with.

    Attributes:
        limit: How many calls may be made at a time.
        last: What was decided last.
    """

    def __init__(self, most: int = 256, start: int = 2) -> None:
        self._most = most
        self.limit = min(start, most)
        self.last = Decision(self.limit, "start")
        self._exact = float(self.limit)
        self._ramp = True
        self._windows = 0
        self._probing = False
        self._began: float | None = None
        self._ended = self._errors = 0
        self._full = False
        self._latencies: list[float] = []
        self._shortest: deque[float] = deque(maxlen=_MEMORY)

    def ended(self, now: float, seconds: float, running: int, *, overload: bool, pressure: bool = False) -> None:
        """A call ended.

        Args:
            now: Seconds.
            seconds: How long it took.
            running: How many were running, it among them.
            overload: Whether it failed because there is too much to do: 429, 5xx, a timeout.
            pressure: Whether this machine is short of processor time or memory.
        """
        if self._began is None or now < self._began:  # the clock was set back
            self._began = now - max(0.0, seconds)
        self._ended += 1
        self._errors += overload
        self._full |= running >= self.limit
        if not overload and seconds >= 0:
            self._latencies.append(seconds)
        if self._ended >= self.limit and now - self._began >= _LEAST_WINDOW:
            self._decide(pressure=pressure)
            self._began, self._ended, self._errors, self._full, self._latencies = now, 0, 0, False, []

    def _decide(self, *, pressure: bool) -> None:
        if self._errors >= _LEAST_ERRORS and self._errors >= _ERROR_SHARE * self._ended:
            self._shrink(f"{self._errors} of {self._ended} calls failed of overload")
            return
        if pressure:
            self._hold("this machine has no processor time or memory to spare")
            return
        if not self._latencies:
            return
        ordered = sorted(self._latencies)
        typical = ordered[len(ordered) // 2]
        self._shortest.append(ordered[len(ordered) // 4])
        self._windows += 1
        if self._probing:
            self._probing = False
            self._settle("looked what calls take that need not wait")
            return
        queue = self._exact * (1 - min(self._shortest) / typical)
        slack = max(1.0, 0.08 * self._exact)
        if queue > 1.75 * slack:
            left = _MUCH_LESS if queue > self._exact / 2 else _LESS
            self._shrink(f"about {queue:.0f} of {self.limit} calls wait: they take {typical:.2g} s", left)
        elif queue > slack:
            self._hold(f"about {queue:.0f} of {self.limit} calls wait")
        elif self._full:
            self._grow()
        else:
            self._hold("there is no more to do")

    def _grow(self) -> None:
        """Double at first; then about half the square root more, so that large numbers are found in time, too."""
        more = self._exact if self._ramp else max(1.0, math.sqrt(self._exact) / 2)
        self._exact = min(float(self._most), self._exact + more)
        self._settle("calls do not wait")

    def _hold(self, why: str) -> None:
        self._ramp = False
        self._settle(why)

    def _shrink(self, why: str, left: float = _LESS) -> None:
        self._ramp = False
        self._exact = max(1.0, self._exact * left)
        self._settle(why)

    def _settle(self, why: str) -> None:
        self.limit = max(1, round(self._exact))
        if not self._ramp and self._windows % _PROBE == 0 and self._windows:
            self._probing = True
            self.limit = max(1, round(self._exact * _PROBED))
        self.last = Decision(self.limit, why)
