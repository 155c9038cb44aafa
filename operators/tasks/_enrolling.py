"""Records on their way into the store: the files that they depend on are read in a thread, and their order is kept."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from typing import NamedTuple

from reactivex.abc import SchedulerBase

from rxpipe.context import Context
from rxpipe.elements import Batch
from rxpipe.lease import Lease
from rxpipe.operators.tasks._home import Home
from rxpipe.tasks.records import Drafts, Reading


class _Coming(NamedTuple):
    """A batch whose files are read; `hold` holds a checkpoint where nothing else of it does."""

    batch: Batch
    drafts: Drafts
    hold: Lease


class Enrolling:
    """What is to become tasks of one subscription.

    Args:
        context: The step.
        scheduler: The scheduler of the subscription.
        reading: Says what the tasks are.
        home: Takes them.
    """

    def __init__(self, context: Context, scheduler: SchedulerBase | None, reading: Reading, home: Home) -> None:
        self._context = context
        self._post = context.poster(scheduler)
        self._reading = reading
        self._home = home
        self._coming: deque[_Coming] = deque()
        self._completed = False

    def take(self, batch: Batch) -> None:
        """Take the records of a batch."""
        drafts = self._reading.drafts(batch)
        if not self._coming and not drafts.named:
            self._home.take(drafts.tasks, batch.leases)
            return
        self._coming.append(_Coming(batch, drafts, Lease(self._context.flow, 0)))
        self._home.expect(self._home.coming + 1 + len(drafts.tasks))
        if len(self._coming) == 1:
            self._begin()

    def complete(self) -> None:
        """No more will come."""
        self._completed = True
        if not self._coming:
            self._home.complete()

    def close(self) -> None:
        """Let go of what is on its way."""
        self._coming.clear()

    def _begin(self) -> None:
        read = self._context.executor().submit(self._coming[0].drafts.digests)
        read.add_done_callback(lambda done: self._post(lambda: self._read(done)))

    def _read(self, done: Future[list[bytes | Exception]]) -> None:
        if not self._coming or done.cancelled():
            return
        batch, drafts, hold = self._coming.popleft()
        self._home.expect(self._home.coming - 1 - len(drafts.tasks))
        self._home.take(self._reading.whole(drafts, done.result(), batch), batch.leases)
        del batch, drafts, hold
        if self._coming:
            self._begin()
        elif self._completed:
            self._home.complete()
