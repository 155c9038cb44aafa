"""What stands in a tested graph for what is outside it: streams that are given, sinks, the kernel's notifications."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable, SerialDisposable

from rxpipe.context import Change, current
from rxpipe.elements import Batch, FileEvent, LineDelta, OriginGone
from rxpipe.lease import Flow, Lease
from rxpipe.operators.sinks._outbox import Outbox
from rxpipe.table import Table
from rxpipe.testing.kinds import GONE, RETRACTED
from rxpipe.testing.marbles import Event
from rxpipe.testing.virtual import VirtualTimeScheduler


def made(value: Any, kind: Any, stream: str, flow: Flow) -> Any:
    """The element that a given value stands for."""
    records = value if isinstance(value, list) else [value]
    if isinstance(value, Mapping) and [*value] == [GONE]:
        return OriginGone(value[GONE])
    if kind is LineDelta:
        data = b"".join(
            line.encode() + b"\n" if isinstance(line, str) else orjson.dumps(line) + b"\n" for line in records
        )
        return LineDelta(stream, stream, 0, len(data), data, Lease(flow, len(data), stream, 0, len(data)))
    if kind is Table:
        return Table(stream, (), lambda: records, lambda: 1)
    if kind is FileEvent:
        fields: dict[str, Any] = dict(value)
        return FileEvent(**fields)
    if kind is Batch or all(isinstance(record, Mapping) for record in records):
        taken = [{k: v for k, v in record.items() if k != RETRACTED} for record in records if record.get(RETRACTED)]
        rows = [dict(record) for record in records if not record.get(RETRACTED)]
        return Batch(rows, taken, (Lease(flow, 1),), retractable=bool(taken))
    return value


class GivenStream(Observable[Any]):
    """A source that does what a test says, goes on after a restart where the last checkpoint was, and waits when held.

    Args:
        events: What happens, at seconds of the scheduler.
        kind: The kind of its elements.
        stream: The stream that it stands for.
        virtual: Whose time it is.
    """

    def __init__(self, events: list[Event], kind: Any, stream: str, virtual: VirtualTimeScheduler) -> None:
        super().__init__()
        self.events = events
        self.kind = kind
        self.stream = stream
        self.virtual = virtual

    def _subscribe_core(self, observer: ObserverBase[Any], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        position = 0

        def changes() -> Iterator[Change]:
            yield b"position", "", str(position).encode()

        position = int(context.state("source", changes, "how much was given").get(b"position").get("", b"0"))
        timer = SerialDisposable()
        clock = context.scheduler(scheduler)

        def proceed(*_: Any) -> None:
            nonlocal position
            while position < len(self.events) and not timer.is_disposed:
                event = self.events[position]
                if event.time > self.virtual.time:
                    timer.disposable = clock.schedule_relative(event.time - self.virtual.time, proceed)
                    return
                if not context.flow.open:
                    context.flow.wait(proceed)
                    return
                position += 1
                if event.kind == "completed":
                    observer.on_completed()
                else:
                    observer.on_next(made(event.value, self.kind, self.stream, context.flow))

        def stop() -> None:
            timer.dispose()
            observer.on_completed()

        drain = context.on_drain(stop)
        timer.disposable = clock.schedule(proceed)
        return CompositeDisposable(timer, drain)


class Fails:
    """The failures that are still to come of one sink.

    Args:
        virtual: Whose time it is.
        failures: When they begin, and how many there are.
    """

    def __init__(self, virtual: VirtualTimeScheduler, failures: list[tuple[float, int]]) -> None:
        self._virtual = virtual
        self._failures = failures

    def write(self, _: Any) -> None:
        """Fail, if that is due.

        Raises:
            OSError: It is.
        """
        for index, (at, times) in enumerate(self._failures):
            if times and at <= self._virtual.time:
                self._failures[index] = (at, times - 1)
                msg = "the test says so"
                raise OSError(msg)


def sink(fails: Fails | None) -> Callable[[Observable[Any]], Observable[Any]]:
    """What stands for a sink: it touches nothing, and passes each element on once it is written.

    A write that fails is tried again as sinks do that.
    """

    def stand_in(source: Observable[Any]) -> Observable[Any]:
        if fails is None:
            return source
        write = fails.write

        def subscribe(observer: ObserverBase[Any], scheduler: SchedulerBase | None = None) -> DisposableBase:
            outbox = Outbox(current(), scheduler, observer, write)
            upstream = source.subscribe(
                lambda element: outbox.put(element, element), observer.on_error, outbox.complete, scheduler=scheduler
            )
            return CompositeDisposable(upstream, Disposable(outbox.close))

        return Observable(subscribe)

    return stand_in


class Notifications:
    """Tells each `watch` of a run what the test did to its files, in the place of the kernel."""

    def __init__(self) -> None:
        self._told: list[Callable[[set[str]], None]] = []

    def notifier(self, hinted: Callable[[set[str]], None]) -> _Notifier:
        """A notifier for one `watch`; see `rxpipe.context.Notifier`."""
        self._told.append(hinted)
        return _Notifier(lambda: self._told.remove(hinted))

    def tell(self, paths: set[str]) -> None:
        """Something happened to these paths."""
        for told in list(self._told):
            told(paths)


class _Notifier:
    """Knows of everything, whatever it is asked to watch."""

    def __init__(self, close: Callable[[], None]) -> None:
        self.close = close

    def add(self, path: str) -> None:
        """Nothing needs to be done."""

    def remove(self, path: str) -> None:
        """Nothing needs to be done."""
