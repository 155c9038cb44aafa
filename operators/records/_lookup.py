"""Look-up tables from JSON, CSV or a mapping: rows by key, read again when a file changes."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec
import orjson

from rxpipe.errors import RxpipeError, shortened
from rxpipe.operators.records._decode import TYPES, FieldType

Types = Mapping[str, FieldType]
"""The declared types of columns, by name."""

MOST_TOLD = 5
"""How many wrong values of a file are told at once."""

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


class LookupFileError(RxpipeError):
    """A look-up file that cannot be used: `path` is the file."""

    def __init__(self, path: Path, reason: object) -> None:
        super().__init__(f"look-up file {path}: {reason}")
        self.path = path


def read_rows(path: Path, inside: str | None, on: str, types: Types) -> list[dict[str, Any]]:
    """The rows of a JSON file (a list of objects, or an object by key) or of a CSV file with a header.

    Args:
        path: The file; `.csv` is CSV, anything else JSON.
        inside: Dotted path to the rows inside a JSON file.
        on: The key column.
        types: The declared types of columns.

    Raises:
        LookupFileError: The file cannot be read, has another form, or a value has another type.
    """
    try:
        data = path.read_bytes()
        if path.suffix.lower() == ".csv":
            texts = {on, *(name for name, kind in types.items() if kind == "str")}
            return rows_of(_csv_rows(data, texts), on, types)
        return rows_of(_inside(orjson.loads(data), inside), on, types)
    except (OSError, ValueError, csv.Error) as error:
        raise LookupFileError(path, error) from error


def _inside(found: Any, path: str | None) -> Any:
    """What is at a dotted path.

    Raises:
        ValueError: There is nothing.
    """
    for part in path.split(".") if path else ():
        if not isinstance(found, dict) or part not in found:
            msg = f"must have rows at {path!r}; there is no {part!r}"
            raise ValueError(msg)
        found = found[part]
    return found


def rows_of(found: Any, on: str, types: Types) -> list[dict[str, Any]]:
    """Rows from a list of objects, or from a mapping of keys to objects or plain values.

    Raises:
        ValueError: It is neither, a row has no key, or a value has another type than declared; null is of any.
    """
    if isinstance(found, Mapping):
        rows = [
            {**(value if isinstance(value, Mapping) else {"value": value}), on: key} for key, value in found.items()
        ]
    elif isinstance(found, list) and all(isinstance(row, dict) for row in found):
        rows = found
    else:
        msg = f"must be a list of objects, or a mapping; got {type(found).__name__}"
        raise ValueError(msg)
    wrong = []
    for row in rows:
        key = row.get(on)
        if key is None or isinstance(key, list | dict):
            msg = f"each row must have a key in column {on!r}; got {row!r:.200}"
            raise ValueError(msg)
        wrong += [
            f"{key!r}: {name!r} must be of type {kind}; got {shortened(repr(row[name]))}"
            for name, kind in types.items()
            if not _is(row.get(name), kind)
        ]
    if wrong:
        raise ValueError("; ".join(wrong[:MOST_TOLD]) + ("; and more" if len(wrong) > MOST_TOLD else ""))
    return rows


def _is(value: Any, kind: FieldType) -> bool:
    try:
        msgspec.convert(value, TYPES[kind])
    except msgspec.ValidationError:
        return False
    return True


def _csv_rows(data: bytes, texts: Collection[str]) -> list[dict[str, Any]]:
    reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
    rows = []
    for row in reader:
        if None in row:
            msg = (
                f"line {reader.line_num}: must have {len(reader.fieldnames or ())} columns, as the header has; got more"
            )
            raise ValueError(msg)
        rows.append({name: (value or None) if name in texts else _value(value) for name, value in row.items()})
    return rows


def _value(text: str | None) -> Any:
    """A number where the text is one as JSON writes it, null where it is empty."""
    match = _NUMBER.fullmatch(text) if text else None
    if match is None:
        return text or None
    return float(match[0]) if match[2] or match[3] else int(match[0])


class Lookup:
    """Rows by key from files (later ones win) or a mapping.

    Args:
        load: Gives all rows.
        files: The files they come from.
        on: The column that holds the key.
        columns: The columns to give, or their declared types; None gives all but the key.
        prefix: Put before the columns' names.

    Attributes:
        names: All columns that a row has, but the key.
        columns: The columns that are given, with the types of their values.
        rows: For each key their values.
    """

    def __init__(
        self,
        load: Callable[[], list[dict[str, Any]]],
        files: list[Path],
        on: str,
        columns: Collection[str] | Types | None,
        prefix: str = "",
    ) -> None:
        self._load = load
        self._files = files
        self._on = on
        self._wanted = columns
        self._prefix = prefix
        self._stamp: list[tuple[int, int, int] | None] = []
        self._types: Types = columns if isinstance(columns, dict) else {}
        self.names: list[str] = []
        self.columns: dict[str, Any] = {}
        self.rows: dict[Any, tuple[Any, ...]] = {}
        self.read()

    def read(self) -> None:
        """Read all rows.

        Raises:
            LookupFileError: A file cannot be used. The rows are then those before, and the files are not said to have
                changed until they change again.
        """
        self._stamp = self._stamps()
        rows = self._load()
        names = dict.fromkeys(name for row in rows for name in row if name != self._on)
        self.names = [*names]
        columns = list(names if self._wanted is None else self._wanted)
        made: dict[Any, tuple[Any, ...]] = {}
        numbers: dict[Any, tuple[Any, ...]] = {}
        for row in rows:
            values = tuple(row.get(name) for name in columns)
            key = row[self._on]
            made[key] = values
            if isinstance(key, str):
                numbers[_value(key)] = values
        self.columns = {self._prefix + name: TYPES[self._types.get(name, "any")] for name in columns}
        self.rows = numbers | made

    def changed(self) -> bool:
        """Whether a file changed since it was read."""
        return bool(self._files) and self._stamps() != self._stamp

    def _stamps(self) -> list[tuple[int, int, int] | None]:
        found: list[tuple[int, int, int] | None] = []
        for file in self._files:
            try:
                stat = os.stat(file)  # on the record path
            except OSError:
                found.append(None)
            else:
                found.append((stat.st_ino, stat.st_mtime_ns, stat.st_size))
        return found
