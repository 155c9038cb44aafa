"""Virtual time: a scheduler whose clock jumps to the next due action, sources made of marbles, and a recorder."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from reactivex import Observable
from reactivex import typing as rx
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable
from reactivex.scheduler import VirtualTimeScheduler as ReactivexVirtualTimeScheduler

from rxpipe.context import entered
from rxpipe.errors import RxpipeError
from rxpipe.testing.marbles import TICK, Event, format_marbles, length, parse_marbles

S = TypeVar("S")
LONG = 1e6
"""Seconds of virtual time after which a stream that was to end is taken to go on for ever."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class VirtualTimeScheduler(ReactivexVirtualTimeScheduler):
    """A scheduler that starts at 0 seconds and moves only when told to.

    Times are kept in whole nanoseconds: what is due at the same time runs in the order in which it was scheduled. (The
    scheduler of reactivex counts in microseconds, does not run what is due now when told to advance to now, and steps a
    second ahead when a hundred actions are due at once.) Actions may be scheduled from other threads.
    """

    def __init__(self) -> None:
        super().__init__(0.0)
        self._nanoseconds = 0
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._mutex = threading.RLock()

    @property
    def time(self) -> float:
        """The time in seconds."""
        return self._nanoseconds / 1e9

    @property
    def clock(self) -> float:
        """The time in seconds, under the name it has in reactivex."""
        return self.time

    @property
    def now(self) -> datetime:
        """The time as a date: seconds since the epoch."""
        return _EPOCH + timedelta(microseconds=self._nanoseconds / 1000)

    @property
    def pending(self) -> int:
        """How many actions wait, cancelled ones included."""
        return len(self._heap)

    def schedule(self, action: rx.ScheduledAction[S], state: S | None = None) -> DisposableBase:
        """Run an action at the present time, after what is already due."""
        return self._push(self._nanoseconds, action, state)

    def schedule_relative(
        self, duetime: rx.RelativeTime, action: rx.ScheduledAction[S], state: S | None = None
    ) -> DisposableBase:
        """Run an action after some seconds."""
        seconds = duetime.total_seconds() if isinstance(duetime, timedelta) else float(duetime)
        return self._push(self._nanoseconds + max(0, round(seconds * 1e9)), action, state)

    def schedule_absolute(
        self, duetime: rx.AbsoluteTime, action: rx.ScheduledAction[S], state: S | None = None
    ) -> DisposableBase:
        """Run an action at a time, or now if that is past."""
        seconds = (duetime - _EPOCH).total_seconds() if isinstance(duetime, datetime) else float(duetime)
        return self._push(max(self._nanoseconds, round(seconds * 1e9)), action, state)

    def advance_to(self, time: rx.AbsoluteTime) -> None:
        """Run all that is due up to and at a time, which it then is.

        Raises:
            RxpipeError: The time is past.
        """
        seconds = (time - _EPOCH).total_seconds() if isinstance(time, datetime) else float(time)
        until = round(seconds * 1e9)
        if until < self._nanoseconds:
            msg = f"virtual time: must not go back; it is {self.time:g} s, got {seconds:g} s"
            raise RxpipeError(msg)
        self._run(until)
        self._nanoseconds = until

    def advance_by(self, time: rx.RelativeTime) -> None:
        """Run all that is due within some seconds from now."""
        self.advance_to(self.time + (time.total_seconds() if isinstance(time, timedelta) else float(time)))

    def start(self) -> Any:
        """Run until nothing is scheduled any more."""
        self._run(None)

    def _push(self, due: int, action: rx.ScheduledAction[S], state: S | None) -> DisposableBase:
        disposable = CompositeDisposable()

        def run() -> None:
            if not disposable.is_disposed:
                made = action(self, state)
                if isinstance(made, DisposableBase):
                    disposable.add(made)

        with self._mutex:
            heapq.heappush(self._heap, (due, next(self._order), run))
        return disposable

    def _run(self, until: int | None) -> None:
        while True:
            with self._mutex:
                if not self._heap or (until is not None and self._heap[0][0] > until):
                    return
                due, _, run = heapq.heappop(self._heap)
            self._nanoseconds = max(self._nanoseconds, due)
            run()


class MarbleSource(Observable[Any]):
    """A source that does what a marble text or a list of events says, and notes who subscribed when.

    Args:
        marble: Marble text, or events.
        values: The legend of the text.
        scheduler: Whose time it is.
        hot: Whether the time of the marble is the scheduler's, so that a late subscriber misses what was before it; a
            cold source begins anew with each subscription.

    Attributes:
        subscriptions: For each subscription the times it began and ended at (None: it has not ended).
    """

    def __init__(
        self,
        marble: str | list[Event],
        values: Mapping[str, Any] | None = None,
        *,
        scheduler: VirtualTimeScheduler,
        hot: bool = False,
    ) -> None:
        super().__init__()
        self.events = parse_marbles(marble, values) if isinstance(marble, str) else list(marble)
        self.virtual = scheduler
        self.hot = hot
        self.subscriptions: list[tuple[float, float | None]] = []

    def _subscribe_core(
        self,
        observer: ObserverBase[Any],
        scheduler: SchedulerBase | None = None,  # events come in virtual time
    ) -> DisposableBase:
        number = len(self.subscriptions)
        began = self.virtual.time
        self.subscriptions.append((began, None))
        origin = 0.0 if self.hot else began
        actions = [
            self.virtual.schedule_absolute(origin + event.time, _deliver(observer, event))
            for event in self.events
            if event.time >= 0 and origin + event.time >= began
        ]

        def end() -> None:
            if self.subscriptions[number][1] is None:
                self.subscriptions[number] = (began, self.virtual.time)

        return CompositeDisposable(*actions, Disposable(end))


def _deliver(observer: ObserverBase[Any], event: Event) -> rx.ScheduledAction[Any]:
    def deliver(*_: object) -> None:
        if event.kind == "next":
            observer.on_next(event.value)
        elif event.kind == "error":
            observer.on_error(event.value)
        else:
            observer.on_completed()

    return deliver


def record(observable: Observable[Any], until: float | None = None, *, context: Any = None) -> list[Event]:
    """Subscribe and note all that an observable does until a virtual time.

    Args:
        observable: What to record.
        until: The time to advance to and unsubscribe at, in seconds from now; by default when nothing is scheduled any
            more.
        context: The `TestContext` to run in; by default the current one, else a new one.
    """
    from rxpipe.context import current  # beside the import below
    from rxpipe.testing.context import TestContext  # the context is made of this module's scheduler

    found = context or current()
    if not isinstance(found, TestContext):
        found = TestContext()
    scheduler = found.virtual
    began = scheduler.time
    events: list[Event] = []

    def note(kind: Any) -> Callable[..., None]:
        return lambda value=None: events.append(Event(round(scheduler.time - began, 9), kind, value))

    with entered(found):
        subscription = observable.subscribe(note("next"), note("error"), note("completed"), scheduler=scheduler)
        if until is None:
            scheduler.start()
        else:
            scheduler.advance_to(began + until)
    subscription.dispose()
    return events


def run_marbles(
    step: Callable[..., Observable[Any]],
    source: str,
    values: Mapping[str, Any] | None = None,
    *others: str,
    context: Any = None,
    until: float | None = None,
    tick: float = TICK,
) -> str:
    """Apply an operator to a marble and give the marble of what comes out.

    Args:
        step: Called with the cold source, and with one more for each of `others`.
        source: The marble of the source.
        values: The legend, of what goes in and of what comes out.
        others: The marbles of further sources.
        context: The `TestContext` to run in; a new one by default.
        until: The second to unsubscribe at; by default an hour after the longest marble.
        tick: Seconds of one tick.
    """
    from rxpipe.testing.context import TestContext  # the context is made of this module's scheduler

    context = context or TestContext()
    texts = (source, *others)
    with entered(context):
        sources = [MarbleSource(parse_marbles(text, values, tick=tick), scheduler=context.virtual) for text in texts]
        end = max(length(text, tick) for text in texts) + 3600 if until is None else until
        return format_marbles(record(step(*sources), end, context=context), values, tick=tick)
