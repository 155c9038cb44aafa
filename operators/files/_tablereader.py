"""One running reader of a table: what comes next, and what to save behind it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from reactivex.abc import ObserverBase

from rxpipe.context import Change, Context
from rxpipe.elements import Batch
from rxpipe.lease import Lease
from rxpipe.operators.sinks._database import quoted

PATIENCE = 1.0
"""Seconds that one attempt waits for a locked database."""

_CELL = 64
"""About what a value takes, beside the text or bytes in it."""


class _Position(NamedTuple):
    """The last value of the cursor, and how many rows with it were read."""

    value: Any
    seen: int


class _Page(NamedTuple):
    """What one fetch gave: rows, and the position behind them; or why there are none."""

    rows: list[dict[str, Any]]
    behind: _Position | None = None
    failure: str | None = None


class TableReader:
    """One subscription. `fetch` and `close` are called on threads, one at a time; the rest on the dataflow's."""

    def __init__(
        self, observer: ObserverBase[Batch], context: Context, path: Path, source: str, cursor: str | None, rows: int
    ) -> None:
        self._observer = observer
        self._context = context
        self._path = path
        self._source = source
        self._cursor = cursor
        self._most = rows
        self._told: str | None = None
        self._db: sqlite3.Connection | None = None
        self._found: sqlite3.Cursor | None = None
        self._over = False
        self._position: _Position | None = None
        self._saved: _Position | None = None
        if cursor is not None:
            saved = context.state("source", self._changes, f"cursor {cursor} of {path}")
            value = saved.get(b"cursor").get("")
            if value is not None:
                self._position = self._saved = _Position(*msgspec.msgpack.decode(value))
        self._read_to = self._position

    def _changes(self) -> Iterable[Change]:
        if self._position != self._saved:
            yield b"cursor", "", msgspec.msgpack.encode(self._position)
            self._saved = self._position

    def emit(self, page: _Page) -> None:
        """Emit a page, and be behind it from then on."""
        if page.failure is not None:
            if page.failure != self._told:
                self._context.reject(page.failure, path=str(self._path))
            self._told = page.failure
            return
        self._told = None
        self._position = page.behind
        self._observer.on_next(Batch(page.rows, leases=(Lease(self._context.flow, _size(page.rows), str(self._path)),)))

    def fetch(self) -> _Page | None:
        """The next rows; None at a round's end."""
        if self._over:
            self._over = False
            self.close()
            return None
        try:
            page = self._whole() if self._cursor is None else self._behind(self._cursor)
        except sqlite3.Error as error:
            self._over = True
            self.close()
            return _Page([], failure=f"cannot be read: {error}")
        if self._cursor is not None:
            self.close()  # nobody is kept from writing while the rows are on their way
        self._over = len(page.rows) < self._most
        return page if page.rows else self.fetch()

    def _whole(self) -> _Page:
        if self._found is None:
            self._found = self._open().execute(f"SELECT * FROM {self._source}")  # noqa: S608  # the graph's own query
        return _Page(_dicts(self._found, self._found.fetchmany(self._most)))

    def _behind(self, cursor: str) -> _Page:
        at, column = self._read_to, f"source.{quoted(cursor)}"  # in quotes alone it would be a text where there is none
        where = f"{column} IS NOT NULL" if at is None else f"{column} >= ?"
        text = f"SELECT {column}, source.* FROM {self._source} AS source WHERE {where} ORDER BY {column} LIMIT ?"  # noqa: S608  # likewise
        values = () if at is None else (at.value,)
        count = 0 if at is None else at.seen
        found = self._open().execute(text, (*values, self._most + count))
        rows = found.fetchall()
        known = 0
        while at is not None and known < min(count, len(rows)) and rows[known][0] == at.value:
            known += 1  # those may have been deleted meanwhile
        rows = rows[known : known + self._most]
        if rows:
            last = rows[-1][0]
            same = sum(row[0] == last for row in rows)
            self._read_to = _Position(last, same + (known if at is not None and at.value == last else 0))
        return _Page(_dicts(found, rows, 1), self._read_to)

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            uri = f"{self._path.absolute().as_uri()}?mode=ro"
            self._db = sqlite3.connect(uri, uri=True, timeout=PATIENCE, check_same_thread=False, isolation_level=None)
            self._db.text_factory = partial(str, encoding="utf-8", errors="replace")  # else one row would end it all
        return self._db

    def close(self) -> None:
        """Let go of the database."""
        self._found = None
        if self._db is not None:
            self._db.close()
            self._db = None


def _dicts(found: sqlite3.Cursor, rows: list[tuple[Any, ...]], skip: int = 0) -> list[dict[str, Any]]:
    names = [column[0] for column in found.description[skip:]]
    return [dict(zip(names, row[skip:], strict=True)) for row in rows]


def _size(rows: list[dict[str, Any]]) -> int:
    texts = sum(len(value) for row in rows for value in row.values() if isinstance(value, str | bytes))
    return texts + _CELL * sum(map(len, rows))
