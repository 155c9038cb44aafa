"""At most so many elements per second, the last one always among them."""

from __future__ import annotations

import math
from collections.abc import Hashable
from itertools import takewhile
from typing import Any, TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.context import Context, current
from rxpipe.operator import fields_of, operator
from rxpipe.operators.time._held import Holder, conflate, hold, known_key, leased, release
from rxpipe.parameters.types import Expr
from rxpipe.parameters.units import Rate, hertz
from rxpipe.scheduling.alarm import PRECISION

T = TypeVar("T")

NOTHING: Any = object()
"""Held for a key whose period runs and that has nothing new."""


@operator
def throttle(source: Observable[T], rate: Rate, by: Expr | None = None) -> Observable[T]:
    """Emit at most `rate` elements per second and key, always ending with the last one.

    The first element of a key passes at once. What follows within one period is held, a later element in the place of
    an earlier one, and emitted at the period's end; so no last value is ever lost or later than one period. Completion
    emits what is held, in order; an error drops it. Replacing values is the purpose, but records are no values: batches
    of one period are merged into one batch (rows and retractions), file events as by `debounce`. What cannot be merged
    without a loss (a file's deletion, blocks of lines), `OriginGone`, and before a checkpoint what holds leases, is
    emitted above the rate. An element without a key is rejected.

        source             -abc------d-e-f|
        throttle("2Hz")    -a----c----d---(f|)

    Args:
        rate: How many elements per second and key.
        by: The key: an attribute or field of the element, or an expression of these; of a batch, the field of each
            record, and its records go on in a batch for each key. By default a file event's path, a table's name, and
            one key for all other elements.

    Example:
        >>> import reactivex as rx
        >>> from reactivex import operators as rxo
        >>> rx.of(1, 2, 3).pipe(throttle("1Hz"), rxo.to_list()).run()
        [1, 3]
    """

    def subscribe(observer: ObserverBase[T], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        throttling = _Throttle(observer, context, context.scheduler(scheduler), 1 / hertz(rate), by)
        return throttling.subscribe_to(source, scheduler)

    return Observable(subscribe)


fields_of(throttle)(known_key)


class _Throttle(Holder):
    """One subscription. `held` has the keys whose period runs, with its end and what is held for them.

    A timer runs only while something is held; keys whose period is over are forgotten when another one's begins.
    """

    def __init__(
        self, observer: ObserverBase[Any], context: Context, scheduler: SchedulerBase, period: float, by: str | None
    ) -> None:
        super().__init__(observer, context, scheduler, by)
        self.period = period
        self.waiting = 0
        context.gauge("queue_depth", lambda: self.waiting)

    def take(self, element: Any, key: Hashable, before: tuple[float, Any] | None) -> None:
        """Emit an element, or hold it in the place of the one held for its key."""
        end, held = (-math.inf, NOTHING) if before is None else before
        if held is NOTHING:
            now = self.alarm.now()
            if end <= now + PRECISION:
                self._forget(now + PRECISION)
                self.held.pop(key, None)
                self.held[key] = (now + self.period, NOTHING)
                self.observer.on_next(element)
            else:
                self.waiting += 1
                self.held[key] = (end, hold(element))
                self.alarm.by(end)
            return
        merged = conflate(held, element)
        self.held[key] = (end, hold(element) if merged is None else merged)
        if merged is None:
            self.observer.on_next(release(held))

    def ring(self, now: float) -> float | None:
        """End the periods that are over: emit what is held and begin another; the next deadline."""
        for key in list(takewhile(lambda key: self.held[key][0] <= now, self.held)):
            end, held = self.held.pop(key)
            if held is not NOTHING:
                self.waiting -= 1
                self.held[key] = (max(end + self.period, now), NOTHING)
                self.observer.on_next(release(held))
        return next((end for end, _ in self.held.values()), None) if self.waiting else None

    def _forget(self, now: float) -> None:
        """Forget keys whose period is over with nothing held."""
        over = takewhile(lambda key: self.held[key][0] <= now and self.held[key][1] is NOTHING, self.held)
        for key in list(over):
            del self.held[key]

    def clear(self) -> None:
        """Let go of all that is held."""
        super().clear()
        self.waiting = 0

    def emit_all(self, *, only_leased: bool = False) -> None:
        """Emit all that is held, or what of it holds a lease, in order; the periods run on."""
        for key, (end, held) in list(self.held.items()):
            if held is not NOTHING and (leased(held) or not only_leased):
                self.waiting -= 1
                self.held[key] = (end, NOTHING)
                self.observer.on_next(release(held))
