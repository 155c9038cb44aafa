"""One running `multiline`: what is held of each file, and what is whole."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from reactivex.abc import ObserverBase, SchedulerBase

from rxpipe.context import Change, Context
from rxpipe.elements import LineDelta, OriginGone
from rxpipe.lease import Lease
from rxpipe.operators.files._boundaries import Boundaries
from rxpipe.scheduling.alarm import Alarm

_END = 10
_RETURN = 13


class _Held(msgspec.Struct, array_like=True):
    """The lines of one file that may go on; `due` is when they have been held long enough."""

    path: str
    start: int
    data: bytes
    due: float = 0.0

    @property
    def end(self) -> int:
        """The offset behind them."""
        return self.start + len(self.data)


class Joiner:
    """One subscription."""

    def __init__(
        self,
        observer: ObserverBase[Any],
        context: Context,
        scheduler: SchedulerBase,
        boundaries: Boundaries,
        timeout: float,
        max_lines: int,
        max_bytes: int,
        join: str,
    ) -> None:
        self.observer = observer
        self.context = context
        self.alarm = Alarm(context, scheduler, self.ring)
        self.boundaries = boundaries
        self.timeout = timeout
        self.max_lines = max_lines
        self.max_bytes = max_bytes
        self.join = join.encode()
        self.changed: set[str] = set()
        saved = context.state("operator", self.changes, "lines of a file")
        self.persistent = saved.persistent
        due = self.alarm.now() + timeout
        self.held = {key.decode(): _restored(value, due) for key, _, value in saved.items()}
        """By the identity of the file, what is due first in front."""
        if self.held:
            self.alarm.by(due)
        context.gauge("queue_depth", lambda: len(self.held))

    def changes(self) -> Iterable[Change]:
        """The files whose held lines changed since the last checkpoint."""
        changed, self.changed = self.changed, set()
        for file in changed:
            held = self.held.get(file)
            yield file.encode(), "", None if held is None else msgspec.msgpack.encode(held)

    def on_next(self, element: Any) -> None:
        """Emit the records that a block makes whole, and hold the last one."""
        if isinstance(element, LineDelta):
            self.take(element)
            return
        if isinstance(element, OriginGone):
            for file in [file for file, held in self.held.items() if held.path == element.path]:
                self.emit_held(file)
        self.observer.on_next(element)

    def take(self, delta: LineDelta) -> None:
        """Take a block of one file."""
        held = self.held.get(delta.file)
        if held is not None and held.end != delta.start:
            self.emit_held(delta.file)
            held = None
        start, data = (delta.start, delta.data) if held is None else (held.start, held.data + delta.data)
        new = len(data) - len(delta.data)
        ends = self.limited(data, [new + at for at in self.boundaries(delta.data) if new + at])
        whole = ends[-1] if ends else 0
        if delta.unfinished and whole < len(data):
            ends.append(whole := len(data))
        self.hold(delta, start + whole, data[whole:])
        if whole:
            self.emit(delta, start, data[:whole], ends)

    def hold(self, delta: LineDelta, start: int, rest: bytes) -> None:
        """Hold what may go on, in place of what was held of the file."""
        if self.held.pop(delta.file, None) is not None or rest:
            self.note(delta.file)
        if rest:
            due = self.alarm.now() + self.timeout
            self.held[delta.file] = _Held(delta.path, start, rest, due)
            self.alarm.by(due)

    def limited(self, data: bytes, ends: list[int]) -> list[int]:
        """The ends of records with those added at which one is cut that has too many lines or bytes."""
        shortest = min(self.max_lines, self.max_bytes)
        made: list[int] = []
        begin = 0
        for end in (*ends, len(data)):
            if end - begin > shortest:
                made += self.cuts(data, begin, end)
            begin = end
            made.append(end)
        if not ends or ends[-1] != len(data):
            made.pop()  # the end of the data is no end of a record
        return made

    def cuts(self, data: bytes, begin: int, end: int) -> list[int]:
        """Where to cut a record into pieces of not too many lines and bytes."""
        if end - begin <= self.max_bytes and data.count(b"\n", begin, end) <= self.max_lines:
            return []
        made = []
        lines, at = 0, begin
        while at < end:
            after = data.find(b"\n", at, end) + 1 or end
            if lines and (lines == self.max_lines or after - begin > self.max_bytes):
                made.append(at)
                lines, begin = 0, at
            lines += 1
            at = after
        return made

    def emit(self, delta: LineDelta, start: int, data: bytes, ends: list[int]) -> None:
        """Emit whole records, of which the last may be unfinished."""
        end = start + len(data)
        self.observer.on_next(delta._replace(start=start, end=end, data=self.joined(data, ends)))

    def joined(self, data: bytes, ends: list[int]) -> bytes:
        """The records as lines."""
        returns = b"\r\n" in data
        made = bytearray(data.replace(b"\r\n", self.join * 2) if returns else data).replace(b"\n", self.join)
        for end in ends:
            made[end - 1] = _END
        if returns:
            for end in ends:
                if end > 1 and data[end - 2] == _RETURN:
                    made[end - 2] = _RETURN
        made[-1] = data[-1]  # no line break where the last record is unfinished
        return bytes(made)

    def emit_held(self, file: str) -> None:
        """Emit what is held of a file as it is."""
        held = self.held.pop(file)
        self.note(file)
        lease = Lease(self.context.flow, len(held.data), held.path, held.start, held.end)
        data = self.joined(held.data, [len(held.data)])
        delta = LineDelta(held.path, file, held.start, held.end, data, lease)
        del lease
        self.observer.on_next(delta)

    def note(self, file: str) -> None:
        """Save a file's lines with the next checkpoint."""
        if self.persistent:
            self.changed.add(file)

    def ring(self, now: float) -> float | None:
        """Emit what was held long enough; the next deadline."""
        while self.held:
            file, held = next(iter(self.held.items()))
            if held.due > now:
                return held.due
            self.emit_held(file)
        return None

    def emit_all(self) -> None:
        """Emit all that is held."""
        for file in list(self.held):
            self.emit_held(file)

    def on_completed(self) -> None:
        """Emit what is held, then complete; where the run is stopped, the next one goes on with it."""
        if not (self.persistent and self.context.draining):
            self.emit_all()
        self.observer.on_completed()

    def on_error(self, error: Exception) -> None:
        """Emit what is held, then the error."""
        self.emit_all()
        self.observer.on_error(error)


def _restored(value: bytes, due: float) -> _Held:
    held = msgspec.msgpack.decode(value, type=_Held)
    held.due = due
    return held
