"""Writes in order, with patience: what cannot be written now is kept, upstream is held, and it is tried again."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from reactivex.abc import ObserverBase, SchedulerBase
from reactivex.disposable import SerialDisposable

from rxpipe.context import Change, Context
from rxpipe.errors import StateError
from rxpipe.lease import Lease
from rxpipe.log import logger

FIRST_WAIT = 0.1
LONGEST_WAIT = 30.0
_END: Any = object()
"""Stands for the completion among the elements and jobs."""


class Outbox:
    """What one sink has to write.

    While something waits the sources are held, the run is degraded, and a lease is held, so that no checkpoint counts
    what is not written. Waits double from 0.1 s to 30 s, each shortened at random by up to a half.

    Args:
        context: The step's context.
        scheduler: Where the waits come from.
        observer: Takes each element once its job is done.
        write: Does a job; may raise, and is then called with the same job again.
        transient: Tells whether an error of `write` may pass; others are raised.
        changes: What there is to save of the sink, see `Context.state`; the sink makes its data durable there.
    """

    def __init__(
        self,
        context: Context,
        scheduler: SchedulerBase | None,
        observer: ObserverBase[Any],
        write: Callable[[Any], None],
        transient: Callable[[Exception], bool],
        changes: Callable[[], Iterable[Change]] = tuple,
    ) -> None:
        self._context = context
        self._scheduler = scheduler
        self._observer = observer
        self._write = write
        self._transient = transient
        self._waiting: deque[tuple[Any, Any]] = deque()
        self._changes = changes
        self._last: list[Change] | None = None
        self._reason: str | None = None
        self._lease: Lease | None = None
        self._wait = FIRST_WAIT
        self._timer = SerialDisposable()
        self._closed = False
        context.describe("degraded", lambda: self._reason)
        context.gauge("queue_depth", lambda: sum(job is not _END for _, job in self._waiting))

    def put(self, element: Any, job: Any) -> None:
        """Do a job, then emit its element; now, if nothing waits and it can be done."""
        if self._waiting or not self._attempt(job):
            self._waiting.append((element, job))
        else:
            self._emit(element)

    def complete(self) -> None:
        """The source is complete: pass that on when everything is written."""
        self.put(_END, _END)

    def changes(self) -> Iterable[Change]:
        """What there is to save, to give to `Context.state`.

        The last checkpoint comes when the sink is closed: what that will ask for is noted when the source is complete.

        Raises:
            StateError: Something waits to be written.
        """
        if self._last is not None:
            return self._last
        if self._waiting:
            msg = f"{self._context.name}: {len(self._waiting)} elements must be written first; {self._reason}"
            raise StateError(msg)
        return self._changes()

    def close(self) -> None:
        """Stop trying, and let the sources go."""
        self._closed = True
        self._timer.dispose()
        self._waiting.clear()
        self._free()

    def _attempt(self, job: Any) -> bool:
        try:
            if job is not _END:
                self._write(job)
            else:
                self._last = list(self._changes())
        except Exception as error:
            if not self._transient(error):
                raise
            self._postpone(f"{type(error).__name__}: {error}")
            return False
        return True

    def _postpone(self, reason: str) -> None:
        if self._lease is None:
            logger.warning("{}: cannot write, trying again: {}", self._context.name, reason)
            self._context.flow.hold()
            self._lease = Lease(self._context.flow, 0)
            self._wait = FIRST_WAIT
        self._reason = reason
        wait = self._wait * random.uniform(0.5, 1.0)  # noqa: S311  # only spreads the attempts of several writers
        self._wait = min(self._wait * 2, LONGEST_WAIT)
        scheduler = self._context.scheduler(self._scheduler)
        self._timer.disposable = scheduler.schedule_relative(wait, lambda *_: self._retry())

    def _retry(self) -> None:
        while self._waiting and not self._closed:
            if not self._attempt(self._waiting[0][1]):
                return
            self._emit(self._waiting.popleft()[0])
        if not self._closed:
            logger.info("{}: writing again", self._context.name)
        self._free()

    def _emit(self, element: Any) -> None:
        if element is _END:
            self._observer.on_completed()
        else:
            self._observer.on_next(element)

    def _free(self) -> None:
        if self._lease is not None:
            self._reason = None
            self._lease = None
            self._context.flow.release()
