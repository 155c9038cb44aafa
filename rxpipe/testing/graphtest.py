"""The tests of a graph, run: each under virtual time, in a folder of its own, with nothing real at its ends."""

from __future__ import annotations

import contextlib
import copy
import os
import random
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from rxpipe.context import Change
from rxpipe.elements import ErrorRecord
from rxpipe.errors import GraphError, Place, RxpipeError, counted
from rxpipe.graph import ERRORS, Graph
from rxpipe.language.plan import Plan
from rxpipe.testing.cases import Case, Expectation, Jump, Kill
from rxpipe.testing.cases import Change as FileChange
from rxpipe.testing.doubled import Doubled
from rxpipe.testing.doubles import Notifications
from rxpipe.testing.folders import apply, lay
from rxpipe.testing.graphs import VirtualRun
from rxpipe.testing.marbles import Event
from rxpipe.testing.matching import Rows, alike, first_difference, moments, plain, records_of
from rxpipe.testing.reading import filled
from rxpipe.testing.virtual import VirtualTimeScheduler
from rxpipe.views.timelines import Legend, draw_records, draw_rows, draw_timelines

LOSING = "at-least-once"
"""The delivery of sinks that cannot go back: after a kill they keep what they were given."""


@dataclass(frozen=True)
class Failure:
    """Why a test failed: in a line, at which place of the file, and what was expected drawn beside what came."""

    message: str
    place: Place | None = None
    drawn: str = ""

    def __str__(self) -> str:
        head = self.message if self.place is None else f"{self.place}: {self.message}"
        return "\n".join([head, *(f"    {line}".rstrip() for line in self.drawn.split("\n") if self.drawn)])


@dataclass(frozen=True)
class Outcome:
    """What became of a test."""

    case: Case
    failures: list[Failure] = field(default_factory=list)
    seconds: float = 0.0


def run_case(graph: Graph, case: Case) -> Outcome:
    """Run one test of a graph.

    Args:
        graph: The graph.
        case: The test, of `rxpipe.testing.section.read_cases`.

    Raises:
        GraphError: With the parameters that the test sets, the graph cannot run.
    """
    began = perf_counter()
    graph = copy.copy(graph)
    graph.folder = graph.folder.absolute()  # the current folder will be another one
    with _place() as root:
        failures = _Trial(graph, case, root).failures()
    return Outcome(case, failures, perf_counter() - began)


@contextlib.contextmanager
def _place() -> Generator[Path]:
    """A folder that is the current one and the user's home; chance is the same each time."""
    chance, home = random.getstate(), os.environ.get("HOME")
    random.seed(0)
    with TemporaryDirectory(prefix="rxpipe-test-") as name:
        root = Path(name).resolve()
        (root / "files").mkdir()
        os.environ["HOME"] = str(root / "files")
        try:
            with contextlib.chdir(root / "files"):
                yield root
        finally:
            random.setstate(chance)
            if home is None:
                del os.environ["HOME"]
            else:
                os.environ["HOME"] = home


class _Trial:
    """One run of a test, over all its restarts."""

    def __init__(self, graph: Graph, case: Case, root: Path) -> None:
        self.case = case
        self.folder = root / "files"
        self.state = root / "state.sqlite" if case.kills else None
        self.virtual = VirtualTimeScheduler()
        self.notifications = Notifications()
        self.clock = case.clock
        self.values = filled(case.sets, str(self.folder))
        self.plan: Plan = graph.plan(**self.values)
        self.events: dict[str, list[Event]] = {}
        self.saved: dict[str, int] = {}
        self.errors: list[str] = []
        self.doubled = Doubled(self.plan, case, self.virtual, str(self.folder))
        self.losing = {
            name
            for name, stream in self.plan.streams.items()
            if any(step.operator is not None and step.operator.delivery == LOSING for step in stream.steps)
        }
        lay(self.folder, filled(case.files or {}, str(self.folder)))

    def failures(self) -> list[Failure]:
        """Run; returns what was not as it must be."""
        failed: list[Failure] = []
        try:
            self._run()
        except GraphError:
            raise
        except RxpipeError as error:
            failed.append(Failure(f"the run failed: {error}", self.case.place))
        except AssertionError as error:
            failed.append(Failure(str(error), self.case.place))
        found = [failure for expectation in self.case.expected if (failure := self._compare(expectation)) is not None]
        if found and self.errors and not any(expectation.stream == ERRORS for expectation in self.case.expected):
            told = "\n".join(self.errors[:5])
            found.append(Failure(f"the run had {counted(len(self.errors), 'error')}, which may be why", None, told))
        return failed + found

    def _run(self) -> None:
        """Run, with all that happens meanwhile, and drain."""
        happenings: list[FileChange | Jump | Kill] = [*self.case.changes, *self.case.jumps, *self.case.kills]
        happenings.sort(key=lambda happening: happening.at)
        done = 0
        while True:
            with self._begun() as run:
                for happening in happenings[done:]:
                    done += 1
                    self._until(run, happening.at)
                    if isinstance(happening, Kill):
                        self._kill(run)
                        break
                    self._happen(run, happening)
                else:
                    self._until(run, self.case.until)
                    if not run.engine.over():
                        run.drain()
                    return

    def _begun(self) -> VirtualRun:
        """A run, from the last checkpoint if there was one."""
        settings = {name: value for name, value in self.plan.settings.items() if name in ("checkpoint", "in_flight")}
        run = VirtualRun(
            self.doubled.graph,
            values=self.values,
            state=self.state,
            settings=settings,
            virtual=self.virtual,
            clock=self.clock,
            watch=self._note,
            completed=lambda stream: self._keep(stream, "completed"),
            notifier=self.notifications.notifier,
        )
        run.engine.checkpoints.register("test", "operator", self._checkpoint, "how much each stream had brought")
        return run

    def _until(self, run: VirtualRun, time: float) -> None:
        if time >= self.virtual.time and not run.engine.over():
            run.advance_to(time)

    def _happen(self, run: VirtualRun, happening: FileChange | Jump) -> None:
        if isinstance(happening, Jump):
            self.clock = run.clock = run.clock + happening.seconds
            return
        try:
            value = filled(happening.value, str(self.folder))
            touched = apply(self.folder, FileChange(happening.at, happening.action, happening.file, value))
        except OSError as error:
            msg = f"tick {self._tick()}: {happening.action} {happening.file!r}: {error.strerror}"
            raise AssertionError(msg) from error
        self.notifications.tell(touched)

    def _kill(self, run: VirtualRun) -> None:
        """End the run as it is; what came since the last checkpoint is taken back where that is promised."""
        if run.engine.over():
            msg = f"tick {self._tick()}: a run that is killed must be running; it had ended before"
            raise AssertionError(msg)
        run.engine.stop()
        for stream, events in self.events.items():
            if stream not in self.losing:
                del events[self.saved.get(stream, 0) :]

    def _tick(self) -> str:
        return f"{self.virtual.time / self.case.tick:g}"

    def _checkpoint(self) -> Iterable[Change]:
        self.saved = {stream: len(events) for stream, events in self.events.items()}
        return ()

    def _note(self, stream: str, element: Any) -> None:
        if "." in stream:  # heard by a reader of its own
            return
        if isinstance(element, ErrorRecord):
            record = "" if element.record is None else f"; record {element.record}"
            self.errors.append(f"{element.step}: {element.reason}{record}")
        self._keep(stream, "next", element)

    def _keep(self, stream: str, kind: Any, element: Any = None) -> None:
        """Note an event of a stream of which something is expected, as it is now: a table changes."""
        stream = self.doubled.readers.get(stream, stream)
        if any(expectation.stream == stream for expectation in self.case.expected):
            value = None if kind == "completed" else plain(element, str(self.folder))
            self.events.setdefault(stream, []).append(Event(self.virtual.time, kind, value))

    def _compare(self, expectation: Expectation) -> Failure | None:
        events = self.events.get(expectation.stream, [])
        draw = {"marble": self._marble, "records": self._records, "rows": self._rows}[expectation.form]

        def same(expected: Any, got: Any) -> bool:
            return alike(expected, got, part=expectation.part)

        return draw(expectation, events, same)

    def _marble(
        self, expectation: Expectation, events: list[Event], same: Callable[[Any, Any], bool]
    ) -> Failure | None:
        tick, until = self.case.tick, expectation.until
        expected = moments(expectation.expected, tick)
        got = moments([event for event in events if until is None or event.time < until - 1e-6], tick)
        first = first_difference(expected, got, same)
        if first is None:
            return None
        named = [event.value for event in expectation.expected]
        letters = sorted(self.case.letters.items(), key=lambda item: not any(item[1] is value for value in named))
        legend = Legend(dict(letters), same)  # several letters may be like a value: the expected ones come first
        drawn = draw_timelines(expected, got, first, legend, None if until is None else round(until / tick))
        return Failure(f"{expectation.stream}: differs first at tick {first:g}", expectation.place, drawn)

    def _records(
        self, expectation: Expectation, events: list[Event], same: Callable[[Any, Any], bool]
    ) -> Failure | None:
        return self._listed(expectation, records_of(events), same, "records")

    def _rows(self, expectation: Expectation, events: list[Event], same: Callable[[Any, Any], bool]) -> Failure | None:
        tables = [event.value for event in events if isinstance(event.value, Rows)]
        return self._listed(expectation, tables[-1] if tables else [], same, "rows")

    def _listed(
        self, expectation: Expectation, got: list[Any], same: Callable[[Any, Any], bool], what: str
    ) -> Failure | None:
        expected = expectation.expected
        draw = draw_records if expectation.ordered else draw_rows
        if expectation.ordered and len(expected) == len(got) and all(map(same, expected, got)):
            return None
        drawn = draw(expected, got, same)
        if not drawn:
            return None
        counts = f"; expected {len(expected)}, got {len(got)}" if len(expected) != len(got) else ""
        return Failure(f"{expectation.stream}: {what} differ{counts}", expectation.place, drawn)
