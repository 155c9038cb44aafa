"""What several streams said last, side by side."""

from __future__ import annotations

from typing import Any

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.context import Context, current
from rxpipe.elements import Batch, as_dict
from rxpipe.errors import RxpipeError
from rxpipe.fusion.lift import Records
from rxpipe.operator import operator
from rxpipe.operators.flow._latest import Latest
from rxpipe.operators.flow._together import combined, kept_rows, subscribe_each
from rxpipe.promises import Inflow, order_of
from rxpipe.table import Table


@operator
def combine_latest(source: Observable[Records], *others: Observable[Records]) -> Observable[Records]:
    """Make one record of the latest records of all streams, each time one of them has another; or one table of tables.

    Nothing is emitted before every stream has had a record. Each record of a batch is the latest in its turn, so that
    no combination is left out. A record has the fields of all; of a name that several have, the value of the stream
    named first. A record that is retracted goes to `errors`, and what was made of it stays: put this before the step
    that retracts.

    Tables become one live table, emitted each time one of them is: rows with the same key are put together, or, of
    tables without a key, the first rows, the second ones, and so on; fields that a table does not have for a key are
    null. The streams must be all of records or all of tables; all other elements pass.

    Completes when all streams have, or one without having had a record; an error of one ends all at once.

        source                    -a---b---|
        other                     --c----d--|
        combine_latest(other)     --m--n-o--|
        a: {"id": 1}
        b: {"id": 2}
        c: {"at": 3}
        d: {"at": 4}
        m: {"id": 1, "at": 3}
        n: {"id": 2, "at": 3}
        o: {"id": 2, "at": 4}

    Args:
        others: The streams beside this one.

    Example:
        >>> from reactivex.scheduler import CurrentThreadScheduler
        >>> prices, stocks = rx.of(Batch([{"price": 4}])), rx.of(Batch([{"stock": 7}, {"stock": 6}]))
        >>> prices.pipe(combine_latest(stocks)).run(CurrentThreadScheduler())
        Batch([{'price': 4, 'stock': 7}, {'price': 4, 'stock': 6}])

    State: the latest record of each stream.
    """

    def subscribe(observer: ObserverBase[Any], scheduler: SchedulerBase | None = None) -> DisposableBase:
        streams = (source, *others)
        combining = _Combining(current(), observer, len(streams))
        return subscribe_each(streams, combining.take, combining.end, observer, scheduler)

    return Observable(subscribe)


@order_of(combine_latest)
def _order(_: Inflow, /, **__: object) -> str:
    return "records of several streams are combined as they come"


class _Combining:
    """One subscription."""

    def __init__(self, context: Context, observer: ObserverBase[Any], streams: int) -> None:
        self._context = context
        self._observer = observer
        self._streams = range(streams)
        self._open = set(self._streams)
        self._latest = Latest(context)
        self._tables: dict[int, Table] = {}

    def take(self, element: Any, number: int) -> None:
        """Combine an element of a stream."""
        if isinstance(element, Batch):
            self._batch(element, number)
        elif isinstance(element, Table):
            self._tables[number] = element
        else:
            self._observer.on_next(element)
            return
        if self._tables and self._latest.rows:
            msg = f"{self._context.name}: the streams must be all of records, or all of tables; got both"
            self._observer.on_error(RxpipeError(msg))
        elif isinstance(element, Table) and len(self._tables) == len(self._streams):
            self._observer.on_next(_joined(self._context.stream, [self._tables[each] for each in self._streams]))

    def end(self, number: int) -> None:
        """A stream is complete."""
        self._open.discard(number)
        if not self._open or (number not in self._latest.rows and number not in self._tables):
            self._observer.on_completed()

    def _batch(self, batch: Batch, number: int) -> None:
        rows = []
        latest = self._latest.rows
        for row in kept_rows(batch, self._context):
            self._latest.put(number, as_dict(row))
            if len(latest) == len(self._streams):
                rows.append(combined([latest[each] for each in self._streams]))
        if rows:
            self._observer.on_next(Batch(rows, leases=batch.leases))


def _joined(name: str, tables: list[Table]) -> Table:
    """A table of the rows of all tables that have the same key."""
    key = tables[0].key

    def read() -> list[dict[str, Any]]:
        made: dict[Any, list[dict[str, Any]]] = {}
        columns: dict[str, None] = {}
        for table in tables:
            for place, row in enumerate(table.dicts()):
                columns.update(dict.fromkeys(row))
                made.setdefault(tuple(row.get(column) for column in key) if key else place, []).append(row)
        return [dict.fromkeys(columns) | combined(rows) for rows in made.values()]

    begun = [table.since for table in tables if table.since is not None]
    since = max(begun) if len(begun) == len(tables) else None
    return Table(name or tables[0].name, key, read, lambda: sum(table.version for table in tables), since)
