"""The last values of a key: so many, or those of a length of time."""

from __future__ import annotations

from bisect import bisect_right, insort
from operator import itemgetter
from typing import Any, NoReturn

from rxpipe.errors import RxpipeError
from rxpipe.parameters.units import Duration, seconds

_time = itemgetter(0)


class Length:
    """How many values are recent, or for how long; one of the two is not None."""

    def __init__(self, operator: str, count: int | None, within: Duration | None, time: str | None) -> None:
        if (count is None) == (within is None):
            _refuse(operator, f"one of 'count' and 'within' must be given; got {'none' if count is None else 'both'}")
        if time is not None and within is None:
            _refuse(operator, "'time' goes with 'within': the last so many are those that came last")
        self.count = count
        self.seconds = None if within is None else seconds(within)


class Recent:
    """Values with their times, oldest first; those of equal times, or where their number counts, as they came.

    Args:
        length: Which of them are kept.
    """

    def __init__(self, length: Length) -> None:
        self._length = length
        self.entries: list[tuple[float, Any]] = []

    @property
    def full(self) -> bool:
        """Whether there are as many as there may be."""
        return self._length.count is None or len(self.entries) >= self._length.count

    def expire(self, time: float) -> list[Any]:
        """Let go of the values that are too old when it is `time`; returns them."""
        if self._length.seconds is None or not self.entries:
            return []
        horizon = max(time, self.entries[-1][0]) - self._length.seconds
        return self._cut(bisect_right(self.entries, horizon, key=_time))

    def push(self, value: Any, time: float) -> list[Any]:
        """Add a value, which may be too old itself; returns those that go."""
        if self._length.count is not None:
            self.entries.append((time, value))
            return self._cut(len(self.entries) - self._length.count)
        insort(self.entries, (time, value), key=_time)
        return self.expire(time)

    def _cut(self, count: int) -> list[Any]:
        gone = [value for _, value in self.entries[: max(0, count)]]
        del self.entries[: len(gone)]
        return gone


def _refuse(operator: str, message: str) -> NoReturn:
    msg = f"{operator}: {message}"
    raise RxpipeError(msg)
