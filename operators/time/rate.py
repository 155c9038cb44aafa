"""Refresh as fast as changes justify, between two rates."""

from __future__ import annotations

import math
from collections.abc import Hashable
from itertools import takewhile
from typing import Any, TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.context import Context, current
from rxpipe.elements import Batch
from rxpipe.errors import ParameterError, ParameterProblem
from rxpipe.operator import fields_of, operator
from rxpipe.operators.time._held import known_key
from rxpipe.operators.time._latest import Latest
from rxpipe.parameters.types import Expr
from rxpipe.parameters.units import Rate, hertz
from rxpipe.table import Table

T = TypeVar("T")


@operator
def rate(source: Observable[T], least: Rate, most: Rate, by: Expr | None = None) -> Observable[T]:
    """Emit the latest element of each key as often as there are changes to show, between two rates.

    A refresh emits all that is held, the latest of each key. With `n` changes held it is due `1 / (n * least)` after
    the one before, but not sooner than `1 / most` after it; so a change after silence passes at once, a single one
    after another waits up to `1 / least`, and many are shown early: changes that come at a steady rate give refreshes
    at the geometric mean of that and `least`, up to `most`. A change is an element, in a batch a record, added or
    retracted. No last value is lost, or later than `1 / least`.

    A live table that has no changes is emitted again `1 / least` after it was, since its rows may depend on the time;
    nothing else is ever emitted twice. Completion emits what is held, in order; an error drops it. What replaces what,
    and what is emitted above the rate, is as with `throttle`. An element without a key is rejected.

        source                           -a-b---c---(de)-----f--------|
        rate(least="1Hz", most="5Hz")    -a-----c----e---------f---|

    Args:
        least: The rate in quiet times.
        most: The rate that is never exceeded; not below `least`.
        by: The key: an attribute or field of the element, or an expression of these; of a batch, the field of each
            record, and its records go on in a batch for each key. By default a file event's path, a table's name, and
            one key for all other elements.

    Example:
        >>> import reactivex as rx
        >>> from reactivex import operators as rxo
        >>> rx.of(1, 2, 3).pipe(rate(least="0.1Hz", most="4Hz"), rxo.to_list()).run()
        [1, 3]

    Raises:
        ParameterError: `most` is below `least`.
    """
    slow, fast = 1 / hertz(least), 1 / hertz(most)
    if slow < fast:
        problem = ParameterProblem(("most",), f"must not be below 'least', {least}; got {most}")
        raise ParameterError("rate", [problem])

    def subscribe(observer: ObserverBase[T], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        return _Refresh(observer, context, context.scheduler(scheduler), by, slow, fast).subscribe_to(source, scheduler)

    return Observable(subscribe)


fields_of(rate)(known_key)


class _Refresh(Latest):
    """One subscription. `_shown` has the tables emitted, each with when that was, the one longest ago first."""

    def __init__(
        self,
        observer: ObserverBase[Any],
        context: Context,
        scheduler: SchedulerBase,
        by: str | None,
        slow: float,
        fast: float,
    ) -> None:
        super().__init__(observer, context, scheduler, by)
        self._slow = slow
        self._fast = fast
        self._last = -math.inf
        self._changes = 0
        self._shown: dict[Hashable, tuple[float, Table]] = {}

    def came(self, element: Any, now: float) -> None:
        self._changes += max(1, len(element.rows) + len(element.retracted)) if isinstance(element, Batch) else 1

    def due(self) -> float | None:
        soonest = self._last + self._fast
        deadlines = [max(soonest, self._last + self._slow / self._changes)] if self.held else []
        deadlines += [max(soonest, at + self._slow) for at, _ in [*self._shown.values()][:1]]
        return min(deadlines, default=None)

    def emitted(self, now: float) -> None:
        self._last = now
        self._changes = 0
        quiet = takewhile(lambda key: self._shown[key][0] + self._slow <= now, self._shown)
        for key in [key for key in quiet if key not in self.held]:
            self.held[key] = (now, self._shown[key][1])
        for key, (_, held) in self.held.items():
            if isinstance(held, Table):
                self._shown.pop(key, None)
                self._shown[key] = (now, held)

    def clear(self) -> None:
        super().clear()
        self._shown.clear()
