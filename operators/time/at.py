"""Times of a calendar."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable

from rxpipe.context import Context, current
from rxpipe.errors import did_you_mean, nearest
from rxpipe.operator import operator
from rxpipe.parameters.plain import Checked, kept
from rxpipe.scheduling.alarm import PRECISION, Alarm

LONGEST_WAIT = 60.0
"""Seconds after which the clock is looked at again: it may have been set, or the machine may have slept."""

CORRECTION = 3 * 3600.0
"""Seconds from which on a clock that is set back was wrong before; less is counted as passed. As cron does."""


def _cron(text: str) -> None:
    try:
        next(CronSim(text, datetime(2000, 1, 1, tzinfo=UTC)))
    except (CronSimError, StopIteration) as error:
        reason = str(error)[:1].lower() + str(error)[1:] if str(error) else "it never comes"
        msg = f"must be a cron expression such as '0 3 * * *' (minute hour day month weekday); got {text!r}: {reason}"
        raise ValueError(msg) from error


def _zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        guess = did_you_mean(nearest(name, available_timezones()))
        msg = f"must be an IANA name such as 'Europe/Berlin'; got {name!r}{guess}"
        raise ValueError(msg) from error


Cron = Annotated[str, Checked(kept(_cron))]
"""A cron expression."""

Zone = Annotated[str, Checked(kept(_zone))]
"""The name of a time zone."""


@operator
def at(cron: Cron, zone: Zone = "UTC") -> Observable[float]:
    """Emit the time, in seconds since the epoch, whenever a cron expression says so.

    Five fields are minute, hour, day of the month, month and day of the week (0 and 7 are Sunday); six begin with the
    second. A field is `*`, numbers, ranges `1-5`, lists `1,15`, steps `*/15`, names `MON` and `JAN`; `L` is a month's
    last day, `5L` its last Friday, `5#2` its second. Where both days are given, and neither begins with `*`, one of
    them is enough. What is emitted is the time that was named, not that at which it is emitted.

    Where a zone changes its clocks, a time that is left out comes at once after the gap and one that happens twice
    comes once, unless minute or hour begin with `*`: those go by the time that passes.

    Times that pass while the run is busy or paused, or the machine sleeps, are not made up for one by one: the last of
    them comes as soon as it can, one for all. Times without a run are gone. A clock that is set back by less than three
    hours repeats nothing; one that is set back further was wrong, and counts as it is now. Ends when the run drains. In
    a run that reads once, the present time comes at once and is all.

        at("* * * * * *")    ----------a---------b---
        a: 1.0
        b: 2.0

    Guarantee: at-most-once: a time that passes without a run is gone.

    Args:
        cron: When: a cron expression of five or six fields.
        zone: The time zone that the expression is in: an IANA name.

    Example:
        >>> from reactivex import operators as rxo
        >>> at("* * * * * *").pipe(rxo.take(1), rxo.map(lambda time: time % 1)).run()
        0.0
    """

    def subscribe(observer: ObserverBase[float], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        taken = context.scheduler(scheduler)

        def once(*_: object) -> None:
            observer.on_next(context.now())
            observer.on_completed()

        if context.once:
            return taken.schedule(once)
        times = _Times(context, taken, cron, ZoneInfo(zone), observer.on_next)
        return CompositeDisposable(times.alarm, context.on_drain(observer.on_completed))

    return Observable(subscribe)


class _Times:
    """One subscription.

    `_due` is the next time, `_passed` one that came and waits for the run, `_seen` the latest that the clock showed.
    """

    def __init__(
        self, context: Context, scheduler: SchedulerBase, cron: str, zone: ZoneInfo, emit: Callable[[float], None]
    ) -> None:
        self._context = context
        self._cron = cron
        self._zone = zone
        self._emit = emit
        self._passed: float | None = None
        self._seen = context.now()
        self._due = self._after(self._seen)
        self.alarm = Alarm(context, scheduler, self._ring)
        self.alarm.by(self._next_look(self._seen))

    def _ring(self, _: float) -> float:
        """Look at the clock, whose time the alarm's own does not follow where it is set."""
        now = self._context.now()
        if now < self._seen - CORRECTION:
            self._due = self._after(now)
            self._seen = now
        self._seen = max(self._seen, now)
        if self._due <= now + PRECISION:
            self._come(now)
        return self._next_look(now)

    def _next_look(self, now: float) -> float:
        return self.alarm.now() + min(LONGEST_WAIT, self._due - now)

    def _come(self, now: float) -> None:
        waiting = self._passed is not None
        self._passed = self._due
        self._due = self._after(max(self._due, now - CORRECTION))
        while self._due <= now + PRECISION:
            self._passed, self._due = self._due, self._after(self._due)
        if self._context.flow.open:
            self._go()
        elif not waiting:
            self._context.flow.wait(self._go)

    def _go(self) -> None:
        time, self._passed = self._passed, None
        if time is not None:
            self._emit(time)

    def _after(self, time: float) -> float:
        """The first time after another; where clocks are put back, what the library gives may lie before it."""
        for found in CronSim(self._cron, datetime.fromtimestamp(time, self._zone)):
            if found.timestamp() > time:
                return found.timestamp()
        return math.inf
