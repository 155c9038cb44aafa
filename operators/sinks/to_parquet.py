"""Records in Parquet files of a folder, one for each checkpoint."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable

from rxpipe.context import Change, Context, current
from rxpipe.elements import Row
from rxpipe.extras import extra
from rxpipe.operator import operator
from rxpipe.operators.sinks._arrow import Arrow
from rxpipe.operators.sinks._outbox import Outbox
from rxpipe.operators.sinks._parts import Parts
from rxpipe.operators.sinks._records import records_of
from rxpipe.parameters.types import Ge, Gt
from rxpipe.parameters.units import Duration, seconds

T = TypeVar("T")


@operator
def to_parquet(
    source: Observable[T],
    path: str,
    rows: Annotated[int, Ge(1)] = 100_000,
    every: Annotated[Duration, Gt(0)] | None = None,
    compression: Literal["zstd", "snappy", "gzip", "none"] = "zstd",
) -> Observable[T]:
    """Write records to Parquet files in a folder, and pass each element on once it is taken.

    Files are numbered: `part-00000001.parquet` and so on. A Parquet file cannot be appended to, so each checkpoint in
    which records came ends one, and so do completion and the end of a period of `every`; a file is there whole or not
    at all. The setting `checkpoint` of the graph says how often, and how many files there will be; in a run that keeps
    no state `every` and completion alone do. Up to `rows` records are held in memory until they make a row group.

    A batch writes its rows, a table all its rows each time it comes: put `throttle` before; any other element is one
    record. The columns are those of the files that are there, else of the first batch: by the types declared, else by
    its values, and text where those say nothing. Lists of simple values are lists, other lists and mappings JSON texts.
    A column that a record lacks is null. A record with other fields or a value of another type, and one that is taken
    back, goes to `errors`.

    Folder and files are private to the user; the folder has one writer. A full disk or another error of the file system
    loses nothing, as with `to_jsonl`. Completion waits for that; an error passes at once.

        source                    -a-b-|
        to_parquet("/tmp/parts")  -a-b-|

    Args:
        path: The folder; `~` is the user's home.
        rows: Records of a row group.
        every: How long a file is written, counted from midnight UTC; until the next checkpoint by default.
        compression: How columns are compressed.

    Example:
        >>> import tempfile, pyarrow.parquet
        >>> folder = tempfile.mkdtemp()
        >>> _ = rx.of(Batch([{"name": "Ann", "n": 1}, {"name": "Bob", "n": None}])).pipe(to_parquet(folder)).run()
        >>> pyarrow.parquet.read_table(f"{folder}/part-00000001.parquet").to_pylist()
        [{'name': 'Ann', 'n': 1}, {'name': 'Bob', 'n': None}]

    Raises:
        MissingExtraError: The package `pyarrow` is not installed: `pip install 'rxpipe-graphs[parquet]'`.
        RxpipeError: The folder cannot be written to, or has another writer.

    State: the number of the last file, and the columns; the versions of live tables.

    Delivery: exactly-once. A restart removes the files above the saved number; those below may be moved away.
    """

    def subscribe(observer: ObserverBase[T], scheduler: SchedulerBase | None = None) -> DisposableBase:
        period = None if every is None else seconds(every)
        sink = _Sink(current(), scheduler, observer, Path(path).expanduser(), rows, period, compression)
        try:
            upstream = source.subscribe(sink.take, observer.on_error, sink.outbox.complete, scheduler=scheduler)
        except BaseException:
            sink.close()
            raise
        return CompositeDisposable(upstream, Disposable(sink.close))

    return Observable(subscribe)


class _Sink:
    """One subscription: the rows that will make a row group, and the file behind them."""

    def __init__(
        self,
        context: Context,
        scheduler: SchedulerBase | None,
        observer: ObserverBase[Any],
        folder: Path,
        rows: int,
        every: float | None,
        compression: str,
    ) -> None:
        self._context = context
        self._rows = rows
        self._every = every
        self._pyarrow = extra("pyarrow", "parquet", context.name)
        self._held: list[Any] = []
        self._count = 0
        self._period = 0
        self._told: tuple[int, Any] | None = None
        self.outbox = Outbox(context, scheduler, observer, self._write, self._changes)
        saved = self.outbox.state(f"last file and columns in {folder}")
        values = {key: value for key, _, value in saved.items()}
        self._parts = Parts(folder, extra("pyarrow.parquet", "parquet", context.name), compression)
        try:
            if b"number" in values:
                self._parts.go_back(int(values[b"number"]))
            schema = values.get(b"schema")
            read = None if schema is None else self._pyarrow.ipc.read_schema(self._pyarrow.py_buffer(schema))
            self._arrow = Arrow(self._pyarrow, self._parts.schema() if read is None else read)
        except BaseException:
            self.close()
            raise

    def take(self, element: Any) -> None:
        """Take the rows of an element."""
        leases = getattr(element, "leases", ())

        def reject(row: Row, error: Exception) -> None:
            self._context.reject(f"cannot be written as Parquet: {error}", row, leases=leases)

        taken, rows = records_of(element) if self.outbox.news(element) else ([], [])
        for row in taken:
            self._context.reject("a record taken back cannot be taken out of a Parquet file", row, leases=leases)
        table = self._arrow.table(rows, reject)
        self.outbox.put(element, [] if table is None else [table])

    def _write(self, job: list[Any]) -> None:
        """Take the table of a job, which is then off it, and write the row groups that are full."""
        if self._every is not None:
            period = int(self._context.now() // self._every)
            if period != self._period:
                self._finish()
                self._period = period
        while job:
            table = job.pop()
            self._held.append(table)
            self._count += table.num_rows
        self._group(self._rows)
        self._parts.flush()

    def _group(self, least: int) -> None:
        """Make row groups of what is held while it is at least so many rows."""
        if self._count < least:
            return
        self._parts.go_on()
        table = self._pyarrow.concat_tables(self._held)
        start = 0
        while self._count - start >= least and start < self._count:
            self._parts.add(table.slice(start, self._rows))
            start = min(start + self._rows, self._count)
        self._held = [table.slice(start)] if start < self._count else []
        self._count -= start

    def _finish(self) -> None:
        if self._held:
            self._group(1)
        if self._parts.finish():
            self._context.written.add(self._parts.path(self._parts.last))

    def _changes(self) -> Iterable[Change]:
        self._finish()
        told = self._parts.last, self._arrow.schema
        if self._told is not None and self._told == told:
            return
        self._parts.sync()
        yield b"number", "", str(self._parts.last).encode()
        if self._arrow.schema is not None:
            yield b"schema", "", self._arrow.schema.serialize().to_pybytes()
        self._told = told

    def close(self) -> None:
        """Stop writing."""
        self.outbox.close()
        self._parts.close()
