"""The open windows of one subscription: records find theirs, the watermark closes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import countOf
from typing import Any

from reactivex.abc import ObserverBase, SchedulerBase

from rxpipe.aggregations.aggregation import Aggregation
from rxpipe.aggregations.groupcode import Key
from rxpipe.aggregations.packing import pack, unpack
from rxpipe.context import Context, Cut
from rxpipe.elements import Batch, OriginGone, Row
from rxpipe.expressions import parse
from rxpipe.expressions.times import timestamp
from rxpipe.fusion.rows import Reject, compile_values
from rxpipe.lease import Lease
from rxpipe.operators.aggregate._store import Changed, Store
from rxpipe.operators.windows._frames import Fixed, Frames, Sessions
from rxpipe.scheduling.alarm import PRECISION, Alarm

LONG_AGO = -(2**62)
"""The watermark before the first record."""

_EARLY = round(PRECISION * 1e6)

_NUMBER = ""
"""The column of a window's number, which no key and no other column is named like."""


@dataclass(frozen=True)
class Rules:
    """What windows there are, in microseconds.

    Attributes:
        size: Their length; None for sessions.
        every: How often one begins.
        gap: The silence that ends a session.
        time: An expression for a record's time; None: it is that of its arrival.
        lateness: How far the watermark stays behind the largest time seen.
        idle: The silence after which the watermark goes on with the clock.
    """

    size: int | None
    every: int
    gap: int
    time: str | None
    lateness: int
    idle: int | None


class Windows:
    """The windows of one subscription.

    Args:
        observer: Takes the rows of closed windows.
        context: The step's context.
        scheduler: Keeps the timers.
        rules: What windows there are.
        by: Expressions of the key.
        aggregations: Aggregations by column name.

    Attributes:
        watermark: No window that ends by this time is open.
        alarm: Closes windows where the clock decides.
    """

    def __init__(
        self,
        observer: ObserverBase[Batch],
        context: Context,
        scheduler: SchedulerBase,
        rules: Rules,
        by: tuple[str, ...],
        aggregations: Mapping[str, Aggregation],
    ) -> None:
        self._observer = observer
        self._context = context
        self._rules = rules
        self._keys = len(by)
        expressions = [parse(text) for text in (rules.time or "None", *by)]
        expressions += [made.expression for made in aggregations.values() if made.expression is not None]
        self._values = compile_values(expressions, tuples=True)
        self._frames: Frames = Sessions(rules.gap, self._join) if rules.size is None else Fixed(rules.size, rules.every)
        self._store = Store((_NUMBER, *by), aggregations)
        self._members: dict[int, dict[Key, None]] = {}
        self._placed: tuple[list[Row], list[Any]] = ([], [])
        self._leases: tuple[Lease, ...] = ()
        self._emit_late = context.emitter("late")
        self.alarm = Alarm(context, scheduler, self._ring)
        self.watermark = self._saved_watermark = LONG_AGO
        self._restore(by)
        self._base = self.watermark
        self._seen = self.alarm.now()
        context.gauge("watermark", lambda: max(0, self.watermark) / 1e6)
        context.gauge("windows", lambda: len(self._members))
        context.gauge("groups", lambda: len(self._store.groups))
        self._arm()

    def on_next(self, element: Any) -> None:
        """Take a batch in; emit what is late, then the rows of the windows that close."""
        if isinstance(element, OriginGone):
            self._emit_late(element)
        if not isinstance(element, Batch):
            return
        self._store.fit(element)
        self._leases = element.leases
        try:
            retracted = self._take(element.retracted)
            late = self._add(element.rows)
        finally:
            self._leases = ()
        if late or retracted:
            self._emit_late(element.replace(late, retracted))
        if element.rows:
            self._base = self.watermark
            self._seen = self.alarm.now()
        self._close(element.leases)
        self._arm()

    def on_completed(self) -> None:
        """Close all windows, then complete; where the next run goes on with them, they stay open."""
        if self._members and not (self._context.draining and self._store.persistent):
            self.watermark = max(self.watermark, *(self._frames.bounds(number)[1] for number in self._members))
            self._close((Lease(self._context.flow, 0),))
        self._observer.on_completed()

    def _add(self, rows: list[Row]) -> list[Row]:
        """Add records to their windows, in order, each by the watermark of those before it; returns the late ones."""
        rows, times, values = self._timed(rows, self._reject)
        late: list[Row] = []
        if not rows:
            return late
        until = max(self.watermark, max(times) - self._rules.lateness)
        at_once = self._frames.at_once(times, self.watermark, until)
        if at_once is None:
            late = self._add_each(rows, times, values)
        else:
            self._placed = (
                [row for row, numbers in zip(rows, at_once, strict=True) for _ in numbers],
                [(number, *own[1:]) for own, numbers in zip(values, at_once, strict=True) for number in numbers],
            )
            self.watermark = until
        self._apply()
        return late

    def _add_each(self, rows: list[Row], times: list[int], values: list[Any]) -> list[Row]:
        """The same, where it depends on the order."""
        late: list[Row] = []
        lateness, adding, keys = self._rules.lateness, self._frames.adding, 1 + self._keys
        for row, time, own in zip(rows, times, values, strict=True):
            try:
                numbers = adding(time, own[1:keys], self.watermark)
            except Exception as error:  # a key that is a list, or sessions that cannot be joined
                self._reject(row, error)
                continue
            for number in numbers:
                self._placed[0].append(row)
                self._placed[1].append((number, *own[1:]))
            if not numbers:
                late.append(row)
            self.watermark = max(self.watermark, time - lateness)
        return late

    def _take(self, rows: list[Row]) -> list[Row]:
        """Take records back from those of their windows that are open; returns those for which none is."""
        if self._rules.time is None:  # when they arrived is not known any more
            return rows
        late: list[Row] = []
        placed: tuple[list[Row], list[Any]] = ([], [])
        for row, time, own in zip(*self._timed(rows, _ignore), strict=True):
            try:
                numbers = self._frames.taking(time, own[1 : 1 + self._keys], self.watermark)
            except TypeError:  # its key is a list: it was refused when it came
                continue
            for number in numbers:
                placed[0].append(row)
                placed[1].append((number, *own[1:]))
            if not numbers:
                late.append(row)
        self._note(self._store.retract(*placed))
        return late

    def _timed(self, rows: list[Row], reject: Reject) -> tuple[list[Row], list[int], list[Any]]:
        """Records, their times, and their values: time, key and columns; those for which that fails are rejected."""
        kept, values = self._values(rows, reject)
        if self._rules.time is None:
            self.watermark = max(self.watermark, round(self.alarm.now() * 1e6))
            return kept, [self.watermark] * len(kept), values
        moments = [own[0] for own in values]
        try:
            if countOf(map(type, moments), float) == len(moments):
                return kept, [round(moment * 1e6) for moment in moments], values
            return kept, [_microseconds(moment) for moment in moments], values
        except Exception:  # going one by one finds the record
            timed: list[tuple[Row, int, Any]] = []
        for row, own in zip(kept, values, strict=True):
            try:
                timed.append((row, _microseconds(own[0]), own))
            except Exception as error:  # whatever a value is that is no time
                reject(row, error)
        return [row for row, _, _ in timed], [time for _, time, _ in timed], [own for _, _, own in timed]

    def _apply(self) -> None:
        """Add to the groups what found its windows."""
        (rows, values), self._placed = self._placed, ([], [])
        refused: list[Row] = []

        def reject(row: Row, error: Exception) -> None:
            if not (refused and refused[-1] is row):  # of several windows, once
                refused.append(row)
                self._reject(row, error)

        self._note(self._store.add(rows, values, reject))

    def _note(self, changed: Changed) -> None:
        for key, group in changed.items():
            number = key[0] if self._keys else key
            if group is not None:
                if number not in self._members:
                    self._members[number] = {}
                    self._frames.opened(number)
                self._members[number][key] = None
                continue
            del self._members[number][key]
            if not self._members[number]:
                del self._members[number]
                self._frames.forget(number)

    def _join(self, number: int, other: int) -> None:
        """Make one session of two."""
        self._apply()
        for gone in self._members.get(other, ()):
            key = (number, *gone[1:]) if self._keys else number
            self._store.join(key, gone)
            self._members.setdefault(number, {})[key] = None
        self._members.pop(other, None)

    def _close(self, leases: tuple[Lease, ...]) -> None:
        """Emit the rows of the windows that the watermark has passed."""
        earliest = self._frames.earliest()
        if earliest is None or earliest > self.watermark:
            return
        rows: list[Row] = []
        for number in self._frames.close(self.watermark):
            start, end = self._frames.bounds(number)
            keys = self._members.pop(number, {})
            for key in keys:
                row = self._store.row(key)
                del row[_NUMBER]
                rows.append({"start": start / 1e6, "end": end / 1e6, **row})
            self._store.remove(keys)
            self._frames.forget(number)
        if rows:
            self._observer.on_next(Batch(rows, leases=leases))

    def _arm(self) -> None:
        due = self._due()
        if due is not None:
            self.alarm.by(due)

    def _due(self) -> float | None:
        """When the clock closes the next window, if it does."""
        earliest = self._frames.earliest()
        if earliest is None:
            return None
        if self._rules.time is None:
            return earliest / 1e6
        if self._rules.idle is None:
            return None
        return self._seen + max(self._rules.idle, earliest - self._base) / 1e6

    def _ring(self, now: float) -> float | None:
        earliest = self._frames.earliest()
        silent = int((now - self._seen) * 1e6)
        reached = int(now * 1e6) if self._rules.time is None else self._base + silent
        if earliest is not None and earliest <= reached and silent >= (self._rules.idle or 0):
            self.watermark = max(self.watermark, earliest, reached - _EARLY)
            self._close((Lease(self._context.flow, 0),))
        return self._due()

    def _reject(self, row: Row, error: Exception) -> None:
        self._context.reject(error, row, leases=self._leases)

    def _restore(self, by: Sequence[str]) -> None:
        """Go on with the windows that were saved, and their watermark."""
        saved = self._context.state("operator", self._changes, f"open windows by {', '.join(by) or 'nothing'}")
        self._store.persistent = self._frames.persistent = saved.persistent
        rows = list(saved.items())
        self._store.restore(rows)
        self._frames.restore(rows)
        self._note({**self._store.groups})
        for _, part, value in rows:
            if part == "watermark":
                self.watermark = self._saved_watermark = unpack(value)

    def _changes(self) -> Cut:
        cut = self._store.changes()
        cut.told = [*self._frames.changes()]
        if self.watermark != self._saved_watermark:
            self._saved_watermark = self.watermark
            cut.told.append((b"", "watermark", pack(self.watermark)))
        return cut


def _microseconds(time: Any) -> int:
    return round(timestamp(time) * 1e6)


def _ignore(row: Row, error: Exception) -> None:
    """A retracted record was refused when it came by the first time, and counted then."""
