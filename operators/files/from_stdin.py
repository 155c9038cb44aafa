"""The lines of standard input, in blocks."""

from __future__ import annotations

import os
import select

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.context import Context, current
from rxpipe.elements import LineDelta
from rxpipe.lease import Lease
from rxpipe.operator import operator
from rxpipe.operators.files._rounds import Rounds
from rxpipe.parameters.units import Size, nbytes

_STDIN = 0


@operator
def from_stdin(name: str = "stdin", block: Size = "256KB", max_line: Size = "16MB") -> Observable[LineDelta]:
    """Read standard input and emit its complete lines in blocks, each line once.

    Reading waits on a thread, so that nothing else does, and stops while too much is in flight: the program at the
    other end of the pipe then waits. A block ends with a newline; one that is missing at the end of the input is added.
    Completes at the end of the input. When the run drains before that, what came of an unfinished line is emitted as
    such, and what was not read stays in the pipe.

    A pipe cannot be read again, so nothing is remembered of it: a drain loses nothing, but what was read and not yet
    written when the run is killed is gone, unless it is fed in again. Whoever needs more writes to a file, and has
    `read_lines` follow it.

    Guarantee: at-most-once: what was read of a pipe cannot be read again.

    Args:
        name: What the lines have as their path, in records and in `errors`.
        block: How much to read at once.
        max_line: A longer line goes to `errors` with its place, and is passed over without being kept.

    Example:
        >>> lines = from_stdin()  # rxpipe run graph.yaml < input.txt
    """

    def subscribe(observer: ObserverBase[LineDelta], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        lines = _Lines(observer, context, name, nbytes(max_line))
        waker = _Waker()
        size = max(1, min(nbytes(block), nbytes(max_line)))

        def fetch() -> bytes | None:
            return (os.read(_STDIN, size) or None) if waker.wait(_STDIN) else None

        rounds = Rounds(context, scheduler, fetch, lines.take, lines.end, interrupt=waker.wake, close=waker.close)
        return rounds.start()

    return Observable(subscribe)


class _Waker:
    """Waits for input, and can be told from another thread to wait no more."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def wait(self, descriptor: int) -> bool:
        """Wait until there is something to read, or the end of it; false when woken."""
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        poll.register(self._read, select.POLLIN)
        return self._read not in dict(poll.poll())

    def wake(self) -> None:
        """Wait no more."""
        os.write(self._write, b"x")

    def close(self) -> None:
        """Let go of the pipe; nobody may be waiting."""
        os.close(self._read)
        os.close(self._write)


class _Lines:
    """Cuts what is read into blocks of complete lines."""

    def __init__(self, observer: ObserverBase[LineDelta], context: Context, name: str, max_line: int) -> None:
        self._observer = observer
        self._context = context
        self._name = name
        self._max_line = max_line
        self._parts: list[bytes] = []
        self._held = 0
        self._start = 0
        self._drop = False

    def take(self, data: bytes) -> None:
        """Take what was read: emit the lines that are complete, hold the rest."""
        end = data.rfind(b"\n") + 1
        if end:
            first = data.find(b"\n") + 1
            if self._drop or self._held + first > self._max_line:
                self._pass_over(first)
                self._emit(data[first:end])
            else:
                self._emit(b"".join([*self._parts, data[:end]]))
            self._parts, self._held = [], 0
        rest = data[end:]
        self._held += len(rest)
        if self._held > self._max_line:
            self._drop = True
            self._parts = []
        elif rest:
            self._parts.append(rest)

    def end(self, drained: bool) -> None:
        """The input is at its end, and so is its last line; or the run drains, and nobody knows whether that is so."""
        if self._drop:
            self._pass_over(0)
        elif drained:
            self._emit(b"".join(self._parts), unfinished=True)
        elif self._parts:
            self._emit(b"".join([*self._parts, b"\n"]), length=self._held)
        self._observer.on_completed()

    def _pass_over(self, more: int) -> None:
        start, self._start = self._start, self._start + self._held + more
        self._drop = False
        reason = f"line of {self._start - start} bytes: at most max_line, {self._max_line}, are read; passed over"
        self._context.reject(reason, path=self._name, start=start, end=self._start)

    def _emit(self, data: bytes, *, length: int | None = None, unfinished: bool = False) -> None:
        if data:
            start, self._start = self._start, self._start + (len(data) if length is None else length)
            lease = Lease(self._context.flow, len(data), self._name, start, self._start)
            delta = LineDelta(self._name, self._name, start, self._start, data, lease, unfinished=unfinished)
            del lease
            self._observer.on_next(delta)
