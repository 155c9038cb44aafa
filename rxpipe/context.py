"""What an operator may ask of the run it is part of: clock, state, leases, errors, metrics, threads.

`current()` is called once, when the operator is subscribed. In plain Python, without a run, a context in memory serves.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextvars import ContextVar
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol

from reactivex.abc import SchedulerBase
from reactivex.disposable import Disposable
from reactivex.scheduler import EventLoopScheduler

from rxpipe.elements import ErrorRecord, error_record
from rxpipe.errors import RunError, untraced
from rxpipe.faults.retrying import OnError, Retry
from rxpipe.lease import Flow, Lease
from rxpipe.log import logger
from rxpipe.scheduling.loop import LoopScheduler
from rxpipe.written import Written

StateKind = Literal["source", "operator", "sink"]
Emit = Callable[[Any], None]
"""Takes an element."""

Change = tuple[bytes, str, bytes | None]
"""One changed row of a step's state: key, part, and the value, or None to delete it."""


class Cut:
    """What a step has to save as of one moment, which it tells while the flow goes on.

    Args:
        rows: Gives the rows, on the thread of the dataflow, between elements: as they were at that moment, whatever
            has changed since.
        sync: Makes durable what they speak of; called in a thread, before they are committed.
        saved: Called when they are committed.
        failed: Called when they could not be: what was to be saved is to be told again.
        told: Rows that are told now, and only this time: whoever saves them keeps them until they are.
    """

    def __init__(
        self,
        rows: Iterable[Change],
        sync: Callable[[], object] = tuple,
        saved: Callable[[], object] = tuple,
        failed: Callable[[], object] = tuple,
        told: Iterable[Change] = (),
    ) -> None:
        self.rows = rows
        self.sync = sync
        self.saved = saved
        self.failed = failed
        self.told = [*told]

    def __iter__(self) -> Iterator[Change]:
        return chain(self.told, self.rows)


class Saved(Protocol):
    """The saved state of one step, as rows of (key, part) -> value; what was there when the run began, and since."""

    persistent: bool
    """Whether changes are saved at all: without, an operator need not note what changed."""
    empty: bool
    """Whether nothing was there when the run began: an operator that holds all it saved need not ask for it."""

    def get(self, key: bytes) -> dict[str, bytes]:
        """All parts of one key."""
        ...

    def items(self) -> Iterator[tuple[bytes, str, bytes]]:
        """All rows: key, part, value."""
        ...

    def keys_of(self, part: str) -> list[bytes]:
        """The keys that have this part."""
        ...


class Notifier(Protocol):
    """Tells `watch` where something may have happened."""

    def add(self, path: str) -> None:
        """Tell of changes of a file, or in a folder."""
        ...

    def remove(self, path: str) -> None:
        """Tell of them no more."""
        ...

    def close(self) -> None:
        """Tell of nothing any more."""
        ...


class NoState:
    """The saved state of a step whose run keeps none."""

    persistent = False
    empty = True

    def get(self, key: bytes) -> dict[str, bytes]:
        """Nothing."""
        return {}

    def items(self) -> Iterator[tuple[bytes, str, bytes]]:
        """Nothing."""
        return iter(())

    def keys_of(self, part: str) -> list[bytes]:
        """Nothing."""
        return []


class Context:
    """The world of one step; this one serves in plain Python and keeps everything in memory.

    Attributes:
        name: The step's name for messages, as `totals[3] debounce`.
        stream: The name of the stream the step is in.
        flow: Counts what is leased; sources wait on it.
        once: Whether sources end when they have emitted what is there.
        folder: The graph's folder, where its data files are.
        readers: Takes what the step emits to its outputs beside the main one, by name.
        written: The files that sinks write; a sink adds its own when it is subscribed.
        definition: A digest of what the steps behind it in its stream do.
        redo: Which tasks that are over are due again, see `rxpipe.tasks.store.Redo`.
        board: What steps of a run tell each other, by the name of the step that tells it, once they are subscribed.
        on_error: What the step does with what it cannot handle; None leaves that to the step.
        again: Takes what is rejected, if it is to be tried again; see `rxpipe.faults.handling`.
    """

    name: str = "python"
    stream: str = ""
    definition: str = ""
    redo: Literal["changed", "failed", "all"] | None = None
    once: bool = False
    folder: Path = Path()
    readers: Mapping[str, Emit] = MappingProxyType({})
    on_error: OnError | None = None
    again: Callable[[BaseException, Any], bool] | None = None

    def __init__(self, flow: Flow | None = None) -> None:
        self.flow = flow or Flow()
        self.written = Written()
        self.board: dict[str, Any] = {}

    def scheduler(self, given: SchedulerBase | None) -> SchedulerBase:
        """The scheduler to take time from: the one given, else the running loop's, else a shared thread's."""
        if given is not None:
            return given
        try:
            return LoopScheduler(asyncio.get_running_loop())
        except RuntimeError:
            return _thread_scheduler()

    def poster(self, scheduler: SchedulerBase | None) -> Callable[[Callable[[], None]], None]:
        """How another thread hands a call over to the thread of the dataflow; ask for it there, at subscription."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            own = self.scheduler(scheduler)
            return lambda call: void(own.schedule(lambda *_: call()))
        return lambda call: void(loop.call_soon_threadsafe(call))

    def guarded(self, call: Callable[[], None]) -> None:
        """Make a call that the loop was asked for by the step itself: in a run what it raises stops the run."""
        call()

    @property
    def role(self) -> str:
        """What the step is known by though others come before it: its stream and operator, and which of these it is."""
        return self.name

    @property
    def draining(self) -> bool:
        """Whether the run is being stopped: what is saved, the next run goes on with."""
        return False

    def now(self) -> float:
        """The run's clock, in seconds since the epoch."""
        return time.time()

    def emitter(self, output: str) -> Emit:
        """How to emit to one of the step's outputs beside the main one; ask for it at subscription.

        What nobody reads ends there. The output completes when the step does.
        """
        return self.readers.get(output, void)

    def reject(
        self,
        reason: str | BaseException,
        record: object = None,
        *,
        leases: tuple[Lease, ...] = (),
        path: str | None = None,
        start: int | None = None,
        end: int | None = None,
    ) -> None:
        """Do with one record that cannot be handled what the step's `on_error` says: send it to the stream `errors`.

        Args:
            reason: Why; the exception, where there is one.
            record: The record, line or element.
            leases: Those of the data that it came from.
            path: Where it came from, if that is not the place of the leases.
            start: The first byte there.
            end: The byte behind the last.

        Raises:
            RunError: The step's `on_error` is `stop`.
        """
        cause = reason if isinstance(reason, BaseException) else None
        if isinstance(reason, BaseException):
            untraced(reason)  # whoever keeps the exception must not keep the record and its leases
            if self.again is not None and self.again(reason, record):
                return
            reason = f"{type(reason).__name__}: {reason}"
        place = {key: value for key, value in {"path": path, "start": start, "end": end}.items() if value is not None}
        self.refuse(error_record(self.name, reason, record, leases, time=self.now(), **place), leases, cause)

    def refuse(self, error: ErrorRecord, leases: tuple[Lease, ...] = (), cause: BaseException | None = None) -> None:
        """Do with an error record what the step's `on_error` says; see `reject`."""
        do = self.on_error.then if isinstance(self.on_error, Retry) else self.on_error
        if do == "stop":
            raise RunError(str(error))
        if do == "skip":
            self.skip(error)
        elif not [lease for lease in leases if lease.refuses(error, cause)]:
            self.emit_error(error, leases)

    def skip(self, error: ErrorRecord) -> None:
        """Count an error that the step's `on_error` passes over."""

    def retry(self) -> Retry:
        """How a step that writes or calls tries again what may pass: in its place, so that nobody else need."""
        self.again = None
        if self.on_error is None or isinstance(self.on_error, Retry):
            return self.on_error or Retry()
        return Retry(attempts=1, then=self.on_error)

    @property
    def gives_up(self) -> bool:
        """Whether the step goes on without what it could not write, whatever the reason."""
        do = self.on_error.then if isinstance(self.on_error, Retry) else self.on_error
        return do in {"skip", "dead_letter"}

    def emit_error(self, error: ErrorRecord, leases: tuple[Lease, ...] = ()) -> None:
        """Deliver an error record, with the leases of the data that it is about: here, to the log."""
        logger.warning("{}", error)

    def fail(self, error: Exception) -> None:
        """Stop the run for an error met outside a subscription call (in a timer or a thread): here, raise it."""
        raise error

    def state(
        self,
        kind: StateKind,
        changes: Callable[[], Iterable[Change]],
        description: str = "",
    ) -> Saved:
        """Take part in checkpoints.

        Args:
            kind: What the state is: a source's offsets, an operator's memory, a sink's position.
            changes: Called at each checkpoint; gives the rows that changed since the last. A sink makes its
                data durable here. Who has many rows, or what takes long, returns a `Cut`: the flow does not wait for
                that.
            description: What a row is, for `rxpipe state`; behind a colon the names of the parts of its value, if that
                is a list, with `-` for what tells a person nothing, as `offset of a file: -, offset, changed_ns`.
        """
        return NoState()

    def spool(self) -> Path | None:
        """A folder of this step's own beside the state file, for data too large for it; None where no state is kept."""
        return None

    def marks(self) -> Iterable[Change]:
        """What to save of the step's dead letters that were sent again since this was last asked."""
        return ()

    def on_flush(self, flush: Callable[[], None]) -> None:
        """Call `flush` before each checkpoint: emit now whatever holds a lease."""

    def flush(self) -> None:
        """Have all steps of the run emit what they hold, as before a checkpoint."""

    def on_drain(self, stop: Callable[[], None]) -> Disposable:
        """Call `stop` when the run drains: a source ends now, so that the streams complete."""
        return Disposable()

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        """Expose a figure of this step, read when somebody looks: `queue_depth`, `lag_bytes` or `lag_seconds`, say."""

    def describe(self, name: str, read: Callable[[], Any]) -> None:
        """Expose a structured detail of this step in `run.status()`, such as the files and their offsets."""

    def note_run(self, run: Any) -> None:
        """Take note of a `Run` of record-wise steps, this one among them, for those who want to read its loop.

        Args:
            run: The run.
        """

    def status(self) -> Any:
        """The status of the run, or None where there is no run."""
        return None

    def output(self) -> Any:
        """What the command line asked of sinks that print; see `rxpipe.runtime.output`."""
        return None

    def notifier(self, hinted: Callable[[set[str]], None]) -> Notifier | None:
        """Who tells of changed paths by calling `hinted`; None, as everywhere but in a test: the kernel."""
        return None

    def endpoint(self) -> Any:
        """Where the run's metrics are, an `rxpipe.runtime.metrics.Endpoint`; None where it exposes none."""
        return None

    def executor(self) -> Executor:
        """Threads for blocking calls."""
        return _shared_executor()

    def thread(self) -> Executor:
        """A thread for the calls of this step that must not wait until those of others are over; ask for it once."""
        return self.executor()


def void(_: object) -> None:
    """Drop a result that nobody needs."""


class _Shared:
    """Made when first needed, one for the process."""

    lock = threading.Lock()
    executor: ThreadPoolExecutor | None = None
    scheduler: EventLoopScheduler | None = None


def _shared_executor() -> ThreadPoolExecutor:
    with _Shared.lock:
        if _Shared.executor is None:
            _Shared.executor = ThreadPoolExecutor(thread_name_prefix="rxpipe")
        return _Shared.executor


def _thread_scheduler() -> EventLoopScheduler:
    with _Shared.lock:
        if _Shared.scheduler is None:
            _Shared.scheduler = EventLoopScheduler()
        return _Shared.scheduler


_current: ContextVar[Context | None] = ContextVar("rxpipe_context", default=None)


def current() -> Context:
    """The context of the step that is being subscribed; without a run, one of its own."""
    return _current.get() or Context()


enter, leave = _current.set, _current.reset
"""Make a context the current one, and the one before again, on a way where each call counts; see `entered`."""


class entered:  # noqa: N801  # used as a `with` statement, named like one
    """Make `context` the current one for the length of a `with` block."""

    __slots__ = ("_context", "_token")

    def __init__(self, context: Context) -> None:
        self._context = context

    def __enter__(self) -> Context:
        self._token = _current.set(self._context)
        return self._context

    def __exit__(self, *_: object) -> None:
        _current.reset(self._token)
