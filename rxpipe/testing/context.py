"""A context for tests: virtual clock, errors kept in a list, state in a dict, checkpoints on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from reactivex.abc import SchedulerBase
from reactivex.disposable import Disposable

from rxpipe.context import Change, Context, Cut, Emit, StateKind, void
from rxpipe.elements import ErrorRecord, unleased
from rxpipe.lease import Flow, Lease
from rxpipe.testing.virtual import VirtualTimeScheduler

Rows = dict[tuple[bytes, str], bytes]
"""The saved state of one step: value by key and part."""


class DictSaved:
    """The saved state of one step in a dict; see `rxpipe.context.Saved`."""

    persistent = True

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.empty = not rows

    def get(self, key: bytes) -> dict[str, bytes]:
        """All parts of one key."""
        return {part: value for (found, part), value in self.rows.items() if found == key}

    def items(self) -> Iterator[tuple[bytes, str, bytes]]:
        """All rows: key, part, value."""
        return iter([(key, part, value) for (key, part), value in self.rows.items()])

    def keys_of(self, part: str) -> list[bytes]:
        """The keys that have this part."""
        return [key for key, found in self.rows if found == part]


class InlineExecutor(Executor):
    """Runs each call at once, so that nothing depends on threads."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run `fn` now; the future is already done."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # a future carries whatever was raised
            future.set_exception(error)
        return future


class TestContext(Context):
    """The context of the steps under test: `with entered(TestContext()) as context: …`.

    Args:
        states: State to restore, as `checkpoint()` gave it; the n-th step that asks for state gets the n-th.
        once: Whether sources end when they have emitted what is there.
        flow: Counts what is leased.
        name: The step's name in error records.
        folder: What `spool` gives.

    Attributes:
        virtual: The scheduler; the context's clock is its time.
        errors: The error records so far.
        states: For each step that asked for state its rows, as of the last checkpoint.
        kinds: For each step that asked for state the kind it said.
        gauges: The figures exposed, by name.
        details: The details exposed, by name.
        outputs: What was emitted to each output beside the main one, without its leases.
    """

    __test__ = False

    def __init__(
        self,
        states: Sequence[Rows] = (),
        *,
        once: bool = False,
        flow: Flow | None = None,
        name: str = "test",
        scheduler: VirtualTimeScheduler | None = None,
        folder: Path | None = None,
    ) -> None:
        super().__init__(flow)
        self._folder = folder
        self.virtual = scheduler or VirtualTimeScheduler()
        self.once = once
        self.name = name
        self.errors: list[ErrorRecord] = []
        self.states: list[Rows] = []
        self.kinds: list[StateKind] = []
        self.gauges: dict[str, Callable[[], float]] = {}
        self.details: dict[str, Callable[[], Any]] = {}
        self.outputs: dict[str, list[Any]] = {}
        self._restore = [dict(rows) for rows in states]
        self._changes: list[Callable[[], Iterable[Change]]] = []
        self._flushes: list[Callable[[], None]] = []
        self._stops: list[Callable[[], None]] = []
        self._draining = False
        self._executor = InlineExecutor()

    def scheduler(self, given: SchedulerBase | None) -> SchedulerBase:
        """The virtual scheduler, unless another one is given."""
        return given or self.virtual

    def poster(self, scheduler: SchedulerBase | None) -> Callable[[Callable[[], None]], None]:
        """Hand a call over from any thread; it runs when virtual time next moves."""
        return lambda call: void(self.virtual.schedule(lambda *_: call()))

    @property
    def draining(self) -> bool:
        """Whether `drain` was called."""
        return self._draining

    def now(self) -> float:
        """The virtual time."""
        return self.virtual.time

    def emitter(self, output: str) -> Emit:
        """Keep what is emitted to an output, unless somebody reads it."""
        if output in self.readers:
            return self.readers[output]
        kept = self.outputs.setdefault(output, [])
        return lambda element: kept.append(unleased(element))

    def emit_error(self, error: ErrorRecord, leases: tuple[Lease, ...] = ()) -> None:
        """Keep an error record."""
        self.errors.append(error)

    def state(
        self,
        kind: StateKind,
        changes: Callable[[], Iterable[Change]],
        description: str = "",
    ) -> DictSaved:
        """Take part in checkpoints; the rows to restore are those of the step's number."""
        number = len(self.states)
        rows = self._restore[number] if number < len(self._restore) else {}
        self.states.append(rows)
        self.kinds.append(kind)
        self._changes.append(changes)
        return DictSaved(rows)

    def spool(self) -> Path | None:
        """The folder given."""
        return self._folder

    def on_flush(self, flush: Callable[[], None]) -> None:
        """Flush before each checkpoint."""
        self._flushes.append(flush)

    def on_drain(self, stop: Callable[[], None]) -> Disposable:
        """Stop when the test drains."""
        self._stops.append(stop)
        return Disposable(lambda: self._stops.remove(stop) if stop in self._stops else None)

    def gauge(self, name: str, read: Callable[[], float]) -> None:
        """Keep a figure."""
        self.gauges[name] = read

    def describe(self, name: str, read: Callable[[], Any]) -> None:
        """Keep a detail."""
        self.details[name] = read

    def executor(self) -> Executor:
        """An executor that runs each call at once."""
        return self._executor

    def drain(self) -> None:
        """Stop the sources, as the end of a run does."""
        self._draining = True
        for stop in list(self._stops):
            stop()

    def checkpoint(self) -> list[Rows]:
        """Take a checkpoint as a run does: hold sources, flush, require that nothing is leased, collect changes.

        Returns:
            A copy of the state of every step, to give to another context.

        Raises:
            AssertionError: Something still holds a lease after the flush.
        """
        self.flow.hold()
        try:
            self.flush()
            self.virtual.advance_by(0)
            if self.flow.blocks:
                msg = f"{self.flow.blocks} leases are still held after the flush"
                raise AssertionError(msg)
            for rows, changes in zip(self.states, self._changes, strict=True):
                made = changes()
                cut = made if isinstance(made, Cut) else Cut(made)
                told = list(cut)
                cut.sync()
                for key, part, value in told:
                    if value is None:
                        rows.pop((key, part), None)
                    else:
                        rows[key, part] = value
                cut.saved()
        finally:
            self.flow.release()
        return [dict(rows) for rows in self.states]

    def flush(self) -> None:
        """Call what was registered to be called before a checkpoint."""
        for flush in self._flushes:
            flush()
