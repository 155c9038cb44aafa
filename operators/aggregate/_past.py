"""Columns that are computed of a record and of those of its key before it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.aggregations.packing import pack, pack_key, unpack
from rxpipe.context import Change, Context, current
from rxpipe.elements import Batch, Row
from rxpipe.expressions import parse
from rxpipe.expressions.times import timestamp
from rxpipe.fusion.rows import Reject, compile_values
from rxpipe.operators.records._given import PART, Given
from rxpipe.parameters.types import Expr


class Past(Protocol):
    """What is remembered of the records of one key."""

    def next(self, value: Any, time: float) -> tuple[Any, ...]:
        """The columns of a record, which then belongs to the past; one for which that raises does not."""
        ...

    def dump(self) -> Any:
        """What is saved of it."""
        ...

    def restored(self, saved: Any) -> Past:
        """Itself, new until now, as it was when it was saved."""
        ...


def remembering(
    source: Observable[Batch],
    fresh: Callable[[], Past],
    columns: Mapping[str, Any],
    of: Expr,
    by: list[Expr] | None,
    time: Expr | None = None,
) -> Observable[Batch]:
    """Add columns to records that depend on those of their key before them.

    A record whose value is null gets null in all of them, and is not remembered. A retracted record goes on with the
    columns that it was given; what it did to those behind it stays.

    Args:
        source: The records.
        fresh: Makes the past of a new key.
        columns: The names of the columns, and their types.
        of: The value.
        by: What makes the key.
        time: A record's time; without, it is that of its arrival.
    """

    def subscribe(observer: ObserverBase[Batch], scheduler: SchedulerBase | None = None) -> DisposableBase:
        pasts = _Pasts(current(), fresh, columns, of, tuple(by or ()), time)

        def on_next(element: Any) -> None:
            if isinstance(element, Batch):
                element = pasts.apply(element)
                if not (element.rows or element.retracted):
                    return
            observer.on_next(element)

        return source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

    return Observable(subscribe)


class _Pasts:
    """One subscription."""

    def __init__(
        self,
        context: Context,
        fresh: Callable[[], Past],
        columns: Mapping[str, Any],
        of: str,
        by: tuple[str, ...],
        time: str | None,
    ) -> None:
        self._context = context
        self._fresh = fresh
        self._blank = (None,) * len(columns)
        self._timed = time is not None
        self._arrival = 0.0
        self._values = compile_values([parse(text) for text in (of, time or "None", *by)])
        self._pasts: dict[Any, Past] = {}
        self._dirty: dict[Any, None] = {}
        self._given = Given(columns)
        saved = context.state("operator", self._changes, f"records before by {', '.join(by) or 'nothing'}")
        self._persistent = saved.persistent
        for row, part, value in saved.items():
            if part == PART:
                self._given.restore(row, value)
            else:
                key, past = unpack(value)
                self._pasts[key] = fresh().restored(past)
        context.gauge("keys", lambda: len(self._pasts))

    def apply(self, batch: Batch) -> Batch:
        """The batch with its columns."""

        def reject(row: Row, error: Exception) -> None:
            self._context.reject(error, row, leases=batch.leases)

        retracted = self._given.taken_back(self._values(batch.retracted, _ignore)[0], reject)
        rows, columns = self._added(batch.rows, reject)
        if batch.retractable or batch.retracted:
            self._given.remember(rows, columns)
        return batch.replace(self._given.widened(rows, columns), retracted)

    def _added(self, given: list[Row], reject: Reject) -> tuple[list[Row], list[tuple[Any, ...]]]:
        self._arrival = arrival = max(self._arrival, self._context.now())
        rows: list[Row] = []
        columns: list[tuple[Any, ...]] = []
        for row, (value, time, *key) in zip(*self._values(given, reject), strict=True):
            try:
                columns.append(self._next((*key,), value, timestamp(time) if self._timed else arrival))
            except Exception as error:  # whatever a value raises concerns this record
                reject(row, error)
            else:
                rows.append(row)
        return rows, columns

    def _next(self, key: tuple[Any, ...], value: Any, time: float) -> tuple[Any, ...]:
        past = self._pasts.get(key)
        if value is None:
            return self._blank
        if past is None:
            past = self._fresh()
        made = past.next(value, time)
        self._pasts[key] = past
        if self._persistent:
            self._dirty[key] = None
        return made

    def _changes(self) -> Iterable[Change]:
        for key in self._dirty:
            yield pack_key(key), "", pack([key, self._pasts[key].dump()])
        self._dirty.clear()
        yield from self._given.changes()


def _ignore(row: Row, error: Exception) -> None:
    """A retracted record was refused when it came by the first time, and counted then."""
