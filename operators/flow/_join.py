"""One subscription of `join`: what comes from each side, what is paired, what is over."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Literal, NamedTuple

from reactivex.abc import ObserverBase, SchedulerBase

from rxpipe.aggregations.packing import pack, unpack
from rxpipe.context import Change, Context
from rxpipe.elements import Batch, Row, as_dict
from rxpipe.expressions import parse
from rxpipe.fusion.rows import compile_values
from rxpipe.log import logger
from rxpipe.scheduling.alarm import Alarm

Side = Literal[0, 1]
_OTHER: tuple[Side, Side] = (1, 0)
_PROGRESS = b"progress"


class Rules(NamedTuple):
    """The parameters of `join`; the key of each side."""

    on: tuple[str, str]
    within: float
    kind: str
    time: str | None
    lateness: float
    prefix: str
    limit: int


class Held:
    """A record that may still get a partner; `pairs` counts those it has."""

    __slots__ = ("gone", "key", "number", "pairs", "row", "side", "time")

    def __init__(
        self, number: int, side: Side, key: Hashable, time: float, row: dict[str, Any], pairs: int = 0
    ) -> None:
        self.number = number
        self.side = side
        self.key = key
        self.time = time
        self.row = row
        self.pairs = pairs
        self.gone = False


class Join:
    """One subscription.

    Args:
        context: The step's context.
        scheduler: Keeps the timers.
        observer: Takes the pairs.
        rules: How to join.
    """

    def __init__(self, context: Context, scheduler: SchedulerBase, observer: ObserverBase[Batch], rules: Rules) -> None:
        self._context = context
        self._observer = observer
        self._rules = rules
        self.alarm = Alarm(context, scheduler, self._ring)
        extra = [] if rules.time is None else [parse(rules.time)]
        self._values = tuple(compile_values([parse(key), *extra], tuples=True) for key in rules.on)
        self._held: tuple[dict[Hashable, list[Held]], dict[Hashable, list[Held]]] = ({}, {})
        self._by_time: tuple[list[tuple[float, int, Held]], list[tuple[float, int, Held]]] = ([], [])
        self._latest = [-math.inf, -math.inf]
        self._names: list[dict[str, None]] = [{}, {}]
        self._open = [True, True]
        self._count = self._number = self._dropped = self._ended = 0
        self._retractable = False
        self._dirty: dict[int, Held] = {}
        saved = context.state("operator", self._changes, "records that may get a partner")
        self._persistent = saved.persistent
        self._restore(saved.items())
        context.gauge("held", lambda: self._count)
        context.gauge("dropped", lambda: self._dropped)

    def taker(self, side: Side) -> Callable[[Any], None]:
        """What takes the elements of one side."""

        def take(element: Any) -> None:
            if isinstance(element, Batch):
                self._batch(element, side)
            else:
                self._observer.on_next(element)

        return take

    def ender(self, side: Side) -> Callable[[], None]:
        """What is called when one side is complete: the other side's records wait for it no more.

        Where the run is stopped, and the next one goes on with them, they wait for that.
        """

        def end() -> None:
            self._ended += 1
            if not (self._persistent and self._context.draining):
                self._open[side] = False
                self._emit(self._over(), [], ())
            if self._ended == len(self._open):
                self._observer.on_completed()

        return end

    def _batch(self, batch: Batch, side: Side) -> None:
        self._retractable |= batch.retractable or bool(batch.retracted)
        retracted: list[Row] = []
        rows: list[Row] = []
        for key, time, row in self._found(batch, batch.retracted, side):
            retracted += self._taken_back(batch, key, None if self._rules.time is None else time, row, side)
        for key, time, row in self._found(batch, batch.rows, side):
            self._names[side].update(dict.fromkeys(row))
            self._latest[side] = max(self._latest[side], time)
            rows += self._paired(key, time, row, side)
        if self._rules.time is None:
            self._latest = [self.alarm.now()] * 2
        rows += self._over()
        self._emit(rows, retracted, batch.leases)
        self._arm()

    def _emit(self, rows: list[Row], retracted: list[Row], leases: tuple[Any, ...]) -> None:
        if rows or retracted:
            self._observer.on_next(Batch(rows, retracted, leases, retractable=self._retractable))

    def _found(self, batch: Batch, rows: list[Row], side: Side) -> list[tuple[Hashable, float, dict[str, Any]]]:
        """Key, time and values of each record; those without are rejected."""

        def reject(row: Row, error: Exception) -> None:
            self._context.reject(error, row, leases=batch.leases)

        found = []
        now = self.alarm.now()
        for row, (key, *times) in zip(*self._values[side](rows, reject), strict=True):
            time = times[0] if times else now
            if _usable(key, time):
                found.append((key, time, as_dict(row)))
            else:
                must = "a key must be a number, a text or a tuple of them, and a time a number of seconds"
                reject(row, TypeError(f"{must}; got {key!r:.40} and {time!r:.40}"))
        return found

    def _near(self, key: Hashable, time: float, side: Side) -> list[Held]:
        """The records of a side that make a pair."""
        if key is None:
            return []
        return [held for held in self._held[side].get(key, ()) if abs(held.time - time) <= self._rules.within]

    def _paired(self, key: Hashable, time: float, row: dict[str, Any], side: Side) -> list[Row]:
        self._number += 1
        held = Held(self._number, side, key, time, row)
        partners = self._near(key, time, _OTHER[side])
        for partner in partners:
            partner.pairs += 1
            self._note(partner)
        held.pairs = len(partners)
        self._hold(held)
        self._note(held)
        return [self._pair(row, partner.row, side) for partner in partners]

    def _taken_back(
        self, batch: Batch, key: Hashable, time: float | None, row: dict[str, Any], side: Side
    ) -> list[Row]:
        """Let go of a record that is retracted; its pairs."""
        for held in reversed(self._held[side].get(key, ())):
            if held.row == row and time in (None, held.time):
                break
        else:
            reason = "retracted when it was held no more: what was made of it stays"
            self._context.reject(reason, row, leases=batch.leases)
            return []
        self._remove(held)
        partners = self._near(key, held.time, _OTHER[side])
        for partner in partners:
            partner.pairs -= 1
            self._note(partner)
        return [self._pair(row, partner.row, side) for partner in partners]

    def _pair(self, row: dict[str, Any], partner: dict[str, Any], side: Side) -> dict[str, Any]:
        left, right = (row, partner) if side == 0 else (partner, row)
        prefix = self._rules.prefix
        return {**left, **{prefix + name: value for name, value in right.items() if prefix + name not in left}}

    def _alone(self, held: Held) -> list[Row]:
        """What is emitted of a record that is over."""
        emitted = self._rules.kind == "outer" or (self._rules.kind == "left" and held.side == 0)
        if held.pairs or not emitted:
            return []
        nothing = dict.fromkeys(self._names[_OTHER[held.side]])
        if held.side == 0:
            return [self._pair(held.row, nothing, 0)]
        return [{**nothing, **self._pair({}, held.row, 0)}]

    def _over(self) -> list[Row]:
        """Let go of the records that can get no partner any more, and of the earliest of too many."""
        rows: list[Row] = []
        lateness = 0.0 if self._rules.time is None else self._rules.lateness
        for side in (0, 1):
            heap, partners = self._by_time[side], 1 - side
            seen = self._latest[partners] - lateness if self._open[partners] else math.inf
            while heap and (heap[0][2].gone or heap[0][0] + self._rules.within < seen):
                held = heapq.heappop(heap)[2]
                rows += [] if held.gone else self._let_go(held)
        while self._count > self._rules.limit:
            earliest = min((heap for heap in self._by_time if heap), key=lambda heap: heap[0][:2])
            held = heapq.heappop(earliest)[2]
            if not held.gone:
                rows += self._let_go(held)
                self._drop()
        return rows

    def _drop(self) -> None:
        if not self._dropped:
            must = "records are let go of before their time is over, and counted"
            logger.warning("{}: more than {} are held: {}", self._context.name, self._rules.limit, must)
        self._dropped += 1

    def _let_go(self, held: Held) -> list[Row]:
        self._remove(held)
        return self._alone(held)

    def _hold(self, held: Held) -> None:
        self._held[held.side].setdefault(held.key, []).append(held)
        heapq.heappush(self._by_time[held.side], (held.time, held.number, held))
        self._count += 1

    def _remove(self, held: Held) -> None:
        held.gone = True
        others = self._held[held.side][held.key]
        others.remove(held)
        if not others:
            del self._held[held.side][held.key]
        self._count -= 1
        self._note(held)

    def _note(self, held: Held) -> None:
        if self._persistent:
            self._dirty[held.number] = held

    def _arm(self) -> None:
        """By arrival, wake up when the earliest record is over."""
        if self._rules.time is None:
            for heap in self._by_time:
                if heap:
                    self.alarm.by(heap[0][0] + self._rules.within)

    def _ring(self, now: float) -> float | None:
        self._latest = [now, now]
        self._emit(self._over(), [], ())
        return min((heap[0][0] + self._rules.within for heap in self._by_time if heap), default=None)

    def _changes(self) -> Iterable[Change]:
        for number, held in self._dirty.items():
            value = None if held.gone else pack([held.side, held.key, held.time, held.pairs, held.row])
            yield pack(number), "", value
        if self._dirty:
            names = [list(names) for names in self._names]
            yield _PROGRESS, "", pack([self._number, self._latest, names, self._retractable])
        self._dirty.clear()

    def _restore(self, rows: Iterable[tuple[bytes, str, bytes]]) -> None:
        for key, _, value in rows:
            if key == _PROGRESS:
                self._number, self._latest, names, self._retractable = unpack(value)
                self._names = [dict.fromkeys(found) for found in names]
            else:
                side, on, time, pairs, row = unpack(value)
                self._hold(Held(unpack(key), side, on, time, row, pairs))
        self._arm()


def _usable(key: Any, time: Any) -> bool:
    try:
        hash(key)
        return isinstance(time, int | float) and math.isfinite(time)
    except (TypeError, OverflowError):
        return False
