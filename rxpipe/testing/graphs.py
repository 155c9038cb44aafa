"""A whole graph under virtual time: hours of it in milliseconds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rxpipe.context import Notifier, void
from rxpipe.elements import unleased
from rxpipe.errors import GraphError, Problem
from rxpipe.expressions import times
from rxpipe.faults.letters import Selection
from rxpipe.graph import ERRORS, Graph
from rxpipe.parameters.units import nbytes, seconds
from rxpipe.runtime.adoption import adopt
from rxpipe.runtime.engine import Engine
from rxpipe.runtime.options import Options
from rxpipe.runtime.replay import Replay
from rxpipe.runtime.settings import checked
from rxpipe.runtime.state import StateFile
from rxpipe.runtime.status import RunStatus
from rxpipe.testing.context import InlineExecutor
from rxpipe.testing.marbles import Event
from rxpipe.testing.virtual import LONG, VirtualTimeScheduler


@dataclass
class Recorded:
    """What a graph did: its status at the end, and the elements that left each stream and output, with their times."""

    status: RunStatus
    events: dict[str, list[Event]] = field(default_factory=dict)

    def values(self, stream: str) -> list[Any]:
        """The elements that left a stream."""
        return [event.value for event in self.events.get(stream, [])]


class VirtualRun:
    """A run whose time moves only when it is told to: `with VirtualRun(graph) as run: run.advance("10h")`.

    Blocking calls are made at once, on the same thread. Leaving the block stops the run.

    Args:
        graph: What to run.
        values: Values of the graph's declared parameters.
        once: Whether sources end when they have emitted what is there.
        state: The state file; None keeps no state.
        settings: Settings of the run; neither the graph's nor the environment's count.
        output: What sinks that print are told.
        virtual: The time, which operators built in Python may share.
        clock: What the clock says while the time is 0, in seconds since the epoch.
        watch: Called with a stream's name and each element that leaves it, in the place of keeping it in `events`.
        completed: Called with the name of each stream that is complete.
        notifier: Tells `watch` of changes, see `rxpipe.context.Context.notifier`.
        replay: Dead letters to send in the place of what the sources would read.

    Attributes:
        engine: The run's engine.
        virtual: The time; it begins at 0.
        clock: What the clock says while the time is 0; set it, and the clock jumps.
        events: For each stream the elements that left it, without their leases; for `errors` the error records.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        values: Mapping[str, Any] | None = None,
        once: bool = False,
        state: Path | str | None = None,
        settings: Mapping[str, Any] | None = None,
        output: Any = None,
        virtual: VirtualTimeScheduler | None = None,
        clock: float = 0.0,
        watch: Callable[[str, Any], None] | None = None,
        completed: Callable[[str], None] | None = None,
        notifier: Callable[[Callable[[set[str]], None]], Notifier] | None = None,
        replay: Selection | None = None,
    ) -> None:
        plan = graph.plan(**(values or {}))
        chosen, wrong = checked(settings or {})
        if wrong:
            raise GraphError([Problem(f"settings: {path[0]}: {message}") for path, message in wrong])
        self.virtual = virtual or VirtualTimeScheduler()
        self.clock = clock
        self.events: dict[str, list[Event]] = {name: [] for name in (*graph.streams, ERRORS)}
        opened = None if state is None else StateFile(Path(state))
        try:
            if opened is not None:
                adopt(opened, plan)
            options = Options(
                in_flight=nbytes(chosen.in_flight),
                checkpoint=seconds(chosen.checkpoint),
                once=once,
                output=output,
                state=opened,
                executor=InlineExecutor(),
                watch=watch or self._watch,
                completed=completed,
                notifier=notifier,
                replay=None if replay is None else Replay(replay),
            )
            self.engine = Engine(plan, self.virtual, self._now, self._post, void, options)
        except BaseException:
            if opened is not None:
                opened.close()
            raise

    def __enter__(self) -> Self:
        """Begin; `now()` in expressions is the virtual time until the block is left."""
        self._token = times.clock.set(self.engine.clock)
        try:
            self.engine.begin()
            self._raise()
        except BaseException:
            times.clock.reset(self._token)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        times.clock.reset(self._token)
        self.engine.stop()

    def advance(self, time: str | float) -> Self:
        """Let time pass.

        Raises:
            RunError: A step failed meanwhile.
        """
        self.virtual.advance_by(seconds(time))
        self._raise()
        return self

    def advance_to(self, time: float) -> Self:
        """Let time pass until it is so many seconds.

        Raises:
            RunError: A step failed meanwhile.
        """
        self.virtual.advance_to(time)
        self._raise()
        return self

    def drain(self, within: str | float = "1h") -> RunStatus:
        """Stop the sources, let everything come through, end.

        Raises:
            RunError: A step failed.
            AssertionError: It has not come through in the time given.
        """
        self.engine.drain()
        end = self.virtual.time + seconds(within)
        while not self.engine.over() and self.virtual.time < end and self.virtual.pending:
            self.virtual.advance_by(min(1.0, end - self.virtual.time))
        self._raise()
        if not self.engine.over():
            msg = f"the run must have drained within {within}; {self.engine.flow.blocks} blocks are in flight"
            raise AssertionError(msg)
        return self.engine.status()

    def status(self) -> RunStatus:
        """What the run is doing."""
        return self.engine.status()

    def _now(self) -> float:
        return self.clock + self.virtual.time

    def _raise(self) -> None:
        if self.engine.failure is not None:
            raise self.engine.failure

    def _post(self, call: Any) -> None:
        def action(*_: object) -> None:
            call()

        self.virtual.schedule(action)

    def _watch(self, stream: str, element: Any) -> None:
        self.events.setdefault(stream, []).append(Event(self.virtual.time, "next", unleased(element)))


def run_graph(graph: Graph, until: str | float | None = None, **options: Any) -> Recorded:
    """Run a graph under virtual time, and tell what came out of its streams.

    Args:
        graph: What to run.
        until: The time at which to drain; by default the graph's sources must end by themselves.
        options: Those of `VirtualRun`.

    Raises:
        RunError: A step failed.

    Example:
        >>> from rxpipe import Graph
        >>> from rxpipe.operators.time.interval import interval
        >>> run_graph(Graph("ticks", {"ticks": [interval("2h")]}), until="10h").values("ticks")
        [0, 1, 2, 3, 4]
    """
    with VirtualRun(graph, **options) as run:
        if until is not None:
            run.advance(until)
        else:
            while not run.engine.over() and run.virtual.pending and run.virtual.time < LONG:
                run.advance(1.0)
        status = run.status() if run.engine.over() else run.drain()
        return Recorded(status, run.events)
