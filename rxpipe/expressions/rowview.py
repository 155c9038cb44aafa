"""Rows chosen, ordered and read, for panels of a screen and parts of a document."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from rxpipe.elements import Row
from rxpipe.expressions import parse
from rxpipe.expressions.known import KnownFields

Reader = Callable[[Row], Any]
"""Reads one value of a row; None where the row has none."""


@lru_cache(maxsize=512)
def reader(text: str) -> Reader:
    """A function that reads a column: the one of exactly this name, or else the expression computed of the row.

    A row for which the expression fails has no value there.
    """
    bound: dict[type, Reader] = {}

    def read(row: Row) -> Any:
        kind = type(row)
        function = bound.get(kind)
        if function is None:
            function = _of_dict(text, kind) if isinstance(row, dict) else _of_struct(text, kind)
            bound[kind] = function
        return function(row)

    return read


def _of_dict(text: str, kind: type) -> Reader:
    if text.isidentifier():
        return lambda row: row.get(text)
    computed = _computed(text, kind)
    return lambda row: row[text] if text in row else computed(row)


def _of_struct(text: str, kind: type) -> Reader:
    names = {field.encode_name: field.name for field in msgspec.structs.fields(kind)}
    names |= {name: name for name in names.values()}
    if text in names:
        name = names[text]
        return lambda row: getattr(row, name)
    return (lambda _: None) if text.isidentifier() else _computed(text, kind)


def _computed(text: str, kind: type) -> Reader:
    function = parse(text).bind(kind)

    def read(row: Row) -> Any:
        try:
            return function(row)
        except Exception:  # a value that cannot be computed is shown as missing
            return None

    return read


def arranged(rows: Sequence[Row], where: str | None = None, sort: str | Sequence[str] = ()) -> list[Row]:
    """The rows for which `where` holds, in order.

    Args:
        rows: The rows; not changed.
        where: An expression; rows for which it fails are left out.
        sort: Columns or expressions, the first the most important; a `-` in front means largest first. Missing values
            and NaN come last, equal ones stay in their order.
    """
    if where is not None:
        test = reader(where)
        chosen = [row for row in rows if test(row)]
    else:
        chosen = list(rows)
    for text in reversed([sort] if isinstance(sort, str) else list(sort)):
        if text:
            _sort(chosen, reader(text.removeprefix("-")), descending=text.startswith("-"))
    return chosen


def check_arranged(known: KnownFields, where: str | None, sort: str | Sequence[str], *path: str | int) -> None:
    """Note what `where` and `sort`, parameters below `path`, read of rows that have no such column."""
    if where is not None:
        known.column(where, *path, "where")
    for index, text in enumerate([sort] if isinstance(sort, str) else sort):
        if text:
            known.column(text.removeprefix("-"), *path, "sort", *(() if isinstance(sort, str) else (index,)))


def _sort(rows: list[Row], read: Reader, *, descending: bool) -> None:
    present = [(value, row) for row in rows if not nowhere(value := read(row))]
    missing = [row for row in rows if nowhere(read(row))]
    try:
        present.sort(key=_first, reverse=descending)
    except TypeError:  # values of several types: in the order of their texts
        present.sort(key=lambda pair: str(pair[0]), reverse=descending)
    rows[:] = [row for _, row in present] + missing


def nowhere(value: Any) -> bool:
    """Whether a value has no place in an order: null, and NaN, which would leave the others out of order."""
    return value is None or bool(value != value)  # NaN alone


def _first(pair: tuple[Any, Row]) -> Any:
    return pair[0]
