"""Records in Parquet files of a folder."""

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

_NUMBER, _SCHEMA, _PERIOD, _HELD = (b"number", ""), (b"schema", ""), (b"period", ""), b"held"
"""The keys of the state."""


@operator
def to_parquet(
    source: Observable[T],
    path: str,
    rows: Annotated[int, Ge(1)] = 100_000,
    every: Annotated[Duration, Gt(0)] | None = "5min",
    compression: Literal["zstd", "snappy", "gzip", "none"] = "zstd",
) -> Observable[T]:
    """Write records to Parquet files in a folder, and pass each element on once it is taken.

    Files are numbered: `part-00000001.parquet` and so on. A Parquet file cannot be appended to, so what a checkpoint
    finds of one is its end: the first checkpoint with `rows` records or more ends one, and so do completion and the
    first record or checkpoint in another period of `every`; in a run that keeps no state `every` and completion alone
    do. A file is there whole or not at all. Up to `rows` records are held in memory until they make a row group, and
    checkpoints save them meanwhile in the state file.

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
        rows: Records of a row group, and what a file has at least, unless a period or the stream ends before.
        every: How long records wait for others, counted from midnight UTC; null: until there are `rows`.
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

    State: the number of the last file, the columns, and the records that no file has yet; the versions of live tables.

    Delivery: exactly-once. A restart removes the files above the saved number; those below may be moved away.
    """

    def subscribe(observer: ObserverBase[T], scheduler: SchedulerBase | None = None) -> DisposableBase:
        period = None if every is None else seconds(every)
        sink = _Sink(current(), scheduler, observer, Path(path).expanduser(), rows, period, compression)
        try:
            upstream = source.subscribe(sink.take, observer.on_error, sink.complete, scheduler=scheduler)
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
        self._noted = 0  # tables held that are saved
        self._saved = 0  # rows of the state that hold them
        self._period = 0
        self._ending = False
        self._told: tuple[int, Any] | None = None
        self.outbox = Outbox(context, scheduler, observer, self._write, self._changes, done=self.close)
        saved = self.outbox.state(f"last file and columns in {folder}")
        values = {(key, part): value for key, part, value in saved.items()}
        self._parts = Parts(folder, extra("pyarrow.parquet", "parquet", context.name), compression)
        try:
            if _NUMBER in values:
                self._parts.go_back(int(values.pop(_NUMBER)))
            elif self._parts.last:
                self.outbox.behind(folder, f"{self._parts.last:,} files")
            schema = values.pop(_SCHEMA, None)
            read = None if schema is None else self._pyarrow.ipc.read_schema(self._pyarrow.py_buffer(schema))
            self._arrow = Arrow(self._pyarrow, self._parts.schema() if read is None else read)
            self._restore(
                int(values.pop(_PERIOD, b"0")), [values[place] for place in sorted(values) if place[0] == _HELD]
            )
        except BaseException:
            self.close()
            raise

    def _restore(self, period: int, saved: list[bytes]) -> None:
        """Hold what was held at the checkpoint."""
        self._period = period
        self._held = [self._pyarrow.ipc.open_stream(self._pyarrow.py_buffer(table)).read_all() for table in saved]
        self._count = sum(table.num_rows for table in self._held)
        self._noted = self._saved = len(saved)

    def complete(self) -> None:
        """End the last file, then pass the completion on."""
        self._ending = True
        self.outbox.complete()

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
        period = self._now()
        if period != self._period:
            self._finish()
            self._period = period
        while job:
            table = job.pop()
            self._held.append(table)
            self._count += table.num_rows
        self._group(self._rows)
        self._parts.flush()

    def _now(self) -> int:
        """The number of the period."""
        return 0 if self._every is None else int(self._context.now() // self._every)

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
        self._noted = 0

    def _finish(self) -> None:
        if self._held:
            self._group(1)
        if self._parts.finish():
            self._context.written.add(self._parts.path(self._parts.last))

    def _changes(self) -> Iterable[Change]:
        if self._ending or self._parts.begun or self._period != self._now():
            self._finish()
        told = self._parts.last, self._arrow.schema
        if self._told is None or self._told != told:
            self._parts.sync()
            yield *_NUMBER, str(self._parts.last).encode()
            if self._arrow.schema is not None:
                yield *_SCHEMA, self._arrow.schema.serialize().to_pybytes()
            self._told = told
        yield from self._changes_held()

    def _changes_held(self) -> Iterable[Change]:
        """What is held, since the last checkpoint: a row of the state for what came, none for what is in a file."""
        if not self._noted:
            yield from ((_HELD, f"{number:08}", None) for number in range(self._saved))
            self._saved = 0
        if self._noted < len(self._held):
            sink = self._pyarrow.BufferOutputStream()
            with self._pyarrow.ipc.new_stream(sink, self._arrow.schema) as writer:
                for table in self._held[self._noted :]:
                    writer.write_table(table)
            yield _HELD, f"{self._saved:08}", sink.getvalue().to_pybytes()
            yield *_PERIOD, str(self._period).encode()
            self._saved += 1
            self._noted = len(self._held)

    def close(self) -> None:
        """Stop writing."""
        self.outbox.close()
        self._parts.close()
