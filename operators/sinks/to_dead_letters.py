"""Error records kept whole, to be sent again when their cause is mended."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.context import Change, Context, current
from rxpipe.elements import Batch, ErrorRecord
from rxpipe.faults.letters import line_of
from rxpipe.operator import operator
from rxpipe.operators.sinks._lines import Encode, LineFiles
from rxpipe.operators.sinks._outbox import feed
from rxpipe.operators.sinks._series import Series
from rxpipe.parameters.types import Ge, Gt
from rxpipe.parameters.units import Duration, Size, nbytes, seconds


@operator
def to_dead_letters(
    source: Observable[Batch],
    path: str,
    max_size: Annotated[Size, Gt(0)] | None = None,
    every: Annotated[Duration, Gt(0)] | None = None,
    keep: Annotated[int, Ge(0)] | None = None,
) -> Observable[Batch]:
    """Keep error records with all that was rejected, one JSON object a line; pass each batch on once it is written.

    Put it behind `from: errors`, or behind filters of that stream. A line holds `stream`, `step`, `reason`, `time`, the
    `path` with the bytes `start` to `end` there, and `record`: a record whole, with `types` of those of its fields that
    are texts here only because JSON has no form for them, and `exact`, in base64, those that JSON would change further
    in, as a date in a list; a line as text, or in base64 where it is no UTF-8. `kind` tells which; without it `record`
    only shows what was rejected, shortened. `rxpipe dead-letters` lists these lines, shows one, and sends those
    selected through the graph again, from the step that rejected them. A record that is no error record is rejected.

    The file, or with `max_size` or `every` the files that rotate as those of `write_lines` do, and what becomes of a
    full disk, are as with `to_jsonl`. Completion waits until all is written; an error passes at once.

        source                     -a-b-|
        to_dead_letters("/tmp/x")  -a-b-|

    Args:
        path: The file; `~` is the user's home.
        max_size: How large a file may become.
        every: How long a file is written.
        keep: How many files to keep beside the one that is written, where they rotate; all by default.

    Example:
        >>> import tempfile, pathlib
        >>> from rxpipe import ErrorRecord
        >>> file = pathlib.Path(tempfile.mkdtemp(), "dead.jsonl")
        >>> error = ErrorRecord(step="main[1] where", reason="ZeroDivisionError: division by zero", time=8.0)
        >>> _ = rx.of(Batch([error])).pipe(to_dead_letters(str(file))).run()
        >>> print(file.read_text(), end="")
        {"stream":"main","step":"main[1] where","reason":"ZeroDivisionError: division by zero","time":8.0}

    State: the file's length, and a hash of the bytes before it; which of the lines were sent again.

    Delivery: exactly-once, as that of `to_jsonl`; that a line was sent again is kept together with what came of it.
    """
    series = series_of(path, max_size, every, keep)

    def subscribe(observer: ObserverBase[Batch], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        sink = _Letters(
            context, scheduler, observer, Path(path).expanduser(), _encoder(context), each=False, series=series
        )
        return feed(sink, source, observer, scheduler)

    return Observable(subscribe)


def series_of(path: str, max_size: Any = None, every: Any = None, keep: int | None = None) -> Series | None:
    """The files that are written, where they rotate."""
    if max_size is None and every is None and "%" not in path:
        return None
    most, period = None if max_size is None else nbytes(max_size), None if every is None else seconds(every)
    return Series(Path(path).expanduser(), most, period, keep, packed=False)


def files_of(path: str, max_size: Any = None, every: Any = None, keep: int | None = None) -> list[Path]:
    """The files that are there of those that a step with these parameters writes, the oldest first."""
    series = series_of(path, max_size, every, keep)
    target = Path(path).expanduser()
    found = [target] if series is None else [series.folder / member.name for member in series.members()]
    return [file for file in found if file.is_file()]


class _Letters(LineFiles):
    """The files of one subscription, and what of them was sent again."""

    def _changes(self) -> Iterable[Change]:
        yield from super()._changes()
        yield from self._context.marks()


def _encoder(context: Context) -> Encode:
    def encode(element: Any) -> bytes:
        lines: list[bytes] = []
        for row in element.rows if isinstance(element, Batch) else []:
            if isinstance(row, ErrorRecord):
                lines.append(line_of(row))
            else:
                context.reject("must be an error record, as `errors` has them", row, leases=element.leases)
        return b"".join(lines)

    return encode
