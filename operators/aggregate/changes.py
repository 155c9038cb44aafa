"""The rows of a live table that changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import Any

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.aggregations.packing import pack, pack_key, unpack
from rxpipe.context import Change, Context, current
from rxpipe.elements import Batch, Row
from rxpipe.expressions.known import KnownFields
from rxpipe.lease import Lease
from rxpipe.operator import fields_of, operator
from rxpipe.table import Table


@operator
def changes(source: Observable[Table]) -> Observable[Batch]:
    """Emit of a live table only the rows that changed, and take back what they were.

    Each time the table comes it is read and compared with what was emitted of it. Rows that are new go into a batch in
    their order; a row that is another now goes there too, and its old one among the retracted; one that is gone is
    retracted. Where nothing changed nothing is emitted. So what is behind it always has the rows of the table as it was
    when it last came: a sink writes only what is new, and an `aggregate` behind it is one of the table's rows. Put
    `throttle` before it to compare less often.

    Rows are told apart by the key of their table, those of one key by their order; where the table has no key, only
    rows that are equal are the same. Several tables are told apart by their names. Completion and errors pass through;
    nothing is held back.

        source     -a-b-b-|
        changes    -a-c---|
        a: [{"value": 1}]
        b: [{"value": 1}, {"value": 2}]
        c: [{"value": 2}]

    Example:
        >>> rows = [{"model": "a", "n": 2}, {"model": "b", "n": 5}]
        >>> table = Table("models", ("model",), lambda: list(rows), lambda: 0)
        >>> def grow(_):
        ...     rows[0] = {"model": "a", "n": 3}
        ...     return table
        >>> rx.of(table).pipe(ops.concat(rx.of(1).pipe(ops.map(grow))), changes(), ops.map(print)).run()
        Batch([{'model': 'a', 'n': 2}, {'model': 'b', 'n': 5}])
        Batch([{'model': 'a', 'n': 3}], retracted=[{'model': 'a', 'n': 2}])

    State: the rows as they were emitted, one row each; a checkpoint writes those that changed.
    """

    def subscribe(observer: ObserverBase[Batch], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        emitted = _Emitted(context)

        def on_next(element: Any) -> None:
            if isinstance(element, Table):
                rows, retracted = emitted.compared(element)
                if not (rows or retracted):
                    return
                element = Batch(rows, retracted, (Lease(context.flow, 0),), retractable=True)
            observer.on_next(element)

        return source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

    return Observable(subscribe)


@fields_of(changes)
def _fields(known: KnownFields, /) -> KnownFields:
    return known


class _Emitted:
    """What one subscription emitted of each table, by what tells its rows apart."""

    def __init__(self, context: Context) -> None:
        self._rows: dict[str, dict[Hashable, dict[str, Any]]] = {}
        self._dirty: dict[tuple[str, Hashable], None] = {}
        saved = context.state("operator", self._changes, "rows of a table as they were emitted")
        self._persistent = saved.persistent
        for *_, value in saved.items():
            name, which, row = unpack(value)
            self._rows.setdefault(name, {})[which] = row
        context.gauge("rows", lambda: sum(map(len, self._rows.values())))

    def compared(self, table: Table) -> tuple[list[Row], list[Row]]:
        """The rows of a table that are new, and those that are taken back; it is then taken as emitted."""
        before = self._rows.get(table.name, {})
        now = _told_apart(table)
        taken = [which for which, row in before.items() if which not in now or _differ(now[which], row)]
        added = [which for which, row in now.items() if which not in before or _differ(before[which], row)]
        self._rows[table.name] = now
        if self._persistent:
            self._dirty.update(dict.fromkeys((table.name, which) for which in (*taken, *added)))
        return [now[which] for which in added], [before[which] for which in taken]

    def _changes(self) -> Iterable[Change]:
        for name, which in self._dirty:
            row = self._rows[name].get(which)
            yield pack_key((name, which)), "", None if row is None else pack([name, which, row])
        self._dirty.clear()


def _differ(one: Row, other: Row) -> bool:
    """Whether two rows are not the same; NaN, which equals nothing, is the same as NaN."""
    return bool(one != other) and pack(one) != pack(other)


def _told_apart(table: Table) -> dict[Hashable, dict[str, Any]]:
    """The rows of a table, each by its key (of a table without one, its content) and its number among equal ones."""
    seen: Counter[Hashable] = Counter()
    made: dict[Hashable, dict[str, Any]] = {}
    for row in table.dicts():
        key: Hashable = tuple([row.get(name) for name in table.key]) if table.key else pack(row)
        made[key, seen[key]] = row
        seen[key] += 1
    return made
