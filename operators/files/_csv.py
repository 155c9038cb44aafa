"""CSV: where records end when fields may have line breaks in them, and what fields become."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from rxpipe.casting import CastType, cast_column
from rxpipe.errors import ParameterError, ParameterProblem

UNCLOSED = -1
"""In place of a record's end: a quote in it is not closed."""


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
    if delimiter == quote:
        problems.append(
            ParameterProblem(("quote",), f"must be another character than 'delimiter'; got {quote!r} twice")
        )
    problems += [ParameterProblem(("types", name), f"must be one of 'columns'; got {name!r}") for name in unknown]
    if problems:
        raise ParameterError(operator, problems)


def record_end(data: bytes, quote: bytes) -> int:
    r"""The offset behind the last whole record of data that begins with a record; 0 if there is none.

    That is, if quotes stand only where they mean something: those before the end of a record are even in number.

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


def record_ends(delimiter: str, quote: str) -> Callable[[bytes, int], int]:
    r"""A function from data and a place where a record begins to the place behind it.

    It takes quotes as Python's `csv` does: they mean something at the beginning of a field only. The function gives 0
    where there is no line break behind the record yet, and `UNCLOSED`.

    Example:
        >>> end = record_ends(",", '"')
        >>> end(b'5" pipe,"a\n""b"\nc', 0), end(b'c,d', 0), end(b'"c,d', 0)
        (16, 0, -1)
    """
    mark = quote.encode()
    stop = re.compile(b"[\n%s]" % re.escape(delimiter.encode()))

    def end_of(data: bytes, at: int) -> int:
        while True:
            if data.startswith(mark, at):
                at = _closed(data, mark, at + 1)
                if not at:
                    return UNCLOSED
            found = stop.search(data, at)
            if found is None:
                return 0
            at = found.end()
            if found[0] == b"\n":
                return at

    return end_of


def _closed(data: bytes, mark: bytes, at: int) -> int:
    """The place behind the quote that closes; 0 if there is none. Two in a row are one that does not."""
    while (found := data.find(mark, at) + 1) and data.startswith(mark, found):
        at = found + 1
    return found


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
            for row, value in zip(rows, cast_column(name, kind, [row[name] for row in rows]), strict=True):
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
