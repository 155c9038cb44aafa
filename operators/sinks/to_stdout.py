"""Records on standard output, one a line."""

from __future__ import annotations

import os
import sys
from typing import Any, Literal, TextIO, TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable

from rxpipe.context import current
from rxpipe.elements import LineDelta
from rxpipe.errors import escaped
from rxpipe.operator import operator
from rxpipe.operators.sinks._outbox import Outbox
from rxpipe.operators.sinks._records import json_lines, records_of
from rxpipe.operators.sinks._text import pairs

T = TypeVar("T")


@operator
def to_stdout(
    source: Observable[T],
    format: Literal["json", "text"] = "json",
) -> Observable[T]:
    """Write records to standard output, one a line, and pass each element on once it is written.

    `json` writes one JSON object for each record, as `to_jsonl` does. `text` writes `name=value` pairs, values with
    spaces or quotes as JSON strings; a plain text as it is; a block of lines as the lines that it is. A slow reader
    holds the run: a pipe is waited for. A full disk is tried again, as `to_jsonl` does. If the reader goes away (`|
    head`) the stream ends in a `BrokenPipeError`, which the command line takes for a quiet end. An error passes at
    once.

        source       -a-b-|
        to_stdout()  -a-b-|

    Args:
        format: `json` or `text`.

    Example:
        >>> import reactivex as rx
        >>> from rxpipe import Batch
        >>> _ = rx.of(Batch([{"n": 1, "who": "Ann Lee"}])).pipe(to_stdout("text")).run()
        n=1 who="Ann Lee"

    Delivery: shown: what another program has read cannot be taken back, and a restart may write it again.
    """

    def subscribe(observer: ObserverBase[T], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        output = context.output()
        stream: TextIO = sys.stdout if output is None else output.stream
        if stream is sys.__stdout__:
            context.written.add("/dev/stdout")  # which may lead to a file
        outbox = Outbox(context, scheduler, observer, lambda job: _write(stream, job), fatal=(BrokenPipeError,))

        def on_next(element: T) -> None:
            leases = getattr(element, "leases", ())
            if format == "text":
                data = _text(element)
            else:
                data = json_lines(element, lambda reason, row: context.reject(reason, row, leases=leases))
            try:
                outbox.put(element, [memoryview(data)])
            except BrokenPipeError as error:
                observer.on_error(error)

        upstream = source.subscribe(on_next, observer.on_error, outbox.complete, scheduler=scheduler)
        return CompositeDisposable(upstream, Disposable(outbox.close))

    return Observable(subscribe)


def _write(stream: TextIO, job: list[memoryview]) -> None:
    """Write the rest of a job; what was written is taken off it."""
    if stream is not sys.__stdout__:
        stream.write(bytes(job[0]).decode())
        stream.flush()
        return
    stream.flush()
    while job[0]:
        job[0] = job[0][os.write(stream.fileno(), job[0]) :]


def _text(element: Any) -> bytes:
    if isinstance(element, LineDelta):
        return element.data
    if isinstance(element, str):
        return f"{escaped(element)}\n".encode("utf-8", "replace")
    taken, rows = records_of(element)
    lines = [f"{pairs(row)} _retracted=true\n" for row in taken] + [f"{pairs(row)}\n" for row in rows]
    return "".join(lines).encode("utf-8", "replace")
