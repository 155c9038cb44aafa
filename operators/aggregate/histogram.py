"""How many values there are of which size."""

from __future__ import annotations

import math
import sys
from bisect import bisect_right
from collections.abc import Callable
from itertools import pairwise
from typing import Annotated, Any

from reactivex import Observable
from reactivex import operators as rxo

from rxpipe.context import Context
from rxpipe.elements import Batch, Row
from rxpipe.errors import RxpipeError
from rxpipe.expressions import parse
from rxpipe.expressions.known import KnownFields
from rxpipe.fusion.lift import Reject, RowsFunction, lift
from rxpipe.fusion.rows import compile_values
from rxpipe.operator import fields_of, operator
from rxpipe.operators.aggregate.aggregate import aggregate
from rxpipe.operators.records._wider import widened
from rxpipe.parameters.types import Expr, Gt
from rxpipe.table import Table

_BOUNDS = ("low", "high")

Bucket = Callable[[Any], tuple[float | None, float | None]]
"""From a number to the bounds of its bucket; raises if it is none."""


@operator
def histogram(
    source: Observable[Batch],
    of: Expr,
    buckets: list[float] | None = None,
    width: Annotated[float, Gt(0)] | None = None,
    factor: Annotated[float, Gt(1)] | None = None,
    by: list[Expr] | None = None,
) -> Observable[Table]:
    """Count in a live table how many values are in each of a row of buckets.

    The rows have the key, `low`, `high` and `count`; a bucket has the values from `low` up to `high`, without that. Its
    bounds are two neighbours among `buckets`, and null for `low` below the first or `high` above the last; or two
    neighbouring multiples of `width`; or two neighbouring powers of `factor`, which keeps the buckets few however far
    apart the values are (0, with what is nearer to it than 2e-308, then has a bucket of its own, and those of values
    below it are mirrored: from `low`, without that, up to `high`). Buckets without values have no row. The rows of a
    key stand together, in order of the buckets.

    Values that are null are left out. A record whose value is no finite number, or for which an expression fails, goes
    to `errors`. Retracted records are taken back. The table is emitted as by `aggregate`. (To see quantiles, aggregate
    `quantile(x, q)`.)

    Args:
        of: What to count.
        buckets: The bounds between buckets, each above the one before.
        width: The size of buckets of equal size.
        factor: By how much each bucket is larger than the one before.
        by: Fields (or expressions) that make the key; each becomes a column named by its text.

    Example:
        >>> rows = [{"ms": ms} for ms in (3, 12, 7, 250, 18)]
        >>> table = rx.of(Batch(rows)).pipe(histogram("ms", buckets=[0, 10, 100])).run()
        >>> [(row["low"], row["high"], row["count"]) for row in table.dicts()]
        [(0.0, 10.0, 2), (10.0, 100.0, 2), (100.0, None, 1)]

    State: the buckets with values, one row each; a checkpoint writes those that changed.

    Raises:
        RxpipeError: Not one of `buckets`, `width` and `factor` is given, buckets do not grow, or a key reads a field
            named as a bound.
    """
    keys = [*(by or ())]
    for text in keys:
        if taken := parse(text).names & {*_BOUNDS}:
            msg = (
                f"histogram: 'low' and 'high' are the bounds of buckets; got the key {text!r} that reads {min(taken)!r}"
            )
            raise RxpipeError(msg)
    bucket = _bucket(buckets, width, factor)
    values_of = compile_values([parse(of)])

    def make(_: Context) -> RowsFunction:
        def placed(rows: list[Row], reject: Reject) -> list[Row]:
            kept: list[Row] = []
            bounds: list[tuple[Any, ...]] = []
            for row, value in zip(*values_of(rows, reject), strict=True):
                if value is None:
                    continue
                try:
                    bounds.append(bucket(value))
                except (TypeError, ValueError, OverflowError) as error:
                    reject(row, error)
                else:
                    kept.append(row)
            return widened(kept, dict.fromkeys(_BOUNDS, float | int | None), bounds)

        return placed

    def ordered(table: Table) -> Table:
        return table.map(lambda rows: _in_order(rows, keys))

    return lift(source, make).pipe(aggregate(by=[*keys, *_BOUNDS], count="count()"), rxo.map(ordered))


@fields_of(histogram)
def _fields(known: KnownFields, /, of: str, by: list[str] | None, **_: object) -> KnownFields:
    return known.of_history(of, by).only(*(by or ()), *_BOUNDS, "count")


def _bucket(buckets: list[float] | None, width: float | None, factor: float | None) -> Bucket:
    given = [name for name, value in (("buckets", buckets), ("width", width), ("factor", factor)) if value is not None]
    if len(given) != 1:
        what = " and ".join(map(repr, given)) or "none"
        msg = f"histogram: one of 'buckets', 'width' and 'factor' must be given; got {what}"
        raise RxpipeError(msg)
    if width is not None:
        return lambda value: _multiples(value, width)
    if factor is not None:
        return lambda value: _powers(value, factor)
    bounds = [*(buckets or ())]
    if not bounds or any(not low < high for low, high in pairwise(bounds)):
        msg = f"histogram: 'buckets' must be bounds that grow, one at least; got {bounds}"
        raise RxpipeError(msg)
    edges: list[float | None] = [None, *bounds, None]

    def between(value: Any) -> tuple[float | None, float | None]:
        at = bisect_right(bounds, _finite(value))
        return edges[at], edges[at + 1]

    return between


def _multiples(value: Any, width: float) -> tuple[float, float]:
    number = math.floor(_finite(value) / width)
    number += (number + 1) * width <= value
    number -= number * width > value
    return number * width, (number + 1) * width


def _powers(value: Any, factor: float) -> tuple[float, float]:
    size = abs(_finite(value))
    if size < sys.float_info.min:
        return 0, 0
    power = math.floor(math.log(size) / math.log(factor))
    power += factor ** (power + 1) <= size
    power -= factor**power > size
    low, high = factor**power, factor ** (power + 1)
    return (low, high) if value > 0 else (-high, -low)


def _finite(value: Any) -> Any:
    if not math.isfinite(value):
        msg = f"it must be a finite number; got {value}"
        raise ValueError(msg)
    return value


def _in_order(rows: list[Row], keys: list[str]) -> list[Row]:
    places: dict[Any, int] = {}
    for row in rows:
        places.setdefault(tuple([row[key] for key in keys]), len(places))

    def place(row: Row) -> tuple[int, float]:
        low = row["low"]
        return places[tuple([row[key] for key in keys])], -math.inf if low is None else low

    return sorted(rows, key=place)
