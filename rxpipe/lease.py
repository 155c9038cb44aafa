"""Leases: a source knows that its data is done with, because nobody holds it any more.

A source attaches a `Lease` to each block. Whatever derives from the block holds the lease, and CPython's reference
counting tells the moment the last holder lets go. `Flow` counts what is leased; from that follow backpressure (a source
waits while too much is in flight), checkpoints (nothing may be leased) and draining (wait until nothing is).

That moment may be anywhere: deep inside an operator, on a thread of the executor, or in the garbage collector. So in a
run nothing but counting is done there. Who waits is called later, in a turn of the dataflow of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from threading import get_ident
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rxpipe.elements import ErrorRecord

Post = Callable[[Callable[[], None]], object]
"""Has a call made on the thread of the dataflow, later."""


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

    def holds(self, flow: Flow) -> bool:
        """Whether a checkpoint of a flow waits for it."""
        return self._flow is flow

    def refuses(self, error: ErrorRecord, cause: BaseException | None) -> bool:
        """Take note that a step cannot handle the data; whether the error is then this lease's to tell.

        Args:
            error: What the step says.
            cause: What was raised, if anything was.
        """
        return False


class Flow:
    """What is leased in one run, and the gate at its sources.

    Args:
        limit: Bytes in flight above which sources wait.
        later: Calls back in a turn of its own; without it, as in a test of one operator, waiters are called at once.
        post: The same from another thread; with it, leases may be let go of on any thread.
    """

    def __init__(self, limit: int = 64 * 1024 * 1024, later: Post | None = None, post: Post | None = None) -> None:
        self.limit = limit
        self.blocks = 0
        self.in_flight = 0
        self._later = later
        self._post = post
        self._thread = get_ident()
        self._holders = 0
        self._waiting: list[Callable[[], None]] = []
        self._idle: list[Callable[[], None]] = []
        self._called = False
        self._closed = False

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
        self._call()

    def when_idle(self, callback: Callable[[], None]) -> None:
        """Call back once when nothing is leased: now, if nothing is."""
        if self.blocks == 0:
            callback()
        else:
            self._idle.append(callback)

    def done(self, nbytes: int) -> None:
        """One lease was let go of."""
        if self._post is not None and get_ident() != self._thread:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the run is over
                self._post(lambda: self._count(nbytes))  # once: a scheduler may make a thread for each call
        else:
            self._count(nbytes)

    def close(self) -> None:
        """The run is over: call nobody any more."""
        self._closed = True
        self._waiting.clear()
        self._idle.clear()

    def _count(self, nbytes: int) -> None:
        self.blocks -= 1
        self.in_flight -= nbytes
        if self._waiting or self._idle:
            self._call()

    def _call(self) -> None:
        """Have those called who wait for what is now true."""
        if not ((self._waiting and self.open) or (self._idle and self.blocks == 0)):
            return
        if self._later is None:
            self._wake()
        elif not self._called and not self._closed:
            self._called = True
            self._later(self._wake)

    def _wake(self) -> None:
        """Call those who wait, if what they wait for is still true; each of them may end that."""
        self._called = False
        while self._idle and self.blocks == 0:
            self._idle.pop(0)()
        waiting, self._waiting = self._waiting, []
        for at, callback in enumerate(waiting):
            if not self.open:
                self._waiting = waiting[at:] + self._waiting
                return
            callback()
