"""Sources, steps and sinks that the engine's tests build graphs of; each does one thing and tells what it did."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable

from rxpipe.context import Change, current
from rxpipe.elements import Batch
from rxpipe.graph import Graph
from rxpipe.lease import Lease

Step = Callable[[Observable[Any]], Observable[Any]]
DEADLINE = 20.0


def threads_of_runs() -> set[threading.Thread]:
    """The threads that runs and their steps made, by their names; those that all of a process share are not theirs."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("rxpipe-")}


def until(condition: Callable[[], bool], what: str = "the condition", *, deadline: float = DEADLINE) -> None:
    """Wait for something that another thread does."""
    end = time.monotonic() + deadline
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < end, f"{what} did not come true"
        pause.wait(0.001)


def graph(*steps: Any, name: str = "test", **streams: list[Any]) -> Graph:
    """A graph of one stream `main`, or of the streams named."""
    return Graph(name, {"main": list(steps)} | streams if steps else streams)


class Blocks:
    """A source of leased batches `{"n": 0}`, `{"n": 1}` …: one a turn, or one each period; its offset is saved.

    Attributes:
        emitted: How many blocks were emitted.
        peak: The most bytes that were in flight.
    """

    def __init__(self, count: int = 10**9, nbytes: int = 1000, every: float = 0.0) -> None:
        self.count, self.nbytes, self.every = count, nbytes, every
        self.emitted = 0
        self.peak = 0
        self.flow: Any = None

    def source(self) -> Observable[Batch]:
        """The source, to put first into a stream."""

        def subscribe(observer: ObserverBase[Batch], scheduler: SchedulerBase | None = None) -> DisposableBase:
            context = current()
            self.flow = flow = context.flow
            saved = context.state("source", lambda: [(b"", "", b"%d" % offset)], "offset")
            offset = int(saved.get(b"").get("", b"0"))
            timers = context.scheduler(scheduler)
            done = False

            def pump(*_: object) -> None:
                nonlocal offset, done
                if done:
                    return
                if offset >= self.count:
                    stop()
                elif not flow.open:
                    flow.wait(pump)
                else:
                    row = {"n": offset}
                    offset += 1
                    self.emitted += 1
                    lease = Lease(flow, self.nbytes, "origin", offset - 1, offset)
                    self.peak = max(self.peak, flow.in_flight)
                    batch = Batch([row], leases=(lease,))
                    del lease
                    observer.on_next(batch)
                    timers.schedule_relative(self.every, pump)

            def stop() -> None:
                nonlocal done
                done = True
                observer.on_completed()

            def dispose() -> None:
                nonlocal done
                done = True

            timers.schedule(pump)
            return CompositeDisposable(context.on_drain(stop), Disposable(dispose))

        return Observable(subscribe)


def later(delay: float, held: list[Any] | None = None) -> Step:
    """Emit each element after a delay, all of them before completing; `held` shows those that wait."""
    waiting: list[Any] = [] if held is None else held

    def later(source: Observable[Any]) -> Observable[Any]:
        def subscribe(observer: ObserverBase[Any], scheduler: SchedulerBase | None = None) -> DisposableBase:
            timers = current().scheduler(scheduler)
            completed = False

            def on_next(element: Any) -> None:
                waiting.append(element)
                del element
                timers.schedule_relative(delay, release)

            def release(*_: object) -> None:
                observer.on_next(waiting.pop(0))
                if completed and not waiting:
                    observer.on_completed()

            def on_completed() -> None:
                nonlocal completed
                completed = True
                if not waiting:
                    observer.on_completed()

            return source.subscribe(on_next, observer.on_error, on_completed, scheduler=scheduler)

        return Observable(subscribe)

    return later


class Ledger:
    """A sink that goes back to its position: `durable` is what is on its disk, `rows` what it was given.

    Attributes:
        fail: Raised at the next checkpoints, as long as it is set.
    """

    def __init__(self, durable: list[Any] | None = None) -> None:
        self.durable: list[Any] = [] if durable is None else durable
        self.rows: list[Any] = []
        self.fail: Exception | None = None
        self.asked = 0

    def step(self, source: Observable[Any]) -> Observable[Any]:
        """The sink, to put last into a stream."""

        def subscribe(observer: ObserverBase[Any], scheduler: SchedulerBase | None = None) -> DisposableBase:
            saved = current().state("sink", self._changes, "position")
            position = msgspec.msgpack.decode(saved.get(b"position").get("", b"\x00"))
            del self.durable[position:]
            self.rows = list(self.durable)

            def on_next(element: Any) -> None:
                self.rows += element.rows if isinstance(element, Batch) else [element]
                self.durable = self.rows  # what a crash may leave behind: more than the position says
                observer.on_next(element)

            return source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

        return Observable(subscribe)

    def _changes(self) -> Iterable[Change]:
        self.asked += 1
        if self.fail is not None:
            raise self.fail
        yield b"position", "", msgspec.msgpack.encode(len(self.rows))

    @property
    def numbers(self) -> list[int]:
        """The numbers of the rows."""
        return [row["n"] for row in self.rows]


def collect(into: list[Any]) -> Step:
    """Note what passes: the rows of batches, any other element as it is."""

    def collect(source: Observable[Any]) -> Observable[Any]:
        def subscribe(observer: ObserverBase[Any], scheduler: SchedulerBase | None = None) -> DisposableBase:
            def on_next(element: Any) -> None:
                into.extend(element.rows if isinstance(element, Batch) else [element])
                observer.on_next(element)

            return source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

        return Observable(subscribe)

    return collect


def rejecting(reason: str = "refused", *, at_once: bool = False) -> Step:
    """Reject every row, with its lease; or one record as soon as the step is subscribed."""

    def rejecting(source: Observable[Any]) -> Observable[Any]:
        def subscribe(observer: ObserverBase[Any], scheduler: SchedulerBase | None = None) -> DisposableBase:
            context = current()

            def on_next(element: Any) -> None:
                for row in element.rows if isinstance(element, Batch) else [element]:
                    context.reject(reason, row, leases=getattr(element, "leases", ()))

            if at_once:
                context.reject(reason)
            return source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

        return Observable(subscribe)

    return rejecting
