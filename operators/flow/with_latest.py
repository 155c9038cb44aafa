"""Records, with what another stream said last."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Annotated, Any, Literal

from annotated_types import Ge
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable

from rxpipe.context import Context, current
from rxpipe.elements import Batch, Row, as_dict
from rxpipe.expressions import parse
from rxpipe.fusion.rows import compile_values
from rxpipe.operator import operator
from rxpipe.operators.flow._latest import Latest
from rxpipe.operators.flow._together import combined, kept_rows
from rxpipe.parameters.types import Expr
from rxpipe.table import Table


@operator
def with_latest(
    source: Observable[Batch],
    other: Observable[Batch | Table],
    on: Expr | None = None,
    kind: Literal["inner", "left"] = "inner",
    prefix: str = "",
    limit: Annotated[int, Ge(1)] = 100_000,
) -> Observable[Batch]:
    """Add to each record the fields of the latest record of another stream, or of the latest that has the same key.

    They come under their names with `prefix`, unless the record has a field of that name. A table stands for its rows
    as they are at that moment, of which the last one of a key counts. Where there is none yet, a record is left out and
    counted (the gauge `unmatched`); with `left` it is emitted with nulls, for the fields that are known. A null key is
    never the same as another.

    Of more than `limit` keys the one that has had no record for the longest time is let go of. A record that is
    retracted, of either stream, goes to `errors`, and what was made of it stays: put this before the step that
    retracts. So does a record for which the key fails, or is a list or an object. Completes when this stream has,
    whatever the other does; an error of one ends all at once. All other elements of this stream pass, those of the
    other end here.

        source                    -a---a-b-|
        other                     --c---d---
        with_latest(other)        -----m-n-|
        a: {"id": 1}
        b: {"id": 2}
        c: {"at": 3}
        d: {"at": 4}
        m: {"id": 1, "at": 3}
        n: {"id": 2, "at": 4}

    Args:
        other: The stream that is looked at.
        on: The key, an expression over the fields of a record of either stream; without it all have the same.
        kind: Whether records for which there is nothing yet are left out, or emitted with nulls.
        prefix: What the names of the other stream's fields begin with.
        limit: How many keys are remembered at most.

    Example:
        >>> from reactivex.scheduler import CurrentThreadScheduler
        >>> prices = rx.of(Batch([{"model": "s", "price": 2}, {"model": "l", "price": 9}]))
        >>> rx.of(Batch([{"model": "s", "n": 4}])).pipe(with_latest(prices, on="model")).run(CurrentThreadScheduler())
        Batch([{'model': 's', 'n': 4, 'price': 2}])

    State: the latest record of each key.
    """
    keys_of = None if on is None else compile_values([parse(on)])

    def subscribe(observer: ObserverBase[Batch], scheduler: SchedulerBase | None = None) -> DisposableBase:
        looking = _Looking(current(), keys_of, prefix, limit, left=kind == "left")

        def on_next(element: Any) -> None:
            found = looking.found(element) if isinstance(element, Batch) else element
            if not isinstance(found, Batch) or found.rows:
                observer.on_next(found)

        upstream = other.subscribe(looking.take, observer.on_error, lambda: None, scheduler=scheduler)
        return CompositeDisposable(
            upstream, source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)
        )

    return Observable(subscribe)


class _Looking:
    """One subscription."""

    def __init__(
        self, context: Context, keys_of: Callable[..., Any] | None, prefix: str, limit: int, *, left: bool
    ) -> None:
        self._context = context
        self._keys_of = keys_of
        self._prefix = prefix
        self._limit = limit
        self._left = left
        self._latest = Latest(context)
        self._names = dict.fromkeys(name for row in self._latest.rows.values() for name in row)
        self._table: Table | None = None
        self._version: int | None = None
        self._of_table: dict[Hashable, dict[str, Any]] = {}
        self._unmatched = 0
        context.gauge("unmatched", lambda: self._unmatched)

    def take(self, element: Any) -> None:
        """Remember what the other stream says."""
        if isinstance(element, Table):
            self._table, self._version = element, None
        elif isinstance(element, Batch):
            for key, row in self._keyed(kept_rows(element, self._context), element):
                if key is None:
                    continue
                self._latest.put(key, self._renamed(row))
                if len(self._latest.rows) > self._limit:
                    self._latest.drop_oldest()

    def found(self, batch: Batch) -> Batch:
        """The records of this stream with what is known for them."""
        known = self._rows()
        rows = []
        for key, row in self._keyed(kept_rows(batch, self._context), batch):
            other = None if key is None else known.get(key)
            if other is None:
                self._unmatched += 1
                if not self._left:
                    continue
                other = dict.fromkeys(self._names)
            rows.append(combined([as_dict(row), other]))
        return Batch(rows, leases=batch.leases)

    def _rows(self) -> dict[Hashable, dict[str, Any]]:
        table = self._table
        if table is None:
            return self._latest.rows
        if self._version != table.version:
            self._version = table.version
            self._of_table = {key: self._renamed(row) for key, row in self._keyed(table.rows(), None)}
        return self._of_table

    def _keyed(self, rows: list[Row], batch: Batch | None) -> list[tuple[Hashable, Row]]:
        """Each record with its key; those without are rejected."""

        def reject(row: Row, error: Exception) -> None:
            leases = () if batch is None else batch.leases
            self._context.reject(error, row, leases=leases)

        if self._keys_of is None:
            return [((), row) for row in rows]
        keyed: list[tuple[Hashable, Row]] = []
        for row, key in zip(*self._keys_of(rows, reject), strict=True):
            if isinstance(key, list | dict):
                reject(row, TypeError(f"a key must be a number or a text; got {key!r:.40}"))
            else:
                keyed.append((key, row))
        return keyed

    def _renamed(self, row: Row) -> dict[str, Any]:
        made = {self._prefix + name: value for name, value in as_dict(row).items()}
        self._names.update(dict.fromkeys(made))
        return made
