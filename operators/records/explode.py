"""One record per item of a list."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from reactivex import Observable

from rxpipe.context import Context
from rxpipe.elements import Row
from rxpipe.expressions import parse
from rxpipe.lift import Records, Reject, RowsFunction, lift
from rxpipe.operator import operator
from rxpipe.params import Expr
from rxpipe.rows import compile_values, fields_of, row_struct


@operator
def explode(
    source: Observable[Records], items: Expr, into: str = "item", index: str | None = None, keep: bool = False
) -> Observable[Records]:
    """Make one record per item of a list, each with the fields of the record the list is in, and the item as a field.

    A record without items gives none, unless `keep` is true: then each record also goes on itself, first, with a null item.
    A retracted record retracts all that it gave. A record whose expression fails, or gives no list, goes to `errors`.
    Completion and errors pass through; nothing is held back.

    Args:
        items: What gives the list; null is an empty one.
        into: The field that takes the item.
        index: A field that takes the item's number, counted from 1; null in the record itself.
        keep: Let the record itself go on, too.

    Example:
        >>> rx.of(Batch([{"id": 1, "parts": ["a", "b"]}])).pipe(explode("parts", into="part")).run().rows
        [{'id': 1, 'parts': ['a', 'b'], 'part': 'a'}, {'id': 1, 'parts': ['a', 'b'], 'part': 'b'}]
    """
    items_of = compile_values([parse(items)])
    added = (into,) if index is None else (into, index)

    def make(_: Context) -> RowsFunction:
        def expanded(rows: list[Row], reject: Reject) -> list[Row]:
            kept, lists = items_of(rows, reject)
            made: list[Row] = []
            append = made.append
            for row, found in zip(kept, lists, strict=True):
                if found is not None and not isinstance(found, list | tuple):
                    reject(row, TypeError(f"explode: {items!r} must be a list; got {type(found).__name__}"))
                    continue
                widen = _widened(type(row), added)
                if keep:
                    append(widen(row, None, None))
                for number, item in enumerate(found or (), start=1):
                    append(widen(row, item, number))
            return made

        return expanded

    return lift(source, make)


@cache
def _widened(kind: type, added: tuple[str, ...]) -> Callable[[Row, Any, int | None], Row]:
    """The function that adds the item, and its number where a field is named for it, to a row of one type."""
    if issubclass(kind, dict):
        return lambda row, *values: {**row, **dict(zip(added, values, strict=False))}
    old = [name for name in fields_of(kind) if name not in added]
    wider = row_struct("Row", {name: Any for name in (*old, *added)})
    arguments = ", ".join([*(f"r.{name}" for name in old), *("item", "number")[: len(added)]])
    return eval(f"lambda r, item, number: T({arguments})", {"T": wider})  # type: ignore[no-any-return]  # noqa: S307  # of names
