"""Records as rows of CSV under the header of the file that they are appended to."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import orjson

from rxpipe.context import Context
from rxpipe.elements import Row
from rxpipe.errors import RxpipeError
from rxpipe.operators.sinks._records import OPTION, as_record, plain, records_of


class CsvRows:
    """Makes the rows of elements for one file.

    Args:
        context: The step's context.
        path: The file.
        columns: The columns; None takes those of the file's header, else of the first record.
        delimiter: The character between cells.
        pad: Whether a record may lack columns.
        cut: Whether a record may have other fields.
    """

    def __init__(
        self, context: Context, path: Path, columns: list[str] | None, delimiter: str, *, pad: bool, cut: bool
    ) -> None:
        self._context = context
        self._path = path
        self._columns = columns
        self._pad = pad
        self._cut = cut
        self._headed = False
        self._text: list[str] = []
        self._delimiter = delimiter
        self._writer = csv.writer(self, delimiter=delimiter, lineterminator="\r\n")

    def begin(self) -> None:
        """Look at the header of the file that is open now, before anything is written.

        Raises:
            RxpipeError: It is not the one declared.
        """
        with self._path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            header = next(csv.reader(file, delimiter=self._delimiter), None)
        if header is None:
            return
        if self._columns is not None and self._columns != header:
            must = f"must begin with a header of the columns {self._columns}"
            msg = f"{self._path}: {must}; got {header}: give the sink another file, or these columns"
            raise RxpipeError(msg)
        self._columns = header
        self._headed = True

    def write(self, text: str) -> None:
        """Take a row from the writer, which quotes carriage returns only if they are part of its line ends."""
        self._text.append(f"{text[:-2]}\n")

    def encode(self, element: Any) -> bytes:
        """The rows of an element, behind the header if they are the file's first."""
        leases = getattr(element, "leases", ())
        taken, rows = records_of(element)
        for row in taken:
            self._context.reject("a record taken back cannot be taken out of a CSV file", row, leases=leases)
        made = []
        for row in rows:
            try:
                made.append(self._row(row))
            except (TypeError, ValueError, RecursionError) as error:
                self._context.reject(f"cannot be written as CSV: {error}", row, leases=leases)
        return b"".join(made)

    def _row(self, row: Row) -> bytes:
        record = as_record(row)
        fields = {str(name): value for name, value in (record if isinstance(record, dict) else plain(record)).items()}
        columns = [*fields] if self._columns is None else self._columns
        if not columns:
            msg = "the first record must have fields, which make the header; it has none"
            raise ValueError(msg)
        if fields.keys() != set(columns):
            self._fit(fields, columns)
        self._text.clear()
        if not self._headed:
            self._writer.writerow(columns)
        self._writer.writerow([_cell(fields.get(name)) for name in columns])
        data = "".join(self._text).encode()
        self._columns, self._headed = columns, True
        return data

    def _fit(self, fields: dict[str, Any], columns: list[str]) -> None:
        lacking = [name for name in columns if name not in fields]
        if lacking and not self._pad:
            msg = f"the record must have the column {lacking[0]!r}, which is in the header; it has none"
            raise ValueError(msg)
        other = [name for name in fields if name not in columns]
        if other and not self._cut:
            msg = f"the record must have no fields but the columns of the header; got {other[0]!r}"
            raise ValueError(msg)


def _cell(value: Any) -> Any:
    """A value as the writer takes it: texts and numbers as they are, anything else as in JSON, without quotes."""
    if value is None or type(value) in (str, int, float):
        return value
    made: str = orjson.dumps(value, default=plain, option=OPTION).decode()
    return orjson.loads(made) if made.startswith('"') else made
