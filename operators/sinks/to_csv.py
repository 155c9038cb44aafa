"""Records appended to a CSV file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeVar

from annotated_types import MinLen
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable

from rxpipe.context import current
from rxpipe.errors import ParameterError, ParameterProblem
from rxpipe.expressions.known import KnownFields
from rxpipe.operator import fields_of, operator
from rxpipe.operators.sinks._csvrows import CsvRows
from rxpipe.operators.sinks._lines import LineFiles

T = TypeVar("T")


@operator
def to_csv(
    source: Observable[T],
    path: str,
    columns: Annotated[list[str], MinLen(1)] | None = None,
    missing: Literal["error", "empty"] = "error",
    extra: Literal["error", "drop"] = "error",
    delimiter: str = ",",
    sync: Literal["checkpoint", "batch"] = "checkpoint",
) -> Observable[T]:
    r"""Append records to a CSV file with one header, and pass each element on once it is written.

    The header is written before the first record, and once: where the file has one, it holds. A batch writes its rows,
    in one write; a table all its rows each time it comes: put `throttle` before; a block of lines `path` and `line` for
    each line; any other element is one record. Cells are quoted where the rules of Python's `csv` ask for it, and a row
    ends in a line feed. Null is an empty cell; true and false, times (RFC 3339), lists and mappings are as in JSON,
    bytes base64. A record whose fields are not the columns, as `missing` and `extra` say, one that is taken back, or
    that has a value without such a form, goes to `errors`.

    The file is private to the user (0600), with its folder; it has one writer. A full disk or another error of the file
    system loses nothing, as with `to_jsonl`. Completion waits for that; an error passes at once.

        source            -a-b-|
        to_csv("/tmp/x")  -a-b-|

    Args:
        path: The file; `~` is the user's home.
        columns: The columns and their order; by default those of the file's header, else of the first record.
        missing: What becomes of a record that lacks a column: it goes to `errors`, or the cell is empty.
        extra: What becomes of a record that has other fields: it goes to `errors`, or they are dropped.
        delimiter: The character between cells.
        sync: When what was written is made to survive a power loss: at each checkpoint, or after each element.

    Example:
        >>> import tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp(), "out.csv")
        >>> batch = Batch([{"name": "Lee, Ann", "n": 1}, {"name": "Bob", "n": None}])
        >>> _ = rx.of(batch).pipe(to_csv(str(file))).run()
        >>> print(file.read_text(), end="")
        name,n
        "Lee, Ann",1
        Bob,

    Raises:
        RxpipeError: The file has another header than `columns`.

    State: the file's length, and a hash of the bytes before it; the versions of live tables.

    Delivery: exactly-once. A restart cuts the file off at the saved length, and refuses one that is shorter or does not
        hold what was written before, as `to_jsonl` does.
    """
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '\r\n"':
        message = f"must be one ASCII character, and no line break or quote; got {delimiter!r}"
        raise ParameterError("to_csv", [ParameterProblem(("delimiter",), message)])
    double = [name for at, name in enumerate(columns or []) if name in (columns or [])[:at]]
    if double:
        problem = ParameterProblem(("columns",), f"must name each column once; got {double[0]!r} twice")
        raise ParameterError("to_csv", [problem])

    def subscribe(observer: ObserverBase[T], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context, file = current(), Path(path).expanduser()
        rows = CsvRows(context, file, columns, delimiter, pad=missing == "empty", cut=extra == "drop")
        sink = LineFiles(context, scheduler, observer, file, rows.encode, each=sync == "batch")
        try:
            rows.begin()
            upstream = source.subscribe(sink.take, observer.on_error, sink.outbox.complete, scheduler=scheduler)
        except BaseException:
            sink.close()
            raise
        return CompositeDisposable(upstream, Disposable(sink.close))

    return Observable(subscribe)


@fields_of(to_csv)
def _fields(known: KnownFields, /, columns: list[str] | None, missing: str, **_: object) -> KnownFields:
    for index, name in enumerate(columns or []):
        if missing == "error":
            known.field(name, "columns", index)
    return known
