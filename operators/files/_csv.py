"""CSV: where records end when fields may have line breaks in them, and what fields become."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from typing import Any, Literal

CsvType = Literal["str", "int", "float", "bool"]
"""What a field may be converted to."""

_TRUTHS = {"true": True, "false": False, "1": True, "0": False}

Record = tuple[int, bytes]
"""A record's offset in its block, and its bytes with the line break at its end."""


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


def converter(kind: CsvType) -> Callable[[str], Any]:
    """A function from a field to a value; an empty field is null, unless it is a text.

    Example:
        >>> converter("int")("12"), converter("bool")("True"), converter("float")("")
        (12, True, None)
    """
    return _CONVERTERS[kind]


def _int(text: str) -> int | None:
    if "_" in text:
        msg = f"must be a whole number; got {text!r}"
        raise ValueError(msg)
    return int(text) if text else None


def _float(text: str) -> float | None:
    if "_" in text:
        msg = f"must be a number; got {text!r}"
        raise ValueError(msg)
    return float(text) if text else None


def _bool(text: str) -> bool | None:
    if text and text.lower() not in _TRUTHS:
        msg = f"must be true or false; got {text!r}"
        raise ValueError(msg)
    return _TRUTHS[text.lower()] if text else None


_CONVERTERS: dict[CsvType, Callable[[str], Any]] = {"str": str, "int": _int, "float": _float, "bool": _bool}
