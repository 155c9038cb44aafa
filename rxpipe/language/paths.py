"""What flows along the edges of a plan: out of which sources, in which order, and what a crash does to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from rxpipe.graph import ERRORS
from rxpipe.language.edges import union
from rxpipe.language.plan import Plan, PlannedStep, PlannedStream, error_handlers, reads_of
from rxpipe.promises import IN_ORDER, Inflow, Promise, promise


class Weakness(NamedTuple):
    """The step that weakens a path, and why."""

    step: str
    why: str


class Origin(NamedTuple):
    """Where data comes from, and what may have become of it on its way.

    Attributes:
        source: The source's step.
        again: Whether the source gives again what was not done with when the run was killed.
        lost: Why some of it may be lost.
        doubled: Why some of it may come twice.
    """

    source: str
    again: bool = True
    lost: Weakness | None = None
    doubled: Weakness | None = None


@dataclass(frozen=True)
class Path:
    """The ways from a source to a sink on which the same is guaranteed for the same reason.

    Attributes:
        source: The source's step.
        sink: The sink's step.
        guarantee: `exactly once`, `idempotent`, `at least once`, `at most once`, `shown`, or
            `no guarantee`: some may be lost, and some come twice.
        weakened: What makes it less than exactly once; of two weaknesses the first on the way.
    """

    source: str
    sink: str
    guarantee: str
    weakened: tuple[Weakness, ...] = ()

    @property
    def reason(self) -> str:
        """The steps that weaken it, and why; empty where nothing does."""
        return "; ".join(f"{weak.step}: {weak.why}" for weak in self.weakened)


class Flows:
    """What flows into the steps of a plan.

    Args:
        plan: The checked graph.

    Attributes:
        inflows: For each step what flows in.
        paths: All paths, by sink in the order of the data.
    """

    def __init__(self, plan: Plan) -> None:
        self._streams = tuple(plan.streams)
        self.inflows: dict[str, Inflow] = {}
        self.paths: list[Path] = []
        self._origins: dict[str, dict[Origin, None]] = {ERRORS: {}}  # dicts keep an order, and sets do not
        self._inflows: dict[str, Inflow] = {ERRORS: Inflow()}
        handlers = error_handlers(plan)
        for stream in sorted(plan.streams.values(), key=lambda stream: stream.name in handlers):
            self._stream(stream)
            if stream.name not in handlers:  # what fails in a stream comes from where its data does
                self._origins[ERRORS] |= self._origins[stream.name]

    def _stream(self, stream: PlannedStream) -> None:
        origins: dict[Origin, None] = {}
        inflow = Inflow()
        for step in stream.steps:
            for read in reads_of(step):
                origins = origins | self._origins.get(read, {})
            inflow = self._joined(step, inflow)
            self.inflows[step.name] = Inflow(inflow.element, inflow.disorder, self._streams)
            origins, disorder = self._through(step, inflow, origins)
            inflow = Inflow(step.emits, disorder)
            for output, element in step.outputs.items():
                self._origins[f"{stream.name}.{output}"] = origins
                self._inflows[f"{stream.name}.{output}"] = Inflow(element, disorder)
        self._origins[stream.name], self._inflows[stream.name] = origins, inflow

    def _joined(self, step: PlannedStep, before: Inflow) -> Inflow:
        """What flows into a step, from the step before it and from other streams."""
        flows = [before] if step.previous else []
        flows += [self._inflows[read] for read in reads_of(step) if read in self._inflows]
        if len(flows) == 1:
            return flows[0]
        return Inflow(union([flow.element for flow in flows]), next((f.disorder for f in flows if f.disorder), None))

    def _through(
        self, step: PlannedStep, inflow: Inflow, origins: dict[Origin, None]
    ) -> tuple[dict[Origin, None], str | None]:
        """What comes out of a step."""
        operator, disorder = step.operator, inflow.disorder
        if operator is None:
            if step.previous or step.reads is not None:
                return origins, disorder
            weak = Weakness(step.name, "it exists only in Python, and says nothing of going back")
            return {Origin(step.name, again=False, lost=weak): None}, None
        said = promise(operator, inflow, step.parameters)
        if operator.order_rule is not None:
            changed = operator.order_rule(inflow, **operator.with_defaults(step.parameters))
            disorder = None if changed == IN_ORDER else changed or disorder
        if operator.is_source:
            return {_weakened(Origin(step.name), step, said, source=True): None}, disorder
        if operator.delivery is not None:
            for origin in origins:
                path = _path(origin, step, said)
                if path not in self.paths:
                    self.paths.append(path)
            return origins, disorder
        return {_weakened(origin, step, said): None for origin in origins}, disorder


def paths(plan: Plan) -> list[Path]:
    """Every path from a source to a sink, with what is guaranteed on it."""
    return Flows(plan).paths


def _weakened(origin: Origin, step: PlannedStep, said: Promise | None, *, source: bool = False) -> Origin:
    """What a source or step makes of data."""
    if said is None:
        return origin
    if said.level == "exactly-once":
        return Origin(origin.source)
    weakness = Weakness(step.name, said.why)
    if said.level == "at-most-once":
        return origin._replace(again=origin.again and not source, lost=origin.lost or weakness)
    return origin._replace(doubled=origin.doubled or weakness)


def _path(origin: Origin, sink: PlannedStep, said: Promise | None) -> Path:
    """What is guaranteed of data from an origin in a sink."""
    level = "exactly-once" if said is None else said.level
    own = None if said is None else Weakness(sink.name, said.why)
    lost, doubled = origin.lost, origin.doubled
    if level == "shown":
        return Path(origin.source, sink.name, "shown", (own,) if own else ())
    if level == "at-most-once":
        lost = lost or own
    if level == "at-least-once" and origin.again:
        doubled = doubled or own
    if level == "idempotent":
        again, doubled = doubled, None
        if lost is None:
            return Path(origin.source, sink.name, "idempotent", tuple(weak for weak in (again or own,) if weak))
    found = tuple(weak for weak in (lost, doubled) if weak)
    names = {
        (False, False): "exactly once",
        (False, True): "at least once",
        (True, False): "at most once",
        (True, True): "no guarantee",
    }
    return Path(origin.source, sink.name, names[lost is not None, doubled is not None], found)
