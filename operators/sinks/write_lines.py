"""Records appended to files that rotate, as lines of JSON or of text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import orjson
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.context import Context, current
from rxpipe.elements import Row
from rxpipe.errors import ParameterError, ParameterProblem
from rxpipe.expressions import parse
from rxpipe.expressions.known import KnownFields
from rxpipe.fusion.rows import compile_values
from rxpipe.operator import fields_of, operator
from rxpipe.operators.sinks._lines import Encode, LineFiles, json_encoder
from rxpipe.operators.sinks._outbox import feed
from rxpipe.operators.sinks._records import OPTION, plain, records_of
from rxpipe.operators.sinks._series import Series
from rxpipe.parameters.types import Expr, Ge, Gt
from rxpipe.parameters.units import Duration, Size, nbytes, seconds

T = TypeVar("T")


@operator
def write_lines(
    source: Observable[T],
    path: str,
    text: Expr | None = None,
    max_size: Annotated[Size, Gt(0)] | None = None,
    every: Annotated[Duration, Gt(0)] | None = None,
    keep: Annotated[int, Ge(0)] | None = None,
    compress: Literal["gzip"] | None = None,
    sync: Literal["checkpoint", "batch"] = "checkpoint",
) -> Observable[T]:
    r"""Append records to files that rotate by size or time, one line each, and pass each element on once it is written.

    A line is the record as JSON, as `to_jsonl` writes it, or what the expression `text` gives: a text as it is, with
    its line breaks escaped, anything else as JSON. A record for which it fails, and with `text` one that is taken back,
    goes to `errors`.

    Where something makes files rotate, each gets a running number before its suffix: `app.jsonl` is written as
    `app.1.jsonl`, `app.2.jsonl` … The next one begins with the first line that would make a file larger than `max_size`
    (a line that is longer has a file of its own), that comes in another period of `every` (which are counted from
    midnight UTC), or for which the codes in the name (%Y, %m, %d, %H, %M, %S, %j, in UTC) give another text:
    `app-%Y%m%d.jsonl` is a file a day. A file never changes its name while it is written.

    Files are private to the user (0600), with their folder; a series has one writer. A full disk or another error of
    the file system loses nothing, as with `to_jsonl`. Completion waits for that; an error passes at once.

        source                 -a-b-|
        write_lines("/tmp/x")  -a-b-|

    Args:
        path: The file; `~` is the user's home. Codes that tell the time may be in its name, not in its folder.
        text: What a line says; the record as JSON by default.
        max_size: How large a file may become.
        every: How long a file is written.
        keep: How many files to keep beside the one that is written; the oldest go first. All by default.
        compress: Compress files with gzip when they are done with, and add `.gz` to their name.
        sync: When what was written is made to survive a power loss: at each checkpoint, or after each element.

    Example:
        >>> import tempfile, pathlib, reactivex as rx
        >>> from rxpipe import Batch
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> batch = Batch([{"level": "info", "n": 1}, {"level": "warn", "n": 2}])
        >>> _ = rx.of(batch).pipe(write_lines(str(folder / "a.log"), text="level + ' ' + str(n)", max_size=7)).run()
        >>> [(file.name, file.read_text()) for file in sorted(folder.iterdir())]
        [('a.1.log', 'info 1\n'), ('a.2.log', 'warn 2\n')]

    State: the file that is written, its length, and a hash of the bytes before it; the versions of live tables.

    Delivery: exactly-once. A restart removes the files begun since the checkpoint, and cuts the one of the checkpoint
        off at the saved length; so files are removed and compressed only once a checkpoint is behind them.
    """
    target = Path(path).expanduser()
    rotates = max_size is not None or every is not None or "%" in path
    if not rotates and (keep is not None or compress is not None):
        message = (
            "'keep' and 'compress' need files that rotate: give 'max_size', 'every', or codes such as %Y in 'path'"
        )
        raise ParameterError("write_lines", [ParameterProblem((), message)])
    most, period = None if max_size is None else nbytes(max_size), None if every is None else seconds(every)
    series = Series(target, most, period, keep, packed=compress is not None) if rotates else None

    def subscribe(observer: ObserverBase[T], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        encode = json_encoder(context) if text is None else _as_text(context, text)
        sink = LineFiles(context, scheduler, observer, target, encode, each=sync == "batch", series=series)
        return feed(sink, source, observer, scheduler)

    return Observable(subscribe)


@fields_of(write_lines)
def _fields(known: KnownFields, /, text: str | None, **_: object) -> KnownFields:
    known.check(text, "text")
    return known


def _as_text(context: Context, text: str) -> Encode:
    values = compile_values([parse(text)])

    def encode(element: Any) -> bytes:
        leases = getattr(element, "leases", ())

        def reject(row: Row, error: Exception) -> None:
            context.reject(f"text: {type(error).__name__}: {error}", row, leases=leases)

        taken, rows = records_of(element)
        for row in taken:
            context.reject("a record taken back cannot be taken out of lines of text", row, leases=leases)
        parts = []
        for row, value in zip(*values(rows, reject), strict=True):
            try:
                parts.append(_line(value))
            except (TypeError, ValueError, RecursionError) as error:
                reject(row, error)
        return b"".join(parts)

    return encode


def _line(value: Any) -> bytes:
    if not isinstance(value, str):
        return orjson.dumps(value, default=plain, option=OPTION | orjson.OPT_APPEND_NEWLINE)
    return value.replace("\r", "\\r").replace("\n", "\\n").encode() + b"\n"
