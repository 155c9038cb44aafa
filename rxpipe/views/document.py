"""One JSON document built from live tables, for scripts: declared as a mapping of names to parts."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from rxpipe.elements import Row, as_dict, writable
from rxpipe.expressions.known import KnownFields
from rxpipe.expressions.rowview import arranged, check_arranged, reader
from rxpipe.parameters.types import KNOWN_NAMES_ONLY, Expr

RECORDS = "records"
"""The name of the table of the records that come in batches."""


@dataclass
class Part:
    """One entry of a document, made of the rows of one table.

    Attributes:
        table: The table's name.
        form: `rows` is a list of objects; `first` the first row's object; `list` one column's values; `value` one
            value.
        columns: The columns of an object, in order, or a mapping of names to columns or expressions; all by default.
        column: The column or expression for `list` and `value`.
        where: An expression that chooses rows.
        sort: The column, or columns, to order by; `-cost` puts the largest first.
        limit: At most so many rows.
        default: What `value`, and each column of `first`, is where there is no row or no value.
        nest: Further entries inside each object, made of the rows of another table that agree in the columns `on`.
    """

    __pydantic_config__ = KNOWN_NAMES_ONLY

    table: str
    form: Literal["rows", "first", "list", "value"] = "rows"
    columns: list[str] | dict[str, Expr] | None = None
    column: Expr | None = None
    where: Expr | None = None
    sort: str | list[str] = ""
    limit: int | None = None
    default: Any = 0
    nest: dict[str, Nested] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.form in ("list", "value") and self.column is None:
            msg = f"form {self.form!r} needs 'column', the one to take values from"
            raise ValueError(msg)
        if self.form == "first" and self.columns is None:
            msg = "form 'first' needs 'columns', so that the object is the same where there is no row"
            raise ValueError(msg)


@dataclass(kw_only=True)
class Nested(Part):
    """An entry inside the objects of another; see `Part`.

    Attributes:
        on: Columns of both tables that must be equal.
    """

    on: list[str]


def columns_of(known: KnownFields, table: str) -> KnownFields:
    """The columns of a table that is shown: of a stream, or of the records in batches, whose table has a name, too."""
    return known if table == RECORDS else known.of_table(table)


def check_document(known: KnownFields, parts: Mapping[str, Part], *path: str | int) -> None:
    """Note what the entries of a document, a parameter at `path`, read of tables that have no such column."""
    for name, part in parts.items():
        table, where = columns_of(known, part.table), (*path, name)
        check_arranged(table, part.where, part.sort, *where)
        if part.column is not None:
            table.column(part.column, *where, "column")
        columns = part.columns if isinstance(part.columns, dict) else dict(enumerate(part.columns or ()))
        for at, text in columns.items():
            table.column(text, *where, "columns", at)
        for inner, nested in part.nest.items():
            for index, text in enumerate(nested.on):
                for one in (table, columns_of(known, nested.table)):
                    one.column(text, *where, "nest", inner, "on", index)
        check_document(known, part.nest, *where, "nest")


def build_document(parts: Mapping[str, Part], tables: Mapping[str, Sequence[Row]]) -> dict[str, Any]:
    """The document.

    Args:
        parts: Its entries.
        tables: The rows of each table by name; a table that is not there has none.
    """
    return {name: _value(part, tables.get(part.table, ()), tables) for name, part in parts.items()}


def undeclared(tables: Mapping[str, Sequence[Row]]) -> dict[str, Any]:
    """The document where none was declared: all rows of all tables."""
    return {name: [as_dict(row) for row in rows] for name, rows in sorted(tables.items())}


def _value(part: Part, rows: Sequence[Row], tables: Mapping[str, Sequence[Row]]) -> Any:
    chosen = arranged(rows, part.where, part.sort)[: part.limit]
    if part.form == "value":
        return _or_default(reader(part.column or "")(chosen[0]) if chosen else None, part)
    if part.form == "list":
        return [reader(part.column or "")(row) for row in chosen]
    if part.form == "first":
        chosen = chosen[:1]
    objects = [_object(part, row) for row in chosen]
    if part.form == "first" and not objects:
        objects = [dict.fromkeys(_columns(part), part.default)]
        chosen = [{}]
    for name, nested in part.nest.items():
        _nest(name, nested, chosen, objects, tables)
    if part.form == "rows":
        return objects
    return {name: _or_default(value, part) for name, value in objects[0].items()}


def _or_default(value: Any, part: Part) -> Any:
    return part.default if value is None else value


def _columns(part: Part) -> dict[str, str]:
    if isinstance(part.columns, dict):
        return part.columns
    return {name: name for name in part.columns or ()}


def _object(part: Part, row: Row) -> dict[str, Any]:
    if part.columns is None:
        return as_dict(row)
    return {name: reader(text)(row) for name, text in _columns(part).items()}


def _nest(
    name: str, nested: Nested, rows: Sequence[Row], objects: list[dict[str, Any]], tables: Mapping[str, Sequence[Row]]
) -> None:
    readers = [reader(column) for column in nested.on]
    groups: defaultdict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in tables.get(nested.table, ()):
        groups[tuple(read(row) for read in readers)].append(row)
    for row, made in zip(rows, objects, strict=True):
        made[name] = _value(nested, groups.get(tuple(read(row) for read in readers), ()), tables)


def json_text(value: Any, *, indent: bool = False) -> str:
    """Any value as JSON: NaN and infinity are null, what has no form is its text.

    Halves of surrogate pairs, which the names of files may have, are escapes; whole numbers may have any size.
    """
    import orjson  # only where JSON is asked for

    option = orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC
    try:
        return orjson.dumps(value, default=str, option=option | (orjson.OPT_INDENT_2 if indent else 0)).decode()
    except TypeError:  # what is rare is looked for only now
        separators = None if indent else (",", ":")
        made = _plain(value, lambda odd: orjson.loads(orjson.dumps(odd, default=str, option=option)))
        return json.dumps(made, ensure_ascii=False, indent=2 if indent else None, separators=separators)


def _plain(value: Any, other: Callable[[Any], Any]) -> Any:
    """The value made of what Python's own JSON writes; `other` does that for what is no text, whole number or list."""
    if isinstance(value, str):
        return writable(value)
    if isinstance(value, int):
        return value
    if isinstance(value, Mapping):
        return {writable(str(name)): _plain(part, other) for name, part in value.items()}
    return [_plain(part, other) for part in value] if isinstance(value, list | tuple) else other(value)
