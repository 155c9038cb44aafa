"""From a graph to a plan: every name, parameter, reference and edge checked, and all problems told at once."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from typing import Any

from rxpipe.elements import Batch
from rxpipe.errors import FunctionError, GraphError, Place, Problem, described, did_you_mean, nearest
from rxpipe.graph import ERRORS, Graph, stream_of
from rxpipe.language.checkstep import StepChecker
from rxpipe.language.config import in_order, plugin_folder
from rxpipe.language.plan import Plan, PlannedStream
from rxpipe.language.values import resolve
from rxpipe.language.variables import Scope
from rxpipe.parameters.calls import function_named
from rxpipe.registry import registry

STREAM_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
GRAPH_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


def plan(graph: Graph, values: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None) -> Plan:
    """Check a graph and make it ready to run.

    Args:
        graph: The graph.
        values: Values of its declared parameters.
        environ: The environment that variables are looked up in; the process's own by default.

    Raises:
        GraphError: With all problems of the graph.
    """
    made, found = examine(graph, values or {}, environ)
    if made is None or found:
        raise GraphError(in_order(found))
    return made


def problems(
    graph: Graph, values: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> list[Problem]:
    """All problems of a graph, in the order of its file; empty if it can run."""
    return in_order(examine(graph, values or {}, environ)[1])


def examine(
    graph: Graph,
    values: Mapping[str, Any],
    environ: Mapping[str, str] | None = None,
    *,
    broken: Collection[tuple[str, int]] = (),
    lenient: bool = False,
) -> tuple[Plan | None, list[Problem]]:
    """The plan, if there is no problem, and the problems.

    Args:
        graph: The graph.
        values: Values of its declared parameters.
        environ: The environment; the process's own by default.
        broken: Steps (stream and index) of which no more need be said.
        lenient: Whether required parameters may be missing, as in a graph that is only loaded.
    """
    checker = _Checker(graph, values, os.environ if environ is None else environ, set(broken), lenient=lenient)
    return (checker.plan() if not checker.problems else None), checker.problems


class _Checker:
    def __init__(
        self,
        graph: Graph,
        values: Mapping[str, Any],
        environ: Mapping[str, str],
        broken: set[tuple[str, int]],
        *,
        lenient: bool,
    ) -> None:
        self.graph = graph
        self.broken = broken
        self.values, self.problems = resolve(graph, values, environ, lenient=lenient)
        self.scope = Scope(self.values, environ)
        self.settings: dict[str, Any] = {}
        self.reads: dict[str, list[tuple[str, Place | None, int]]] = {name: [] for name in graph.streams}
        self._graph_parts()
        self._settings()
        checker = StepChecker(self, {ERRORS: Batch})
        checker.look_up()
        self.order = self._ordered()
        self.streams = {name: checker.stream(name) for name in self.order}

    def note(
        self, message: str, place: Place | None = None, stream: str | None = None, step: int | None = None
    ) -> None:
        """Add a problem."""
        self.problems.append(Problem(message, place, stream, step))

    def plan(self) -> Plan:
        """The plan of a graph without problems."""
        readers: dict[str, dict[str, list[str]]] = {name: {} for name in self.order}
        for name in self.order:
            for read, _, _ in self.reads[name]:
                source, _, output = read.partition(".")
                readers[source].setdefault(output, [])
                if name not in readers[source][output]:
                    readers[source][output].append(name)
        streams = {
            name: PlannedStream(name, self.streams[name], readers[name].pop("", []), readers[name])
            for name in self.order
        }
        return Plan(self.graph, streams, {name: value.value for name, value in self.values.items()}, self.settings)

    def _graph_parts(self) -> None:
        graph, at = self.graph, self.graph.places.at
        if not GRAPH_NAME.fullmatch(graph.name):
            must = "a graph's name is made of up to 100 letters, digits, '_', '-' and '.', because it names a file"
            self.note(f"{must}; got {described(graph.name)}", at(("graph",)))
        self._plugins()
        self._sample()
        self._allow()
        if not graph.streams:
            self.note("a graph needs at least one stream, as in 'streams: {NAME: [steps]}'", at(("streams",)))
        for name, steps in graph.streams.items():
            place = at(("streams", name), name=True)
            if name == ERRORS:
                self.note(
                    f"{ERRORS!r} is the built-in stream of what could not be handled; name yours otherwise", place, name
                )
            elif not STREAM_NAME.fullmatch(name):
                self.note(f"a stream's name is made of letters, digits, '_' and '-'; got {name!r}", place)
            if not steps:
                self.note("a stream needs at least one step; got none", place, name)

    def _plugins(self) -> None:
        graph, at = self.graph, self.graph.places.at
        for index, plugin in enumerate(graph.plugins):
            place = at(("plugins", index))
            folder = plugin_folder(graph.folder, plugin) if isinstance(plugin, str) else None
            if not isinstance(plugin, str):
                self.note(f"plugins: a folder's name must be a text; got {plugin!r}", place)
            elif folder is None:
                beside = (
                    [f"./{found.name}" for found in graph.folder.iterdir() if found.is_dir()]
                    if graph.folder.is_dir()
                    else []
                )
                guess = nearest(plugin, [*beside, *(name[2:] for name in beside)])
                self.note(f"plugins: no folder {plugin!r} in {str(graph.folder)!r}{did_you_mean(guess)}", place)
            else:
                registry.load_folder(folder)

    def _sample(self) -> None:
        graph, at = self.graph, self.graph.places.at
        if graph.sample is not None:
            named = [("sets", graph.sample.sets, at(("sample", "sets")))]
            named += [("values", name, at(("sample", "values", name))) for name in graph.sample.values]
            for key, name, place in named:
                if name not in graph.params:
                    guess = nearest(name, graph.params)
                    must = f"sample: {key!r} must name a parameter of the graph"
                    self.note(f"{must}; got {name!r}{did_you_mean(guess)}", place)
            try:
                function_named(graph.sample.call)
            except FunctionError as error:
                place = at(("sample", "call"))
                self.note(f"sample: call: {error}", place and place.moved(error.column))

    def _allow(self) -> None:
        graph, at = self.graph, self.graph.places.at
        for lint, targets in graph.allow.items():
            for target in targets:
                if stream_of(target) not in graph.streams:
                    guess = nearest(stream_of(target), graph.streams)
                    self.note(f"allow: {lint}: no stream {target!r}{did_you_mean(guess)}", at(("allow", lint)))

    def _settings(self) -> None:
        filled = self.scope.fill(self.graph.settings)
        at = self.graph.places.at
        for path, message, column in filled.problems:
            place = at(("settings", *path))
            self.note(f"settings: {'.'.join(map(str, path))}: {message}", place and place.moved(column))
        if not self.graph.settings:
            return
        from rxpipe.runtime.settings import NAMES, checked  # only for graphs with settings

        known = {name: value for name, value in filled.value.items() if name in NAMES}
        for name in filled.value:
            if name not in known:
                guess = nearest(name, NAMES)
                tail = did_you_mean(guess) if guess else f"; there are {', '.join(map(repr, NAMES))}"
                self.note(f"settings: unknown setting {name!r}{tail}", at(("settings", name), name=True))
        for path, message in checked(known)[1]:
            if not any(path[: len(p)] == p for p in filled.unset):
                self.note(f"settings: {path[0]}: {filled.safe(message, path)}", at(("settings", *path)))
        self.settings = known

    def _ordered(self) -> list[str]:
        """The streams, each behind all that it reads; every cycle is a problem."""
        done: dict[str, bool] = {}
        order: list[str] = []
        all_reads = {
            name: [(stream_of(read), place, step) for read, place, step in reads] for name, reads in self.reads.items()
        }
        for first in self.graph.streams:
            path: list[tuple[str, int]] = [] if first in done else [(first, 0)]
            while path:
                name, position = path.pop()
                done.setdefault(name, False)
                reads = all_reads[name]
                if position == len(reads):
                    done[name] = True
                    order.append(name)
                    continue
                path.append((name, position + 1))
                target, place, step = reads[position]
                if target not in done:
                    path.append((target, 0))
                elif not done[target]:
                    names = [entry for entry, _ in path]
                    circle = [*names[names.index(target) :], target]
                    # written in the direction the data flows
                    self.note(
                        f"streams read each other in a circle: {' -> '.join(reversed(circle))}", place, name, step
                    )
        return order
