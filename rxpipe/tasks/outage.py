"""Whether a service is down: where nobody's call comes through, that is not the fault of a task."""

from __future__ import annotations

import random

from rxpipe.faults.transient import status_of
from rxpipe.tasks.kinds import Kind

LONGEST = 6 * 3600.0
"""Seconds that an outage may last, unless told otherwise: from then on what fails of it counts as any failure."""

_CALLS, _TASKS = 8, 3
"""Calls in a row that do not come through, and of how many tasks at least, until a service is taken for down."""

_FIRST, _MOST = 1.0, 300.0
"""Seconds until the first try whether it is up, and at most until each further one, which waits twice as long."""

_AWAY = frozenset({502, 503, 504})
"""What those say who stand before a service that does not answer."""


def came_through(kind: Kind, cause: BaseException | None) -> bool:
    """Whether a call that failed has reached the service."""
    return kind != "network" and status_of(cause) not in _AWAY


class Outage:
    """The service of one stream's tasks, as far as their calls tell of it.

    Attributes:
        longest: Seconds that an outage may last.
        since: When the first call did not come through since one has; None if the last one has.
        tried: When to try whether it is up, in seconds since the epoch.
    """

    def __init__(self) -> None:
        self.longest = LONGEST
        self.since: float | None = None
        self.tried = 0.0
        self._calls = self._probes = 0
        self._tasks: set[int] = set()

    def failed(self, task: int, now: float) -> None:
        """A call for a task did not come through."""
        if self.since is None:
            self.since = now
        self._calls += 1
        if len(self._tasks) < _TASKS:
            self._tasks.add(task)
        if self.down(now) and now >= self.tried:
            wait = min(_MOST, _FIRST * 2 ** min(self._probes, 30))
            self._probes += 1
            self.tried = now + random.uniform(wait / 2, wait)  # spreads those who try

    def answered(self) -> None:
        """A call has come through."""
        if self.since is not None:
            self.since, self._calls, self._probes, self.tried = None, 0, 0, 0.0
            self._tasks.clear()

    def down(self, now: float) -> bool:
        """Whether the service is taken for down."""
        if self.since is None or self._calls < _CALLS or len(self._tasks) < _TASKS:
            return False
        return now - self.since < self.longest
