"""Add to each record what a look-up table says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reactivex import Observable

from rxpipe.context import Context
from rxpipe.elements import Row
from rxpipe.errors import RxpipeError, did_you_mean, nearest
from rxpipe.expressions import Expression, parse
from rxpipe.expressions.known import KnownFields
from rxpipe.expressions.syntax import Code
from rxpipe.fusion.lift import Records, Reject, lift
from rxpipe.fusion.loop import Loop
from rxpipe.fusion.rows import Fusible, compile_values
from rxpipe.language.datafiles import DataFiles, find_file
from rxpipe.log import logger
from rxpipe.operator import fields_of, operator
from rxpipe.operators.records._decode import FieldType
from rxpipe.operators.records._lookup import Lookup, LookupFileError, Types, read_rows, rows_of
from rxpipe.operators.records._wider import widened
from rxpipe.parameters.types import Expr

CHECK_SECONDS = 1.0
"""How often a look-up file is looked at for changes while records flow."""


@operator
def enrich(
    source: Observable[Records],
    key: Expr,
    files: DataFiles | None = None,
    table: Mapping[str, object] | Sequence[Mapping[str, object]] | None = None,
    on: str | None = None,
    inside: str | None = None,
    columns: list[str] | dict[str, FieldType] | None = None,
    prefix: str = "",
) -> Observable[Records]:
    """Add the columns of the look-up row that has the record's key; where there is none, they are null.

    A look-up comes from files, JSON (a list of objects, or an object by key) or CSV with a header, of which later ones
    win, or from a mapping written in the graph. Files are looked for as given, then in the graph's folder. One that
    changes is read again within a second of records flowing; it counts for records from then on. If it cannot be read,
    or a value is not of the type declared for its column, the graph does not start, and in a run the old one stays and
    the file goes to `errors`. What has been counted keeps the values it had; the next start of a graph whose look-up
    files changed computes its state anew. Where records may be retracted, put this before the step that retracts them:
    one that is retracted after a change would be given other values than it had.

    Keys of CSV and of JSON objects are texts; `7` is found by the number, too. Other numbers in CSV are read as
    numbers, unless their column is declared as str.

    A record for which the key's expression fails, or gives a list or an object, goes to `errors`. Completion and errors
    pass through; nothing is held back.

    Args:
        key: The record's key.
        files: Look-up files, one or several; empty names are left out.
        table: The look-up itself: rows, or a mapping of keys to rows or to plain values (their column is `value`).
        on: The look-up's key column; by default named like the key. In a mapping it is what the rows are under.
        inside: Dotted path to the rows inside a JSON file.
        columns: Columns to add; by default all but the key. One that no row has is warned of. With types, as in
            `parse_json`, values are checked: they must be of the type declared, or null.
        prefix: What the added fields' names begin with.

    Example:
        >>> prices = {"small": {"price": 0.8}, "large": {"price": 15}}
        >>> rx.of(Batch([{"model": "large"}, {"model": "?"}])).pipe(enrich("model", table=prices)).run()
        Batch([{'model': 'large', 'price': 15}, {'model': '?', 'price': None}])

    Raises:
        RxpipeError: Neither files nor a table are given, or they cannot be read, or a value has another type.
    """
    if (files is None) == (table is None):
        msg = f"enrich: one of 'files' and 'table' must be given; got {'neither' if files is None else 'both'}"
        raise RxpipeError(msg)
    named = [files] if isinstance(files, str) else files or []
    types = columns if isinstance(columns, dict) else {}

    def make(context: Context) -> Fusible:
        paths = [find_file(name, context.folder) for name in named if name]
        column = on or key

        def load() -> list[dict[str, Any]]:
            if table is not None:
                return _rows_of_table(table, column, types)
            return [row for path in paths for row in read_rows(path, inside, column, types)]

        lookup = Lookup(load, paths, column, columns, prefix)
        for name in columns or ():
            if lookup.names and name not in lookup.names:
                guess = did_you_mean(nearest(name, lookup.names))
                logger.warning("{}: no row of the look-up has a column {!r}{}", context.name, name, guess)
        joined = _Enriching(context, parse(key), lookup)
        return Fusible(joined.rows, joined.write, joined.refresh)

    return lift(source, make)


@fields_of(enrich)
def _fields(
    known: KnownFields, /, key: str, columns: list[str] | dict[str, FieldType] | None, prefix: str, **_: object
) -> KnownFields:
    known.check(key, "key")
    return known.unknown() if columns is None else known.plus(*(prefix + name for name in columns))


class _Enriching:
    """One subscription."""

    def __init__(self, context: Context, key: Expression, lookup: Lookup) -> None:
        self._context = context
        self._key = key
        self._keys_of = compile_values([key])
        self._lookup = lookup
        self._due = context.now() + CHECK_SECONDS
        self._version = 0

    def refresh(self) -> int:
        """Look now and then whether the look-up's files changed; returns a number that grows when they did."""
        if self._context.now() >= self._due:
            self._due = self._context.now() + CHECK_SECONDS
            if _refreshed(self._lookup, self._context):
                self._version += 1
        return self._version

    def write(self, loop: Loop) -> None:
        """Write the look-up into a loop."""
        columns = self._lookup.columns
        names = [loop.variable() for _ in columns]
        get, nothing = loop.keep(self._lookup.rows.get), loop.keep((None,) * len(names))
        target = "".join(f"{name}, " for name in names) or "_"
        loop.line(f"{target} = {get}({loop.value(self._key).text}, {nothing})")
        for (name, hint), variable in zip(columns.items(), names, strict=True):
            loop.append(name, Code(variable, hint))

    def rows(self, rows: list[Row], reject: Reject) -> list[Row]:
        """Rows with the columns of the look-up."""
        self.refresh()
        kept, found = _found(self._lookup, *self._keys_of(rows, reject), reject)
        return widened(kept, self._lookup.columns, found)


def _rows_of_table(table: Any, on: str, types: Types) -> list[dict[str, Any]]:
    try:
        return rows_of(table, on, types)
    except ValueError as error:
        msg = f"enrich: table: {error}"
        raise RxpipeError(msg) from error


def _refreshed(lookup: Lookup, context: Context) -> bool:
    """Read the look-up again if its files changed; returns whether that is done."""
    if not lookup.changed():
        return False
    try:
        lookup.read()
    except LookupFileError as error:
        context.reject(f"the look-up stays as it was: {error}", path=str(error.path))
        return False
    return True


def _found(lookup: Lookup, rows: list[Row], keys: list[Any], reject: Reject) -> tuple[list[Row], list[tuple[Any, ...]]]:
    """The rows that do not fail, and what the look-up says of each."""
    nothing = (None,) * len(lookup.columns)
    try:
        return rows, [lookup.rows.get(key, nothing) for key in keys]
    except TypeError:
        rows, keys = _with_keys(rows, keys, reject)
        return rows, [lookup.rows.get(key, nothing) for key in keys]


def _with_keys(rows: list[Row], keys: list[Any], reject: Reject) -> tuple[list[Row], list[Any]]:
    """The rows whose key can be looked up, and their keys; the others are rejected."""
    kept = []
    for row, key in zip(rows, keys, strict=True):
        try:
            hash(key)
        except TypeError:
            reject(row, TypeError(f"a key must be a number, a text or a tuple of them; got {key!r:.80}"))
        else:
            kept.append((row, key))
    return [row for row, _ in kept], [key for _, key in kept]
