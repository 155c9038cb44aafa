"""One timer for an operator with many deadlines: armed once, asked again when it rings, never cancelled per element."""

from __future__ import annotations

from collections.abc import Callable

from reactivex.abc import DisposableBase, SchedulerBase

from rxpipe.context import Context

PRECISION = 2e-6
"""Seconds by which a timer may ring early: schedulers count in microseconds."""


class Alarm(DisposableBase):
    """Rings no later than the earliest deadline it was told of.

    Args:
        context: Keeps the clock.
        scheduler: Keeps the timers.
        ring: Called with the time at which something may be due; does it and returns the next deadline, or None.
    """

    def __init__(self, context: Context, scheduler: SchedulerBase, ring: Callable[[float], float | None]) -> None:
        self._read = context.now
        self._scheduler = scheduler
        self._ring = ring
        self._timer: DisposableBase | None = None
        self._disposed = False
        self._due: float | None = None
        self._last = self._read()
        self._lost = 0.0

    def now(self) -> float:
        """Seconds that never go back: where the system's clock is set back, they stand still for a moment and go on."""
        read = self._read() + self._lost
        if read < self._last:
            self._lost += self._last - read
            read = self._last
        self._last = read
        return read

    def by(self, due: float) -> None:
        """Ring at `due` or before."""
        if not self._disposed and (self._due is None or due < self._due - PRECISION):
            self._stop()
            self._due = due
            self._timer = self._scheduler.schedule_relative(max(0.0, due - self._last), self._wake)

    def dispose(self) -> None:
        """Ring no more."""
        self._disposed = True
        self._stop()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.dispose()
            self._timer = None

    def _wake(self, _: SchedulerBase, __: object = None) -> None:
        self._due = self._timer = None
        due = self._ring(self.now() + PRECISION)
        if due is not None:
            self.by(due)
