"""A live table of groups: counts, sums, extremes, means and quantiles of what arrives."""

from __future__ import annotations

from typing import Any

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable

from rxpipe.aggregations.aggregation import parse_aggregation
from rxpipe.context import current
from rxpipe.elements import Batch
from rxpipe.errors import RxpipeError
from rxpipe.expressions.known import KnownFields
from rxpipe.fusion.lift import fold
from rxpipe.operator import fields_of, operator, operator_of
from rxpipe.operators.aggregate._groups import Groups
from rxpipe.operators.aggregate._partial import partial_groups
from rxpipe.parameters.types import AggregationExpr, Expr
from rxpipe.table import Table


@operator
def aggregate(
    source: Observable[Batch], /, by: list[Expr] | None = None, **columns: AggregationExpr
) -> Observable[Table]:
    """Group records by key and keep aggregates of each group in a live table.

    The table is emitted after every batch that changed it, always the same object; its rows, in order of each group's
    first record, are computed when read. Put `throttle` behind it to refresh a screen. Retracted records are taken
    back; a group whose last record is taken back is gone. Where records may be retracted, min, max, first, last,
    distinct and approx_distinct (which is exact then) keep all values of a group; elsewhere only distinct does. Only
    values are kept, not whose they are: of several equal ones the latest is taken back, which first and last may show.
    Without `by` there is one group, and its row is there from the start. On completion the table is emitted if it never
    was.
    After a restart with groups it is emitted at once, to be seen; a sink that has written it does not write it again.
    An error passes through. All other elements end here: of a table nothing is known of origins.

    Values that are null are left out; `count()` counts records, `count(x)` the values that are not null. NaN makes
    a sum and a mean NaN for good, and is neither least nor largest. A sum of numbers with fractions is exact up to
    rounding, which depends on the order of arrival; variance and stddev, those of a sample, are sound also where the
    numbers are large and near each other. A quantile is at most 1 % off (that of `q` is the value with the rank
    `q * (n - 1)`, rounded down, counted from 0), and retractions leave nothing behind in it.
    A record for which an expression fails, whose value does not fit the function (a text in a sum, a list in distinct),
    or whose key is a list or an object, goes to `errors` and changes nothing.

    Args:
        by: Fields (or expressions) that make the key; each becomes a column named by its text.
        columns: Each column's aggregation: count(), count(x), sum(x), min(x), max(x), mean(x), first(x), last(x),
            variance(x), stddev(x), median(x), quantile(x, q), distinct(x), approx_distinct(x).

    Example:
        >>> rows = [{"model": "a", "n": 2}, {"model": "b", "n": 5}, {"model": "a", "n": 1}]
        >>> table = rx.of(Batch(rows)).pipe(aggregate(by=["model"], calls="count()", n="sum(n)")).run()
        >>> table.dicts()
        [{'model': 'a', 'calls': 2, 'n': 3}, {'model': 'b', 'calls': 1, 'n': 5}]

    State: the groups, one row each, and the table's version; a checkpoint writes those that changed, with distinct each
        whole.

    Raises:
        RxpipeError: A column has the name of a key.
    """
    keys = tuple(by or ())
    for name in keys:
        if name in columns or keys.count(name) > 1:
            msg = f"aggregate: the names of keys and columns must differ; got {name!r} twice"
            raise RxpipeError(msg)
    aggregations = {name: parse_aggregation(text) for name, text in columns.items()}

    def subscribe(observer: ObserverBase[Table], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        groups = Groups(context, keys, aggregations)
        emitted = False

        def emit(*_: object) -> None:
            nonlocal emitted
            emitted = True
            observer.on_next(groups.table)

        def on_next(element: Any) -> None:
            if groups.receive(element):
                emit()

        def on_completed() -> None:
            if not emitted:
                emit()
            observer.on_completed()

        subscription = CompositeDisposable()
        if groups.restored:
            subscription.add(context.scheduler(scheduler).schedule(lambda *_: None if emitted else emit()))
        subscription.add(fold(source, groups).subscribe(on_next, observer.on_error, on_completed, scheduler=scheduler))
        return subscription

    return Observable(subscribe)


@fields_of(aggregate)
def _fields(known: KnownFields, /, by: list[str] | None, **columns: str) -> KnownFields:
    keys = by or []
    for index, text in enumerate(keys):
        known.check(text, "by", index)
    for name, text in columns.items():
        known.check(parse_aggregation(text).expression, name, column=text.index("(") + 1)
    return known.only(*keys, *columns)


operator_of(aggregate).partial = partial_groups
