"""The running graph: builds the observables of a plan, subscribes them in the right order, drains them, reports on them.

Everything here happens on one thread. Time comes from the scheduler given, so that the same engine runs on an asyncio loop
and under virtual time; `rxpipe.run` gives it a loop and a thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from loguru import logger
from reactivex import Observable
from reactivex.abc import SchedulerBase
from reactivex.disposable import CompositeDisposable
from reactivex.subject import Subject

from rxpipe.checkpoint import Checkpoints
from rxpipe.elements import Batch, ErrorRecord
from rxpipe.errors import GraphError, RunError, RxpipeError
from rxpipe.graph import ERRORS
from rxpipe.guard import GuardedScheduler
from rxpipe.lease import Flow
from rxpipe.meter import Meter
from rxpipe.stage import Inlet, StepContext, staged
from rxpipe.status import Monitor, RunStatus

if TYPE_CHECKING:
    from rxpipe.plan import Plan, PlannedStep, PlannedStream
    from rxpipe.state import StateFile

State = Literal["new", "running", "paused", "draining", "done", "failed", "stopped"]

KEPT_ERRORS = 100
"""How many of the last error records `status()` shows."""


@dataclass
class Options:
    """How to run a plan.

    Args:
        in_flight: Bytes read but not yet done with, above which sources wait.
        checkpoint: Seconds between checkpoints.
        once: Whether sources end when they have emitted what is there.
        output: What sinks that print are told, see `rxpipe.output`.
        state: The open state file; the engine closes it.
    """

    in_flight: int = 64 * 1024 * 1024
    checkpoint: float = 1.0
    once: bool = False
    output: Any = None
    state: StateFile | None = None


class Engine:
    """One run of one plan.

    Args:
        plan: The checked graph.
        scheduler: Keeps the time.
        clock: Seconds since the epoch.
        post: Hands a call over to the thread of the dataflow, from any thread.
        ended: Called once when the run has ended, with the error that ended it or None.
        options: How to run.
    """

    def __init__(
        self,
        plan: Plan,
        scheduler: SchedulerBase,
        clock: Callable[[], float],
        post: Callable[[Callable[[], None]], None],
        ended: Callable[[Exception | None], None],
        options: Options,
    ) -> None:
        self.plan = plan
        self.clock = clock
        self.post = post
        self.once = options.once
        self.output = options.output
        self.flow = Flow(options.in_flight)
        self.scheduler = GuardedScheduler(scheduler, self.fail, "a timer", Meter())
        self.checkpoints = Checkpoints(self.flow, options.state, self._later)
        self.stops: list[Callable[[], None]] = []
        self.state: State = "new"
        self.contexts: list[StepContext] = []
        self.errors = 0
        self.last_errors: deque[ErrorRecord] = deque(maxlen=KEPT_ERRORS)
        self.monitor = Monitor(self)
        self._ended = ended
        self._options = options
        self._subscriptions = CompositeDisposable()
        self._subjects: dict[str, Subject[Any]] = {}
        self._open: set[str] = set()
        self._activity = -1
        self._executor: ThreadPoolExecutor | None = None
        self._failure: Exception | None = None

    def begin(self) -> None:
        """Build and subscribe all streams: readers first, so that a shared stream starts when all its readers are there."""
        self.state = "running"
        read = {name for name, stream in self.plan.streams.items() if stream.readers}
        self._subjects = {name: Subject() for name in (*read, ERRORS)}
        built = {name: self._build(stream) for name, stream in self.plan.streams.items()}
        self._open = set(built)
        for name in reversed(list(built)):
            if self.state != "running":
                return
            self._subscribe(name, built[name])
        self._tick()

    def _build(self, stream: PlannedStream) -> Observable[Any]:
        observable: Observable[Any] | None = None
        for step in stream.steps:
            context = StepContext(self, step.name, stream.name, f"{step.name}")
            self.contexts.append(context)
            observable = self._apply(step, observable, context)
        if observable is None:
            msg = f"stream {stream.name!r} has no steps"
            raise RxpipeError(msg)
        return observable

    def _apply(self, step: PlannedStep, before: Observable[Any] | None, context: StepContext) -> Observable[Any]:
        if step.reads is not None:
            return self._subjects[step.reads]
        inlet = Inlet(before, context) if before is not None else None
        if isinstance(step.function, Observable):
            return staged(step.function, None, context)
        if step.function is not None and inlet is not None:
            return staged(step.function(inlet), inlet, context)
        if step.operator is None:
            msg = f"{step.name}: nothing to run"
            raise RxpipeError(msg)
        inputs: dict[str, Any] = {}
        if inlet is not None:
            inputs[step.operator.inputs[0]] = inlet
        for name, read in step.streams.items():
            inputs[name] = [self._read(s, context) for s in read] if isinstance(read, list) else self._read(read, context)
        return staged(step.operator.apply(inputs, step.parameters), inlet, context)

    def _read(self, stream: str, context: StepContext) -> Observable[Any]:
        return Inlet(self._subjects[stream], context)

    def _subscribe(self, name: str, observable: Observable[Any]) -> None:
        subject = self._subjects.get(name)

        def on_completed() -> None:
            if subject is not None:
                subject.on_completed()
            self._completed(name)

        on_next = subject.on_next if subject is not None else _ignore
        self._subscriptions.add(observable.subscribe(on_next, self.fail, on_completed, scheduler=self.scheduler))

    def _completed(self, name: str) -> None:
        self._open.discard(name)
        errors = self._subjects[ERRORS]
        if self._open and self._open <= self._reading_errors() and not errors.is_stopped:
            self._later(0, errors.on_completed)
        if not self._open:
            self._later(0, self._finish)

    def _reading_errors(self) -> set[str]:
        """The streams that read `errors`, directly or through others: they end when all others have."""
        found: set[str] = set()
        for name, stream in self.plan.streams.items():
            reads = {read for step in stream.steps for read in reads_of(step)}
            if ERRORS in reads or reads & found:
                found.add(name)
        return found

    def _finish(self) -> None:
        if self.state in ("done", "failed", "stopped"):
            return
        self.state = "draining"
        self.checkpoints.take(lambda: self._end("done"))

    def drain(self) -> None:
        """Stop the sources, let what is under way come through, take a last checkpoint, end."""
        if self.state not in ("running", "paused"):
            return
        if self.state == "paused":
            self.flow.release()
        self.state = "draining"
        for stop in list(self.stops):
            stop()

    def stop(self) -> None:
        """End now, without waiting; the last checkpoint stays as it is."""
        if self.state not in ("done", "failed", "stopped"):
            self._end("stopped")

    def pause(self) -> None:
        """Hold the sources; what was read comes through."""
        if self.state == "running":
            self.state = "paused"
            self.flow.hold()

    def resume(self) -> None:
        """Let the sources go on."""
        if self.state == "paused":
            self.state = "running"
            self.flow.release()

    def fail(self, error: Exception) -> None:
        """End the run because of a programming error, or because a stream ended in one."""
        if self.state in ("done", "failed", "stopped"):
            logger.opt(exception=error).debug("error after the run had ended")
            return
        self._failure = error if isinstance(error, GraphError) else self._run_error(error)
        self._end("failed")

    def _run_error(self, error: Exception) -> RunError:
        step = getattr(error, "rxpipe_step", None)
        places = {s.name: s.place for stream in self.plan.streams.values() for s in stream.steps}
        place = places.get(step) if step is not None else None
        where = ": ".join(str(part) for part in (place, step) if part)
        what = str(error) if isinstance(error, RxpipeError) else f"{type(error).__name__}: {error}"
        made = RunError(f"{where}: {what}" if where else what)
        made.__cause__ = error
        return made

    def _end(self, state: State) -> None:
        self.state = state
        self._subscriptions.dispose()
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
        if self._options.state is not None:
            self._options.state.close()
        self._ended(self._failure)

    def emit_error(self, error: ErrorRecord) -> None:
        """Count an error record and deliver it to those who read `errors`; if nobody does, it is logged."""
        self.errors += 1
        self.last_errors.append(error)
        subject = self._subjects[ERRORS]
        if subject.observers and not subject.is_stopped:
            subject.on_next(Batch([error]))
        else:
            where = "" if error.path is None else f" ({error.path}, bytes {error.start} to {error.end})"
            logger.warning("{}: {}{}", error.step, error.reason, where)

    def executor(self) -> Executor:
        """The run's threads, made when first needed."""
        if self._executor is None:
            self._executor = ThreadPoolExecutor(thread_name_prefix=f"rxpipe-{self.plan.graph.name}")
        return self._executor

    def status(self) -> RunStatus:
        """What the run is doing."""
        return self.monitor.status()

    def _later(self, seconds: float, call: Callable[[], None]) -> object:
        return self.scheduler.schedule_relative(seconds, lambda *_: call())

    def _tick(self) -> None:
        """Take a checkpoint at every interval in which something flowed."""

        def tick() -> None:
            if self.state in ("done", "failed", "stopped"):
                return
            activity = sum(context.meter.blocks_out + context.meter.errors for context in self.contexts)
            if activity != self._activity and self.state == "running" and self._options.state is not None:
                self._activity = activity
                self.checkpoints.take()
            self._later(self._options.checkpoint, tick)

        self._later(self._options.checkpoint, tick)


def reads_of(step: PlannedStep) -> list[str]:
    """The streams that a step reads."""
    names = [step.reads] if step.reads is not None else []
    for read in step.streams.values():
        names += read if isinstance(read, list) else [read]
    return names


def _ignore(_: object) -> None:
    """The last step of a stream that nobody reads."""


