"""Records appended to a file, one JSON object a line."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.context import current
from rxpipe.operator import operator
from rxpipe.operators.sinks._lines import LineFiles, json_encoder
from rxpipe.operators.sinks._outbox import feed

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
    written is kept, the sources are held, and it is tried again, within 0.1 s at first and 30 s at last, unless the
    step's `on_error` says something else. Completion waits for that; an error passes at once.

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

    State: the file's length, and a hash of the bytes before it; the versions of live tables.

    Delivery: exactly-once. A restart cuts the file off at the saved length. It refuses a file that is shorter, or does
        not hold before that length what was written there. `write_lines` does the same with files that rotate.
    """

    def subscribe(observer: ObserverBase[T], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        encode = json_encoder(context)
        sink = LineFiles(context, scheduler, observer, Path(path).expanduser(), encode, each=sync == "batch")
        return feed(sink, source, observer, scheduler)

    return Observable(subscribe)
