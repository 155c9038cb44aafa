"""Look-up tables from JSON, CSV or a mapping: rows by key, read again when a file changes."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from rxpipe.errors import RxpipeError

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def read_rows(path: Path, inside: str | None, on: str) -> list[dict[str, Any]]:
    """The rows of a JSON file (a list of objects, or an object by key) or of a CSV file with a header.

    Args:
        path: The file; `.csv` is CSV, anything else JSON.
        inside: Dotted path to the rows inside a JSON file.
        on: The key column.

    Raises:
        RxpipeError: The file cannot be read or has another form.
    """
    try:
        data = path.read_bytes()
        if path.suffix.lower() == ".csv":
            return _csv_rows(data, on)
        found: Any = orjson.loads(data)
    except (OSError, ValueError, csv.Error) as error:
        msg = f"look-up file {path}: {error}"
        raise RxpipeError(msg) from error
    for part in inside.split(".") if inside else ():
        if not isinstance(found, dict) or part not in found:
            msg = f"look-up file {path}: must have rows at {inside!r}; there is no {part!r}"
            raise RxpipeError(msg)
        found = found[part]
    return rows_of(found, f"look-up file {path}", on)


def rows_of(found: Any, where: str, on: str) -> list[dict[str, Any]]:
    """Rows from a list of objects, or from a mapping of keys to objects or plain values.

    Raises:
        RxpipeError: It is neither.
    """
    if isinstance(found, Mapping):
        return [
            {**(value if isinstance(value, Mapping) else {"value": value}), on: key} for key, value in found.items()
        ]
    if isinstance(found, list) and all(isinstance(row, dict) for row in found):
        return found
    msg = f"{where}: must be a list of objects, or a mapping; got {type(found).__name__}"
    raise RxpipeError(msg)


def _csv_rows(data: bytes, on: str) -> list[dict[str, Any]]:
    reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
    rows = []
    for row in reader:
        if None in row:
            msg = (
                f"line {reader.line_num}: must have {len(reader.fieldnames or ())} columns, as the header has; got more"
            )
            raise ValueError(msg)
        rows.append({name: value if name == on else _value(value) for name, value in row.items()})
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
        columns: The columns to give; None gives all but the key.
        prefix: Put before the columns' names.

    Attributes:
        columns: The names of the columns that are given.
        rows: For each key their values.
    """

    def __init__(
        self,
        load: Callable[[], list[dict[str, Any]]],
        files: list[Path],
        on: str,
        columns: list[str] | None,
        prefix: str = "",
    ) -> None:
        self._load = load
        self._files = files
        self._on = on
        self._wanted = columns
        self._prefix = prefix
        self._stamp: list[tuple[int, int, int] | None] = []
        self.columns: tuple[str, ...] = ()
        self.rows: dict[Any, tuple[Any, ...]] = {}
        self.read()

    def read(self) -> None:
        """Read all rows.

        Raises:
            RxpipeError: A file cannot be read, or a row has no key. The rows are then those before, and the files are
                not said to have changed until they change again.
        """
        self._stamp = self._stamps()
        rows = self._load()
        names = dict.fromkeys(name for row in rows for name in row if name != self._on)
        columns = list(names) if self._wanted is None else self._wanted
        made: dict[Any, tuple[Any, ...]] = {}
        numbers: dict[Any, tuple[Any, ...]] = {}
        for row in rows:
            values = tuple(row.get(name) for name in columns)
            key = row.get(self._on)
            if key is None or isinstance(key, list | dict):
                msg = f"look-up: each row must have a key in column {self._on!r}; got {row!r:.200}"
                raise RxpipeError(msg)
            made[key] = values
            if isinstance(key, str):
                numbers[_value(key)] = values
        self.columns = tuple(self._prefix + name for name in columns)
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
