"""Record-wise operators: functions from rows to rows, lifted to batches and tables, fused with neighbours."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter_ns
from typing import Any, TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.context import Context, current, entered
from rxpipe.elements import Batch, Row, as_dict
from rxpipe.meter import Meter, blame
from rxpipe.table import Table

Reject = Callable[[Row, Exception], None]
"""Takes a row that the function cannot handle, and why."""

RowsFunction = Callable[[list[Row], Reject], list[Row]]
"""From rows to rows; must give the same for the same rows, since retractions pass through it too."""

Stage = tuple[Callable[[Context], RowsFunction], Context | None, Meter | None]
"""One step: what makes its function at subscription, its context (None: the one then current), its meter."""

MOST_REPORTED = 1000
"""How many failures of rows of a table are remembered, so that they are not rejected at every read."""

Records = TypeVar("Records", Batch, Table)
"""What record-wise operators take and give: batches, or live tables (whose rows are then computed when read)."""


class Lifted(Observable[Any]):
    """A run of record-wise steps over one source: each element passes through all their functions in one call.

    Args:
        source: What the steps read.
        stages: The steps, in order.
        before: The meter of the step that the elements come from, whose time these steps' is not; None if it is not
            known.
    """

    def __init__(
        self,
        source: Observable[Any],
        stages: list[Stage],
        before: Meter | None = None,
    ) -> None:
        super().__init__()
        self.source = source
        self.stages = stages
        self.before = before

    def _subscribe_core(self, observer: ObserverBase[Any], scheduler: SchedulerBase | None = None) -> DisposableBase:
        made = []
        for make, given, meter in self.stages:
            context = given or current()
            with entered(context):
                made.append((make(context), context, meter or Meter()))

        reported: list[set[Any]] = [set() for _ in made]
        before, last = self.before or Meter(), made[-1][2]

        def on_next(element: Any) -> None:
            begun = perf_counter_ns()
            used = 0
            if isinstance(element, Batch):
                for function, context, meter in made:
                    count = len(element.rows)
                    started = perf_counter_ns()
                    try:
                        element = _through(function, context, element)
                    except Exception as error:  # noqa: BLE001  # it is raised again, with the step's name
                        raise blame(error, context.name) from error.__cause__
                    spent = perf_counter_ns() - started
                    used += spent
                    meter.rows(count, len(element.rows), spent)
                    if not element.rows and not element.retracted:
                        before.nanoseconds -= used
                        return
            elif isinstance(element, Table):
                for (function, context, meter), told in zip(made, reported, strict=True):
                    meter.rows(1, 1, 0)  # its rows are computed when they are read
                    element = element.map(_table_function(function, context, element.key, told), name=context.stream)
            try:
                observer.on_next(element)
            finally:
                whole = perf_counter_ns() - begun
                before.nanoseconds -= whole
                last.nanoseconds += whole - used  # the steps behind take their time off it

        return self.source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)


def _through(function: RowsFunction, context: Context, batch: Batch) -> Batch:
    def reject(row: Row, error: Exception) -> None:
        context.reject(f"{type(error).__name__}: {error}", row, leases=batch.leases)

    rows = function(batch.rows, reject)
    return batch.replace(rows, function(batch.retracted, _ignore) if batch.retracted else None)


def _table_function(
    function: RowsFunction, context: Context, key: tuple[str, ...], told: set[Any]
) -> Callable[[list[Row]], list[Row]]:
    """What a step does at each read of a table; a row that fails again and again is rejected once."""

    def reject(row: Row, error: Exception) -> None:
        values = as_dict(row)
        which = repr([values.get(name) for name in key] if key else values)
        reason = f"{type(error).__name__}: {error}"
        if (which, reason) not in told:
            if len(told) >= MOST_REPORTED:
                told.clear()
            told.add((which, reason))
            context.reject(reason, row)

    def read(rows: list[Row]) -> list[Row]:
        try:
            return function(rows, reject)
        except Exception as error:
            blame(error, context.name)
            raise

    return read


def _ignore(row: Row, error: Exception) -> None:
    """A retracted row was refused when it came by the first time, and counted then."""


def lift(source: Observable[Records], make: Callable[[Context], RowsFunction]) -> Observable[Records]:
    """Apply a function of rows to every batch and table; all other elements pass.

    Args:
        source: Batches or tables.
        make: Called at each subscription; gives the function, with state of its own if it needs any.
    """
    return Lifted(source, [(make, None, None)])
