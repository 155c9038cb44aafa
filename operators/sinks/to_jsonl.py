"""Records appended to a file, one JSON object a line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable

from rxpipe.context import Change, Context, current
from rxpipe.operator import operator
from rxpipe.operators.sinks._appender import Appender
from rxpipe.operators.sinks._outbox import Outbox
from rxpipe.operators.sinks._records import json_lines

T = TypeVar("T")


@operator
def to_jsonl(source: Observable[T], path: str, sync: Literal["checkpoint", "batch"] = "checkpoint") -> Observable[T]:
    """Append records to a file, one JSON object a line, and pass each element on once it is written.

    A batch writes its rows, in one write; those that it takes back come first, with `"_retracted": true` added. A table
    writes all its rows each time it comes: put `throttle` before. A block of lines writes `{"path", "line"}` for each
    line, any other element is one record. Times are RFC 3339, bytes base64; a record that has no JSON form goes to
    `errors`.

    The file is made private to the user (0600), with its folder. It must be a regular file with no other writer. Where
    the run has no saved position for it, writing goes on at its end.

    A full disk or another error of the file system loses nothing: a line written in part is taken back, what is not
    written is kept, the sources are held, and it is tried again, after 0.1 s at first and 30 s at last. Completion
    waits for that; an error passes at once.

        source              -a-b-|
        to_jsonl("/tmp/x")  -a-b-|

    Args:
        path: The file; `~` is the user's home.
        sync: When what was written is made to survive a power loss: at each checkpoint, or after each element.

    Example:
        >>> import tempfile, pathlib, reactivex as rx
        >>> from rxpipe import Batch
        >>> file = pathlib.Path(tempfile.mkdtemp(), "out.jsonl")
        >>> _ = rx.of(Batch([{"n": 1}, {"n": 2}])).pipe(to_jsonl(str(file))).run()
        >>> print(file.read_text(), end="")
        {"n":1}
        {"n":2}

    State: the file's length, and a hash of the bytes before it.

    Delivery: exactly-once. A restart cuts the file off at the saved length. It refuses a file that is shorter, or does
        not
    hold before that length what was written there.
    """

    def subscribe(observer: ObserverBase[T], scheduler: SchedulerBase | None = None) -> DisposableBase:
        sink = _File(current(), scheduler, observer, path, each=sync == "batch")
        try:
            upstream = source.subscribe(sink.take, observer.on_error, sink.outbox.complete, scheduler=scheduler)
        except BaseException:
            sink.close()
            raise
        return CompositeDisposable(upstream, Disposable(sink.close))

    return Observable(subscribe)


class _File:
    """One subscription: the file, and what is to be written to it."""

    def __init__(
        self, context: Context, scheduler: SchedulerBase | None, observer: ObserverBase[Any], path: str, *, each: bool
    ) -> None:
        self._context = context
        self._each = each
        self._told: tuple[int, bytes] | None = None
        self._last: list[Change] | None = None
        saved = context.state("sink", self._changes, f"position in {path}")
        value = saved.get(b"position").get("")
        self._told = None if value is None else msgspec.msgpack.decode(value, type=tuple[int, bytes])
        self._file = Appender(Path(path).expanduser(), self._told)
        self.outbox = Outbox(context, scheduler, observer, self._write, _is_os_error, self._finish)

    def take(self, element: Any) -> None:
        leases = getattr(element, "leases", ())
        data = json_lines(element, lambda reason, row: self._context.reject(reason, row, leases=leases))
        self.outbox.put(element, data)

    def _write(self, data: bytes) -> None:
        if data:
            self._file.write(data, sync=self._each)

    def _changes(self) -> Iterable[Change]:
        if self._last is not None:
            return self._last
        self.outbox.check_empty()
        return self._new()

    def _new(self) -> Iterable[Change]:
        if self._told is not None and self._told[0] == self._file.length:
            return
        self._file.sync()
        position = self._file.position()
        yield b"position", "", msgspec.msgpack.encode(position)
        self._told = position

    def _finish(self) -> None:
        """The last checkpoint comes when the file is closed: note now what it will ask for."""
        self._last = list(self._new())

    def close(self) -> None:
        self.outbox.close()
        self._file.close()


def _is_os_error(error: Exception) -> bool:
    return isinstance(error, OSError)
