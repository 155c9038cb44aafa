"""A clock's ticks."""

from __future__ import annotations

from typing import Annotated

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable

from rxpipe.context import current
from rxpipe.operator import operator
from rxpipe.parameters.types import Gt
from rxpipe.parameters.units import Duration, seconds
from rxpipe.scheduling.alarm import Alarm


@operator
def interval(period: Annotated[Duration, Gt(0)], first: Duration | None = None) -> Observable[int]:
    """Count from 0, one number each period.

    The numbers come at `first`, `first + period`, `first + 2 * period` … after the subscription and never drift from
    that; a time that passes while the run is busy or paused is left out, not made up for. Ends when the run drains. In
    a run that reads once, 0 comes at once and is all.

        interval("200ms")                  --0-1-2-3-

        interval("300ms", first="100ms")   -0--1--2-

    Guarantee: at-most-once: a number whose time has passed is not made up for.

    Args:
        period: The time from one number to the next; more than 0.
        first: The time to the first number; `period` by default.

    Example:
        >>> from reactivex import operators as rxo
        >>> interval("1ms").pipe(rxo.take(3), rxo.to_list()).run()
        [0, 1, 2]
    """
    step = seconds(period)

    def subscribe(observer: ObserverBase[int], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        count = 0
        due = 0.0
        waiting = False

        def emit() -> None:
            nonlocal count, waiting
            waiting = False
            count += 1
            observer.on_next(count - 1)

        def ring(now: float) -> float:
            nonlocal due, waiting
            due += step * (1 + (now - due) // step)
            if context.flow.open:
                emit()
            elif not waiting:
                waiting = True
                context.flow.wait(emit)
            return due

        def once(*_: object) -> None:
            observer.on_next(0)
            observer.on_completed()

        taken = context.scheduler(scheduler)
        if context.once:
            return taken.schedule(once)
        alarm = Alarm(context, taken, ring)
        due = alarm.now() + (step if first is None else seconds(first))
        alarm.by(due)
        return CompositeDisposable(alarm, context.on_drain(observer.on_completed))

    return Observable(subscribe)
