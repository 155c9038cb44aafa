"""Leases: a source knows that its data is done with, because nobody holds it any more.

A source attaches a `Lease` to each block. Whatever derives from the block holds the lease, and CPython's reference
counting tells the moment the last holder lets go. `Flow` counts what is leased; from that follow backpressure (a source
waits while too much is in flight), checkpoints (nothing may be leased) and draining (wait until nothing is).
"""

from __future__ import annotations

from collections.abc import Callable


class Lease:
    """Held by everything derived from one block of source data.

    Args:
        flow: Where the lease is counted.
        nbytes: Size of the block in bytes.
        path: Origin of the block, for error records.
        start: Offset of the block's first byte in its origin.
        end: Offset behind the block's last byte.
    """

    __slots__ = ("_flow", "end", "nbytes", "path", "start")

    def __init__(self, flow: Flow, nbytes: int, path: str = "", start: int = 0, end: int = 0) -> None:
        self._flow = flow
        self.nbytes = nbytes
        self.path = path
        self.start = start
        self.end = end
        flow.blocks += 1
        flow.in_flight += nbytes

    def __del__(self) -> None:
        self._flow.done(self.nbytes)


class Flow:
    """What is leased in one run, and the gate at its sources.

    Args:
        limit: Bytes in flight above which sources wait.
    """

    def __init__(self, limit: int = 64 * 1024 * 1024) -> None:
        self.limit = limit
        self.blocks = 0
        self.in_flight = 0
        self._holders = 0
        self._waiting: list[Callable[[], None]] = []
        self._idle: list[Callable[[], None]] = []

    @property
    def open(self) -> bool:
        """Whether a source may emit now."""
        return self._holders == 0 and self.in_flight < self.limit

    @property
    def held(self) -> bool:
        """Whether the sources are held, by a checkpoint or a pause."""
        return self._holders > 0

    def wait(self, callback: Callable[[], None]) -> None:
        """Call back once when a source may emit again (call only while not `open`)."""
        self._waiting.append(callback)

    def hold(self) -> None:
        """Close the gate; each hold needs its own `release`."""
        self._holders += 1

    def release(self) -> None:
        """Take one hold back."""
        self._holders -= 1
        self._wake()

    def when_idle(self, callback: Callable[[], None]) -> None:
        """Call back once when nothing is leased: now, if nothing is."""
        if self.blocks == 0:
            callback()
        else:
            self._idle.append(callback)

    def done(self, nbytes: int) -> None:
        """One lease was let go of."""
        self.blocks -= 1
        self.in_flight -= nbytes
        if self._waiting:
            self._wake()
        if self._idle and self.blocks == 0:
            callbacks, self._idle = self._idle, []
            for callback in callbacks:
                callback()

    def _wake(self) -> None:
        if self._waiting and self.open:
            callbacks, self._waiting = self._waiting, []
            for callback in callbacks:
                callback()
