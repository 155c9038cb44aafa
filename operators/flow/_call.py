"""One call that takes its time: what it is about, how it is begun in a thread, and what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any

from reactivex.abc import DisposableBase

from rxpipe.elements import Batch, LineDelta, Row
from rxpipe.lease import Lease
from rxpipe.tasks.attempt import Attempt
from rxpipe.unread import Unread

AnyFuture = Future[Any] | asyncio.Future[Any]


class Call:
    """A record, or a whole element, on its way through a function; or an element that only keeps its place.

    Attributes:
        element: The batch of the record, whose leases are held; or the element itself.
        row: The record.
        retracts: Whether the record is taken back.
        passes: Whether the element is emitted as it is.
        last: Whether it is the last call for its element.
        done: Whether nothing more will come of it.
        made: What came of it.
        tried: How often it was tried and failed.
        late: Why it was cancelled, if it is to be tried again.
        hold: Holds a checkpoint where the element has no leases, which would.
        attempt: The attempt at a task that the record is of, if it is of one.
    """

    __slots__ = (
        "attempt", "done", "element", "future", "hold", "last", "late", "made", "passes", "retracts", "row", "timer",
        "tried"
    )  # fmt: skip

    def __init__(self, element: Any, row: Row = None, *, retracts: bool = False, passes: bool = False) -> None:
        self.element: Any = element
        self.row: Any = row
        self.retracts = retracts
        self.passes = passes
        self.last = False
        self.done = passes
        self.made: list[Any] = []
        self.future: AnyFuture | None = None
        self.timer: DisposableBase | None = None
        self.tried = 0
        self.late: TimeoutError | None = None
        self.hold: Lease | None = None
        self.attempt: Attempt | None = None

    def clear(self) -> None:
        """Let go of the record and its leases, whoever still knows the call, as a timer may."""
        self.element = self.row = self.hold = self.future = self.attempt = None
        self.made = []

    @property
    def ours(self) -> bool:
        """Whether anything may come of it: not where its task was cancelled, or taken over by another process."""
        return self.attempt is None or self.attempt.ours

    def sure(self, then: Callable[[], None]) -> bool:
        """Whether that is known; if not, `then` is called when it is."""
        return self.attempt is None or self.attempt.sure(then)

    def result(self) -> Any:
        """What it returned, once it has ended; raises what it raised, or that it was too late."""
        if self.late is not None:
            raise self.late
        return self.future.result()  # type: ignore[union-attr]  # it has begun: it has one

    def ignore(self) -> None:
        """Take note of what it returned or raised, so that nobody is told that nobody asked."""
        if self.future is not None and not self.future.cancelled():
            self.future.exception()


class _Once:
    """A call that lets go of its arguments as it is made."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call: Callable[[], Any] | None = call

    def __call__(self) -> Any:
        call, self._call = self._call, None
        return None if call is None else call()


def submitted(executor: Executor, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
    """Have a call made in a thread that holds its arguments no more when the future is done.

    A thread lets go of what it was given some time after that. If that is the attempt at a task, its result might be in
    a sink that is saved by then, and the task not be noted as done: a kill would have it delivered again.
    """
    return executor.submit(_Once(partial(function, *arguments)))


def leases_of(element: Any) -> tuple[Lease, ...]:
    """The leases of a batch or a block of lines."""
    if isinstance(element, LineDelta | Unread):
        return () if element.lease is None else (element.lease,)
    return element.leases if isinstance(element, Batch) else ()


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that coroutines can run on; None in plain Python."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
