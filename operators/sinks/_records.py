"""Elements as records, and records as JSON lines."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import orjson

from rxpipe.elements import Batch, LineDelta, OriginGone, Row
from rxpipe.table import Table

OPTION = orjson.OPT_NON_STR_KEYS | orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z
LINE = OPTION | orjson.OPT_APPEND_NEWLINE
Reject = Callable[[str, Any], None]
"""Takes a reason and the record it is about."""


def records_of(element: Any) -> tuple[list[Row], list[Row]]:
    """The records that an element takes back, and those that it brings.

    A batch brings its rows, a table all its rows as they are now, a block of lines its lines; an origin that is gone
    brings nothing; anything else is one record.
    """
    if isinstance(element, Batch):
        return element.retracted, element.rows
    if isinstance(element, Table):
        return [], element.rows()
    if isinstance(element, LineDelta):
        return [], [
            {"path": element.path, "line": line.decode("utf-8", "replace")} for line in element.data.splitlines()
        ]
    if isinstance(element, OriginGone):
        return [], []
    return [], [as_record(element)]


def as_record(element: Any) -> Row:
    """A single element as a record; a value that is none becomes `{"value": …}`."""
    if isinstance(element, Mapping | msgspec.Struct):
        return element
    if isinstance(element, tuple) and hasattr(element, "_asdict"):
        return element._asdict()
    return {"value": element}


def plain(value: Any) -> Any:
    """What JSON does not know, in a form that it does.

    Raises:
        TypeError: There is none.
    """
    if isinstance(value, msgspec.Struct):
        return {name: getattr(value, name) for name in value.__struct_fields__}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return value._asdict()
    if isinstance(value, set | frozenset):
        return list(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return dict(value)
    # a whole number comes here beyond 64 bits, which few readers would take as a number
    if isinstance(value, int) or hasattr(value, "__fspath__") or type(value).__name__ == "Decimal":
        return str(value)
    msg = f"a value of type {type(value).__name__} has no JSON form"
    raise TypeError(msg)


def json_lines(element: Any, reject: Reject) -> bytes:
    """The records of an element as lines of JSON; those it takes back first, marked `"_retracted": true`."""
    taken, rows = records_of(element)
    parts: list[bytes] = []
    for row in taken:
        _line({**_fields(row), "_retracted": True}, parts, reject)
    for row in rows:
        _line(row, parts, reject)
    return b"".join(parts)


def json_records(element: Any, reject: Reject) -> list[tuple[Row, bytes]]:
    """The same, each line with its record."""
    taken, rows = records_of(element)
    made: list[tuple[Row, bytes]] = []
    for row in [*({**_fields(row), "_retracted": True} for row in taken), *rows]:
        parts: list[bytes] = []
        _line(row, parts, reject)
        made += [(row, line) for line in parts]
    return made


def _line(row: Row, parts: list[bytes], reject: Reject) -> None:
    try:
        parts.append(orjson.dumps(row, default=plain, option=LINE))
    except (TypeError, ValueError, RecursionError) as error:
        reject(f"cannot be written as JSON: {error}", row)


def _fields(row: Row) -> dict[str, Any]:
    return dict(row) if isinstance(row, Mapping) else plain(row)
