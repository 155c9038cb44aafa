"""One record per item of a list."""

from __future__ import annotations

from reactivex import Observable

from rxpipe.context import Context
from rxpipe.elements import Row, as_dict
from rxpipe.expressions import parse
from rxpipe.lift import Records, Reject, RowsFunction, lift
from rxpipe.operator import operator
from rxpipe.params import Expr
from rxpipe.rows import compile_values


@operator
def explode(source: Observable[Records], items: Expr, into: str = "item", keep: bool = False) -> Observable[Records]:
    """Make one record per item of a list, each with the fields of the record the list is in, and the item as a field.

    A record without items gives none, unless `keep` is true: then each record also goes on itself, first, with a null item.
    Records that are structs and have no items stay structs; those made are dicts. A retracted record retracts all that it
    gave. A record whose expression fails, or gives no list, goes to `errors`. Completion and errors pass through; nothing
    is held back.

    Args:
        items: What gives the list; null is an empty one.
        into: The field that takes the item.
        keep: Let the record itself go on, too.

    Example:
        >>> rx.of(Batch([{"id": 1, "parts": ["a", "b"]}])).pipe(explode("parts", into="part")).run().rows
        [{'id': 1, 'parts': ['a', 'b'], 'part': 'a'}, {'id': 1, 'parts': ['a', 'b'], 'part': 'b'}]
    """
    items_of = compile_values([parse(items)])

    def make(_: Context) -> RowsFunction:
        def expanded(rows: list[Row], reject: Reject) -> list[Row]:
            kept, lists = items_of(rows, reject)
            if keep and not any(lists):
                return kept
            made: list[Row] = []
            for row, found in zip(kept, lists, strict=True):
                if found is not None and not isinstance(found, list | tuple):
                    reject(row, TypeError(f"explode: {items!r} must be a list; got {type(found).__name__}"))
                    continue
                if keep:
                    made.append(row)
                made.extend({**as_dict(row), into: item} for item in found or ())
            return made

        return expanded

    return lift(source, make)
