"""Record-wise operators: functions from rows to rows, lifted to batches and tables, fused with neighbours."""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from time import perf_counter_ns
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.context import Context, current, entered
from rxpipe.elements import Batch, Row, as_dict
from rxpipe.fusion.fused import Applied, Run, Tail, runs_of
from rxpipe.fusion.rows import Fusible, Reject, RowsFunction
from rxpipe.runtime.meter import Meter, blame, count_rows
from rxpipe.table import Table

__all__ = ["Foldable", "Fusible", "Lifted", "Make", "Records", "Reject", "RowsFunction", "Stage", "fold", "lift"]

Make = Callable[[Context], RowsFunction | Fusible]
"""Makes, at subscription, a step's function of rows; a `Fusible` is one that can share a loop with its neighbours."""


class Stage(NamedTuple):
    """One step.

    Attributes:
        make: Makes its function.
        context: Its context (None: the one current at subscription).
        meter: Its meter (None: a new one).
        counted: Whether its records are counted here.
    """

    make: Make
    context: Context | None = None
    meter: Meter | None = None
    counted: bool = True


MOST_REPORTED = 1000
"""How many failures of rows of a table are remembered, so that they are not rejected at every read."""

Records = TypeVar("Records", Batch, Table)
"""What record-wise operators take and give: batches, or live tables (whose rows are then computed when read)."""


class Lifted(Observable[Any]):
    """Record-wise steps side by side over one source: each element passes through all of them in one call.

    Args:
        source: What the steps read.
        stages: The steps, in order.
        before: The meter of the step that the elements come from, whose time these steps' is not; None if it is not
            known.
        tail: What takes the records where the steps can hand them over in their loop; it then gets a `Fold`.
    """

    def __init__(
        self, source: Observable[Any], stages: list[Stage], before: Meter | None = None, tail: Tail | None = None
    ) -> None:
        super().__init__()
        self.source = source
        self.stages = stages
        self.before = before
        self.tail = tail

    def folded(self, tail: Tail) -> Lifted:
        """The same steps, handing their records over."""
        return Lifted(self.source, self.stages, self.before, tail)

    def runs(self) -> tuple[list[Applied], list[Run]]:
        """The steps at work, singly and as runs."""
        made = []
        for make, given, meter, counted in self.stages:
            context = given or current()
            with entered(context):
                try:
                    made.append(Applied(make(context), context, meter or Meter(), counted))
                except Exception as error:
                    blame(error, context.name)
                    raise
        return made, runs_of(made, self.tail)

    def _subscribe_core(self, observer: ObserverBase[Any], scheduler: SchedulerBase | None = None) -> DisposableBase:
        made, runs = self.runs()
        for run in runs:
            made[0].context.note_run(run)
        reported: list[set[Any]] = [set() for _ in made]
        before, last = self.before or Meter(), made[-1].meter

        def on_next(element: Any) -> None:
            begun = perf_counter_ns()
            used = 0
            if isinstance(element, Batch):
                for run in runs:
                    element = run.apply(element)
                    if element is None:
                        before.nanoseconds -= perf_counter_ns() - begun
                        return
                used = perf_counter_ns() - begun
            elif isinstance(element, Table):
                element = _table(element, made, reported)
            try:
                observer.on_next(element)
            finally:
                whole = perf_counter_ns() - begun
                before.nanoseconds -= whole
                last.nanoseconds += whole - used  # the steps behind take their time off it

        return self.source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)


def _table(table: Table, made: list[Applied], reported: list[set[Any]]) -> Table:
    """A table as it is behind the steps; its rows are computed when they are read."""
    count_rows([(step.meter, True) for step in made], 0, 1, repeat(1))
    for (step, context, _, _), told in zip(made, reported, strict=True):
        function = step.rows if isinstance(step, Fusible) else step
        table = table.map(_table_function(function, context, table.key, told), name=context.stream)
    return table


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


def lift(source: Observable[Records], make: Make) -> Observable[Records]:
    """Apply a function of rows to every batch and table; all other elements pass.

    Args:
        source: Batches or tables.
        make: Called at each subscription; gives the function, with state of its own if it needs any.
    """
    return Lifted(source, [Stage(make)])


@runtime_checkable
class Foldable(Protocol):
    """An observable whose last steps can hand their records over in their loop."""

    def folded(self, tail: Tail) -> Observable[Any]:
        """The same observable; where it can it emits a `Fold` for a batch."""
        ...


def fold(source: Observable[Any], tail: Tail) -> Observable[Any]:
    """The source, with `tail` at the end of its record-wise steps' loop if it has one; a `Fold` is what that gave."""
    return source.folded(tail) if isinstance(source, Foldable) else source
