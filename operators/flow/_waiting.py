"""What `zip` and `concat` keep of streams that are ahead: without leases, as state, and no more than so much."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from rxpipe.aggregations.packing import pack, unpack
from rxpipe.context import Change, Context
from rxpipe.errors import RxpipeError


class Waiting:
    """One queue for each stream.

    A full queue must end the stream in an error: to hold the sources would hold those of the stream that is waited
    for, too.

    Args:
        context: The step's context.
        streams: How many streams there are.
        limit: How many records may wait in all.
    """

    def __init__(self, context: Context, streams: int, limit: int) -> None:
        self._context = context
        self._limit = limit
        self._queues: list[deque[tuple[int, Any, int]]] = [deque() for _ in range(streams)]
        self._number = 0
        self._records = 0
        self._new: dict[tuple[int, int], tuple[Any, int]] = {}
        self._gone: list[tuple[int, int]] = []
        saved = context.state("operator", self._changes, "what waits for its turn")
        self._persistent = saved.persistent
        for (stream, number), value in sorted((unpack(key), value) for key, _, value in saved.items()):
            item, records = unpack(value)
            self._queues[stream].append((number, item, records))
            self._number = max(self._number, number)
            self._records += records
        context.gauge("held", lambda: self._records)

    @property
    def stays(self) -> bool:
        """Whether the run is being stopped, and the next goes on with what waits: that no more comes says nothing."""
        return self._persistent and self._context.draining

    def __getitem__(self, stream: int) -> deque[tuple[int, Any, int]]:
        return self._queues[stream]

    def add(self, stream: int, item: Any, records: int = 1) -> None:
        """Have something wait that can be packed.

        Args:
            stream: The number of the stream.
            item: What waits.
            records: How many records it has.

        Raises:
            RxpipeError: Too much waits.
        """
        if self._records + records > self._limit:
            what = f"no more than {self._limit} records may wait for another stream"
            msg = f"{self._context.name}: {what}; got more of stream {stream}, counted from 0: raise 'limit'"
            raise RxpipeError(msg)
        self._number += 1
        self._records += records
        self._queues[stream].append((self._number, item, records))
        if self._persistent:
            self._new[stream, self._number] = item, records

    def take(self, stream: int) -> Any:
        """The first of a stream, which waits no more."""
        number, item, records = self._queues[stream].popleft()
        self._records -= records
        if self._persistent and self._new.pop((stream, number), None) is None:
            self._gone.append((stream, number))
        return item

    def clear(self) -> None:
        """Let go of everything."""
        for queue in self._queues:
            queue.clear()

    def _changes(self) -> Iterable[Change]:
        for key in self._gone:
            yield pack(list(key)), "", None
        for key, value in self._new.items():
            yield pack(list(key)), "", pack(list(value))
        self._gone.clear()
        self._new.clear()
