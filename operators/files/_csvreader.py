"""One running reader of a CSV file: what comes next, and what to save behind it."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
from reactivex.abc import ObserverBase

from rxpipe.casting import CastType
from rxpipe.context import Change, Context
from rxpipe.elements import Batch
from rxpipe.lease import Lease
from rxpipe.operators.files._csv import column_names, record_end, records, rows_of
from rxpipe.operators.files._tail import Row, Tail, open_file

_BOM = b"\xef\xbb\xbf"


class CsvForm(NamedTuple):
    """How a file is written."""

    delimiter: str
    quote: str
    columns: list[str] | None
    types: dict[str, CastType]


class _Refused(NamedTuple):
    start: int
    end: int
    reason: str
    record: bytes


class _Page(NamedTuple):
    """What one fetch gave; `behind` is what to save once it is emitted."""

    rows: list[dict[str, Any]]
    refused: list[_Refused]
    start: int
    behind: Row | None
    failure: str | None = None


class CsvReader:
    """One subscription. `fetch` and `close` are called on threads, one at a time; the rest on the dataflow's."""

    def __init__(
        self, observer: ObserverBase[Batch], context: Context, path: str, form: CsvForm, most: int, *, follow: bool
    ) -> None:
        self._observer = observer
        self._context = context
        self._path = path
        self._form = form
        self._most = most
        self._follow = follow
        self._quote = form.quote.encode()
        self._names: list[str] | None = form.columns
        self._told: str | None = None
        self._over = False
        saved = context.state("source", self._changes, f"offset in {path}").get(b"offset").get("")
        self._position = self._saved = None if saved is None else msgspec.msgpack.decode(saved, type=Row)
        self._tail = None if self._position is None else Tail.restored(path, self._position)

    def _changes(self) -> Iterable[Change]:
        if self._position is not None and self._position != self._saved:
            yield b"offset", "", msgspec.msgpack.encode(self._position)
            self._saved = self._position

    def emit(self, page: _Page) -> None:
        """Emit a page, and be behind it from then on."""
        if page.failure is not None:
            if page.failure != self._told:
                self._context.reject(page.failure, path=self._path)
            self._told = page.failure
            return
        self._told = None
        self._position = page.behind
        for refused in page.refused:
            self._context.reject(refused.reason, refused.record, path=self._path, start=refused.start, end=refused.end)
        if page.rows:
            end = page.start if page.behind is None else page.behind.offset
            lease = Lease(self._context.flow, end - page.start, self._path, page.start, end)
            self._observer.on_next(Batch(page.rows, leases=(lease,)))

    def close(self) -> None:
        """Let go of the file."""
        if self._tail is not None and self._tail.fd >= 0:
            os.close(self._tail.fd)
            self._tail.fd = -1

    def fetch(self) -> _Page | None:
        """The next records; None at a round's end."""
        if self._over:
            self._over = False
            self.close()
            return None
        try:
            page = self._next()
        except OSError as error:
            page = _Page([], [], 0, None, f"cannot be read: {error.strerror or error}")
        except ValueError as error:  # the names of the columns cannot be read
            page = _Page([], [], 0, None, f"must begin with the names of the columns: {error}")
        self._over = page is None or page.failure is not None
        return self.fetch() if page is None else page

    def _next(self) -> _Page | None:
        tail = self._open()
        if self._names is None or (tail.offset == 0 and self._form.columns is None):
            self._names = None
            if not self._read_names(tail):
                return None
        start = tail.offset
        data = os.pread(tail.fd, self._most, start)
        last = len(data) < self._most and not self._follow
        end = len(data) if last and data else record_end(data, self._quote)
        if not end:
            if len(data) < self._most:
                return None
            line = data[: data.find(b"\n") + 1 or len(data)]
            tail.advance(tail.fd, start + len(line))
            reason = f"a record must have at most {self._most} bytes; is a quote not closed?"
            return _Page([], [_Refused(start, start + len(line), reason, line)], start, tail.row())
        data = data[:end]
        skip = len(_BOM) if start == 0 and data.startswith(_BOM) else 0
        rows, refused = self._parse(data[skip:], start + skip)
        tail.advance(tail.fd, start + end, data)
        return _Page(rows, refused, start, tail.row())

    def _open(self) -> Tail:
        """The file, at its beginning unless it is the one that was read."""
        tail = self._tail
        if tail is not None and tail.fd >= 0:
            return tail
        fd = open_file(self._path)
        found = os.fstat(fd)
        identity = (found.st_dev, found.st_ino)
        if tail is None or tail.identity != identity or found.st_size < tail.offset or not tail.same_content(fd):
            tail = Tail(self._path, *identity)
        tail.fd = fd
        self._tail = tail
        return tail

    def _read_names(self, tail: Tail) -> bool:
        """Take the names of the columns from the first record, if it is there."""
        head = os.pread(tail.fd, self._most, 0)
        _, record = next(records(head.removeprefix(_BOM), self._quote), (0, b""))
        if not record or (not record.endswith(b"\n") and self._follow):
            return False
        self._names = column_names(record, self._form.delimiter, self._form.quote, self._form.types)
        if tail.offset == 0:
            tail.advance(tail.fd, len(record) + (len(_BOM) if head.startswith(_BOM) else 0))
        return True

    def _parse(self, data: bytes, start: int) -> tuple[list[dict[str, Any]], list[_Refused]]:
        """The rows of whole records; one by one where the block as a whole has a fault."""
        try:
            return self._rows_of(data), []
        except (csv.Error, ValueError):
            pass
        rows: list[dict[str, Any]] = []
        refused = []
        for at, record in records(data, self._quote):
            try:
                rows += self._rows_of(record)
            except (csv.Error, ValueError) as error:
                refused.append(_Refused(start + at, start + at + len(record), f"no valid record: {error}", record))
        return rows, refused

    def _rows_of(self, data: bytes) -> list[dict[str, Any]]:
        return rows_of(data, self._names or [], self._form.types, self._form.delimiter, self._form.quote)
