"""Tell of silence."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable

from rxpipe.context import Context, current
from rxpipe.operator import operator
from rxpipe.parameters.types import Gt
from rxpipe.parameters.units import Duration, format_duration, seconds
from rxpipe.scheduling.alarm import Alarm

T = TypeVar("T")


@operator
def timeout(
    source: Observable[T],
    quiet: Annotated[Duration, Gt(0)],
    first: Annotated[Duration, Gt(0)] | None = None,
    complete: bool = False,
) -> Observable[T]:
    """Send a record to `errors` when no element has come for a time, and go on.

    Elements, completion and errors pass at once and as they are; silence is an error, and an error never ends a stream
    (where Rx ends it with one). Each silence is told of once; the next begins with the next element. With `complete`
    the stream completes after the silence, so that what follows it can begin; completion is for good. While the run
    holds its sources back, because it is paused, takes a checkpoint or has too much in flight, no silence is too long:
    it is measured anew from when they go on.

        source              -a----b-c-|
        timeout("200ms")    -a----b-c-|

        source                             -a----b-c-|
        timeout("200ms", complete=True)    -a-|

    Args:
        quiet: How long there may be no element.
        first: How long it may take until the first one; `quiet` by default.
        complete: Complete after the silence.

    Example:
        >>> import reactivex as rx
        >>> from reactivex import operators as rxo
        >>> rx.of(1, 2).pipe(timeout("10s"), rxo.to_list()).run()
        [1, 2]
    """
    lengths = (seconds(quiet), seconds(quiet if first is None else first))

    def subscribe(observer: ObserverBase[T], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        state = _Timeout(observer, context, context.scheduler(scheduler), *lengths, complete=complete)
        disposable = CompositeDisposable(state.alarm, state.upstream)
        state.upstream.add(source.subscribe(state.on_next, state.on_error, state.on_completed, scheduler=scheduler))
        return disposable

    return Observable(subscribe)


class _Timeout:
    """One subscription. `due` is when the silence is too long; None once it was told of."""

    def __init__(
        self,
        observer: ObserverBase[Any],
        context: Context,
        scheduler: SchedulerBase,
        quiet: float,
        first: float,
        *,
        complete: bool,
    ) -> None:
        self.observer = observer
        self.context = context
        self.complete = complete
        self.quiet = quiet
        self.length = first
        self.upstream = CompositeDisposable()
        self.alarm = Alarm(context, scheduler, self.ring)
        self.due: float | None = self.alarm.now() + first
        self.alarm.by(self.due)

    def on_next(self, element: Any) -> None:
        """Pass an element on; the silence begins anew."""
        self.length = self.quiet
        self.due = self.alarm.now() + self.quiet
        self.alarm.by(self.due)
        self.observer.on_next(element)

    def ring(self, now: float) -> float | None:
        """Tell of the silence if it is too long; the next deadline."""
        if self.due is None or self.due > now:
            return self.due
        if not self.context.flow.open:
            self.due = None
            self.context.flow.wait(self.again)
            return None
        self.due = None
        self.context.reject(f"no element came for {format_duration(self.length)}")
        if self.complete:
            self.upstream.dispose()
            self.observer.on_completed()
        return None

    def again(self) -> None:
        """The sources go on: measure the silence from here."""
        if self.due is None:
            self.due = self.alarm.now() + self.length
            self.alarm.by(self.due)

    def on_error(self, error: Exception) -> None:
        """Pass it on."""
        self.alarm.dispose()
        self.observer.on_error(error)

    def on_completed(self) -> None:
        """Pass it on."""
        self.alarm.dispose()
        self.observer.on_completed()
