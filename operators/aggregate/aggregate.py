"""A live table of groups: count, sum, min, max, mean, first and last of what arrives."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.aggregation import KINDS, compile_updates, dump_slot, load_slot, parse_aggregation
from rxpipe.context import Change, Context, current
from rxpipe.elements import Batch, Row
from rxpipe.expressions import parse
from rxpipe.operator import operator
from rxpipe.params import AggregationExpr, Expr
from rxpipe.rows import compile_values
from rxpipe.table import Table

Key = tuple[Any, ...]


@operator
def aggregate(source: Observable[Batch], by: list[Expr] | None = None, **columns: AggregationExpr) -> Observable[Table]:
    """Group records by key and keep aggregates of each group in a live table.

    The table is emitted after every batch that changed it, always the same object; its rows are computed when read. Put
    `throttle` behind it to refresh a screen. Retracted records are taken back; a group whose last record is taken back
    is gone. Where records may be retracted, min, max, first and last keep all values of a group, elsewhere only one.
    Without `by` there is one group, and its row is there from the start. On completion the table is emitted if it never
    was. An error passes through.

    Values that are null are left out; `count()` counts records, `count(x)` the values that are not null. A record for
    which an expression fails goes to `errors`.

    Args:
        by: Fields (or expressions) that make the key; each becomes a column named by its text.
        columns: Each column's aggregation: count(), count(x), sum(x), min(x), max(x), mean(x), first(x), last(x).

    Example:
        >>> rows = [{"model": "a", "n": 2}, {"model": "b", "n": 5}, {"model": "a", "n": 1}]
        >>> table = rx.of(Batch(rows)).pipe(aggregate(by=["model"], calls="count()", n="sum(n)")).run()
        >>> table.dicts()
        [{'model': 'a', 'calls': 2, 'n': 3}, {'model': 'b', 'calls': 1, 'n': 5}]

    State: the groups, one row each; a checkpoint writes those that changed.
    """

    def subscribe(observer: ObserverBase[Table], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        groups = Groups(context, by or [], columns)

        def on_next(element: Any) -> None:
            if not isinstance(element, Batch):
                return
            if groups.apply(element):
                observer.on_next(groups.table)

        def on_completed() -> None:
            if not groups.emitted:
                observer.on_next(groups.table)
            observer.on_completed()

        if groups.restored:
            context.scheduler(scheduler).schedule(lambda *_: observer.on_next(groups.emit()))
        return source.subscribe(on_next, observer.on_error, on_completed, scheduler=scheduler)

    return Observable(subscribe)


class Groups:
    """The groups of one subscription.

    Args:
        context: The step's context.
        by: Expressions of the key.
        columns: Aggregations by column name.
    """

    def __init__(self, context: Context, by: Iterable[str], columns: dict[str, str]) -> None:
        self._context = context
        self._by = tuple(by)
        self._aggregations = {name: parse_aggregation(text) for name, text in columns.items()}
        expressions = [parse(text) for text in self._by]
        expressions += [made.expression for made in self._aggregations.values() if made.expression is not None]
        self._values = compile_values(expressions, tuples=True) if expressions else None
        self._groups: dict[Key, list[Any]] = {}
        self._rows: dict[Key, dict[str, Any]] = {}
        self._stale: set[Key] = set()
        self._dirty: set[Key] = set()
        self._exact = False
        self._version = 0
        self.emitted = False
        self.table = Table(context.stream, self._by, self._read, lambda: self._version)
        self._compile()
        self._saved = context.state("operator", self._changes, f"groups by {', '.join(self._by) or 'nothing'}")
        self._restore()
        self.restored = bool(self._groups)
        if not self._by:
            self._groups.setdefault((), self._updates.fresh())
            self._stale.add(())
        context.gauge("groups", lambda: len(self._groups))

    def _compile(self) -> None:
        kinds = [(KINDS[made.function].exact or made.function) if self._exact else made.function
                 for made in self._aggregations.values()]
        self._kinds = kinds
        self._reads = [KINDS[kind].read for kind in kinds]
        functions = tuple(
            (kind, made.expression is not None) for kind, made in zip(kinds, self._aggregations.values(), strict=True)
        )
        self._updates = compile_updates(len(self._by), functions)

    def emit(self) -> Table:
        """The table, noted as emitted."""
        self.emitted = True
        return self.table

    def apply(self, batch: Batch) -> bool:
        """Take a batch in; returns whether anything changed."""
        if batch.retractable and not self._exact:
            self._become_exact()
        touched: set[Key] = set()
        if batch.retracted:
            self._updates.retract(self._inputs(batch.retracted, batch), self._groups, touched)
        if batch.rows:
            self._updates.add(self._inputs(batch.rows, batch), self._groups, touched)
        if not touched:
            return False
        if not self._by and not self._groups:
            self._groups[()] = self._updates.fresh()
        self._stale |= touched
        if self._saved.persistent:
            self._dirty |= touched
        self._version += 1
        self.emitted = True
        return True

    def _inputs(self, rows: list[Row], batch: Batch) -> list[tuple[Any, ...]]:
        if self._values is None:
            return [()] * len(rows)

        def reject(row: Row, error: Exception) -> None:
            self._context.reject(f"{type(error).__name__}: {error}", row, leases=batch.leases)

        return self._values(rows, reject)[1]

    def _become_exact(self) -> None:
        """The first batch whose rows may be retracted: from now on keep all values."""
        if any(KINDS[made.function].exact for made in self._aggregations.values()) and any(
            group[0] for group in self._groups.values()
        ):
            msg = "min, max, first and last cannot begin to take retractions once records that cannot be retracted are in"
            raise ValueError(msg)
        self._exact = True
        self._compile()
        if not self._by:
            self._groups[()] = self._updates.fresh()

    def _read(self) -> list[Row]:
        """The rows; only those of groups that changed since the last read are made anew."""
        groups, rows = self._groups, self._rows
        for key in self._stale:
            group = groups.get(key)
            if group is None:
                rows.pop(key, None)
                continue
            row: dict[str, Any] = dict(zip(self._by, key, strict=True))
            for name, read, slot in zip(self._aggregations, self._reads, group[1:], strict=True):
                row[name] = read(slot)
            rows[key] = row
        self._stale.clear()
        return list(rows.values())

    def _changes(self) -> Iterable[Change]:
        encode = msgspec.msgpack.encode
        for key in self._dirty:
            group = self._groups.get(key)
            value = None if group is None else encode([self._exact, [dump_slot(slot) for slot in group]])
            yield encode(key), "", value
        self._dirty.clear()

    def _restore(self) -> None:
        decode = msgspec.msgpack.decode
        for key, _, value in self._saved.items():
            exact, slots = decode(value)
            if exact and not self._exact:
                self._exact = True
                self._compile()
            loaded = [slots[0], *(load_slot(kind, slot) for kind, slot in zip(self._kinds, slots[1:], strict=True))]
            group_key = tuple(decode(key))
            self._groups[group_key] = loaded
            self._stale.add(group_key)
