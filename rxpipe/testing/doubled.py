"""The graph that a test runs: with something else in the place of what is given, of sources and of sinks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace
from reactivex import Observable, empty

from rxpipe.graph import FROM, Graph, StepSpec, stream
from rxpipe.language.plan import Plan
from rxpipe.registry import registry
from rxpipe.testing.cases import Case
from rxpipe.testing.doubles import Fails, GivenStream, sink
from rxpipe.testing.kinds import kind_of
from rxpipe.testing.reading import filled, is_sink
from rxpipe.testing.virtual import VirtualTimeScheduler


@dataclass
class Doubled:
    """A graph made for one test.

    Args:
        plan: The plan of the graph that is tested.
        case: The test.
        virtual: Whose time it is.
        folder: The folder of the test's files.

    Attributes:
        graph: The graph to run.
        readers: Its streams that only read an output of which something is expected, with the output.
    """

    plan: Plan
    case: Case
    virtual: VirtualTimeScheduler
    folder: str
    readers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        tested = self.plan.graph
        self._streams: dict[str, list[Any]] = dict(tested.streams)
        replaced = {name: given for name in self.plan.streams if (given := self._stands_for(name)) is not None}
        renamed: dict[str, str] = {}
        for name, planned in self.plan.streams.items():
            for output in (f"{name}.{output}" for step in planned.steps for output in step.outputs):
                if output in self.case.given or name in replaced:
                    renamed[output] = self._add(output, self._given(output) if output in self.case.given else empty())
        for name, steps in tested.streams.items():
            made = [_reading(self._step(name, index, spec), renamed) for index, spec in enumerate(steps)]
            self._streams[name] = [replaced[name]] if name in replaced else made
        for output in dict.fromkeys(expectation.stream for expectation in self.case.expected):
            if "." in output:
                self.readers[self._add(output, stream(renamed.get(output, output)))] = output
        self.graph = Graph(
            tested.name,
            self._streams,
            params=tested.params,
            settings=tested.settings,
            plugins=tested.plugins,
            folder=tested.folder,
            file=tested.file,
            places=tested.places,
        )

    def _add(self, output: str, step: Any) -> str:
        """Add a stream for an output; returns its name, which no other has."""
        name = output.replace(".", "-")
        while name in self._streams:
            name += "_"
        self._streams[name] = [step]
        return name

    def _stands_for(self, name: str) -> Observable[Any] | None:
        """What is in the place of a whole stream: what is given, or nothing for a source that does not run."""
        if name in self.case.given:
            return self._given(name)
        first = self.plan.streams[name].steps[0].operator
        return empty() if first is not None and first.is_source and not self.case.sources_run else None

    def _given(self, name: str) -> Observable[Any]:
        owner, _, output = name.partition(".")
        steps = self.plan.streams[owner].steps
        emits = next((step.outputs[output] for step in steps if output in step.outputs), steps[-1].emits)
        events = [event._replace(value=filled(event.value, self.folder)) for event in self.case.given[name].events]
        return GivenStream(events, kind_of(emits), name, self.virtual)

    def _step(self, name: str, index: int, spec: StepSpec) -> StepSpec:
        """The step, or what stands for it if it is a sink."""
        if not is_sink(spec.operator):
            return spec
        failing = [(f.at, f.times) for f in self.case.failing if (f.stream, f.step) == (name, index)]
        return StepSpec(spec.operator, {}, spec.places, sink(Fails(self.virtual, failing) if failing else None))


def _reading(spec: StepSpec, renamed: Mapping[str, str]) -> StepSpec:
    """A step that reads other streams in the place of outputs."""
    if not renamed or spec.function is not None:
        return spec
    operator = None if spec.operator == FROM else registry.get(spec.operator)
    inputs = ("stream",) if operator is None else operator.inputs

    def read(value: Any) -> Any:
        return [read(item) for item in value] if isinstance(value, list) else renamed.get(value, value)

    parameters = {name: read(value) if name in inputs else value for name, value in spec.parameters.items()}
    return replace(spec, parameters=parameters)
