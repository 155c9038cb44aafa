"""The latest element at each tick of a clock."""

from __future__ import annotations

import math
from typing import Annotated, Any, TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.context import Context, current
from rxpipe.errors import ParameterError, ParameterProblem
from rxpipe.operator import fields_of, operator
from rxpipe.operators.time._held import known_key
from rxpipe.operators.time._latest import Latest
from rxpipe.parameters.types import Expr, Gt
from rxpipe.parameters.units import Duration, Rate, hertz, seconds
from rxpipe.scheduling.alarm import PRECISION

T = TypeVar("T")


@operator
def sample(
    source: Observable[T],
    period: Annotated[Duration, Gt(0)] | None = None,
    rate: Rate | None = None,
    by: Expr | None = None,
) -> Observable[T]:
    """Emit the latest element of each key at each tick of a clock, if there is a new one.

    The ticks come at `period`, `2 * period` … after the subscription, so that elements of several streams sampled alike
    go on together; an element waits for the next tick, up to one period. (`throttle` lets the first element pass at
    once.) Completion emits what is held, in order; an error drops it. Replacing values is the purpose, but records are
    no values: batches of one period are merged into one batch (rows and retractions), file events as by `debounce`.
    What cannot be merged without a loss (a file's deletion, blocks of lines), `OriginGone`, and before a checkpoint
    what holds leases, is emitted between the ticks. An element without a key is rejected.

        source             -ab----c--d|
        sample("300ms")    ---b-----c-(d|)

    Args:
        period: The time from tick to tick; more than 0.
        rate: The same as ticks per second: one of both must be given.
        by: The key: an attribute or field of the element, or an expression of these; of a batch, the field of each
            record, and its records go on in a batch for each key. By default a file event's path, a table's name, and
            one key for all other elements.

    Example:
        >>> import reactivex as rx
        >>> rx.of(1, 2, 3).pipe(sample(rate="2Hz")).run()
        3

    Raises:
        ParameterError: Not one of `period` and `rate` is given.
    """
    if (period is None) == (rate is None):
        problem = ParameterProblem((), f"one of 'period' and 'rate' must be given; got {'both' if rate else 'none'}")
        raise ParameterError("sample", [problem])
    step = 1 / hertz(rate) if rate is not None else seconds(period or 0)

    def subscribe(observer: ObserverBase[T], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        return _Sample(observer, context, context.scheduler(scheduler), by, step).subscribe_to(source, scheduler)

    return Observable(subscribe)


fields_of(sample)(known_key)


class _Sample(Latest):
    """One subscription."""

    def __init__(
        self, observer: ObserverBase[Any], context: Context, scheduler: SchedulerBase, by: str | None, step: float
    ) -> None:
        super().__init__(observer, context, scheduler, by)
        self._step = step
        self._begin = self.alarm.now()
        self._tick: float | None = None

    def came(self, element: Any, now: float) -> None:
        if self._tick is None:
            ticks = math.floor((now - self._begin + PRECISION) / self._step) + 1
            self._tick = self._begin + ticks * self._step

    def due(self) -> float | None:
        return self._tick

    def emitted(self, now: float) -> None:
        self._tick = None
