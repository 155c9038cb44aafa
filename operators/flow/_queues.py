"""What waits for a slow reader: a line, of which some may be dropped, or the latest of each key."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Any, Protocol

from rxpipe.context import Context
from rxpipe.elements import Batch, OriginGone, Row
from rxpipe.expressions import parse
from rxpipe.fusion.rows import compile_values
from rxpipe.lease import Lease
from rxpipe.table import Table


class Queue(Protocol):
    """What waits for a reader."""

    dropped: int
    """How many records were dropped."""
    in_memory: bool
    """Whether what waits is in memory: at the end of the stream all of it may be given at once."""

    @property
    def depth(self) -> int:
        """How many records wait."""
        ...

    @property
    def ready(self) -> bool:
        """Whether `take` may be called."""
        ...

    @property
    def full(self) -> bool:
        """Whether the sources must be held."""
        ...

    @property
    def leased(self) -> bool:
        """Whether a checkpoint must wait for what waits here."""
        ...

    @property
    def over(self) -> bool:
        """Whether nothing waits that must be given before the end."""
        ...

    def put(self, element: Any) -> None:
        """Let an element wait."""
        ...

    def take(self) -> Any:
        """The next element to give."""
        ...

    def close(self) -> None:
        """Let go of all that waits."""
        ...


def weight(element: Any) -> int:
    """How many records an element is."""
    return len(element.rows) or 1 if isinstance(element, Batch) else 1


def final(element: Any) -> bool:
    """Whether nothing was said, or will be, that takes back what the element says: then it may be dropped."""
    if isinstance(element, Batch):
        return not element.retractable and not element.retracted
    return not isinstance(element, OriginGone)


class _Waiting:
    """A line in memory of what waits.

    Args:
        limit: How many records may wait.
    """

    in_memory = True

    def __init__(self, limit: int) -> None:
        self.dropped = 0
        self._limit = limit
        self._line: deque[Any] = deque()
        self._depth = 0

    @property
    def depth(self) -> int:
        """How many records wait."""
        return self._depth

    @property
    def ready(self) -> bool:
        """Whether anything waits."""
        return bool(self._line)

    leased = ready

    @property
    def over(self) -> bool:
        """Whether nothing waits."""
        return not self._line

    def close(self) -> None:
        """Drop everything."""
        self._line.clear()
        self._depth = 0


class Line(_Waiting):
    """Elements in order.

    Args:
        limit: How many records may wait.
        policy: What is dropped when there are more: `drop_oldest`, `drop_newest`, or nothing.
    """

    def __init__(self, limit: int, policy: str) -> None:
        super().__init__(limit)
        self._policy = policy

    @property
    def full(self) -> bool:
        """Whether the sources must be held: more waits than may, or as much where nothing is dropped."""
        return self._depth > self._limit or (self._depth == self._limit and self._policy == "block")

    def put(self, element: Any) -> None:
        """Let an element wait, and drop what is too much."""
        self._line.append(element)
        self._depth += weight(element)
        at = 0
        while self._depth > self._limit and self._policy == "drop_oldest" and at < len(self._line):
            at = self._cut(at, oldest=True)
        if self._depth > self._limit and self._policy == "drop_newest":
            self._cut(len(self._line) - 1, oldest=False)

    def take(self) -> Any:
        """The oldest."""
        element = self._line.popleft()
        self._depth -= weight(element)
        return element

    def _cut(self, at: int, *, oldest: bool) -> int:
        """Drop of one element as much as is too much; where to look on if it was not enough."""
        element, excess = self._line[at], self._depth - self._limit
        if not final(element):
            return at + 1
        size = weight(element)
        if size <= excess:
            del self._line[at]
        else:
            self._line[at] = element.replace(element.rows[excess:] if oldest else element.rows[:-excess])
        self._depth -= min(size, excess)
        self.dropped += min(size, excess)
        return at


class Latest(_Waiting):
    """The latest of each key; what may not be conflated stands between.

    Args:
        context: The step's context.
        limit: How many records may wait before the sources are held.
        by: The key; without it there is one.
    """

    def __init__(self, context: Context, limit: int, by: str | None) -> None:
        super().__init__(limit)
        self._context = context
        self._key = None if by is None else compile_values([parse(by)])

    @property
    def full(self) -> bool:
        """Whether the sources must be held."""
        return self._depth >= self._limit

    def put(self, element: Any) -> None:
        """Let an element wait; an earlier one of its key is dropped."""
        if isinstance(element, Batch) and final(element):
            self._latest(element)
            return
        if final(element):
            for at, other in enumerate(self._line):
                if _kind(other) == _kind(element):
                    del self._line[at]
                    self._depth -= 1
                    self.dropped += 1
                    break
        self._line.append(element)
        self._depth += weight(element)

    def take(self) -> Any:
        """The oldest: all records of their keys in one batch."""
        element = self._line.popleft()
        if isinstance(element, dict):
            leases = {lease: None for _, held in element.values() for lease in held}
            element = Batch([row for row, _ in element.values()], leases=tuple(leases))
        self._depth -= weight(element)
        return element

    def _latest(self, batch: Batch) -> None:
        def reject(row: Row, error: Exception) -> None:
            self._context.reject(error, row, leases=batch.leases)

        rows, keys = (batch.rows, [None] * len(batch.rows)) if self._key is None else self._key(batch.rows, reject)
        if not self._line or not isinstance(self._line[-1], dict):
            self._line.append({})
        latest: dict[Hashable, tuple[Row, tuple[Lease, ...]]] = self._line[-1]
        before = len(latest)
        for row, key in zip(rows, keys, strict=True):
            try:
                hash(key)
            except TypeError:
                reject(row, TypeError(f"a key must be a number, a text or a tuple of them; got {key!r:.80}"))
            else:
                self.dropped += latest.pop(key, None) is not None
                latest[key] = (row, batch.leases)
        self._depth += len(latest) - before
        if not latest:
            self._line.pop()


def _kind(element: Any) -> Any:
    """What tables of one name, and other elements of one type, have in common; None if others may not replace it."""
    if isinstance(element, dict | Batch | OriginGone):
        return None
    return ("", element.name) if isinstance(element, Table) else type(element)
