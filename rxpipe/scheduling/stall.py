"""Seeing to it that two steps do not wait for each other: one for room behind it, the other for more to come."""

from __future__ import annotations

from collections.abc import Callable

from reactivex.abc import SchedulerBase
from reactivex.disposable import SerialDisposable

from rxpipe.context import Context

STUCK = 1.0
"""Seconds in which nothing of what waits has moved, after which that is not taken for slowness."""


class Stall(SerialDisposable):
    """Looks while something waits in a step; once nothing has moved for some time, all steps emit what they hold.

    They do so again when nothing has moved for twice the time, and so on: it may only be slow.

    Args:
        context: The step's context.
        scheduler: Keeps the time.
        waits: Whether something waits still.
        stuck: Called after that, with the number of looks in a row at which nothing had moved.
        patience: How many such looks there must have been; asked each time.
    """

    def __init__(
        self,
        context: Context,
        scheduler: SchedulerBase,
        waits: Callable[[], bool],
        stuck: Callable[[int], None] = lambda _: None,
        patience: Callable[[], int] = lambda: 1,
    ) -> None:
        super().__init__()
        self._context = context
        self._scheduler = scheduler
        self._waits = waits
        self._stuck = stuck
        self._patience = patience
        self._timed = self._moved = False
        self._looks = self._flushed = 0

    def moved(self) -> None:
        """Something goes on."""
        self._moved = True

    def look(self) -> None:
        """Something waits: look after it, if that is not done yet."""
        if not self._timed:
            self._timed, self._moved = True, False
            self.disposable = self._scheduler.schedule_relative(STUCK, self._look)

    def _look(self, *_: object) -> None:
        self._timed = False
        if not self.is_disposed and self._waits():
            self._looks = 0 if self._moved else self._looks + 1
            self._flushed = min(self._flushed, self._looks)
            self.look()
            if self._looks >= max(self._patience(), 2 * self._flushed):
                self._flushed = self._looks
                self._context.flush()
                self._stuck(self._looks)
