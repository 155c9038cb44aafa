"""A file that is made anew while something changes: on a schedule, in a thread, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from reactivex.abc import SchedulerBase
from reactivex.disposable import SerialDisposable

from rxpipe.context import Context
from rxpipe.log import logger


class Renewed:
    """When the file of one subscription is made.

    If it cannot be written for a reason that may pass, the log says so, the run is degraded, and it is tried again in
    its turn; how often, and what becomes of it then, the step's `on_error` says. Unless it says anything it is tried as
    long as it takes, and any other error ends the run.

    Args:
        context: The step's context.
        scheduler: Where waits come from.
        path: The file.
        every: The time between two.
        prepare: Called on the thread of the dataflow; gives what is then called in a thread and writes the file.
    """

    def __init__(
        self,
        context: Context,
        scheduler: SchedulerBase | None,
        path: Path,
        every: float,
        prepare: Callable[[], Callable[[], None]],
    ) -> None:
        self._context = context
        self._scheduler = context.scheduler(scheduler)
        self._post = context.poster(scheduler)
        self._path = path
        self._every = every
        self._prepare = prepare
        self._retry = context.retry()
        self._tried = 0
        self._timer = SerialDisposable()
        self._waiting = self._making = self._changed = self._closed = False
        self._finished: Callable[[], None] | None = None
        self._failure: str | None = None
        context.describe("degraded", lambda: self._failure)
        context.written.add(path)

    def change(self) -> None:
        """Something is to be written: `every` after the first time, then at most that often."""
        self._changed = True
        self._wait()

    def complete(self, finished: Callable[[], None]) -> None:
        """Make the file for the last time, then call `finished`."""
        self._finished = finished
        self._timer.dispose()
        if not self._making:
            self._make()

    def close(self) -> None:
        """Make it no more."""
        self._closed = True
        self._timer.dispose()

    def _wait(self) -> None:
        if not (self._waiting or self._making or self._finished):
            self._waiting = True
            self._timer.disposable = self._scheduler.schedule_relative(self._every, lambda *_: self._make())

    def _make(self) -> None:
        self._waiting, self._changed, self._making = False, False, True
        made = self._context.executor().submit(self._prepare())
        made.add_done_callback(lambda done: self._post(lambda: self._made(done)))

    def _made(self, done: Future[None]) -> None:
        self._making = False
        if self._closed or done.cancelled():
            return
        error = done.exception()
        if isinstance(error, Exception):
            self._failed(error)
        elif error is not None:
            raise error
        else:
            self._failure, self._tried = None, 0
        if self._finished is not None:
            self._finish(self._finished)
        elif self._changed:
            self._wait()

    def _failed(self, error: Exception) -> None:
        """Try again in its turn; or give up this time, until something changes."""
        self._tried += 1
        if self._retry.wait(self._tried, error, self._context.now()) is not None:
            if self._failure is None:
                logger.warning("{}: {} cannot be written, trying again: {}", self._context.name, self._path, error)
            self._failure = f"{type(error).__name__}: {error}"
            self._changed = True
        elif self._context.on_error is None:
            self._context.fail(error)
        else:
            self._failure, self._tried = None, 0
            self._context.reject(error, path=str(self._path))

    def _finish(self, finished: Callable[[], None]) -> None:
        """All is written, if that was begun when all had come; what cannot be written ends nothing."""
        if self._changed and self._failure is None:
            self._make()
        else:
            finished()
