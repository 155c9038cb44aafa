"""Rows with further columns, whose values are known for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from rxpipe.elements import Row
from rxpipe.expressions.fields import field_types
from rxpipe.fusion.rows import row_struct

Join = Callable[[list[Row], list[tuple[Any, ...]]], list[Row]]
"""From rows of one type, and the values for each, to rows with both."""


def widened(rows: list[Row], columns: Mapping[str, Any], values: list[tuple[Any, ...]]) -> list[Row]:
    """The rows with columns added behind the others, or put in the place of those of the same names.

    Args:
        rows: The rows.
        columns: The names of the columns, and their types.
        values: For each row the values of the columns.
    """
    added = tuple(columns.items())
    kinds: set[type] = set(map(type, rows))
    joins = {kind: _join(kind, added) for kind in kinds}
    if len(kinds) == 1:
        return joins[kinds.pop()](rows, values)
    return [joins[type(row)]([row], [own])[0] for row, own in zip(rows, values, strict=True)]


@lru_cache(maxsize=1024)
def _join(kind: type, columns: tuple[tuple[str, Any], ...]) -> Join:
    """The function that adds columns to rows of one type; of structs it makes wider structs."""
    if issubclass(kind, dict):
        names = [name for name, _ in columns]
        return lambda rows, found: [
            {**row, **dict(zip(names, values, strict=True))} for row, values in zip(rows, found, strict=True)
        ]
    added = dict(columns)
    old = {name: hint for name, hint in field_types(kind).items() if name not in added}
    wider = row_struct(kind.__name__, old | added)
    values = [f"v{number}" for number in range(len(added))]
    arguments = ", ".join([*(f"r.{name}" for name in old), *values])
    target = f"({', '.join(values)},)" if values else "_"
    source = f"lambda rows, found: [T({arguments}) for r, {target} in zip(rows, found)]"
    join: Join = eval(source, {"T": wider, "zip": zip})  # noqa: S307  # made above, of names of fields
    return join
