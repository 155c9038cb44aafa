"""The rows of a table with the largest values."""

from __future__ import annotations

from typing import Annotated, Any

from reactivex import Observable

from rxpipe.context import Context
from rxpipe.elements import Row
from rxpipe.expressions import parse
from rxpipe.expressions.known import KnownFields
from rxpipe.expressions.rowview import nowhere
from rxpipe.fusion.lift import Reject, RowsFunction, lift
from rxpipe.fusion.rows import compile_values
from rxpipe.operator import fields_of, operator
from rxpipe.parameters.types import Expr, Ge
from rxpipe.table import Table


@operator
def top(source: Observable[Table], count: Annotated[int, Ge(1)], by: Expr, least: bool = False) -> Observable[Table]:
    """Keep the rows of a table with the largest values, largest first.

    They are chosen when the table is read. Rows of equal value keep their order. Rows whose value is null or NaN come
    last. Values of several types that cannot be compared are grouped by type. A row for which the expression fails goes
    to `errors`. Completion and errors pass through; nothing is held back.

    Args:
        count: How many rows to keep.
        by: What to compare.
        least: Keep the rows with the least values, least first.

    Example:
        >>> rows = [{"model": "a", "n": 2}, {"model": "b", "n": 5}, {"model": "c", "n": 1}]
        >>> table = Table("models", ("model",), lambda: rows, lambda: 0)
        >>> rx.of(table).pipe(top(2, by="n")).run().dicts()
        [{'model': 'b', 'n': 5}, {'model': 'a', 'n': 2}]
    """
    values_of = compile_values([parse(by)])

    def make(_: Context) -> RowsFunction:
        def choose(rows: list[Row], reject: Reject) -> list[Row]:
            kept, values = values_of(rows, reject)
            known = [pair for pair in zip(kept, values, strict=True) if not nowhere(pair[1])]
            try:
                known.sort(key=_value, reverse=not least)
            except TypeError:
                known.sort(key=_by_type, reverse=not least)
            unknown = [row for row, value in zip(kept, values, strict=True) if nowhere(value)]
            return ([row for row, _ in known] + unknown)[:count]

        return choose

    return lift(source, make)


@fields_of(top)
def _fields(known: KnownFields, /, by: str, **_: object) -> KnownFields:
    known.check(by, "by")
    return known


def _value(pair: tuple[Row, Any]) -> Any:
    return pair[1]


def _by_type(pair: tuple[Row, Any]) -> tuple[Any, ...]:
    value = pair[1]
    if isinstance(value, int | float):
        return ("", value, "")
    return (type(value).__name__, 0, str(value))
