"""Everything later by a fixed time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable, SerialDisposable

from rxpipe.aggregations.packing import pack, unpack
from rxpipe.context import Change, Context, current
from rxpipe.operator import operator
from rxpipe.operators.time._keeping import Kept, packed, unpacked, with_leases
from rxpipe.parameters.units import Duration, seconds
from rxpipe.scheduling.alarm import Alarm

T = TypeVar("T")


@operator
def delay(source: Observable[T], duration: Duration) -> Observable[T]:
    """Emit everything later by a fixed time: elements and completion, in order and at the same distances.

    An error passes at once and drops what is held. What is held stays in flight: a source waits when `in_flight` is
    reached, however long the delay. A checkpoint does not wait for it and does not hurry it: what is held is saved, and
    after a restart comes when it is due, at once if that is past; then the rows of a batch are dicts. A live table is
    not saved; its next change brings it. When the run drains and keeps state, what is held is left to the next run;
    without, it is emitted at once.

        source            -a-bc-|
        delay("300ms")    ----a-bc-|

    Args:
        duration: How much later.

    Example:
        >>> import reactivex as rx
        >>> rx.of(1).pipe(delay("1ms")).run()
        1

    State: the elements that are held, each with the time it is due; a checkpoint writes those that came and went.
    """
    length = seconds(duration)

    def subscribe(observer: ObserverBase[T], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        state = _Delay(observer, context, context.scheduler(scheduler), length)
        upstream = source.subscribe(state.on_next, state.on_error, state.on_completed, scheduler=scheduler)
        return CompositeDisposable(upstream, state.alarm, state.drain, Disposable(state.close))

    return Observable(subscribe)


class _Held(NamedTuple):
    """An element, its number, and when it is due: by the alarm, and by the clock, which a restart goes by."""

    number: int
    due: float
    time: float
    kept: Kept


class _Delay:
    """One subscription. `held` is in the order in which it is due, `saved` and `gone` are numbers."""

    def __init__(self, observer: ObserverBase[Any], context: Context, scheduler: SchedulerBase, length: float) -> None:
        self.observer = observer
        self.context = context
        self.length = length
        self.alarm = Alarm(context, scheduler, self.ring)
        self.drain = SerialDisposable()
        self.held: deque[_Held] = deque()
        self.end: float | None = None
        self.over = False
        self.saved: set[int] = set()
        self.gone: list[int] = []
        self.number = 0
        state = context.state("operator", self.changes, "elements that are held, by number")
        self.persistent = state.persistent
        self.restore(sorted((int.from_bytes(key), unpack(value)) for key, _, value in state.items()))
        context.on_flush(self.flush)
        context.gauge("queue_depth", lambda: len(self.held))

    def restore(self, rows: list[tuple[int, list[Any]]]) -> None:
        """Hold what the last run held."""
        ahead = self.context.now() - self.alarm.now()
        for number, (time, origins, values) in rows:
            kept = Kept(unpacked(values), [tuple(origin) for origin in origins])
            kept.lease(self.context.flow)
            self.held.append(_Held(number, time - ahead, time, kept))
            self.saved.add(number)
            self.number = number
        self.wait()

    def on_next(self, element: Any) -> None:
        """Hold an element."""
        self.number += 1
        due, time = self.alarm.now() + self.length, self.context.now() + self.length
        self.held.append(_Held(self.number, due, time, Kept(element)))
        self.wait()

    def wait(self) -> None:
        """Ring when the first is due."""
        due = self.held[0].due if self.held else self.end
        if due is not None:
            self.alarm.by(due)

    def ring(self, now: float) -> float | None:
        """Emit what is due; the next deadline."""
        while self.held and self.held[0].due <= now:
            self.emit()
        if self.held:
            return self.held[0].due
        if self.end is not None and self.end <= now:
            self.complete()
        return self.end

    def emit(self) -> None:
        """Emit the first."""
        number, _, _, kept = self.held.popleft()
        if number in self.saved:
            self.saved.remove(number)
            self.gone.append(number)
        self.observer.on_next(with_leases(kept.element, kept.lease(self.context.flow)))

    def flush(self) -> None:
        """Let go of the leases: what is held is saved, and emitted when it is due."""
        for held in self.held:
            held.kept.leases = None

    def changes(self) -> Iterable[Change]:
        """What came and went; what is held is in flight again from here on."""
        for number in self.gone:
            yield number.to_bytes(8), "", None
        self.gone.clear()
        for number, _, time, kept in self.held:
            values = packed(kept.element)
            if number not in self.saved and values is not None:
                self.saved.add(number)
                yield number.to_bytes(8), "", pack([time, kept.origins, values])
        if not self.over:
            for held in self.held:
                held.kept.lease(self.context.flow)

    def close(self) -> None:
        """Let go of all leases; what is held may still be saved, where the run was drained."""
        self.over = True
        self.flush()

    def on_completed(self) -> None:
        """Complete when all that is held is through."""
        if self.context.draining:
            self.finish()
            return
        self.end = self.alarm.now() + self.length
        self.drain.disposable = self.context.on_drain(self.finish)
        self.wait()

    def finish(self) -> None:
        """The run ends: leave what is held to the next one, if there can be one."""
        while self.held and not self.persistent:
            self.emit()
        self.complete()

    def complete(self) -> None:
        """Complete, and do nothing more."""
        self.end = None
        self.alarm.dispose()
        self.observer.on_completed()

    def on_error(self, error: Exception) -> None:
        """Drop what is held."""
        self.alarm.dispose()
        self.held.clear()
        self.observer.on_error(error)
