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
from rxpipe.operators.files._csv import UNCLOSED, column_names, record_end, record_ends, rows_of
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
        self._end_of = record_ends(form.delimiter, form.quote)
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
        skip = len(_BOM) if start == 0 and data.startswith(_BOM) else 0
        last = len(data) < self._most and not self._follow
        end = len(data) if last else record_end(data, self._quote)
        refused: list[_Refused] = []
        try:
            rows = self._rows_of(data[skip:end])
        except (csv.Error, ValueError):
            end = 0
        if not end:  # there is no whole record, as it seems, or the block as a whole has a fault
            rows, refused, end = self._one_by_one(data, skip, start, last=last)
        if not end:
            return None
        tail.advance(tail.fd, start + end, data[:end])
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
        plain = head.removeprefix(_BOM)
        end = self._end_of(plain, 0)
        if not plain or (end <= 0 and len(head) < self._most and self._follow):
            return False
        record = plain[:end] if end > 0 else _line(plain, 0) if end == UNCLOSED else plain
        self._names = column_names(record, self._form.delimiter, self._form.quote, self._form.types)
        if tail.offset == 0:
            tail.advance(tail.fd, len(record) + (len(_BOM) if head.startswith(_BOM) else 0))
        return True

    def _one_by_one(
        self, data: bytes, at: int, start: int, *, last: bool
    ) -> tuple[list[dict[str, Any]], list[_Refused], int]:
        """The rows of whole records, and where the last one ends; what is no record costs no other."""
        rows: list[dict[str, Any]] = []
        refused = []
        first = at
        while at < len(data):
            end = self._end_of(data, at)
            reason = ""
            if end == UNCLOSED and last:
                reason = "a quote is not closed"
            elif end <= 0 and not last:
                if at > first or len(data) < self._most:
                    break  # what is missing of it may come yet
                reason = f"a record must have at most {self._most} bytes; is a quote not closed?"
            record = _line(data, at) if reason else data[at : end or len(data)]
            try:
                rows += [] if reason else self._rows_of(record)
            except (csv.Error, ValueError) as error:
                reason = f"no valid record: {error}"
            if reason:
                refused.append(_Refused(start + at, start + at + len(record), reason, record))
            at += len(record)
        return rows, refused, at if at > first else 0

    def _rows_of(self, data: bytes) -> list[dict[str, Any]]:
        return rows_of(data, self._names or [], self._form.types, self._form.delimiter, self._form.quote)


def _line(data: bytes, at: int) -> bytes:
    """The line that begins at a place."""
    return data[at : data.find(b"\n", at) + 1 or len(data)]
