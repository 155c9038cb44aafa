"""Calls of a function, several at a time: begun in order, bounded, each with its own end."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from itertools import groupby
from typing import Any

from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.calls import records_made
from rxpipe.context import Context
from rxpipe.elements import Batch, Row, as_dict
from rxpipe.lease import Lease

AnyFuture = Future[Any] | asyncio.Future[Any]


class Call:
    """One record on its way through the function; or, done from the beginning, another element that keeps its place.

    Attributes:
        element: The batch of the record, whose leases are held; or the other element.
        row: The record.
        retracts: Whether the record is taken back.
        last: Whether it is the last record of its batch.
        done: Whether nothing more will come of it.
        early: Whether its results are emitted before those of the records before it.
        made: What came of it.
    """

    __slots__ = ("done", "early", "element", "future", "last", "made", "retracts", "row", "timer")

    def __init__(self, element: Any, row: Row = None, *, retracts: bool = False, done: bool = False) -> None:
        self.element = element
        self.row = row
        self.retracts = retracts
        self.last = False
        self.done = done
        self.early = False
        self.made: list[Row] = []
        self.future: AnyFuture | None = None
        self.timer: DisposableBase | None = None

    def clear(self) -> None:
        """Let go of the record and its leases, whoever still knows the call, as a timer may."""
        self.element = self.row = None
        self.made = []


class Calls:
    """The calls of one subscription.

    Args:
        context: The step's context.
        scheduler: The scheduler of the subscription.
        observer: Takes what the function makes.
        function: A coroutine function or a plain function of a dict.
        most: How many calls run at a time, and how many blocks may wait before the sources are held.
        timeout: Seconds that a call may take.
        ordered: Whether results come in the order of the records.
    """

    def __init__(
        self,
        context: Context,
        scheduler: SchedulerBase | None,
        observer: ObserverBase[Any],
        function: Callable[[Any], Any],
        most: int,
        timeout: float | None,
        *,
        ordered: bool,
    ) -> None:
        self._context = context
        self._scheduler = context.scheduler(scheduler)
        self._post = context.poster(scheduler)
        self._observer = observer
        self._function = function
        self._most = most
        self._timeout = timeout
        self._ordered = ordered
        self._loop = _running_loop() if _is_coroutine_function(function) else None
        self._calls: deque[Call] = deque()
        self._waiting: deque[Call] = deque()
        self._running: set[Call] = set()
        self._ended: deque[Call] = deque()
        self._early: list[Call] = []
        self._posted = False
        self._blocks = 0
        self._held = False
        self._lease: Lease | None = None
        self._completed = False
        self._closed = False
        context.gauge("queue_depth", lambda: self._blocks)
        context.gauge("calls", lambda: len(self._running))

    def take(self, element: Any) -> None:
        """Call the function with each record, as soon as there is room."""
        if isinstance(element, Batch):
            made = [Call(element, row, retracts=True) for row in element.retracted]
            made += [Call(element, row) for row in element.rows]
            if made:
                made[-1].last = True
                self._blocks += 1
            self._waiting += made
            self._calls += made
        else:
            self._calls.append(Call(element, done=True))
        if self._lease is None:
            self._lease = Lease(self._context.flow, 0)  # an element without leases must hold a checkpoint too
        self._go_on()

    def complete(self) -> None:
        """The source is complete: so is this when all calls are."""
        self._completed = True
        self._go_on()

    def fail(self, error: Exception) -> None:
        """The source ended in an error."""
        self.close()
        self._observer.on_error(error)

    def close(self) -> None:
        """Cancel what runs, drop what waits."""
        self._closed = True
        self._waiting.clear()
        self._calls.clear()
        running, self._running = self._running, set()
        for call in running:
            self._abandon(call)
            call.clear()
        self._blocks = 0
        self._gate()
        self._lease = None

    def _go_on(self) -> None:
        """Begin what there is room for, emit what is to be emitted, and see whether that was all."""
        while self._waiting and len(self._running) < self._most:
            self._begin(self._waiting.popleft())
        self._gate()
        self._emit()
        if not self._calls and not self._closed:
            self._lease = None
            if self._completed:
                self._observer.on_completed()

    def _gate(self) -> None:
        """Hold the sources while as many blocks wait as may."""
        if self._held != (self._blocks >= self._most):
            self._held = not self._held
            if self._held:
                self._context.flow.hold()
            else:
                self._context.flow.release()

    def _begin(self, call: Call) -> None:
        self._blocks -= call.last
        self._running.add(call)
        record = as_dict(call.row)
        if self._loop is not None:
            call.future = self._loop.create_task(self._function(record))
        else:
            call.future = self._context.executor().submit(_called, self._function, record)
        if self._timeout is not None:
            call.timer = self._scheduler.schedule_relative(self._timeout, lambda *_: self._expire(call))
        call.future.add_done_callback(lambda _: self._over(call))

    def _over(self, call: Call) -> None:
        """The call has ended; maybe on another thread, maybe many at once: one turn of the dataflow takes them all."""
        self._ended.append(call)
        if not self._posted:
            self._posted = True
            self._post(self._collect)

    def _collect(self) -> None:
        self._posted = False
        while self._ended:
            call = self._ended.popleft()
            self._running.discard(call)
            if call.timer is not None:
                call.timer.dispose()
            if not call.done and not self._closed:
                self._finish(call)
        if not self._closed:
            self._go_on()

    def _finish(self, call: Call) -> None:
        call.done = True
        try:
            call.made = records_made(call.future.result())  # type: ignore[union-attr]  # it has begun: it has a future
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  # whatever it raises concerns this record
            self._reject(call, error)
        call.future = None
        batch = call.element
        if not (self._ordered or batch.retractable or batch.retracted):
            call.early = True
            self._early.append(call)

    def _expire(self, call: Call) -> None:
        """A call takes too long: its record is rejected; its place is free when it has really ended."""
        if call.done or self._closed:
            return
        call.done = True
        self._reject(call, TimeoutError(f"the function must return within {self._timeout:g} s"))
        self._abandon(call)
        self._go_on()

    @staticmethod
    def _abandon(call: Call) -> None:
        if call.timer is not None:
            call.timer.dispose()
        if call.future is not None:
            call.future.cancel()

    def _reject(self, call: Call, error: BaseException) -> None:
        self._context.reject(f"{type(error).__name__}: {error}", call.row, leases=call.element.leases)
        error.__traceback__ = None  # whoever keeps the exception must not keep the record and its leases

    def _emit(self) -> None:
        """Emit the results whose turn it is, those of one batch together."""
        turn, self._early = self._early, []
        while self._calls and self._calls[0].done:
            call = self._calls.popleft()
            if not call.early:
                turn.append(call)
        for _, together in groupby(turn, key=lambda call: id(call.element)):
            calls = list(together)
            element = calls[0].element
            if isinstance(element, Batch):
                rows = [row for call in calls if not call.retracts for row in call.made]
                retracted = [row for call in calls if call.retracts for row in call.made]
                for call in calls:
                    call.clear()
                if not rows and not retracted:
                    continue
                element = element.replace(rows, retracted)
            self._observer.on_next(element)


def _called(function: Callable[[Any], Any], record: dict[str, Any]) -> Any:
    """Call a function in a thread; a coroutine gets a loop of its own there."""
    result = function(record)
    return asyncio.run(result) if inspect.iscoroutine(result) else result


def _is_coroutine_function(function: Callable[[Any], Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
