"""Sources that ask for pieces on a thread: all there is now, then, if told so, again after a while."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from reactivex.abc import DisposableBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable, SerialDisposable

from rxpipe.context import Context
from rxpipe.scheduling.loop import BEHIND

T = TypeVar("T")


def _nothing() -> None:
    """What a source does that has nothing to let go of."""


class Rounds(Generic[T]):
    """One subscription: a piece is fetched, waits until the flow is open, is emitted, and the next one is fetched.

    Args:
        context: Its executor fetches; its flow holds back what was fetched.
        scheduler: Keeps the time between two rounds.
        fetch: Gives the next piece, or None at a round's end; called on a thread, by one at a time.
        emit: Emits a piece, on the thread of the dataflow.
        end: Completes: behind the only round, or (told True) because the run drains, behind what was fetched.
        every: Seconds from one round's end to the next one's beginning; None for one round.
        interrupt: Has a `fetch` that waits return None; called on another thread, never after `close`.
        close: Called once, on some thread, when nothing is fetched any more.
    """

    def __init__(
        self,
        context: Context,
        scheduler: SchedulerBase | None,
        fetch: Callable[[], T | None],
        emit: Callable[[T], None],
        end: Callable[[bool], None],
        *,
        every: float | None = None,
        interrupt: Callable[[], None] = _nothing,
        close: Callable[[], None] = _nothing,
    ) -> None:
        self._context = context
        self._scheduler = context.scheduler(scheduler)
        self._post = context.poster(scheduler)
        self._fetch = fetch
        self._emit = emit
        self._end = end
        self._every = None if context.once else every
        self._interrupt = interrupt
        self._close = close
        self._timer = SerialDisposable()
        self._lock = threading.Lock()
        self._busy = self._fetching = self._stopping = self._closed = False

    def start(self) -> DisposableBase:
        """Begin the first round, in a turn of its own; returns what ends it all."""
        drain = self._context.on_drain(self._stop)
        self._timer.disposable = self._scheduler.schedule(lambda *_: self._ask())
        return CompositeDisposable(drain, Disposable(self.close))

    def close(self) -> None:
        """Fetch nothing any more."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._fetching:
                self._interrupt()
            else:
                self._close()
        self._timer.dispose()

    def _stop(self) -> None:
        """The run drains: what is being fetched still counts."""
        self._stopping = True
        with self._lock:
            if self._fetching:
                self._interrupt()
        if not self._busy:
            self._finish()

    def _finish(self) -> None:
        if not self._closed:
            self.close()
            self._end(self._stopping)

    def _ask(self) -> None:
        if self._stopping:
            self._finish()
        elif not self._closed:
            self._busy = self._fetching = True
            self._context.executor().submit(self._fetch).add_done_callback(self._fetched)

    def _fetched(self, future: Future[T | None]) -> None:
        with self._lock:
            self._fetching = False
            if self._closed:
                self._close()
                return
        self._post(lambda: self._take(future))

    def _take(self, future: Future[T | None]) -> None:
        piece = future.result()
        if piece is not None:
            self._offer_behind(piece)
            return
        self._busy = False
        if self._every is None or self._stopping:
            self._finish()
        else:
            self._timer.disposable = self._scheduler.schedule_relative(self._every, lambda *_: self._ask())

    def _offer_behind(self, piece: T) -> None:
        """Offer a piece in a turn of its own, before which timers have theirs."""
        self._scheduler.schedule_relative(BEHIND, lambda *_: self._offer(piece))

    def _offer(self, piece: T) -> None:
        if self._closed:
            return
        if not self._context.flow.open:
            self._context.flow.wait(lambda: self._offer_behind(piece))
            return
        self._emit(piece)
        self._busy = False
        self._ask()
