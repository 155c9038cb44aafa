"""Look-up tables from JSON, CSV or a mapping: rows by key, read again when a file changes."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from rxpipe.errors import RxpipeError

Columns = tuple[str, ...]


def read_rows(path: Path, inside: str | None) -> list[dict[str, Any]]:
    """The rows of a JSON file (a list of objects, or an object by key) or of a CSV file with a header.

    Args:
        path: The file; `.csv` is CSV, anything else JSON.
        inside: Dotted path to the rows inside a JSON file.

    Raises:
        RxpipeError: The file cannot be read or has another form.
    """
    try:
        data = path.read_bytes()
        if path.suffix.lower() == ".csv":
            text = io.StringIO(data.decode("utf-8-sig"))
            return [{name: _number(value) for name, value in row.items()} for row in csv.DictReader(text)]
        found: Any = orjson.loads(data)
    except (OSError, ValueError) as error:
        msg = f"look-up file {path}: {error}"
        raise RxpipeError(msg) from error
    for part in inside.split(".") if inside else ():
        if not isinstance(found, dict) or part not in found:
            msg = f"look-up file {path}: must have rows at {inside!r}; there is no {part!r}"
            raise RxpipeError(msg)
        found = found[part]
    return rows_of(found, str(path))


def rows_of(found: Any, where: str) -> list[dict[str, Any]]:
    """Rows from a list of objects, or from a mapping of keys to objects or plain values.

    Raises:
        RxpipeError: It is neither.
    """
    if isinstance(found, Mapping):
        return [{"key": key, **(value if isinstance(value, Mapping) else {"value": value})} for key, value in found.items()]
    if isinstance(found, list) and all(isinstance(row, dict) for row in found):
        return found
    msg = f"{where}: a look-up must be a list of objects, or a mapping; got {type(found).__name__}"
    raise RxpipeError(msg)


def _number(text: str | None) -> Any:
    if text is None or text == "":
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


class Lookup:
    """Rows by key from files (later ones win) or a mapping.

    Args:
        load: Gives all rows.
        files: The files they come from.
        on: The column that holds the key.
        columns: The columns to give; None gives all but the key.
        prefix: Put before the columns' names.
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
        self._stamp: list[tuple[int, int, int]] = []
        self.columns: Columns = ()
        self.rows: dict[Any, tuple[Any, ...]] = {}
        self.version = 0
        self.read()

    def read(self) -> None:
        """Read all rows.

        Raises:
            RxpipeError: A file cannot be read, or a row has no key.
        """
        stamp = self._stamps()
        rows = self._load()
        for row in rows:
            if self._on not in row:
                msg = f"look-up: each row must have the key column {self._on!r}; got {', '.join(map(repr, row))}"
                raise RxpipeError(msg)
        columns = self._wanted or [name for name in dict.fromkeys(name for row in rows for name in row) if name != self._on]
        self.columns = tuple(self._prefix + name for name in columns)
        self.rows = {row[self._on]: tuple(row.get(name) for name in columns) for row in rows}
        self._stamp = stamp
        self.version += 1

    def changed(self) -> bool:
        """Whether a file changed since it was read."""
        return bool(self._files) and self._stamps() != self._stamp

    def _stamps(self) -> list[tuple[int, int, int]]:
        found = []
        for file in self._files:
            try:
                stat = os.stat(file)  # noqa: PTH116  # on the record path
            except OSError:
                continue
            found.append((stat.st_ino, stat.st_mtime_ns, stat.st_size))
        return found
