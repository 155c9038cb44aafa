"""Turn a column's values into columns."""

from __future__ import annotations

from typing import Any

from reactivex import Observable
from reactivex import operators as rxo

from rxpipe.aggregations.aggregation import Aggregation, parse_aggregation
from rxpipe.context import Context
from rxpipe.elements import Row
from rxpipe.expressions import Expression, parse
from rxpipe.expressions.known import KnownFields
from rxpipe.fusion.lift import lift
from rxpipe.fusion.rows import Reject, RowsFunction, compile_values
from rxpipe.operator import fields_of, operator
from rxpipe.operators.aggregate._store import Store
from rxpipe.parameters.types import AggregationExpr, Expr
from rxpipe.table import Table

_NAME, _CELL = "\0name", "\0cell"
"""Columns in which the groups have what the rows made of them do not."""


@operator
def pivot(
    source: Observable[Table],
    on: Expr,
    value: AggregationExpr,
    by: list[Expr] | None = None,
    prefix: str = "",
    fill: str | int | float | None = None,  # noqa: PYI041  # else a whole number given here became a float
) -> Observable[Table]:
    """Make of a table one with a column for each value of `on`, and a row for each value of `by`.

    In the cell is the aggregation of the rows that have both; where none has, it is `fill`. Columns are named by the
    value's text behind `prefix` (null as `null`), and are in order of their first row, as the rows are; all rows have
    all columns. Computed when the table is read. A row for which an expression fails, whose value does not fit, or
    whose column would have the name of a key goes to `errors`. Completion and errors pass through; nothing is held
    back.

        source                                      -a-|
        pivot("day", value="sum(n)", by=["who"])    -b-|
        a: [{"who": "x", "day": "mon", "n": 1}, {"who": "y", "day": "tue", "n": 2}, {"who": "x", "day": "mon", "n": 4}]
        b: [{"who": "x", "mon": 5, "tue": None}, {"who": "y", "mon": None, "tue": 2}]

    Args:
        on: What becomes the columns.
        value: The aggregation in the cells, as in `aggregate`.
        by: Fields (or expressions) that make the rows; each becomes a column named by its text. Without, there is one.
        prefix: Put before the names of columns.
        fill: What is in a cell that no row belongs to.

    Example:
        >>> rows = [{"host": "a", "level": "INFO", "n": 7}, {"host": "a", "level": "WARN", "n": 1}]
        >>> table = Table("levels", ("host", "level"), lambda: rows, lambda: 0)
        >>> rx.of(table).pipe(pivot("level", value="sum(n)", by=["host"], fill=0)).run().dicts()
        [{'host': 'a', 'INFO': 7, 'WARN': 1}]
    """
    keys = [*(by or ())]
    made = parse_aggregation(value)
    key = tuple(keys)

    def make(_: Context) -> RowsFunction:
        return _Pivot([parse(text) for text in (*keys, on)], keys, made, prefix, fill)

    def keyed(element: Any) -> Any:
        return element.map(lambda rows: rows, key=key) if isinstance(element, Table) else element

    return lift(source, make).pipe(rxo.map(keyed))


@fields_of(pivot)
def _fields(known: KnownFields, /, on: str, value: str, by: list[str] | None, **_: object) -> KnownFields:
    known.check(on, "on")
    known.check(parse_aggregation(value).expression, "value", column=value.index("(") + 1)
    for index, text in enumerate(by or []):
        known.check(text, "by", index)
    return known.unknown()


class _Pivot:
    """From the rows of a table to those of the other."""

    def __init__(
        self, columns: list[Expression], keys: list[str], value: Aggregation, prefix: str, fill: str | float | None
    ) -> None:
        own = [] if value.expression is None else [value.expression]
        self._values = compile_values([*columns, *own], tuples=True)
        self._keys = keys
        self._value = value
        self._prefix = prefix
        self._fill = fill

    def __call__(self, rows: list[Row], reject: Reject) -> list[Row]:
        """The rows of the table that is made."""
        store = Store((*self._keys, _NAME), {_CELL: self._value})
        store.add(*self._named(rows, reject), reject)
        names: dict[str, None] = {}
        cells: dict[Any, dict[str, Any]] = {}
        for group in store.groups:
            cell = store.row(group)
            name = cell.pop(_NAME)
            value = cell.pop(_CELL)
            names[name] = None
            cells.setdefault(tuple(cell.values()), cell)[name] = value
        blank = dict.fromkeys(names, self._fill)
        heads = len(self._keys)
        return [{**dict([*row.items()][:heads]), **blank, **row} for row in cells.values()]

    def _named(self, rows: list[Row], reject: Reject) -> tuple[list[Row], list[tuple[Any, ...]]]:
        """The rows, and for each the key, the name of its column, and what is aggregated there."""
        kept: list[Row] = []
        values: list[tuple[Any, ...]] = []
        place = len(self._keys)
        for row, found in zip(*self._values(rows, reject), strict=True):
            on = found[place]
            name = self._prefix + ("null" if on is None else str(on))
            if name in self._keys:
                reject(row, ValueError(f"the column {name!r} would have the name of a key; give a prefix"))
                continue
            kept.append(row)
            values.append((*found[:place], name, *found[place + 1 :]))
        return kept, values
