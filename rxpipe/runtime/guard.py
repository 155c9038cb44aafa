"""Timers that measure the step they belong to, and hand what they raise to the run instead of losing it in the loop."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from reactivex import typing as rx
from reactivex.abc import DisposableBase, SchedulerBase
from reactivex.scheduler.periodicscheduler import PeriodicScheduler

S = TypeVar("S")


class GuardedScheduler(PeriodicScheduler):
    """A scheduler whose actions are charged to one step, and whose exceptions stop the run with that step's name.

    Args:
        inner: The scheduler that keeps the time.
        fail: Takes what an action raised.
        over: Whether the run has ended: then nothing that was scheduled is done any more.
        charge: Makes a call, given with its arguments, of the step that the timers belong to; None for the engine's
            own timers.
    """

    def __init__(
        self,
        inner: SchedulerBase,
        fail: Callable[[Exception], None],
        over: Callable[[], bool],
        charge: Callable[..., Any] | None = None,
    ) -> None:
        super().__init__()
        self._inner = inner
        self._fail = fail
        self._over = over
        self._charge = charge

    @property
    def now(self) -> datetime:
        """The inner scheduler's time."""
        return self._inner.now

    def schedule(self, action: rx.ScheduledAction[S], state: S | None = None) -> DisposableBase:
        """Schedule for the next turn."""
        return self._inner.schedule(self._guarded(action), state)

    def schedule_relative(
        self, duetime: rx.RelativeTime, action: rx.ScheduledAction[S], state: S | None = None
    ) -> DisposableBase:
        """Schedule after a time in seconds."""
        return self._inner.schedule_relative(duetime, self._guarded(action), state)

    def schedule_absolute(
        self, duetime: rx.AbsoluteTime, action: rx.ScheduledAction[S], state: S | None = None
    ) -> DisposableBase:
        """Schedule at a time."""
        return self._inner.schedule_absolute(duetime, self._guarded(action), state)

    def _guarded(self, action: rx.ScheduledAction[S]) -> rx.ScheduledAction[S]:
        def guarded(_: SchedulerBase, state: S | None = None) -> Any:
            if self._over():
                return None
            try:
                return action(self, state) if self._charge is None else self._charge(action, self, state)
            except Exception as error:  # whatever a step raises stops the run, with its name
                self._fail(error)
                return None

        return guarded
