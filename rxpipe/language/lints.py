"""What is allowed in a graph, and seldom meant: warnings with their places, which `allow:` silences one by one.

A lint about an operator is declared beside it, with `rxpipe.promises.lints_of`; here are those about the whole graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from rxpipe.errors import Problem
from rxpipe.graph import FROM
from rxpipe.language.config import plugin_folder
from rxpipe.language.paths import Flows
from rxpipe.language.plan import Plan, PlannedStep, PlannedStream
from rxpipe.promises import Lint
from rxpipe.registry import registry

UNUSED = "unused"
"""The lint of an entry of `allow:` that allows nothing; it cannot be allowed."""

UNLOADED = "unloaded"
"""The lint of a plugin that could not be loaded, of which the graph uses nothing; it cannot be allowed either."""


class Warned(Problem, frozen=True):
    """A warning: a problem that does not keep the graph from running, with the name that allows it."""

    lint: str = ""

    @property
    def logged(self) -> str:
        """The place and the message, for a log that has the level itself."""
        parts = (str(self.place or ""), self.where, f"{self.message} ({self.lint})")
        return ": ".join(part for part in parts if part)

    def told(self, columns: int | None = None) -> str:
        """The warning, told as a problem is."""
        message = f"{self.where}: warning: {self.message} ({self.lint})"
        return Problem(message.removeprefix(": "), self.place).told(columns)


def lint(plan: Plan) -> list[Warned]:
    """All warnings of a plan that its graph does not allow, in the order of its file."""
    flows = Flows(plan)
    allowed: set[tuple[str, str]] = set()
    told: list[Warned] = []
    for name, stream in plan.streams.items():
        found = [(index, warned) for rule in _RULES for index, warned in rule(plan, stream, flows)]
        for index, warned in found:
            silencing = [(warned.name, target) for target in _targets(stream, index, warned)]
            silencing = [entry for entry in silencing if entry[1] in plan.graph.allow.get(warned.name, ())]
            allowed |= {*silencing}
            if not silencing:
                told.append(_warned(plan, name, index, warned))
    told += [*_unloaded(plan), *_unused(plan, allowed)]
    return sorted(told, key=lambda w: (w.place.line, w.place.column) if w.place else (0, 0))


def _warned(plan: Plan, stream: str, index: int | None, found: Lint) -> Warned:
    """A lint with its place: that of the parameter, of the step, or of the stream's name."""
    graph = plan.graph
    if index is None:
        place = graph.places.at(("streams", stream), name=True)
    else:
        place = graph.streams[stream][index].places.at(found.path)
    return Warned(found.message, place, stream, index, found.name)


def _targets(stream: PlannedStream, index: int | None, found: Lint) -> list[str]:
    """By what a lint can be allowed: the stream, its step by the operator's name, or the output that it is about."""
    targets = [stream.name]
    if index is not None:
        operator = stream.steps[index].operator
        targets += [f"{stream.name}.{operator.name}"] if operator is not None else []
        targets += [f"{stream.name}.{part}" for part in found.path if part in stream.steps[index].outputs]
    return targets


def _unloaded(plan: Plan) -> Iterator[Warned]:
    """Files in the folders of plugins that could not be loaded."""
    for index, plugin in enumerate(plan.graph.plugins):
        folder = plugin_folder(plan.graph.folder, plugin)
        for where, reason in registry.failures().items():
            if folder is not None and Path(where).parent == folder:
                message = f"plugins: {where} could not be loaded: {reason}"
                yield Warned(message, plan.graph.places.at(("plugins", index)), lint=UNLOADED)


def _unused(plan: Plan, allowed: set[tuple[str, str]]) -> Iterator[Warned]:
    """What `allow:` says in vain."""
    for name, targets in plan.graph.allow.items():
        for target in targets:
            if (name, target) not in allowed:
                message = f"allow: there is no {name!r} in {target!r} to allow; remove it"
                yield Warned(message, plan.graph.places.at(("allow", name)), lint=UNUSED)


Found = Iterator[tuple[int | None, Lint]]
"""Lints, each with the step that it is about, or None for the stream as a whole."""


def _of_operators(_: Plan, stream: PlannedStream, flows: Flows) -> Found:
    """What is declared beside the operators."""
    for index, step in enumerate(stream.steps):
        if step.operator is not None and step.operator.lint_rule is not None:
            parameters = step.operator.with_defaults(step.parameters)
            for found in step.operator.lint_rule(flows.inflows[step.name], **parameters):
                yield index, found


def _unread(plan: Plan, stream: PlannedStream, _: Flows) -> Found:
    """A stream that comes to nothing; of a graph made in Python whoever made it may read all streams."""
    if plan.graph.file is None:
        return
    if not (stream.readers or stream.output_readers or any(_delivers(step) for step in stream.steps)):
        message = "nobody reads this stream, and it ends in no sink; read it with 'from', or end it in a sink"
        yield None, Lint("unread", message)
    for index, step in enumerate(stream.steps):
        for name in _named_outputs(step):
            if name not in stream.output_readers:
                message = f"nobody reads the output {name!r}; read it with '{FROM}: {stream.name}.{name}'"
                yield index, Lint("unread", message, (name,))


def _doubles(_: Plan, stream: PlannedStream, flows: Flows) -> Found:
    """Data that may come twice, into a sink that writes it twice."""
    for index, step in enumerate(stream.steps):
        if step.operator is None or step.operator.delivery is None:
            continue
        reasons = {
            f"{weak.step}: {weak.why}"
            for path in flows.paths
            if path.sink == step.name and path.guarantee in {"at least once", "no guarantee"}
            for weak in path.weakened[-1:]
            if weak.step != step.name
        }
        for reason in sorted(reasons):
            message = f"{step.operator.name} may write a record twice ({reason}); write it by a key, or allow it"
            yield index, Lint("doubles", message)


def _delivers(step: PlannedStep) -> bool:
    return step.operator is not None and step.operator.delivery is not None


def _named_outputs(step: PlannedStep) -> list[str]:
    """The outputs that the step's parameters name: nobody names one to have it thrown away."""
    if step.operator is None or not step.operator.naming:
        return []
    return [name for name in step.outputs if name in step.operator.outputs(step.parameters)]


_RULES: tuple[Callable[[Plan, PlannedStream, Flows], Found], ...] = (_of_operators, _unread, _doubles)
