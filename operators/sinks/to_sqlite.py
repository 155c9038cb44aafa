"""Records in a table of an SQLite database: appended, or kept up to date by key."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.context import current
from rxpipe.errors import ParameterError, ParameterProblem
from rxpipe.expressions.known import KnownFields
from rxpipe.operator import fields_of, operator
from rxpipe.operators.sinks._outbox import feed
from rxpipe.operators.sinks._writer import Appending, Upserting
from rxpipe.promises import Inflow, Promise, promise_of

T = TypeVar("T")


@operator
def to_sqlite(
    source: Observable[T],
    path: str,
    table: str,
    mode: Literal["append", "upsert"] = "append",
    key: list[str] | None = None,
) -> Observable[T]:
    """Write records to a table of an SQLite database, and pass each element on once it is written.

    Each element is one transaction. The table is made by the first records, with types by their values; a column that
    appears later is added. Times are RFC 3339 texts; lists and mappings are JSON texts; whole numbers beyond 64 bits
    are texts. A record with a value that has no such form, with two fields that differ only in case, or that would
    bring the table above 1,000 columns, goes to `errors`.

    Mode `append` adds a row for each record, numbered in `_rowid`; a table writes all its rows each time it comes, but
    not again where a restart brings it as it was written; a record taken back goes to `errors`. Mode `upsert` keeps one
    row for each key: a later record replaces it, one that is taken back deletes it. Of a live table only rows that
    differ from those written last are written, and rows whose keys are gone from it are deleted; rows that this sink
    did not write stay.

    The database is in WAL mode, so that others can read meanwhile. If it is locked, the disk full, or the disk fails,
    nothing is lost: what is not written is kept, the sources are held, and it is tried again, after 0.1 s at first and
    30 s at last. Completion waits for that; an error passes at once.

    Args:
        path: The database; made private to the user (0600), with its folder. `~` is the user's home.
        table: The table.
        mode: `append`, or `upsert` by key.
        key: For `upsert`: the columns that make the key; for live tables their own key by default.

    Example:
        >>> import sqlite3, tempfile, pathlib, reactivex as rx
        >>> from rxpipe import Batch
        >>> file = str(pathlib.Path(tempfile.mkdtemp(), "out.sqlite"))
        >>> batches = rx.of(Batch([{"k": "a", "n": 1}, {"k": "b", "n": 2}]), Batch([{"k": "a", "n": 3}]))
        >>> _ = batches.pipe(to_sqlite(file, "counts", mode="upsert", key=["k"])).run()
        >>> db = sqlite3.connect(file)
        >>> db.execute("SELECT k, n FROM counts ORDER BY k").fetchall()
        [('a', 3), ('b', 2)]
        >>> db.close()

    State: for `append` the number of the last row and a hash of it, and the versions of live tables; for `upsert` the
        keys written for each live table.

    Delivery: exactly-once for `append`: a restart deletes the rows behind the saved number, and refuses a table that
        does not hold what was written up to there. Idempotent for `upsert`: writing a record again changes nothing.
    """
    if mode == "append" and key:
        name, problem = "to_sqlite", ParameterProblem(("key",), "belongs to mode 'upsert'; got mode 'append'")
        raise ParameterError(name, [problem])

    def subscribe(observer: ObserverBase[T], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context, file = current(), Path(path).expanduser()
        sink: Appending | Upserting
        if mode == "append":
            sink = Appending(context, scheduler, observer, file, table)
        else:
            sink = Upserting(context, scheduler, observer, file, table, tuple(key or ()))
        return feed(sink, source, observer, scheduler)

    return Observable(subscribe)


@fields_of(to_sqlite)
def _fields(known: KnownFields, /, key: list[str] | None, **_: object) -> KnownFields:
    for index, name in enumerate(key or []):
        known.field(name, "key", index)
    return known


@promise_of(to_sqlite)
def _promise(_: Inflow, /, mode: str, **__: object) -> Promise:
    if mode == "upsert":
        return Promise("idempotent", "writing a record again changes nothing")
    return Promise("exactly-once", "a restart deletes the rows behind the saved number")
