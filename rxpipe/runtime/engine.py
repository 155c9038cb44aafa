"""The running graph: subscribes the streams of a plan in the right order, drains them, reports on them.

Everything here happens on one thread. Time comes from the scheduler given, so that the same engine runs on an asyncio
loop and under virtual time; `rxpipe.runtime.asyncrun` gives it a loop, `rxpipe.testing` a virtual clock.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from reactivex import Observable
from reactivex.abc import DisposableBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, SerialDisposable

from rxpipe.context import Emit, void
from rxpipe.errors import GraphError, RunError, RxpipeError
from rxpipe.fusion.lift import fold
from rxpipe.graph import ERRORS
from rxpipe.language.hidden import masked
from rxpipe.language.plan import error_handlers, reads_of
from rxpipe.lease import Flow
from rxpipe.log import logger
from rxpipe.runtime.adoption import spool_of
from rxpipe.runtime.checkpoint import Checkpoints
from rxpipe.runtime.deadletters import DeadLetters
from rxpipe.runtime.guard import GuardedScheduler
from rxpipe.runtime.options import Options
from rxpipe.runtime.shared import Shared
from rxpipe.runtime.stage import StepContext
from rxpipe.runtime.status import Monitor, RunStatus
from rxpipe.runtime.threads import Threads
from rxpipe.runtime.wiring import Wiring
from rxpipe.table import Table
from rxpipe.unread import unread
from rxpipe.written import Written

if TYPE_CHECKING:
    from rxpipe.fusion.fused import Run
    from rxpipe.language.plan import Plan, PlannedStream
    from rxpipe.runtime.metrics import Endpoint
    from rxpipe.tasks.store import Redo

State = Literal["new", "running", "paused", "draining", "done", "failed", "stopped"]

LAST_ATTEMPTS = 3
"""How often the last checkpoint is tried before the run ends as failed."""

OVER = ("done", "failed", "stopped")
"""The states of a run that has ended."""


class Engine:
    """One run of one plan.

    Args:
        plan: The checked graph.
        scheduler: Keeps the time.
        clock: Seconds since the epoch.
        post: Hands a call over to the thread of the dataflow, from any thread.
        ended: Called once when the run has ended, with the error that ended it or None.
        options: How to run.

    Attributes:
        state: What the run is doing.
        failure: What ended the run, if that was an error.
        flow: Counts what is leased, and holds the sources.
        errors: The built-in stream `errors`.
        written: The files that the run writes.
        board: What its steps tell each other, see `rxpipe.context.Context`.
        endpoint: Where the run's metrics are, if it exposes them.
        threads: Where blocking calls are made.
        contexts: The contexts of all steps, each behind those that it reads from.
        runs: The latest run of each row of record-wise steps, by their names.
        tables: The latest table that left each stream, or output of one.
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
        self.scheduler = scheduler
        self.clock = clock
        self.post = post
        self.once = options.once
        self.redo: Redo | None = options.redo
        self.output = options.output
        self.notifier = options.notifier
        self.replay = options.replay
        self.state: State = "new"
        self.failure: Exception | None = None
        self.contexts: list[StepContext] = []
        self.runs: dict[tuple[str, ...], Run] = {}
        self.tables: dict[str, Table] = {}
        self.errors = DeadLetters(options.watch)
        self.written = Written()
        self.board: dict[str, Any] = {}
        self.endpoint: Endpoint | None = None
        if options.state is not None:
            self.written.add(options.state.path, "-wal", "-shm", ".lock")
        self._own = GuardedScheduler(scheduler, self.fail, self.over)
        self.flow = Flow(options.in_flight, later=lambda call: self._later(0, call), post=post)
        self.checkpoints = Checkpoints(self.flow, options.state, self._later, self.flush, clock, self._aside)
        self.monitor = Monitor(self)
        self.threads = Threads(f"rxpipe-{plan.graph.name}", options.executor, self.over)
        self._ended = ended
        self._options = options
        self._subscriptions = CompositeDisposable()
        self._ticks = SerialDisposable()
        self._handlers = error_handlers(plan)
        self._shared: dict[str, Shared] = {}
        self._open: set[str] = set()
        self._sources = 0
        self._activity = -1

    def begin(self) -> None:
        """Build and subscribe all streams: readers first, so that a shared stream starts when all of them are there.

        Those that read `errors` come before all others, since any step may fail as soon as it is subscribed. What goes
        wrong here ends the run like any later error.
        """
        self.state = "running"
        streams = sorted(self.plan.streams.values(), key=lambda stream: stream.name in self._handlers)
        self._shared = {name: Shared() for stream in streams for name in _read(stream)} | {ERRORS: self.errors.stream}
        if self._options.watch is None:
            self._shared |= {stream.name: Shared(single=True) for stream in streams if self._read_once(stream)}
        self._open = {stream.name for stream in streams}
        try:
            wiring = Wiring(self, self._shared, self._handlers)
            built = [(stream.name, wiring.build(stream)) for stream in streams]
        except Exception as error:  # an operator may raise whatever it likes when it is called
            self.fail(error)
            return
        for name, observable in reversed(built):
            self._subscribe(name, observable)
            if self.over():
                return
        self._later(0, self._complete_errors)
        if self._options.state is not None:
            self._guarded(self.checkpoints.take)  # from now on every sink has a position to go back to
        if self.over():
            return
        self._tick()
        if self.replay is not None:
            self._later(0, self._replay)
        if self._options.duration is not None:
            self._subscriptions.add(self._later(self._options.duration, self.drain))

    def _read_once(self, stream: PlannedStream) -> bool:
        """Whether a stream has one reader, and that no step that might subscribe more than once."""
        if len(stream.readers) != 1:
            return False
        reader = self.plan.streams[stream.readers[0]]
        reads = [read for step in reader.steps for read in reads_of(step) if read == stream.name]
        return len(reads) == 1 and all(step.function is None for step in reader.steps)

    def _replay(self) -> None:
        """Send the dead letters, and end."""
        state, contexts = self._options.state, {context.name: context for context in self.contexts}
        if self.replay is not None and state is not None:
            self.replay.begin(self.plan, contexts, state.rows, self.drain)

    def _subscribe(self, name: str, observable: Observable[Any]) -> None:
        shared, completed = self._shared.get(name), self._options.completed
        if shared is not None and shared.tail is not None:
            observable = fold(observable, shared.tail)
        if shared is not None and shared.size is not None:
            observable = unread(observable, shared.size)

        def on_completed() -> None:
            if shared is not None:
                shared.on_completed()
            if completed is not None:
                completed(name)
            self._completed(name)

        on_next = self.emitter(name)
        self._subscriptions.add(observable.subscribe(on_next, self.fail, on_completed, scheduler=self._own))

    def emitter(self, name: str) -> Emit:
        """Where the elements of a stream go, or of an output `STREAM.OUTPUT`: to all who read it."""
        shared, watch = self._shared.get(name), self._options.watch
        emit = void if shared is None else shared.on_next

        def kept(element: Any) -> None:
            if isinstance(element, Table):
                self.tables[name] = element
            emit(element)

        def watched(element: Any) -> None:
            if watch is not None:
                watch(name, element)
            kept(element)

        return kept if watch is None else watched

    def _completed(self, name: str) -> None:
        self._open.discard(name)
        self._later(0, self._complete_errors)
        if not self._open:
            self._later(0, self._finish)

    def source_began(self) -> Callable[[], None]:
        """A source was subscribed; returns what to call when it is over."""
        self._sources += 1
        running = True

        def over() -> None:
            nonlocal running
            if running:
                running = False
                self._sources -= 1
                if not self.over():
                    self._later(0, self._complete_errors)

        return over

    def _complete_errors(self) -> None:
        """The stream `errors` ends when no source is left, and no stream but those that read it."""
        if self._sources == 0 and self._open <= self._handlers and not self.errors.stream.over:
            self.errors.complete()
            if self._options.completed is not None:
                self._options.completed(ERRORS)

    def _finish(self, attempt: int = 1) -> None:
        """All streams are complete: take a last checkpoint, and end."""
        self.state = "draining"

        def end() -> None:
            if self.checkpoints.failure is None:
                self._end("done")
            elif attempt < LAST_ATTEMPTS:
                self._later(attempt * 0.1, lambda: self._finish(attempt + 1))
            else:
                msg = (
                    f"the last checkpoint failed: {self.checkpoints.failure}; the next run goes on from the one before"
                )
                self.fail(RunError(msg))

        self.checkpoints.take(end, whole=True)

    def over(self) -> bool:
        """Whether the run has ended."""
        return self.state in OVER

    @property
    def draining(self) -> bool:
        """Whether the run is coming to its end, and sources must not begin."""
        return self.state == "draining"

    def drain(self) -> None:
        """Stop the sources, let what is under way come through, take a last checkpoint, end."""
        if self.state == "paused":
            self.resume()
        if self.state != "running":
            return
        self.state = "draining"
        for context in self.contexts:
            self._guarded(context.drain)
            if self.over():
                return

    def stop(self) -> None:
        """End now, without waiting; the last checkpoint stays as it is."""
        if not self.over():
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
        if self.over():
            logger.opt(exception=error).debug("error after the run had ended")
            return
        self.failure = error if isinstance(error, GraphError) else self._run_error(error)
        self._end("failed")

    def _run_error(self, error: Exception) -> RunError:
        step = getattr(error, "rxpipe_step", None)
        if isinstance(error, RunError) and step is None:
            return error
        places = {s.name: s.place for stream in self.plan.streams.values() for s in stream.steps}
        what = str(error) if isinstance(error, RxpipeError) else f"{type(error).__name__}: {error}"
        if step is not None and not what.startswith(f"{step}: "):
            what = f"{step}: {what}"
        place = None if step is None else places.get(step)
        made = RunError(masked(what if place is None else f"{place}: {what}"))
        made.__cause__ = error
        return made

    def _end(self, state: State) -> None:
        self.monitor.note_end(state)
        self.state = state
        self.flow.close()
        self.checkpoints.close()
        for close in (self._ticks.dispose, self._subscriptions.dispose, self.threads.shut_down, self._close_state):
            try:
                close()
            except Exception as error:  # the rest must be closed all the same
                logger.opt(exception=error).warning("closing the run: {}", error)
        self._ended(self.failure)

    def _close_state(self) -> None:
        if self._options.state is not None:
            self._options.state.close()

    def spool(self, step: str) -> Path | None:
        """The folder of one step beside the state file; who needs it makes it."""
        state = self._options.state
        return None if state is None else spool_of(state.path, step)

    def executor(self) -> Executor:
        """The run's threads; see `Threads.shared`."""
        return self.threads.shared()

    def thread(self) -> Executor:
        """A thread for one step alone; see `Threads.apart`."""
        return self.threads.apart()

    @property
    def state_bytes(self) -> int:
        """How large the state file is, with what is not yet moved into it; 0 where there is none."""
        state = self._options.state
        files = [] if state is None else [state.path, state.path.with_name(f"{state.path.name}-wal")]
        return sum(file.stat().st_size for file in files if file.exists())

    def status(self, *, whole: bool = True) -> RunStatus:
        """What the run is doing; see `Monitor.status`."""
        return self.monitor.status(whole=whole)

    def flush(self) -> None:
        """Have each step emit what it holds, behind those that it reads from."""
        for context in self.contexts:
            for flush in context.flushes:
                context.charged(flush)

    def _guarded(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # whatever a step raises ends the run
            self.fail(error)

    def _aside(self, call: Callable[[], None], done: Callable[[Future[None]], None]) -> None:
        """Make a call in a thread, and then another with its future on the thread of the dataflow."""

        def came(future: Future[None]) -> None:
            self.post(lambda: None if self.over() else self._guarded(lambda: done(future)))

        self.executor().submit(call).add_done_callback(came)

    def _later(self, seconds: float, call: Callable[[], None]) -> DisposableBase:
        return self._own.schedule_relative(seconds, lambda *_: call())

    def _tick(self) -> None:
        """Take a checkpoint at every interval in which something flowed, or whose predecessor failed."""
        if self._options.state is None:
            return

        def tick() -> None:
            activity = sum(context.meter.blocks_out + context.meter.errors for context in self.contexts)
            due = activity != self._activity or self.checkpoints.failure is not None
            if due and self.state in ("running", "paused"):
                self._activity = activity
                self.checkpoints.take()
            self._tick()

        self._ticks.disposable = self._later(self._options.checkpoint, tick)


def _read(stream: PlannedStream) -> list[str]:
    """What others read of a stream: all of it, or outputs of its steps."""
    return [stream.name] * bool(stream.readers) + [f"{stream.name}.{output}" for output in stream.output_readers]
