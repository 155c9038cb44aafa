"""The rows of an SQLite table or query, whole or as they are added."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.context import current
from rxpipe.elements import Batch
from rxpipe.errors import ParameterError, ParameterProblem
from rxpipe.operator import operator
from rxpipe.operators.files._rounds import Rounds
from rxpipe.operators.files._tablereader import TableReader
from rxpipe.operators.sinks._database import quoted
from rxpipe.parameters.types import Ge, Gt
from rxpipe.parameters.units import Duration, seconds
from rxpipe.promises import Inflow, Promise, promise_of


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

    A record has the columns as its fields; in a text, what is no UTF-8 becomes U+FFFD. With `cursor` the rows come in
    its order, each once, also over restarts: the column must grow with each row that is added, as an `INTEGER PRIMARY
    KEY AUTOINCREMENT` or the time of an insertion does. Rows of the same value come in the order in which the query
    gives them; a null never comes. A row that is changed later comes again if its cursor grew. Without `cursor` each
    round emits all rows, as they were when it began.

    The database is only read. With a cursor it is open for as long as a batch takes, without for a whole round. One
    that is missing, locked or has no such table or column goes to `errors`, once, and is tried again in the next round.
    Completes behind the only round; with `every` when the run drains.

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

    Guarantee: exactly-once with a `cursor`; at-least-once without: each round emits all rows again.

    State: the cursor's last value, and how many rows with it were emitted.
    """
    if (table is None) == (query is None):
        got = "both" if table else "neither"
        problem = ParameterProblem((), f"one of 'table' and 'query' must be given; got {got}")
        raise ParameterError("read_table", [problem])
    rowsource = quoted(table) if table is not None else f"({query})"

    def subscribe(observer: ObserverBase[Batch], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        reader = TableReader(observer, context, Path(path).expanduser(), rowsource, cursor, rows)
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


@promise_of(read_table)
def _promise(_: Inflow, /, cursor: str | None, **__: object) -> Promise:
    if cursor is None:
        return Promise("at-least-once", "without 'cursor' each round emits all rows again")
    return Promise("exactly-once", "it goes back to the cursor's saved value")
