"""Add to each record what a look-up table says of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loguru import logger
from reactivex import Observable

from rxpipe.context import Context
from rxpipe.datafiles import find_file
from rxpipe.elements import Row
from rxpipe.errors import RxpipeError
from rxpipe.expressions import parse
from rxpipe.lift import Records, Reject, RowsFunction, lift
from rxpipe.operator import operator
from rxpipe.operators.records._lookup import Lookup, read_rows, rows_of
from rxpipe.params import DataFiles, Expr
from rxpipe.rows import compile_values, fields_of, row_struct

CHECK_SECONDS = 1.0
"""How often a look-up file is looked at for changes while records flow."""


@operator
def enrich(
    source: Observable[Records],
    key: Expr,
    files: DataFiles | None = None,
    table: dict[str, Any] | list[dict[str, Any]] | None = None,
    on: str | None = None,
    inside: str | None = None,
    columns: list[str] | None = None,
    prefix: str = "",
) -> Observable[Records]:
    """Add the columns of the look-up row that has the record's key; where there is none, they are null.

    A look-up comes from files, JSON (a list of objects, or an object by key) or CSV with a header, of which later ones win,
    or from a mapping written in the graph. Files are looked for as given, then in the graph's folder. One that changes is
    read again within a second of records flowing; it counts for records from then on, and if it cannot be read the old one
    stays and a warning is logged. What has been counted keeps the values it had; the next start of a graph whose look-up
    files changed computes its state anew.

    A record for which the key's expression fails goes to `errors`. Completion and errors pass through; nothing is held back.

    Args:
        key: The record's key.
        files: Look-up files, one or several; empty names are left out.
        table: The look-up itself: rows, or a mapping of keys to rows or to plain values (their column is `value`).
        on: The look-up's key column; by default named like the key, and `key` for a mapping.
        inside: Dotted path to the rows inside a JSON file.
        columns: Columns to add; by default all but the key.
        prefix: What the added fields' names begin with.

    Example:
        >>> prices = {"small": {"price": 0.8}, "large": {"price": 15}}
        >>> rx.of(Batch([{"model": "large"}, {"model": "?"}])).pipe(enrich("model", table=prices)).run()
        Batch([{'model': 'large', 'price': 15}, {'model': '?', 'price': None}])

    Raises:
        RxpipeError: Neither files nor a table are given, or they cannot be read.
    """
    if (files is None) == (table is None):
        msg = f"enrich: one of 'files' and 'table' must be given; got {'neither' if files is None else 'both'}"
        raise RxpipeError(msg)
    keys_of = compile_values([parse(key)])
    named = [files] if isinstance(files, str) else [name for name in files or [] if name]

    def make(context: Context) -> RowsFunction:
        paths = [find_file(name, context.folder) for name in named if name]
        mapping = isinstance(table, dict)

        def load() -> list[dict[str, Any]]:
            if table is not None:
                return rows_of(table, "enrich")
            return [row for path in paths for row in read_rows(path, inside)]

        lookup = Lookup(load, paths, on or ("key" if mapping else key), columns, prefix)
        joins: dict[tuple[type, int], Callable[..., list[Row]]] = {}
        due = context.now() + CHECK_SECONDS

        def enriched(rows: list[Row], reject: Reject) -> list[Row]:
            nonlocal due
            if paths and context.now() >= due:
                due = context.now() + CHECK_SECONDS
                _refresh(lookup, context)
            kept, keys = keys_of(rows, reject)
            if not kept:
                return []
            kinds = {type(row) for row in kept}
            found = [lookup.rows.get(value) for value in keys]
            if len(kinds) == 1:
                return _join(joins, kinds.pop(), lookup)(kept, found)
            return [_join(joins, type(row), lookup)([row], [value])[0] for row, value in zip(kept, found, strict=True)]

        return enriched

    return lift(source, make)


def _refresh(lookup: Lookup, context: Context) -> None:
    if lookup.changed():
        try:
            lookup.read()
        except RxpipeError as error:
            logger.warning("{}: the look-up stays as it was: {}", context.name, error)


def _join(joins: dict[tuple[type, int], Callable[..., list[Row]]], kind: type, lookup: Lookup) -> Callable[..., list[Row]]:
    """The function that adds columns to rows of one type; for structs the constructor of a wider struct, generated."""
    made = joins.get((kind, lookup.version))
    if made is None:
        made = joins[(kind, lookup.version)] = _dict_join(lookup) if issubclass(kind, dict) else _struct_join(kind, lookup)
    return made


def _dict_join(lookup: Lookup) -> Callable[..., list[Row]]:
    columns = lookup.columns
    nothing = (None,) * len(columns)
    return lambda rows, found: [
        {**row, **dict(zip(columns, values or nothing, strict=True))} for row, values in zip(rows, found, strict=True)
    ]


def _struct_join(kind: type, lookup: Lookup) -> Callable[..., list[Row]]:
    old = [name for name in fields_of(kind) if name not in lookup.columns]
    wider = row_struct("Row", {name: Any for name in (*old, *lookup.columns)})
    nothing = (None,) * len(lookup.columns)
    arguments = ", ".join([f"r.{name}" for name in old] + ["*(v or nothing)"])
    source = f"lambda rows, found: [T({arguments}) for r, v in zip(rows, found)]"
    return eval(source, {"T": wider, "nothing": nothing, "zip": zip})  # type: ignore[no-any-return]  # noqa: S307  # of field names
