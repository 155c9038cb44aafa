"""The rows of an SQLite table or query, whole or as they are added."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
from annotated_types import Ge, Gt
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.context import Change, Context, current
from rxpipe.elements import Batch
from rxpipe.errors import ParameterError, ParameterProblem
from rxpipe.lease import Lease
from rxpipe.operator import operator
from rxpipe.operators.files._rounds import Rounds
from rxpipe.operators.sinks._database import quoted
from rxpipe.units import Duration, seconds

_PATIENCE = 1.0
"""Seconds that one attempt waits for a locked database."""

_CELL = 64
"""About what a value takes, beside the text or bytes in it."""


@operator
def read_table(
    path: str,
    table: str | None = None,
    query: str | None = None,
    cursor: str | None = None,
    every: Annotated[Duration, Gt(0)] | None = None,
    rows: Annotated[int, Ge(1)] = 1000,
) -> Observable[Batch]:
    """Emit the rows of an SQLite table or query as records, with a `cursor` only those not emitted before.

    A record has the columns as its fields. With `cursor` the rows come in its order, each once, also over restarts: the
    column must grow with each row that is added, as an `INTEGER PRIMARY KEY AUTOINCREMENT` or the time of an insertion
    does. Rows of the same value come in the order in which the query gives them; a null never comes. A row that is
    changed later comes again if its cursor grew. Without `cursor` each round emits all rows, as they were when it
    began.

    The database is only read. With a cursor it is open for as long as a batch takes, without for a whole round. One
    that is missing, locked or has no such table goes to `errors`, once, and is tried again in the next round. Completes
    behind the only round; with `every` when the run drains.

    Args:
        path: The database; `~` is expanded.
        table: The table or view to read; either this or `query`.
        query: A SELECT without `;`, whose result is read like a table.
        cursor: The column that grows.
        every: The time between two rounds; one round by default, and in a run that reads once.
        rows: The most rows of one batch.

    Example:
        >>> import sqlite3
        >>> with sqlite3.connect("jobs.db") as db:
        ...     _ = db.execute("CREATE TABLE jobs (id INTEGER PRIMARY KEY, name TEXT)")
        ...     _ = db.execute("INSERT INTO jobs (name) VALUES ('a'), ('b')")
        >>> db.close()
        >>> read_table("jobs.db", "jobs", cursor="id").run()
        Batch([{'id': 1, 'name': 'a'}, {'id': 2, 'name': 'b'}])

    State: the cursor's last value, and how many rows with it were emitted.
    """
    if (table is None) == (query is None):
        got = "both" if table else "neither"
        problem = ParameterProblem((), f"one of 'table' and 'query' must be given; got {got}")
        raise ParameterError("read_table", [problem])  # noqa: EM101  # the operator's name, no message
    rowsource = quoted(table) if table is not None else f"({query})"

    def subscribe(observer: ObserverBase[Batch], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        reader = _Reader(observer, context, Path(path).expanduser(), rowsource, cursor, rows)
        return Rounds(
            context,
            scheduler,
            reader.fetch,
            reader.emit,
            lambda _: observer.on_completed(),
            every=None if every is None else seconds(every),
            close=reader.close,
        ).start()

    return Observable(subscribe)


class _Position(NamedTuple):
    """The last value of the cursor, and how many rows with it were read."""

    value: Any
    seen: int


class _Page(NamedTuple):
    """What one fetch gave: rows, and the position behind them; or why there are none."""

    rows: list[dict[str, Any]]
    behind: _Position | None = None
    failure: str | None = None


class _Reader:
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
        at, column = self._read_to, quoted(cursor)
        where = f"{column} IS NOT NULL" if at is None else f"{column} >= ?"
        text = f"SELECT {column}, * FROM {self._source} WHERE {where} ORDER BY {column} LIMIT ?"  # noqa: S608  # likewise
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
            self._db = sqlite3.connect(uri, uri=True, timeout=_PATIENCE, check_same_thread=False, isolation_level=None)
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
