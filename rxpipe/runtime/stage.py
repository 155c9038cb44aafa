"""One step inside a run: its context, and the wrappers at its two ends that measure it and name it when it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable
from reactivex.internal import default_error, noop

from rxpipe.context import Change, Context, Emit, Notifier, Saved, StateKind, enter, entered, leave
from rxpipe.elements import Batch, ErrorRecord
from rxpipe.fusion.fused import Tail
from rxpipe.fusion.lift import Lifted, fold
from rxpipe.lease import Lease
from rxpipe.runtime.guard import GuardedScheduler
from rxpipe.runtime.meter import Meter, blame
from rxpipe.unread import unread

if TYPE_CHECKING:
    from rxpipe.runtime.engine import Engine
    from rxpipe.runtime.shared import Shared

T = TypeVar("T")


class StepContext(Context):
    """The context of one step of a running graph.

    Args:
        engine: The run.
        name: The step's name, under which its state is saved too.
        stream: The name of its stream.
        handles_errors: Whether the step reads `errors`, itself or through the steps before it: what it rejects is
            counted and logged, and not sent there again.
        definition: A digest of what the steps behind it in its stream do.
        role: What it is known by, see `rxpipe.context.Context.role`.

    Attributes:
        meter: What is measured of the step.
        flushes: What the step wants called before a checkpoint.
        stops: What the step wants called when the run drains.
    """

    def __init__(
        self,
        engine: Engine,
        name: str,
        stream: str,
        *,
        handles_errors: bool = False,
        definition: str = "",
        role: str = "",
    ) -> None:
        super().__init__(engine.flow)
        self._engine = engine
        self._handles_errors = handles_errors
        self.name = name
        self.stream = stream
        self.definition = definition
        self._role = role or name
        self.once = engine.once
        self.now = engine.clock  # type: ignore[method-assign]  # without a call in between: it is asked for all the time
        self.folder = engine.plan.graph.folder
        self.written = engine.written
        self.board = engine.board
        self.redo = engine.redo
        self.meter = Meter()
        self.flushes: list[Callable[[], None]] = []
        self.stops: list[Callable[[], None]] = []

    def scheduler(self, given: SchedulerBase | None) -> SchedulerBase:  # the run's is the one
        """The run's scheduler, charging this step."""
        engine = self._engine
        return GuardedScheduler(engine.scheduler, engine.fail, engine.over, self.charged)

    def poster(self, scheduler: SchedulerBase | None) -> Callable[[Callable[[], None]], None]:
        """Hand a call over to the dataflow thread; what comes after the end of the run is not done any more."""
        return lambda call: self._engine.post(lambda: self.guarded(call))

    def guarded(self, call: Callable[[], None]) -> None:
        """Make a call of the step here and now, as `poster` does; nothing is done after the end of the run."""
        engine = self._engine
        if engine.over():
            return
        try:
            self.charged(call)
        except Exception as error:  # whatever a step raises stops the run, with its name
            engine.fail(error)

    @property
    def draining(self) -> bool:
        """Whether the run is being stopped."""
        return self._engine.draining

    def connect(self, readers: Mapping[str, Emit]) -> None:
        """Tell who reads the step's outputs beside the main one; what it emits there is counted."""
        self.readers = {output: self._counted(output, emit) for output, emit in readers.items()}

    def _counted(self, output: str, emit: Emit) -> Emit:
        meter, others, records = self.meter, Meter(), 0

        def counted(element: Any) -> None:
            nonlocal records
            meter.pass_on(element, others)
            records += len(element.rows) if isinstance(element, Batch) else 1
            emit(element)

        self.gauge(f"{output}_records", lambda: records)
        return counted

    def emit_error(self, error: ErrorRecord, leases: tuple[Lease, ...] = ()) -> None:
        """Deliver an error record to the stream `errors`."""
        self.meter.errors += 1
        started = perf_counter_ns()
        self._engine.errors.emit(error, leases, self.meter.errors, deliver=not self._handles_errors)
        self.meter.nanoseconds -= perf_counter_ns() - started

    def skip(self, error: ErrorRecord) -> None:
        """Count an error that is passed over."""
        self.meter.errors += 1
        self._engine.errors.count_in(error)

    def fail(self, error: Exception) -> None:
        """Stop the run."""
        self._engine.fail(blame(error, self.name))

    def state(self, kind: StateKind, changes: Callable[[], Iterable[Change]], description: str = "") -> Saved:
        """Take part in the run's checkpoints."""
        return self._engine.checkpoints.register(self.name, kind, changes, description)

    def marks(self) -> Iterable[Change]:
        """What was sent again of the dead letters that the step keeps."""
        replay = self._engine.replay
        return () if replay is None else replay.marks(self.name)

    def spool(self) -> Path | None:
        """A folder beside the run's state file."""
        return self._engine.spool(self.name)

    def on_flush(self, flush: Callable[[], None]) -> None:
        """Flush before each checkpoint."""
        self.flushes.append(flush)

    def flush(self) -> None:
        """Flush now."""
        self._engine.flush()

    def on_drain(self, stop: Callable[[], None]) -> Disposable:
        """Stop when the run drains; in a turn of its own, if it is draining already."""
        self.stops.append(stop)
        if self._engine.draining:
            self.scheduler(None).schedule(lambda *_: self.drain())

        def forget() -> None:
            if stop in self.stops:
                self.stops.remove(stop)

        return Disposable(forget)

    def drain(self) -> None:
        """Call each stop, once."""
        while self.stops:
            self.charged(self.stops.pop(0))

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        """Expose a figure."""
        self.meter.gauges[name] = read

    def describe(self, name: str, read: Callable[[], Any]) -> None:
        """Expose a detail."""
        self.meter.details[name] = read

    def note_run(self, run: Any) -> None:
        """Let the engine know."""
        self._engine.runs[*run.steps] = run

    def status(self) -> Any:
        """The run's status."""
        return self._engine.status(whole=False)

    def output(self) -> Any:
        """What the command line asked for."""
        return self._engine.output

    def notifier(self, hinted: Callable[[set[str]], None]) -> Notifier | None:
        """Who tells of changed paths, if not the kernel."""
        make = self._engine.notifier
        post = self.poster(None)
        return None if make is None else make(lambda paths: post(lambda: hinted(paths)))

    def endpoint(self) -> Any:
        """Where the run's metrics are."""
        return self._engine.endpoint

    @property
    def role(self) -> str:
        """What the step is known by though others come before it."""
        return self._role

    def executor(self) -> Executor:
        """The run's threads."""
        return self._engine.executor()

    def thread(self) -> Executor:
        """A thread for this step alone."""
        return self._engine.thread()

    def charged(self, call: Callable[..., T], *arguments: Any) -> T:
        """Make a call of the step, in its context: its time is the step's, what it raises carries the step's name."""
        started = perf_counter_ns()
        token = enter(self)
        try:
            return call(*arguments)
        except Exception as error:
            blame(error, self.name)
            raise
        finally:
            leave(token)
            self.meter.nanoseconds += perf_counter_ns() - started


class _Calls(NamedTuple):
    """What an observer has that is three functions; called directly, since it is on the way of every block."""

    on_next: Callable[[Any], None]
    on_error: Callable[[Exception], None]
    on_completed: Callable[[], None]


class Joint(Observable[Any]):
    """An observable between two steps that adds no observer of its own to the way of an element.

    Each step has one that stops it when it is over or disposed of; the joints beside it need none.
    """

    def subscribe(
        self,
        on_next: Any = None,
        on_error: Callable[[Exception], None] | None = None,
        on_completed: Callable[[], None] | None = None,
        *,
        scheduler: SchedulerBase | None = None,
    ) -> DisposableBase:
        """Subscribe what is given as it is."""
        observer: Any = on_next
        if not hasattr(on_next, "on_next"):
            observer = _Calls(on_next or noop, on_error or default_error, on_completed or noop)
        return self._subscribe_core(observer, scheduler)


class Inlet(Joint):
    """In front of a step: counts what flows in, charges the step for its time, names it when it raises.

    Args:
        source: What the step reads.
        context: The step.
        before: The meter of the step that the elements come from, whose time this step's is not; None if
            it is not known.
        dynamic: Whether the step may subscribe operators while elements flow, as `flat_map` does; they find its
            context.
    """

    def __init__(
        self, source: Observable[Any], context: StepContext, before: Meter | None = None, *, dynamic: bool = False
    ) -> None:
        super().__init__()
        self.source = source
        self.context = context
        self.before = before or Meter()
        self.dynamic = dynamic

    def folded(self, tail: Tail) -> Observable[Any]:
        """The same inlet; see `rxpipe.fusion.lift.fold`."""
        return Inlet(fold(self.source, tail), self.context, self.before, dynamic=self.dynamic)

    def unread(self, size: Callable[[], int]) -> Observable[Any]:
        """The same inlet; see `rxpipe.unread.unread`."""
        return Inlet(unread(self.source, size), self.context, self.before, dynamic=self.dynamic)

    def _subscribe_core(self, observer: ObserverBase[Any], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context, before = self.context, self.before
        name, meter = context.name, context.meter
        receive: Callable[[Any], None] = observer.on_next

        def within(element: Any) -> None:
            with entered(context):
                observer.on_next(element)

        if self.dynamic:
            receive = within

        def on_error(error: Exception) -> None:
            context.charged(observer.on_error, error)

        def on_completed() -> None:
            context.charged(observer.on_completed)

        source = self.source
        left = source.context.meter if isinstance(source, Outlet) else Meter()
        count, now = left.pass_on, context.now

        def on_next(element: Any) -> None:
            count(element, meter)
            left.last = now()
            started = perf_counter_ns()
            try:
                receive(element)
            except Exception as error:
                blame(error, name)
                raise
            finally:
                spent = perf_counter_ns() - started
                meter.nanoseconds += spent
                before.nanoseconds -= spent

        subscribe = source.counted if isinstance(source, Outlet) else source.subscribe
        return subscribe(on_next, on_error, on_completed, scheduler=scheduler)


class Outlet(Joint):
    """Behind a step: subscribes it in its context, counts what flows out, names it when it ends in an error.

    Args:
        source: What the step emits.
        context: The step.
        root: Whether the step is a source: one that says nothing of draining is then unsubscribed, and complete.
    """

    def __init__(self, source: Observable[Any], context: StepContext, *, root: bool = False) -> None:
        super().__init__()
        self.source = source
        self.context = context
        self.root = root

    def unread(self, size: Callable[[], int]) -> Observable[Any]:
        """The same outlet; see `rxpipe.unread.unread`."""
        return Outlet(unread(self.source, size), self.context, root=self.root)

    def _subscribe_core(self, observer: ObserverBase[Any], scheduler: SchedulerBase | None = None) -> DisposableBase:
        meter, now = self.context.meter, self.context.now
        emit, count, others = observer.on_next, meter.pass_on, Meter()

        def on_next(element: Any) -> None:
            count(element, others)
            meter.last = now()
            emit(element)

        return self.counted(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

    def counted(
        self,
        on_next: Callable[[Any], None],
        on_error: Callable[[Exception], None],
        on_completed: Callable[[], None],
        *,
        scheduler: SchedulerBase | None = None,
    ) -> DisposableBase:
        """Subscribe what counts the elements itself, as the inlet of the next step does."""
        context = self.context

        def blamed(error: Exception) -> None:
            on_error(blame(error, context.name))

        def subscribe(completed: Callable[[], None]) -> DisposableBase:
            with entered(context):
                return self.source.subscribe(on_next, blamed, completed, scheduler=context.scheduler(scheduler))

        return self._rooted(on_completed, subscribe) if self.root else subscribe(on_completed)

    def _rooted(
        self, on_completed: Callable[[], None], subscribe: Callable[[Callable[[], None]], DisposableBase]
    ) -> DisposableBase:
        """Tell the run when the source is over, and see to it that it is when the run drains."""
        context = self.context
        over = context._engine.source_began()  # noqa: SLF001  # the two are one thing

        def completed() -> None:
            on_completed()
            over()

        subscription = CompositeDisposable(Disposable(over))
        subscription.add(subscribe(completed))
        if not context.stops and not subscription.is_disposed:

            def stop() -> None:
                subscription.dispose()
                on_completed()

            subscription.add(context.on_drain(stop))
        return subscription


class Ending(Observable[Any]):
    """Behind a step with outputs that others read: they end when the step completes, or is unsubscribed.

    Args:
        source: The step.
        outputs: Where its outputs are heard.
        over: Whether the run has ended: then nobody is told any more.
    """

    def __init__(self, source: Observable[Any], outputs: list[Shared], over: Callable[[], bool]) -> None:
        super().__init__()
        self.source = source
        self.outputs = outputs
        self.over = over

    def _subscribe_core(self, observer: ObserverBase[Any], scheduler: SchedulerBase | None = None) -> DisposableBase:
        def end() -> None:
            if not self.over():
                for output in self.outputs:
                    output.on_completed()

        def on_completed() -> None:
            end()
            observer.on_completed()

        upstream = self.source.subscribe(observer.on_next, observer.on_error, on_completed, scheduler=scheduler)
        return CompositeDisposable(upstream, Disposable(end))


def staged(
    applied: Observable[Any], inlet: Inlet | None, context: StepContext, *, root: bool = False
) -> Observable[Any]:
    """A step's output, measured; a record-wise step joins the record-wise steps before it in one pass."""
    if isinstance(applied, Lifted) and inlet is not None and (applied.source is inlet or not applied.stages[0].counted):
        source, before = inlet.source, inlet.before
        if applied.source is not inlet:  # the step makes the records itself, and the first stage is its own
            source, before = Outlet(applied.source, context), context.meter
        stages = [stage._replace(context=context, meter=context.meter) for stage in applied.stages]
        if isinstance(source, Lifted):
            return Lifted(source.source, source.stages + stages, source.before)
        return Lifted(source, stages, before)
    return Outlet(applied, context, root=root)
