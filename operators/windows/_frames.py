"""Where windows begin and end: at fixed times, or around records that are near each other.

Times are whole microseconds. A window holds those from its start up to its end, without that; it is open until the
watermark reaches its end.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from rxpipe.aggregations.packing import pack, unpack
from rxpipe.context import Change

Bounds = tuple[int, int]
"""Start and end of a window."""


class Frames(Protocol):
    """The windows of one subscription, each with a number."""

    persistent: bool
    """Whether to note what changes, for `changes`."""

    def adding(self, time: int, key: Any, watermark: int) -> Sequence[int]:
        """The open windows that a record belongs to."""
        ...

    def at_once(self, times: list[int], watermark: int, until: int) -> list[Sequence[int]] | None:
        """The same for many records of any key, while the watermark goes on; None where order or key matter."""
        ...

    def taking(self, time: int, key: Any, watermark: int) -> Sequence[int]:
        """The open windows that a record belonged to when it was added."""
        ...

    def bounds(self, number: int) -> Bounds:
        """Start and end of a window."""
        ...

    def opened(self, number: int) -> None:
        """A window has its first record, or is restored."""
        ...

    def earliest(self) -> int | None:
        """When the first of those that have records ends."""
        ...

    def close(self, watermark: int) -> list[int]:
        """Forget the windows that end by then; returns them in the order of their ends, then starts."""
        ...

    def forget(self, number: int) -> None:
        """Let go of a window whose rows were read, or taken back."""
        ...

    def changes(self) -> Iterable[Change]:
        """What else is to be saved of the windows."""
        ...

    def restore(self, rows: Iterable[tuple[bytes, str, bytes]]) -> None:
        """Take over what was saved."""
        ...


class Fixed:
    """Windows of one size that begin at every multiple of a step.

    Args:
        size: Their length.
        every: The step.
    """

    persistent = False

    def __init__(self, size: int, every: int) -> None:
        self._size = size
        self._every = every
        self._open: set[int] = set()
        self._earliest: int | None = None

    def adding(self, time: int, key: Any, watermark: int) -> Sequence[int]:
        """See `Frames`."""
        every, size = self._every, self._size
        return range((max(time, watermark) - size) // every + 1, time // every + 1)

    taking = adding

    def at_once(self, times: list[int], watermark: int, until: int) -> list[Sequence[int]] | None:
        """See `Frames`: no window closes on the way, and no record belongs to one that has closed."""
        every, size = self._every, self._size
        first = (watermark - size) // every
        if (until - size) // every != first or (min(times) - size) // every < first:
            return None
        if every == size:
            return [(time // every,) for time in times]
        return [range((time - size) // every + 1, time // every + 1) for time in times]

    def bounds(self, number: int) -> Bounds:
        """See `Frames`."""
        start = number * self._every
        return start, start + self._size

    def opened(self, number: int) -> None:
        """See `Frames`."""
        self._open.add(number)
        end = number * self._every + self._size
        if self._earliest is None or end < self._earliest:
            self._earliest = end

    def earliest(self) -> int | None:
        """See `Frames`."""
        return self._earliest

    def close(self, watermark: int) -> list[int]:
        """See `Frames`."""
        closed = sorted(number for number in self._open if self.bounds(number)[1] <= watermark)
        self._open.difference_update(closed)
        self._earliest = self.bounds(min(self._open))[1] if self._open else None
        return closed

    def forget(self, number: int) -> None:
        """See `Frames`."""
        if number in self._open:
            self._open.remove(number)
            self._earliest = self.bounds(min(self._open))[1] if self._open else None

    def changes(self) -> Iterable[Change]:
        """See `Frames`: their numbers say it all."""
        return ()

    def restore(self, rows: Iterable[tuple[bytes, str, bytes]]) -> None:
        """See `Frames`."""


class Sessions:
    """Windows of one key's records, each less than a gap from the next; a window ends a gap after its last record.

    Args:
        gap: The silence that ends a window.
        join: Called with the numbers of two windows when a record between them makes them one: the first goes on. It
            may raise, then they stay two.
    """

    persistent = False

    def __init__(self, gap: int, join: Callable[[int, int], None]) -> None:
        self._gap = gap
        self._join = join
        self._bounds: dict[int, Bounds] = {}
        self._keys: dict[int, Any] = {}
        self._of: dict[Any, list[int]] = {}
        self._ends: list[tuple[int, int]] = []
        self._dirty: dict[int, None] = {}
        self._last = 0

    def adding(self, time: int, key: Any, watermark: int) -> Sequence[int]:
        """See `Frames`: a window is made, grows, or takes in the one behind it."""
        start, end = time, time + self._gap
        near = [n for n in self._of.get(key, ()) if self._near(n, start, end, watermark)]
        if not near:
            if end <= watermark:
                return ()
            self._last += 1
            self._of.setdefault(key, []).append(self._last)
            self._keys[self._last] = key
            self._set(self._last, start, end)
            return (self._last,)
        near.sort(key=self._bounds.__getitem__)
        for other in near[1:]:
            self._join(near[0], other)
            end = max(end, self._bounds[other][1])
            self._forget(other)
        first, last = self._bounds[near[0]]
        self._set(near[0], min(start, first), max(end, last))
        return near[:1]

    def at_once(self, times: list[int], watermark: int, until: int) -> list[Sequence[int]] | None:
        """See `Frames`: key and order matter."""
        return None

    def taking(self, time: int, key: Any, watermark: int) -> Sequence[int]:
        """See `Frames`: windows do not shrink."""
        return [n for n in self._of.get(key, ()) if self._near(n, time, time + 1, watermark)]

    def _near(self, number: int, start: int, end: int, watermark: int) -> bool:
        first, last = self._bounds[number]
        return first < end and start < last and last > watermark

    def bounds(self, number: int) -> Bounds:
        """See `Frames`."""
        return self._bounds[number]

    def opened(self, number: int) -> None:
        """See `Frames`: they are known since `adding`."""

    def earliest(self) -> int | None:
        """See `Frames`."""
        while self._ends:
            end, number = self._ends[0]
            now = self._bounds.get(number)
            if now is not None and now[1] == end:
                return end
            heapq.heappop(self._ends)
            if now is not None:
                heapq.heappush(self._ends, (now[1], number))
        return None

    def close(self, watermark: int) -> list[int]:
        """See `Frames`."""
        closed: list[tuple[int, int, int]] = []
        while (end := self.earliest()) is not None and end <= watermark:
            number = heapq.heappop(self._ends)[1]
            closed.append((end, self._bounds[number][0], number))
        return [number for _, _, number in sorted(closed)]

    def forget(self, number: int) -> None:
        """See `Frames`."""
        if number in self._bounds:
            self._forget(number)

    def changes(self) -> Iterable[Change]:
        """See `Frames`: the bounds of those that changed."""
        for number in self._dirty:
            found = self._bounds.get(number)
            yield pack(number), "session", None if found is None else pack([*found, self._keys[number]])
        self._dirty.clear()

    def restore(self, rows: Iterable[tuple[bytes, str, bytes]]) -> None:
        """See `Frames`."""
        for number, value in sorted((unpack(key), value) for key, part, value in rows if part == "session"):
            start, end, key = unpack(value)
            self._keys[number] = key
            self._of.setdefault(key, []).append(number)
            self._set(number, start, end)
            self._last = number

    def _set(self, number: int, start: int, end: int) -> None:
        known = self._bounds.get(number)
        if known != (start, end):
            self._bounds[number] = (start, end)
            if self.persistent:
                self._dirty[number] = None
        if known is None:
            heapq.heappush(self._ends, (end, number))

    def _forget(self, number: int) -> None:
        del self._bounds[number]
        if self.persistent:
            self._dirty[number] = None
        key = self._keys.pop(number)
        self._of[key].remove(number)
        if not self._of[key]:
            del self._of[key]
