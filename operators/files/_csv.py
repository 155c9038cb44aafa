"""CSV: where records end when fields may have line breaks in them, and what fields become."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rxpipe.casting import CastType, cast_texts
from rxpipe.errors import ParameterError, ParameterProblem

Record = tuple[int, bytes]
"""A record's offset in its block, and its bytes with the line break at its end."""


def require_form(
    operator: str, delimiter: str, quote: str, columns: Sequence[str] | None, types: Iterable[str]
) -> None:
    """Check the parameters that say how CSV is written.

    Raises:
        ParameterError: Of the operator, that they are not as they must be.
    """
    problems = [
        ParameterProblem((name,), f"must be one ASCII character, and no line break; got {text!r}")
        for name, text in (("delimiter", delimiter), ("quote", quote))
        if len(text) != 1 or not text.isascii() or text in "\r\n"
    ]
    unknown = [] if columns is None else [name for name in types if name not in columns]
    problems += [ParameterProblem(("types", name), f"must be one of 'columns'; got {name!r}") for name in unknown]
    if problems:
        raise ParameterError(operator, problems)


def record_end(data: bytes, quote: bytes) -> int:
    r"""The offset behind the last whole record of data that begins with a record; 0 if there is none.

    Example:
        >>> record_end(b'a,"b\nc"\nd,"e\nf', b'"')
        8
    """
    quotes = data.count(quote)
    end = data.rfind(b"\n") + 1
    behind = data.count(quote, end)
    while end and (quotes - behind) % 2:
        before = data.rfind(b"\n", 0, end - 1) + 1
        behind += data.count(quote, before, end)
        end = before
    return end


def records(data: bytes, quote: bytes) -> Iterator[Record]:
    """The whole records of a block, one by one; what follows the last line break is one, too."""
    start = at = quotes = 0
    while at < len(data):
        end = data.find(b"\n", at) + 1 or len(data)
        quotes += data.count(quote, at, end)
        if quotes % 2 == 0:
            yield start, data[start:end]
            start = end
        at = end
    if start < len(data):
        yield start, data[start:]


def fields_of(data: bytes, delimiter: str, quote: str) -> Iterator[list[str]]:
    """The fields of whole records; an empty line has none.

    Raises:
        csv.Error: A quote stands where it cannot.
        UnicodeDecodeError: A record is no UTF-8.
    """
    lines = [f"{line}\n" for line in data.decode().removesuffix("\n").split("\n")]  # and nothing else ends a line
    return csv.reader(lines, delimiter=delimiter, quotechar=quote, strict=True)


def rows_of(
    data: bytes, names: Sequence[str], types: Mapping[str, CastType], delimiter: str, quote: str
) -> list[dict[str, Any]]:
    r"""Whole records as dicts of their columns' names, texts unless a type says otherwise.

    Raises:
        csv.Error: A quote stands where it cannot.
        ValueError: A record has another number of fields, a field another type, or it is no UTF-8.

    Example:
        >>> rows_of(b"a,1\nb,\n", ["name", "n"], {"n": "int"}, ",", '"')
        [{'name': 'a', 'n': 1}, {'name': 'b', 'n': None}]
    """
    count = len(names)
    rows = []
    for fields in fields_of(data, delimiter, quote):
        if len(fields) == count:
            rows.append(dict(zip(names, fields, strict=True)))
        elif fields:
            msg = f"must have {count} fields; got {len(fields)}"
            raise ValueError(msg)
    for name, kind in types.items():
        if kind != "str":
            for row, value in zip(rows, cast_texts(kind, [row[name] for row in rows]), strict=True):
                row[name] = value
    return rows


def column_names(data: bytes, delimiter: str, quote: str, types: Iterable[str]) -> list[str]:
    """The names of the columns that the first record has.

    Raises:
        ValueError: They are none, or not those that have types.
    """
    try:
        names = next(fields_of(data, delimiter, quote), [])
    except csv.Error as error:
        raise ValueError(str(error)) from error
    if len(set(names)) < len(names) or not all(names):
        msg = f"each must have a name of its own; got {names}"
        raise ValueError(msg)
    unknown = [name for name in types if name not in names]
    if unknown:
        msg = f"there is no column {unknown[0]!r} for 'types'; there are {', '.join(map(repr, names))}"
        raise ValueError(msg)
    return names
