"""The asyncio loop as the scheduler of Rx operators, with as little as possible between a timer and what it does."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from reactivex import typing as rx
from reactivex.abc import DisposableBase, SchedulerBase
from reactivex.scheduler.periodicscheduler import PeriodicScheduler

S = TypeVar("S")

BEHIND = 1e-10
"""Seconds after which a source goes on: no time, but behind the timers that are due by then.

What is scheduled for the next turn is done before them, so that a timer would wait for two blocks. Ask for it when the
block is done: who asks before it is before the timers that become due meanwhile.
"""


class LoopScheduler(PeriodicScheduler):
    """Schedules on the thread of a loop, and is used on that thread only.

    It does what the scheduler for asyncio in reactivex does, without locks and with one object for each timer, not six.

    Args:
        loop: Keeps the timers.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop

    def schedule(self, action: rx.ScheduledAction[S], state: S | None = None) -> DisposableBase:
        """Schedule for the next turn."""
        timer = _Timer()
        timer.handle = self._loop.call_soon(timer.ring, self, action, state)
        return timer

    def schedule_relative(
        self, duetime: rx.RelativeTime, action: rx.ScheduledAction[S], state: S | None = None
    ) -> DisposableBase:
        """Schedule after a time in seconds."""
        seconds = duetime if type(duetime) is float else self.to_seconds(duetime)
        if seconds <= 0:
            return self.schedule(action, state)
        timer = _Timer()
        timer.handle = self._loop.call_later(seconds, timer.ring, self, action, state)
        return timer

    def schedule_absolute(
        self, duetime: rx.AbsoluteTime, action: rx.ScheduledAction[S], state: S | None = None
    ) -> DisposableBase:
        """Schedule at a time."""
        return self.schedule_relative(self.to_datetime(duetime) - self.now, action, state)


class _Timer(DisposableBase):
    """One scheduled action: disposing it cancels the action, and disposes of what the action returned."""

    __slots__ = ("_disposed", "_made", "handle")

    def __init__(self) -> None:
        self.handle: asyncio.Handle | None = None
        self._made: DisposableBase | None = None
        self._disposed = False

    def ring(self, scheduler: SchedulerBase, action: rx.ScheduledAction[S], state: S | None) -> None:
        """Do it."""
        self.handle = None
        made = action(scheduler, state)
        if made is not None and isinstance(made, DisposableBase):  # the second takes as long as all before it
            if self._disposed:
                made.dispose()
            else:
                self._made = made

    def dispose(self) -> None:
        """Do it no more."""
        self._disposed = True
        if self.handle is not None:
            self.handle.cancel()
            self.handle = None
        made, self._made = self._made, None
        if made is not None:
            made.dispose()
