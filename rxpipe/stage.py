"""One step inside a run: its context, and the wrappers at its two ends that measure it and name it when it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import Disposable

from rxpipe.context import Change, Context, Saved, StateKind, entered
from rxpipe.elements import ErrorRecord
from rxpipe.guard import GuardedScheduler
from rxpipe.lift import Lifted
from rxpipe.meter import Meter, blame

if TYPE_CHECKING:
    from rxpipe.engine import Engine


class StepContext(Context):
    """The context of one step of a running graph."""

    def __init__(self, engine: Engine, name: str, stream: str, state_name: str) -> None:
        super().__init__(engine.flow)
        self._engine = engine
        self._state_name = state_name
        self.name = name
        self.stream = stream
        self.once = engine.once
        self.folder = engine.plan.graph.folder
        self.meter = Meter()

    def scheduler(self, given: SchedulerBase | None) -> SchedulerBase:
        """The run's scheduler, charging this step."""
        return GuardedScheduler(self._engine.scheduler, self._engine.fail, self.name, self.meter)

    def poster(self, scheduler: SchedulerBase | None) -> Callable[[Callable[[], None]], None]:
        """Hand a call over to the dataflow thread."""
        post = self._engine.post

        def guarded(call: Callable[[], None]) -> None:
            started = perf_counter_ns()
            try:
                call()
            except Exception as error:  # noqa: BLE001  # whatever a step raises stops the run, with its name
                self.fail(error)
            finally:
                self.meter.nanoseconds += perf_counter_ns() - started

        return lambda call: post(lambda: guarded(call))

    def now(self) -> float:
        """The run's clock."""
        return self._engine.clock()

    def emit_error(self, error: ErrorRecord) -> None:
        """Deliver an error record to the stream `errors`."""
        self.meter.errors += 1
        self._engine.emit_error(error)

    def fail(self, error: Exception) -> None:
        """Stop the run."""
        self._engine.fail(blame(error, self.name))

    def state(self, kind: StateKind, changes: Callable[[], Iterable[Change]], description: str = "") -> Saved:
        """Take part in the run's checkpoints."""
        return self._engine.checkpoints.register(self._state_name, kind, changes, description)

    def on_flush(self, flush: Callable[[], None]) -> None:
        """Flush before each checkpoint."""
        self._engine.checkpoints.flushes.append(self._charged(flush))

    def on_drain(self, stop: Callable[[], None]) -> Disposable:
        """Stop when the run drains."""
        charged = self._charged(stop)
        self._engine.stops.append(charged)
        return Disposable(lambda: charged in self._engine.stops and self._engine.stops.remove(charged))

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        """Expose a figure."""
        self.meter.gauges[name] = read

    def describe(self, name: str, read: Callable[[], Any]) -> None:
        """Expose a detail."""
        self.meter.details[name] = read

    def status(self) -> Any:
        """The run's status."""
        return self._engine.status()

    def output(self) -> Any:
        """What the command line asked for."""
        return self._engine.output

    def executor(self) -> Executor:
        """The run's threads."""
        return self._engine.executor()

    def _charged(self, call: Callable[[], None]) -> Callable[[], None]:
        def charged() -> None:
            started = perf_counter_ns()
            try:
                call()
            except Exception as error:
                raise blame(error, self.name) from error.__cause__
            finally:
                self.meter.nanoseconds += perf_counter_ns() - started

        return charged


class Inlet(Observable[Any]):
    """In front of a step: counts what flows in, charges the step for its time, names it when it raises."""

    def __init__(self, source: Observable[Any], context: StepContext) -> None:
        super().__init__()
        self.source = source
        self.context = context

    def _subscribe_core(self, observer: ObserverBase[Any], scheduler: SchedulerBase | None = None) -> DisposableBase:
        name, meter = self.context.name, self.context.meter
        receive = observer.on_next

        def on_next(element: Any) -> None:
            meter.count_in(element)
            started = perf_counter_ns()
            try:
                receive(element)
            except Exception as error:
                raise blame(error, name) from error.__cause__
            finally:
                meter.nanoseconds += perf_counter_ns() - started

        def on_completed() -> None:
            started = perf_counter_ns()
            try:
                observer.on_completed()
            except Exception as error:
                raise blame(error, name) from error.__cause__
            finally:
                meter.nanoseconds += perf_counter_ns() - started

        return self.source.subscribe(on_next, observer.on_error, on_completed, scheduler=scheduler)


class Outlet(Observable[Any]):
    """Behind a step: subscribes it in its context, counts what flows out, takes the time of the steps after it off."""

    def __init__(self, source: Observable[Any], context: StepContext) -> None:
        super().__init__()
        self.source = source
        self.context = context

    def _subscribe_core(self, observer: ObserverBase[Any], scheduler: SchedulerBase | None = None) -> DisposableBase:
        meter = self.context.meter
        emit = observer.on_next

        def on_next(element: Any) -> None:
            meter.count_out(element)
            started = perf_counter_ns()
            try:
                emit(element)
            finally:
                meter.nanoseconds -= perf_counter_ns() - started

        def on_completed() -> None:
            started = perf_counter_ns()
            try:
                observer.on_completed()
            finally:
                meter.nanoseconds -= perf_counter_ns() - started

        def on_error(error: Exception) -> None:
            observer.on_error(blame(error, self.context.name))

        with entered(self.context):
            return self.source.subscribe(on_next, on_error, on_completed, scheduler=scheduler)


def staged(applied: Observable[Any], inlet: Inlet | None, context: StepContext) -> Observable[Any]:
    """A step's output, measured; a record-wise step joins the record-wise steps before it in one pass."""
    if isinstance(applied, Lifted) and inlet is not None and applied.source is inlet:
        stages = [(make, context, context.meter) for make, _, _ in applied.stages]
        before = inlet.source
        if isinstance(before, Lifted):
            return Lifted(before.source, before.stages + stages)
        return Lifted(before, stages)
    return Outlet(applied, context)
