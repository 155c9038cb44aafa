"""A reader that may be slow, and the queue in front of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reactivex.abc import ObserverBase, SchedulerBase

from rxpipe.context import Context
from rxpipe.elements import Batch, LineDelta
from rxpipe.lease import Flow, Lease
from rxpipe.log import logger
from rxpipe.operators.flow._queues import Queue
from rxpipe.scheduling.stall import Stall

AHEAD = 2
"""How many elements the reader may hold: one that it works on, or keeps as the latest, and the next."""


class _Given(Flow):
    """Counts what the reader holds."""

    @property
    def open(self) -> bool:
        """Whether it may be given one more."""
        return self.blocks < AHEAD


class _Carrier(Lease):
    """The lease of a block on its way through the reader; holds the one of its source."""

    __slots__ = ("carried",)

    def __init__(self, flow: Flow, carried: Lease) -> None:
        super().__init__(flow, carried.nbytes, carried.path, carried.start, carried.end)
        self.carried = carried


class Reader:
    """Tells whether an observer is ready for one more element.

    Each element that can hold a lease is given with one more, counted by a flow of this reader's own.

    Args:
        context: The step's context.
        scheduler: The scheduler of the subscription.
        observer: The reader.
    """

    def __init__(self, context: Context, scheduler: SchedulerBase | None, observer: ObserverBase[Any]) -> None:
        timers = context.scheduler(scheduler)
        self._observer = observer
        self._flow = _Given(later=lambda call: timers.schedule(lambda *_: call()), post=context.poster(scheduler))

    @property
    def ready(self) -> bool:
        """Whether one more may be given."""
        return self._flow.open

    def give(self, element: Any) -> None:
        """Give an element."""
        self._observer.on_next(self._leased(element))

    def when_ready(self, call: Callable[[], None]) -> None:
        """Call back once, in a turn of its own, when it is ready; call only while it is not."""
        self._flow.wait(call)

    def close(self) -> None:
        """Call nobody any more."""
        self._flow.close()

    def _leased(self, element: Any) -> Any:
        if isinstance(element, Batch):
            leases = (*element.leases, Lease(self._flow, 0))
            return Batch(element.rows, element.retracted, leases, retractable=element.retractable)
        if isinstance(element, LineDelta):
            lease = Lease(self._flow, 0) if element.lease is None else _Carrier(self._flow, element.lease)
            return element._replace(lease=lease)
        return element


class Slow:
    """One subscription: what comes goes to the reader, or to the queue while it is not ready.

    Args:
        context: The step's context.
        scheduler: The scheduler of the subscription.
        observer: The reader.
        queue: What keeps, or drops, what the reader is not ready for.
    """

    def __init__(
        self, context: Context, scheduler: SchedulerBase | None, observer: ObserverBase[Any], queue: Queue
    ) -> None:
        self._context = context
        self._observer = observer
        self._reader = Reader(context, scheduler, observer)
        self._queue = queue
        self._stall = Stall(context, context.scheduler(scheduler), self._waits, self._stuck)
        self._rushed = False
        self._lease: Lease | None = None
        self._end: Callable[[], None] | None = None
        self._waiting = False
        self._holding = False
        self._told = False
        self._closed = False
        context.gauge("queue_depth", lambda: queue.depth)
        context.gauge("dropped", lambda: queue.dropped)
        if queue.depth:  # of the run before
            context.scheduler(scheduler).schedule(lambda *_: self._go_on())

    def take(self, element: Any) -> None:
        """Give an element to the reader, or let it wait."""
        if not self._queue.depth and self._reader.ready:
            self._reader.give(element)
            return
        self._queue.put(element)
        del element
        if self._queue.dropped and not self._told:
            self._told = True
            logger.warning("{}: the reader is slow: records are dropped, and counted", self._context.name)
        self._go_on()

    def complete(self) -> None:
        """The source is complete."""
        self._finish(self._observer.on_completed)

    def fail(self, error: Exception) -> None:
        """The source ended in an error."""
        self._finish(lambda: self._observer.on_error(error))

    def close(self) -> None:
        """Drop what waits."""
        self._closed = True
        self._stall.dispose()
        self._reader.close()
        self._queue.close()
        self._gate(hold=False)
        self._lease = None

    def _finish(self, end: Callable[[], None]) -> None:
        self._end = end
        self._go_on()

    def _go_on(self) -> None:
        """Give what can be given; then hold the sources, wait or end, as it must be."""
        queue, reader = self._queue, self._reader
        while not self._closed and queue.ready and (reader.ready or self._rushed):
            reader.give(queue.take())
        if self._closed:
            return
        self._gate(hold=queue.full)
        if not queue.leased:
            self._lease = None
        elif self._lease is None:
            self._lease = Lease(self._context.flow, 0)  # elements without leases must hold a checkpoint too
        if self._end is not None and queue.over:
            self._end()
        elif queue.depth and not self._waiting:
            self._waiting = True
            if reader.ready:
                self._context.flow.wait(self._again)  # what is on disk is read like a source
            else:
                reader.when_ready(self._again)
                self._stall.look()

    def _again(self) -> None:
        self._waiting = False
        self._stall.moved()
        self._go_on()

    def _waits(self) -> bool:
        return self._waiting and not self._closed

    def _stuck(self, looks: int) -> None:
        """The reader does not go on though all have emitted what they hold: it waits for the end."""
        if looks > 1 and self._end is not None and self._queue.in_memory:
            self._rushed = True
            self._go_on()

    def _gate(self, *, hold: bool) -> None:
        if hold != self._holding:
            self._holding = hold
            if hold:
                self._context.flow.hold()
            else:
                self._context.flow.release()
