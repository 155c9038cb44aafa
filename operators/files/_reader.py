"""One running reader: which files there are, which of them have something to read, and whose turn it is."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

from reactivex.abc import ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, SerialDisposable

from rxpipe.context import Context
from rxpipe.elements import FileEvent, LineDelta, OriginGone
from rxpipe.lease import Lease
from rxpipe.log import logger
from rxpipe.operators.files._blocks import Found, find_lines, read_block, read_growth, read_rest
from rxpipe.operators.files._codecs import MAGIC
from rxpipe.operators.files._copies import Copies
from rxpipe.operators.files._known import Known
from rxpipe.operators.files._packed import packed_as, read_packed
from rxpipe.operators.files._rotation import Turns
from rxpipe.operators.files._tail import Descriptors, Tail, last_line_end
from rxpipe.scheduling.alarm import PRECISION
from rxpipe.scheduling.loop import BEHIND
from rxpipe.unread import Unread

_SETTLE = 2.0
"""Seconds without news of a file that was there before the watch began, after which all of those have been seen."""
_LONGEST_WAIT = 30.0
_SMALLEST_READ = 16_384
_SMALL = 4
"""Blocks of a file that is read to its end in one go: had the others their turns between, it would be opened again."""


class Reader:
    """One subscription of `read_lines`. Events say what to read: files take turns, unless an open one only grew."""

    def __init__(
        self,
        observer: ObserverBase[Any],
        context: Context,
        scheduler: SchedulerBase,
        start: str,
        block: int,
        max_line: int,
        follow: bool,
        last_line: bool,
        descriptors: int,
        compression: str,
        unread: Callable[[], int] | None,
    ) -> None:
        self.observer = observer
        self.context = context
        self.flow = context.flow
        self.scheduler = scheduler
        self.block = max(1, min(block, max_line))
        self.max_line = max_line
        self.last_line = last_line
        self.compression = compression
        self.unread = unread
        """How many bytes of lines to leave unread at once; None if whoever takes them does not read."""
        self.descriptors = Descriptors(descriptors)
        self.queue = Turns()
        self.since: dict[Tail, float] = {}
        """When each file with something to read became so, oldest first."""
        self.held: set[Tail] = set()
        self.retrying: set[Tail] = set()
        self.timers = {"settle": SerialDisposable(), "retry": SerialDisposable()}
        self.disposables = CompositeDisposable(*self.timers.values())
        self.read_bytes = self.lag_bytes = 0
        self.completing = self.closed = self._scheduled = self._waiting = self._settling = self._taking = False
        self._budget = self.block
        """How many bytes may be read before the rest of the dataflow has its turn."""
        self.known = Known(context, self._dirty, follow=follow, from_end=start == "end")
        self.copies = Copies(self.known, compression) if follow else None
        self.last_known = context.now()
        if self.known.unsettled:
            self._settle_later(_SETTLE)

    def on_next(self, element: Any) -> None:
        """Take note of an event; what is no event passes."""
        if not isinstance(element, FileEvent):
            self.observer.on_next(element)
            return
        if element.kind == "modify" and self._grown(element):
            return
        at_once = element.kind == "modify"  # of files that come and go, more is told: in which order they are read
        within = self._taking  # whoever takes a block told of this: it is read when that is done with
        self._taking = at_once or within
        self.known.on_event(element)
        self._taking = within
        if element.known:
            self.last_known = self.context.now()
        if at_once and not within:
            self._at_once()
        self._settle_lost()

    def _grown(self, event: FileEvent) -> bool:
        """Read at once the lines that a file grew by, if that is all there is to do: most events are of this kind."""
        tail, state = self.known.live.get(event.path), event.new
        if (
            tail is None
            or state is None
            or not tail.only_grew(state, self.block)
            or self.known.leaving.waits(tail)
            or self.queue.turns
            or self._budget <= 0
            or self._taking
            or not self.flow.open
        ):
            return False
        try:
            found = read_growth(self.descriptors.get(tail), tail, state.size)
        except OSError:  # found again, and told, in its turn
            return False
        if found is None:
            return False
        tail.mtime_ns = tail.changed_ns = state.mtime_ns
        self._budget -= max(_SMALLEST_READ, len(found.data))
        self._taking = True
        try:
            self._emit(tail, found)
        finally:
            self._taking = False
        if self.queue.turns or self.completing:
            self._wake()
        return True

    def _settle_lost(self) -> None:
        if not self._settling and self.known.leaving.any_lost:
            self._settle_later(_SETTLE)

    def _settle_later(self, wait: float) -> None:
        """Give files that were saved some more time to turn up."""
        self._settling = True
        self.timers["settle"].disposable = self.scheduler.schedule_relative(wait, self._settle)

    def _settle(self, *_: Any) -> None:
        wait = self._left_since(self.last_known) or self.known.settle(self._left_since)
        self._settling = False
        if wait:
            self._settle_later(wait)

    def _left_since(self, moment: float) -> float:
        """How many seconds are left to turn up since a moment; none if the clock was set back behind it."""
        wait = moment + _SETTLE - self.context.now()
        return wait if PRECISION < wait <= _SETTLE else 0.0

    def _dirty(self, tail: Tail, size: int) -> None:
        """There may be something to read; also of a file that is being read, it may be that it was cut."""
        tail.checked = False
        if not tail.dirty:
            tail.dirty = True
            self.since[tail] = self.context.now()
        self._lag(tail, size - tail.offset)
        self._enqueue(tail)

    def _enqueue(self, tail: Tail, *, first: bool = False) -> None:
        if not tail.queued and not self.known.leaving.waits(tail):
            tail.queued = True
            self.queue.add(tail, first=first)
            self._wake()

    def _at_once(self) -> None:
        """Read now what an event told of, as far as one turn may read; the rest in a turn of its own."""
        if self.queue.turns and not (self._scheduled or self._waiting or self.closed):
            if self._budget > 0:
                self._read_on()
            else:
                self._wake()

    def _wake(self) -> None:
        if not (self._scheduled or self._waiting or self._taking or self.closed):
            self._scheduled = True
            self.scheduler.schedule_relative(BEHIND, self._pump)

    def _resume(self) -> None:
        self._waiting = False
        self._wake()

    def _pump(self, *_: Any) -> None:
        """One turn of the dataflow: read one block, or some small files."""
        self._scheduled = False
        self._budget = self.block
        self._read_on()

    def _read_on(self) -> None:
        """Read as far as one turn may; the next one is asked for behind that, so that timers are not behind two."""
        self._taking = True
        try:
            waiting = self._read_some()
        finally:
            self._taking = False
        if waiting:
            self._waiting = True
            self.flow.wait(self._resume)
        elif self.queue.turns:
            self._wake()
        elif self.completing and not self.closed:
            self.close()
            self.observer.on_completed()

    def _read_some(self) -> bool:
        """Read from the files that wait; whether more may not be read now."""
        while self.queue.turns and self._budget > 0 and not self.closed:
            if not self.flow.open:
                return True
            tail = self.queue.take()
            tail.queued = False
            if not tail.dirty or self.known.leaving.waits(tail):
                continue
            before = self.read_bytes
            try:
                self._read(tail)
            except OSError as error:
                self._failed(tail, error)
            self._budget -= max(_SMALLEST_READ, self.read_bytes - before)
            if tail.queued:  # it gave a block, which ends with a line and may be smaller than one, and there is more
                break
        return False

    def _read(self, tail: Tail) -> None:
        """Give one file its turn."""
        if tail.gone and (tail.fd < 0 or not tail.rest):
            self._finish(tail)
            return
        fd = self.descriptors.get(tail)
        if not tail.checked and (not self._check(fd, tail) or self.closed):
            return
        over = tail.gone or self.completing
        if tail.packed is None:
            found = self._left(fd, tail) or read_block(fd, tail, self.block, self.max_line)
        else:
            found = read_packed(fd, tail, self.block, self.max_line, self.context, over=over, last_line=self.last_line)
        more = found.more
        if not more and tail.scanned > tail.offset and self.last_line and over:
            more = True  # an unfinished line is left, which has its turn after the lines before it
            if not found.data:
                found = read_rest(fd, tail, self.max_line)
        if more:
            self._enqueue(tail, first=tail.packed is None and tail.size <= _SMALL * self.block)
        elif not tail.gone:
            self._idle(tail)
        self._emit(tail, found)
        if tail.gone and not more:
            self._finish(tail)

    def _left(self, fd: int, tail: Tail) -> Found | None:
        """The next lines, left unread, if there is a block of them and they can be."""
        if self.unread is None or tail.size - tail.offset < self.block:
            return None
        size = min(max(self.unread(), self.block), self.max_line, tail.size - tail.offset)
        try:
            return find_lines(fd, tail, size)
        except OSError:  # no descriptor is left, say: if they cannot be read either, that is told
            return None

    def _check(self, fd: int, tail: Tail) -> bool:
        """Before the first read since a change: is it still the same file? If its content is not, start it again."""
        now = os.fstat(fd)
        if (now.st_dev, now.st_ino) != tail.identity:
            self.descriptors.close(tail)
            tail.size = -1
            self._idle(tail)
            return False
        tail.checked = True
        if tail.tries:
            tail.tries = 0
            logger.info("{}: {} can be read again", self.context.name, tail.path)
        tail.size, tail.mtime_ns = now.st_size, now.st_mtime_ns
        self.known.note(tail.path)
        if tail.scanned - tail.offset < self.block or tail.scanned > now.st_size:
            tail.scanned = tail.offset
        voided = tail.offset > 0 and (
            now.st_size < tail.offset
            or not tail.same_content(fd, self._ahead(tail))
            or (self.last_line and now.st_size > tail.offset and tail.torn(fd))
        )
        if voided and not self._restart(tail):
            return False
        if tail.offset == 0 and tail.scanned < MAGIC and tail.packed is None:
            tail.packed = packed_as(self.compression, tail.path, fd)
            waits = self.copies is not None and self.copies.waits(tail, fd, completing=self.completing)
            self._settle_lost()
            if waits:
                end = self._finish if tail.gone else self._idle
                end(tail)
                return False
        if tail.from_end:
            tail.from_end = False
            if tail.packed is None:
                tail.advance(fd, last_line_end(fd, now.st_size))
            else:
                tail.packed.pass_over(now.st_size)
        self._lag(tail, now.st_size - tail.offset)
        if voided:
            self.observer.on_next(OriginGone(tail.path))
        return True

    def _ahead(self, tail: Tail) -> int:
        """How much of what comes next is read where a file is checked: nothing of what may be left unread."""
        left = tail.size - tail.offset
        if tail.packed is not None or tail.scanned > tail.offset or (self.unread is not None and left >= self.block):
            return 0
        return min(self.block, left)

    def _restart(self, tail: Tail) -> bool:
        """Read a file from its beginning, now or behind what was made of what stood in it."""
        copy = self._copy_of(tail)
        outlived = copy is None and self._may_turn_up() and self.known.outlived(tail)
        tail.restart()
        if copy is None and not outlived:
            return True
        tail.checked = False
        if copy is not None:
            self._dirty(copy, copy.size)
            self._enqueue(tail)
        self._settle_lost()
        return False

    def _emit(self, tail: Tail, found: Found) -> None:
        path, start, end = tail.path, found.start, tail.offset if found.end < 0 else found.end
        if not found.data and not found.too_long:
            return
        self.read_bytes += end - start
        self._lag(tail, max(tail.size, tail.scanned) - tail.offset)
        self.known.note(path)
        if found.too_long:
            reason = f"line of {end - start} bytes: at most max_line, {self.max_line}, are read; passed over"
            self.context.reject(reason, path=path, start=start, end=end)
            return
        lease = Lease(self.flow, end - start, path, start, end)
        block: LineDelta | Unread
        if found.kept is not None:
            block = Unread(path, tail.name, start, end, found.data, found.kept, lease)
        else:
            block = LineDelta(path, tail.name, start, end, found.data, lease, found.unfinished)
        del lease, found
        self.observer.on_next(block)

    def _idle(self, tail: Tail) -> None:
        """Nothing to read for now."""
        tail.dirty = tail.checked = False
        self.since.pop(tail, None)
        held = tail.scanned - tail.offset
        self._lag(tail, held)
        if held or (tail.packed is not None and (tail.packed.held or tail.packed.open)):
            self.held.add(tail)
        else:
            self.held.discard(tail)
        self.known.note(tail.path)

    def _finish(self, tail: Tail) -> None:
        """All that could be read of a file that is gone was read."""
        self._forget(tail)
        copy = self._copy_of(tail)
        if copy is None and self._may_turn_up() and self.known.awaits_copy(tail):
            self._settle_lost()
            return
        waiting = self.known.done(tail)
        if waiting is not None:
            self._enqueue(waiting)
        if copy is not None:
            self._dirty(copy, copy.size)
        elif tail.offset > 0:
            self.observer.on_next(OriginGone(tail.path))

    def _copy_of(self, tail: Tail) -> Tail | None:
        """What goes on where a file that is gone ends."""
        return None if self.copies is None else self.copies.after(tail)

    def _may_turn_up(self) -> bool:
        """Whether compressed files are read on where others end, and some may still be told of."""
        return self.copies is not None and not self.completing

    def _forget(self, tail: Tail) -> None:
        """Nothing more is read of a file."""
        self.descriptors.close(tail)
        self.since.pop(tail, None)
        self.held.discard(tail)
        self.retrying.discard(tail)
        self._lag(tail, 0)

    def _lag(self, tail: Tail, lag: int) -> None:
        lag = max(lag, 0)
        self.lag_bytes += lag - tail.lag
        tail.lag = lag

    def _failed(self, tail: Tail, error: OSError) -> None:
        """A file cannot be opened or read: tell once, and try again later."""
        self.descriptors.close(tail)
        if tail.gone:
            self._finish(tail)
            return
        if isinstance(error, FileNotFoundError):
            tail.size = -1
            self._idle(tail)
            if tail.offset == 0:
                self.known.missing(tail)
            return
        if not tail.tries:
            self.context.reject(
                f"cannot be read: {error.strerror or error}", path=tail.path, start=tail.offset, end=tail.size
            )
        tail.tries += 1
        tail.checked = False
        tail.due = self.context.now() + min(_LONGEST_WAIT, 0.5 * 2 ** min(tail.tries, 10))
        self.retrying.add(tail)
        self._retry_later()

    def _retry_later(self) -> None:
        due = min((tail.due for tail in self.retrying), default=None)
        if due is not None:
            wait = max(0.0, due - self.context.now())
            self.timers["retry"].disposable = self.scheduler.schedule_relative(wait, lambda *_: self._retry())

    def _retry(self) -> None:
        for tail in [tail for tail in self.retrying if tail.due <= self.context.now()]:
            self.retrying.discard(tail)
            self._enqueue(tail)
        self._retry_later()

    def on_completed(self) -> None:
        """The source is done: read on to the end, then complete."""
        self.completing = True
        if not self.context.draining:  # else what did not turn up yet may do so in the next run
            self.known.settle(lambda _: 0.0)
        for tail in list(self.held):
            if self.last_line or tail.packed is not None:
                self._dirty(tail, tail.size)
        self._wake()

    def on_error(self, error: Exception) -> None:
        """Nothing more comes of a source that failed."""
        self.close()
        self.observer.on_error(error)

    def drain(self) -> None:
        """Stop; what is left of a last line counts now, unless its file has other news."""
        if self.last_line and not self.closed:
            for tail in [tail for tail in self.held if not tail.gone]:
                with contextlib.suppress(OSError):  # read when the run goes on
                    fd = self.descriptors.get(tail)
                    now = os.fstat(fd)
                    same = (now.st_dev, now.st_ino, now.st_size) == (*tail.identity, tail.scanned)
                    if same and (tail.packed is not None or tail.same_content(fd)):
                        packed = tail.packed
                        rest = read_rest(fd, tail, self.max_line) if packed is None else packed.rest(self.max_line)
                        self._emit(tail, rest)
        self.close()

    def close(self) -> None:
        """Stop, for good."""
        self.closed = True
        self.disposables.dispose()
        self.descriptors.close_all()

    def files(self) -> dict[str, dict[str, int]]:
        """Offset, size and lag of each file."""
        return {
            path: {"offset": tail.offset, "size": max(tail.size, tail.offset), "lag": tail.lag}
            for path, tail in self.known.live.items()
        }

    def lag_seconds(self) -> float:
        """How long the oldest unread byte has been known."""
        oldest = next(iter(self.since.values()), None)
        return 0.0 if oldest is None else max(0.0, self.context.now() - oldest)
