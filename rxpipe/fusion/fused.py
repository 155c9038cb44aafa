"""A run of neighbouring record-wise steps over batches: as one generated loop where they can be, else one by one.

The loop and the steps give the same. Where the loop raises, the batch is gone through step by step: that finds the
record, rejects it in the name of its step, and lets the others through.
"""

from __future__ import annotations

from collections.abc import Hashable
from itertools import repeat
from operator import call, countOf
from time import perf_counter_ns
from typing import Any, NamedTuple, Protocol

from rxpipe.context import Context
from rxpipe.elements import Batch, Fold, Row
from rxpipe.errors import RxpipeError
from rxpipe.fusion.loop import Fused, Loop, Write, compile_loop
from rxpipe.fusion.origins import Origins
from rxpipe.fusion.rows import Fusible, RowsFunction
from rxpipe.runtime.meter import Meter, blame, count_rows


class Applied(NamedTuple):
    """A step at work: what it does, whose it is, its meter, and whether its records are counted here."""

    step: RowsFunction | Fusible
    context: Context
    meter: Meter
    counted: bool = True


class Tail(Protocol):
    """What takes the records of a run into itself, in the same loop, instead of having them made.

    Attributes:
        name: The name of its step.
    """

    name: str

    def write(self, loop: Loop) -> None:
        """Write what is done with one record; the loop's `result` is handed over in a `Fold`."""
        ...

    def arguments(self) -> tuple[Any, ...] | None:
        """What the loop's parameters are now; None where the records are wanted."""
        ...


class Run:
    """Neighbouring steps of which all are fusible, or one that is not.

    Args:
        steps: The steps, in order.
        tail: What takes the records; only where all steps are fusible.
    """

    def __init__(self, steps: list[Applied], tail: Tail | None = None) -> None:
        self._steps = steps
        self._meters = [(applied.meter, applied.counted) for applied in steps]
        self._tail = tail
        self._fusible = [applied.step for applied in steps if isinstance(applied.step, Fusible)]
        self._fuses = len(self._fusible) == len(steps) and (len(steps) > 1 or tail is not None)
        self._prepares = [step.prepare for step in self._fusible if step.prepare is not None]
        self._loops: dict[Hashable, Fused | None] = {}

    def apply(self, batch: Batch) -> Batch | Fold | None:
        """What comes through of a batch; None where nothing does."""
        made: Batch | Fold | None = None
        if self._fuses and batch.rows:
            made = self._at_once(batch)
        if made is None:
            made = self._one_by_one(batch)
        if isinstance(made, Fold):
            return made if made.records else None
        return made if made.rows or made.retracted else None

    @property
    def steps(self) -> list[str]:
        """The names of the steps, with that of the step behind where it takes the records into itself."""
        names = [applied.context.name for applied in self._steps]
        return names if self._tail is None else [*names, self._tail.name]

    @property
    def takes(self) -> type | None:
        """The type of the rows, where the first step takes only one."""
        return self._fusible[0].takes if self._fusible else None

    def source(self, row_type: type) -> Fused | None:
        """The loop for rows of one type, for those who want to read it."""
        return self._loop(row_type, folding=self._tail is not None) if self._fuses else None

    def _at_once(self, batch: Batch) -> Batch | Fold | None:
        """The batch through the loop; None where there is none for it, or it fails."""
        rows, retracted = batch.rows, batch.retracted
        row_type = type(rows[0])
        mixed = batch.row_type is not row_type and not _all_are(row_type, rows)
        if mixed or (retracted and not _all_are(row_type, retracted)):
            return None
        arguments = None if self._tail is None or batch.retractable or retracted else self._tail.arguments()
        if arguments is None and len(self._steps) == 1:
            return None
        started = perf_counter_ns()
        loop = self._loop(row_type, folding=arguments is not None)
        if loop is None:
            return None
        try:
            made, counts = loop.call(rows, *arguments or ())
            gone, gone_counts = loop.call(retracted) if retracted else (None, repeat(0))
        except Exception:  # whatever it is, going step by step finds the record it comes from
            return None
        spent = (perf_counter_ns() - started) // len(self._steps)
        count_rows(self._meters, spent, len(rows), counts, len(retracted), gone_counts)
        if arguments is not None:
            return Fold(made, counts[len(self._steps) - 1], batch.leases)
        return batch.replace(made, gone, row_type=loop.row_type)

    def _loop(self, row_type: type, *, folding: bool) -> Fused | None:
        key = (row_type, folding, *map(call, self._prepares))
        if key not in self._loops:
            writes: list[Write] = [step.write for step in self._fusible]
            if folding and self._tail is not None:
                writes.append(self._tail.write)
            try:
                self._loops[key] = compile_loop(writes, row_type)
            except (RxpipeError, TypeError):  # the step that does not fit these rows says so itself
                self._loops[key] = None
        return self._loops[key]

    def _one_by_one(self, batch: Batch) -> Batch:
        origins = Origins(batch)
        for applied, meter in zip(self._steps, self._meters, strict=True):
            before, taken = len(batch.rows), len(batch.retracted)
            started = perf_counter_ns()
            try:
                batch = through(applied.step, applied.context, batch, origins)
            except Exception as error:  # it is raised again, with the step's name
                raise blame(error, applied.context.name) from error.__cause__
            count_rows([meter], perf_counter_ns() - started, before, (len(batch.rows),), taken)
            if not batch.rows and not batch.retracted:
                break
        return batch


def runs_of(steps: list[Applied], tail: Tail | None) -> list[Run]:
    """The steps as runs: as many fusible ones together as stand side by side, any other alone."""
    groups: list[list[Applied]] = []
    for applied in steps:
        fits = groups and isinstance(applied.step, Fusible) and isinstance(groups[-1][-1].step, Fusible)
        if fits:
            groups[-1].append(applied)
        else:
            groups.append([applied])
    foldable = isinstance(steps[-1].step, Fusible)
    return [Run(group, tail if foldable and group is groups[-1] else None) for group in groups]


def through(step: RowsFunction | Fusible, context: Context, batch: Batch, origins: Origins) -> Batch:
    """A batch through one step: its rows, and those taken back."""
    function = step.rows if isinstance(step, Fusible) else step

    def reject(row: Row, error: Exception) -> None:
        start, end = origins.rejected(row) or (None, None)
        context.reject(error, row, leases=batch.leases, start=start, end=end)

    rows = function(batch.rows, reject)
    origins.step(rows)
    return batch.replace(rows, function(batch.retracted, _ignore) if batch.retracted else None)


def _all_are(row_type: type, rows: list[Row]) -> bool:
    return countOf(map(type, rows), row_type) == len(rows)


def _ignore(row: Row, error: Exception) -> None:
    """A retracted row was refused when it came by the first time, and counted then."""
