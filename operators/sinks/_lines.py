"""What `to_jsonl` and `write_lines` do: lines appended to a file, or to one file after the other, exactly once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
from reactivex.abc import ObserverBase, SchedulerBase

from rxpipe.context import Change, Context, Cut
from rxpipe.errors import RxpipeError
from rxpipe.log import logger
from rxpipe.operators.sinks._appender import Appender
from rxpipe.operators.sinks._outbox import Outbox
from rxpipe.operators.sinks._records import json_lines
from rxpipe.operators.sinks._series import Series

Encode = Callable[[Any], bytes]
"""An element as the lines to write."""

_FIRST = 1
Job = list[memoryview]
"""What is left to write of one element; what was written is taken off it."""


class LineFiles:
    """One subscription: the file that is written, and what is to be written to it.

    Args:
        context: The step's context.
        scheduler: Where waits come from.
        observer: Takes each element once it is written.
        path: The file, where there is no series.
        encode: Makes the lines of an element.
        each: Whether every element is made durable, not only checkpoints.
        series: The files, where there are several.
    """

    def __init__(
        self,
        context: Context,
        scheduler: SchedulerBase | None,
        observer: ObserverBase[Any],
        path: Path,
        encode: Encode,
        *,
        each: bool,
        series: Series | None = None,
    ) -> None:
        self._context = context
        self._scheduler = context.scheduler(scheduler)
        self._encode = encode
        self._each = each
        self._series = series
        self._tidying = False
        self._number = 0
        self._period: str | None = None
        self.outbox = Outbox(context, scheduler, observer, self._write, self._changes, done=self.close)
        self._saved = self.outbox.state(f"position in {path}: bytes, -")
        rows = {key: value for key, _, value in self._saved.items()}
        position = rows.get(b"position")
        told = None if position is None else msgspec.msgpack.decode(position, type=tuple[int, bytes])
        if series is not None:
            path = self._begin(series, rows.get(b"file"))
        self._file = Appender(path, told)
        if told is None:
            self.outbox.behind(path, f"{self._file.length:,} bytes" if self._file.length else "")
        context.written.add(self._file.path, ".gz")
        self._told: tuple[Path, int] | None = None if told is None else (path, told[0])

    def _begin(self, series: Series, saved: bytes | None) -> Path:
        """Where to go on: at the saved file, else at the last one that is there, else at a new one."""
        series.mend()
        if saved is not None:
            name, self._period = msgspec.msgpack.decode(saved, type=tuple[str, str | None])
            self._number = series.number_of(name)
            series.go_back(self._number)
            return series.folder / name
        now = self._context.now()
        last = series.last()
        if last is not None and not last.packed:
            self._number = last.number
            return series.folder / last.name
        self._number = _FIRST if last is None else last.number + 1
        self._period = series.period(now)
        return series.path(self._number, now)

    def take(self, element: Any) -> None:
        """Write an element."""
        self.outbox.put(element, [memoryview(self._encode(element) if self.outbox.news(element) else b"")])

    def _write(self, job: Job) -> None:
        while job[0]:
            count = len(job[0]) if self._series is None else self._room(self._series, job[0])
            self._file.write(job[0][:count], sync=self._each)
            job[0] = job[0][count:]

    def _room(self, series: Series, data: memoryview) -> int:
        """How much of the data goes to the file, which is another one from now on if it has to be."""
        now = self._context.now()
        if self._period != series.period(now):
            self._rotate(series, now)
        if series.most is None or self._file.length + len(data) <= series.most:
            return len(data)
        whole = bytes(data[: max(0, series.most - self._file.length)]).rfind(b"\n") + 1
        if not whole and self._file.length:
            self._rotate(series, now)
            return self._room(series, data)
        return whole or bytes(data).find(b"\n") + 1

    def _rotate(self, series: Series, now: float) -> None:
        """Begin the next file; one that is empty leaves nothing behind."""
        self._file.sync()
        before = self._file
        try:
            self._file = Appender(series.path(self._number + 1, now))
        except RxpipeError as error:
            if isinstance(error.__cause__, OSError) and not isinstance(error.__cause__, BlockingIOError):
                raise error.__cause__ from error  # which may pass, and is tried again
            raise
        self._context.written.add(self._file.path, ".gz")
        self._number += 1
        self._period = series.period(now)
        before.close()
        if not before.length:
            before.path.unlink(missing_ok=True)
        self._tidy_soon(series)

    def _tidy_soon(self, series: Series) -> None:
        """Take care of old files, on a thread."""
        if not self._tidying:
            self._tidying = True
            self._scheduler.schedule(lambda *_: self._tidy(series))

    def _tidy(self, series: Series) -> None:
        below = self._number
        if self._saved.persistent:  # a restart goes back to this file, and needs it as it is
            rows = {key: value for key, _, value in self._saved.items()}
            name = msgspec.msgpack.decode(rows[b"file"])[0] if b"file" in rows else ""
            below = series.number_of(name)

        def tidy() -> None:
            try:
                series.tidy(below)
            except OSError as error:
                logger.warning("{}: old files cannot be cared for: {}", self._context.name, error)
            finally:
                self._tidying = False

        self._context.executor().submit(tidy)

    def _changes(self) -> Iterable[Change]:
        now = (self._file.path, self._file.length)
        if self._told == now:
            return ()
        rows: list[Change] = [(b"position", "", msgspec.msgpack.encode(self._file.position()))]
        series = self._series
        if series is not None:
            rows.append((b"file", "", msgspec.msgpack.encode((self._file.path.name, self._period))))

        def saved() -> None:
            self._told = now
            if series is not None:
                self._tidy_soon(series)

        return Cut(rows, sync=self._file.sync_aside, saved=saved)

    def close(self) -> None:
        """Stop writing."""
        self.outbox.close()
        self._file.close()


def json_encoder(context: Context) -> Encode:
    """Records as lines of JSON; those without a JSON form are rejected."""

    def encode(element: Any) -> bytes:
        leases = getattr(element, "leases", ())
        return json_lines(element, lambda reason, row: context.reject(reason, row, leases=leases))

    return encode
