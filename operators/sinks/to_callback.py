"""A Python function called with each element."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable, SerialDisposable

from rxpipe.context import Context, current
from rxpipe.errors import RunError
from rxpipe.faults.retrying import Retry
from rxpipe.lease import Lease
from rxpipe.operator import operator
from rxpipe.parameters.calls import Function, function_named

T = TypeVar("T")


@operator
def to_callback(source: Observable[T], call: Function[Callable[[T], object]]) -> Observable[T]:
    """Call a Python function with each element, and pass the element on when it has returned.

    Elements come in order, one at a time. If the function is a coroutine function, or returns an awaitable, that is
    awaited on the run's loop; elements that come meanwhile wait with their leases, which holds the sources once the
    `in_flight` limit is reached, and a checkpoint waits too: what takes long should stand behind a durable store. What
    the function raises goes to `errors`, once, and the element is passed on; with `on_error: retry` what may pass is
    tried again first, while the sources are held and later elements wait. Completion waits for the last call; an error
    passes at once; unsubscribing cancels the call that is awaited.

        source                       -a-b-|
        to_callback("builtins:len")  -a-b-|

    Args:
        call: A function of one argument, or `module:name` of one, whose module a check of the graph imports.

    Example:
        >>> import reactivex as rx
        >>> rx.of("a", "b").pipe(to_callback(print)).run()
        a
        b
        'b'

    Delivery: at-least-once: after a crash the elements since the last checkpoint are given again.
    """
    function = function_named(call)

    def subscribe(observer: ObserverBase[T], scheduler: SchedulerBase | None = None) -> DisposableBase:
        caller = _Caller(current(), scheduler, observer, function)
        upstream = source.subscribe(caller.take, observer.on_error, caller.complete, scheduler=scheduler)
        return CompositeDisposable(upstream, Disposable(caller.close))

    return Observable(subscribe)


class _Caller:
    """The calls of one subscription: one at a time, the elements behind it waiting."""

    def __init__(
        self,
        context: Context,
        scheduler: SchedulerBase | None,
        observer: ObserverBase[Any],
        function: Callable[[Any], Any],
    ) -> None:
        self._context = context
        self._scheduler = context.scheduler(scheduler)
        self._retry = context.retry() if isinstance(context.on_error, Retry) else None
        self._timer = SerialDisposable()
        self._tried = 0
        self._reason: str | None = None
        self._observer = observer
        self._function = function
        self._waiting: deque[Any] = deque()
        self._task: asyncio.Task[None] | None = None
        self._lease: Lease | None = None
        self._completed = False
        context.gauge("queue_depth", lambda: len(self._waiting))
        context.describe("degraded", lambda: self._reason)

    def take(self, element: Any) -> None:
        """Call the function now, or when the elements before are done."""
        if self._task is not None or self._reason is not None:
            self._waiting.append(element)
            return
        self._call(element)

    def complete(self) -> None:
        """The source is complete."""
        self._completed = True
        if self._task is None and self._reason is None:
            self._observer.on_completed()

    def close(self) -> None:
        """Cancel what is awaited, drop what waits."""
        self._waiting.clear()
        self._timer.dispose()
        self._calm()
        task, self._task, self._lease = self._task, None, None
        if task is not None:
            task.cancel()

    def _call(self, element: Any) -> None:
        try:
            result = self._function(element)
        except Exception as error:  # whatever the function raises must not end the stream
            if self._postponed(element, error):
                return
            self._reject(element, error)
        else:
            if result is not None and inspect.isawaitable(result):
                self._await(element, result)
                return
        self._passed(element)

    def _passed(self, element: Any) -> None:
        """The call is over, one way or the other."""
        self._tried = 0
        self._calm()
        self._observer.on_next(element)

    def _calm(self) -> None:
        if self._reason is not None:
            self._reason = None
            self._context.flow.release()

    def _postponed(self, element: Any, error: Exception) -> bool:
        """Whether the call will be made again."""
        self._tried += 1
        wait = None if self._retry is None else self._retry.wait(self._tried, error, self._context.now())
        if wait is None:
            return False
        if self._reason is None:
            self._context.flow.hold()
        self._reason = f"{type(error).__name__}: {error}"
        self._lease = self._lease or Lease(self._context.flow, 0)
        self._timer.disposable = self._scheduler.schedule_relative(wait, lambda *_: self._again(element))
        error.__traceback__ = None  # whoever keeps the exception must not keep the element and its leases
        return True

    def _again(self, element: Any) -> None:
        self._call(element)
        if self._task is None:
            self._go_on()

    def _go_on(self) -> None:
        """Make the calls that waited, and see whether that was all."""
        while self._waiting and self._task is None and self._reason is None:
            self._call(self._waiting.popleft())
        if self._task is None and self._reason is None:
            self._lease = None
            if self._completed:
                self._observer.on_completed()

    def _await(self, element: Any, result: Awaitable[Any]) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError as error:
            if inspect.iscoroutine(result):
                result.close()
            msg = f"{self._context.name}: a coroutine function needs a running asyncio loop; there is none here"
            raise RunError(msg) from error
        self._lease = self._lease or Lease(
            self._context.flow, 0
        )  # an element without leases must hold a checkpoint too
        self._task = loop.create_task(self._finish(element, result))

    async def _finish(self, element: Any, result: Awaitable[Any]) -> None:
        try:
            try:
                await result
            except Exception as error:  # as above
                self._task = None
                if self._postponed(element, error):
                    return
                self._reject(element, error)
            self._task = None
            self._passed(element)
            del element
            self._go_on()
        except Exception as error:  # raised by a step behind this one, outside any call of the run
            self._context.fail(error)

    def _reject(self, element: Any, error: Exception) -> None:
        leases = getattr(element, "leases", ())
        self._context.reject(error, element, leases=leases)
