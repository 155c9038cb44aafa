"""Graph files: YAML text to a `Graph` whose every part knows its place; `rxpipe.language.dump` goes back."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from rxpipe.errors import GraphError, Place, Problem, did_you_mean, nearest
from rxpipe.graph import Graph, Param, Places, Sample, StepSpec
from rxpipe.language import shipped
from rxpipe.language.configstep import StepReader, mark
from rxpipe.language.values import DECLARING, TYPES, inferred, read_sets
from rxpipe.language.yamltext import Node, compose
from rxpipe.registry import registry

MAX_STREAMS = 1000
MAX_STEPS = 1000
"""Of one stream: what a check does grows with both, and with their product."""

TOP = ("graph", "description", "params", "settings", "plugins", "sample", "allow", "streams", "tests")
DECLARATION = ("type", "default", "description", "required", "choices")


def load(
    source: str | Path,
    *,
    values: Mapping[str, Any] | None = None,
    sets: Iterable[str] = (),
    environ: Mapping[str, str] | None = None,
    tests: bool = False,
) -> Graph:
    """Read a graph file, or a shipped graph by its name, and check it.

    Args:
        source: A path, or a name without a suffix for a shipped graph.
        values: Values of declared parameters to check the graph with; the defaults otherwise.
        sets: The same as texts, as `--set name=value` gives them.
        environ: The environment; the process's own by default.
        tests: Whether the graph's tests are checked, too; who only runs it needs none of them.

    Raises:
        GraphError: With all problems of the graph.
    """
    path = shipped.find(source)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else f"cannot be read: {error.strerror}"
        raise GraphError([Problem(f"{path}: {reason}")]) from error
    return load_text(text, file=str(path), folder=path.parent, values=values, sets=sets, environ=environ, tests=tests)


def load_text(
    text: str,
    *,
    file: str = "<text>",
    folder: Path | str = ".",
    values: Mapping[str, Any] | None = None,
    sets: Iterable[str] = (),
    environ: Mapping[str, str] | None = None,
    tests: bool = False,
) -> Graph:
    """Read a graph from YAML text and check it.

    Args:
        text: The YAML.
        file: What to call the text in messages.
        folder: What relative paths in the graph are relative to.
        values: Values of declared parameters to check the graph with.
        sets: The same as texts, as `--set name=value` gives them.
        environ: The environment; the process's own by default.
        tests: Whether the graph's tests are checked, too; who only runs it needs none of them.

    Raises:
        GraphError: With all problems of the graph.
    """
    from rxpipe.language.check import examine  # check stands on config's graph, not the other way round

    draft = read(text, file=file, folder=folder)
    problems = list(draft.problems)
    given = dict(values or {})
    if draft.graph is not None:
        try:
            given |= read_sets(draft.graph, sets)
        except GraphError as error:
            problems += error.problems
        plan, found = examine(draft.graph, given, environ, broken=draft.broken, lenient=True)
        problems += found
        if tests:
            from rxpipe.testing.section import read_cases  # tests stand on the graph, likewise

            problems += read_cases(draft.graph, plan)[1]
    if draft.graph is None or problems:
        raise GraphError(in_order(problems))
    return draft.graph


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Problems in the order of the file, each once."""
    unique = list(dict.fromkeys(problems))
    return sorted(unique, key=lambda p: (p.place.line, p.place.column) if p.place else (0, 0))


def plugin_folder(folder: Path, plugin: str) -> Path | None:
    """The folder of a plugin, or None if there is none; relative ones are relative to the graph's."""
    found = folder / os.path.expanduser(plugin)  # that of pathlib raises for an unknown user
    return found if os.path.isdir(found) else None  # that of pathlib raises for a name that is too long


class Draft(msgspec.Struct):
    """A graph as far as its file could be read.

    Attributes:
        graph: The graph, or None where the text is no graph at all.
        problems: What is wrong with the file's structure.
        broken: Steps (stream and index) that could not be read, of which no more need be said.
    """

    graph: Graph | None
    problems: list[Problem] = msgspec.field(default_factory=list)
    broken: set[tuple[str, int]] = msgspec.field(default_factory=set)


def read(text: str, *, file: str = "<text>", folder: Path | str = ".") -> Draft:
    """Read a graph from YAML text without checking it."""
    node, problems = compose(text, file)
    if node is None:
        return Draft(None, problems)
    if node.kind != "mapping":
        problems.append(
            Problem(f"a graph file is a mapping that begins with 'graph: NAME'; got {node.describe()}", node.place)
        )
        return Draft(None, problems)
    return _Reader(node, Path(folder), file, problems).draft


class _Reader:
    """Reads the parts of one file, and notes every problem on its way."""

    def __init__(self, node: Node, folder: Path, file: str, problems: list[Problem]) -> None:
        self.problems = problems
        self.broken: set[tuple[str, int]] = set()
        self.values: dict[tuple[str | int, ...], Place] = {(): node.place}
        self.names: dict[tuple[str | int, ...], Place] = {}
        self.parts = self._keys(node, (), TOP, "a graph file")
        for part, value in self.parts.items():
            mark(value, (part,), self.values, self.names)
        name = self._text("graph")
        if not name and ("graph" not in self.parts or self.parts["graph"].value == ""):
            self._note("'graph: NAME' is missing", node.place)
        plugins = self._list("plugins")
        for plugin in plugins:
            found = plugin_folder(folder, plugin) if isinstance(plugin, str) else None
            if found is not None:
                registry.load_folder(found)
        graph = Graph(
            name or "graph",
            self._streams(),
            params=self._params(),
            settings=self._mapping("settings"),
            plugins=plugins,
            sample=self._sample(),
            description=self._text("description"),
            tests=self._list("tests"),
            allow=self._allow(),
            folder=folder,
            file=file,
            places=Places(self.values, self.names),
        )
        self.draft = Draft(graph, problems, self.broken)

    def _note(self, message: str, place: Place | None, stream: str | None = None, step: int | None = None) -> None:
        self.problems.append(Problem(message, place, stream, step))

    def _keys(self, node: Node, path: tuple[str | int, ...], known: Iterable[str], what: str) -> dict[str, Node]:
        """The values of a mapping whose keys are fixed."""
        found: dict[str, Node] = {}
        for key, value in node.value:
            if key.value in known:
                self.names[(*path, key.value)] = key.place
                found[key.value] = value
            else:
                guess = nearest(str(key.value), known)
                tail = did_you_mean(guess) if guess else f"; {what} has {', '.join(map(repr, known))}"
                self._note(f"unknown key {key.value!r}{tail}", key.place)
        return found

    def _text(self, part: str) -> str:
        node = self.parts.get(part)
        if node is None or (node.kind == "scalar" and node.value is None and part == "description"):
            return ""
        if node.kind == "scalar" and isinstance(node.value, str):
            return node.value
        self._note(f"{part!r} must be a text; got {node.describe()}", node.place)
        return ""

    def _mapping(self, part: str) -> dict[str, Any]:
        node = self._part(part, "mapping")
        return node.plain() if node else {}

    def _list(self, part: str) -> list[Any]:
        node = self._part(part, "list")
        return node.plain() if node else []

    def _part(self, part: str, kind: str) -> Node | None:
        node = self.parts.get(part)
        if node is None or (node.kind == "scalar" and node.value is None):
            return None
        if node.kind == kind:
            return node
        self._note(f"{part!r} must be a {kind}; got {node.describe()}", node.place)
        return None

    def _params(self) -> dict[str, Param]:
        node = self._part("params", "mapping")
        return {str(key.value): self._param(str(key.value), key, value) for key, value in node.value} if node else {}

    def _param(self, name: str, key: Node, node: Node) -> Param:
        if not name.isidentifier():
            self._note(f"params: a parameter's name is made of letters, digits and '_'; got {name!r}", key.place)
        keys = {k.value for k, _ in node.value} if node.kind == "mapping" else set()
        if not keys & DECLARING:
            default = node.plain()
            return Param(inferred(default), default, place=node.place)
        path = ("params", name)
        parts = self._keys(node, path, DECLARATION, "a parameter's declaration")
        default = parts["default"].plain() if "default" in parts else None
        kind = parts["type"].plain() if "type" in parts else inferred(default)
        if kind not in TYPES:
            guess = nearest(str(kind), TYPES)
            tail = did_you_mean(guess) if guess else f"; there are {', '.join(TYPES)}"
            self._note(f"params: {name}: unknown type {kind!r}{tail}", parts["type"].place)
            kind = inferred(default)
        required = parts["required"].plain() if "required" in parts else False
        if not isinstance(required, bool):
            self._note(f"params: {name}: 'required' must be true or false; got {required!r}", parts["required"].place)
        if required is True and default is not None:
            self._note(f"params: {name}: a required parameter has no default; remove one", parts["default"].place)
        text = parts["description"].plain() if "description" in parts else ""
        place = parts["default"].place if "default" in parts else node.place
        choices = parts["choices"].plain() if "choices" in parts else []
        if not isinstance(choices, list):
            self._note(f"params: {name}: 'choices' must be a list; got {choices!r}", parts["choices"].place)
            choices = []
        return Param(kind, default, str(text), required=bool(required), choices=tuple(choices), place=place)

    def _sample(self) -> Sample | None:
        node = self._part("sample", "mapping")
        if node is None:
            return None
        parts = self._keys(node, ("sample",), ("call", "sets", "path", "files", "values"), "a sample")
        missing = [name for name in ("call", "sets") if name not in parts]
        for name in missing:
            self._note(f"sample: {name!r} is missing", node.place)
        wrong = False
        for name, part in parts.items():
            kind, must = ("mapping", "a mapping of parameters") if name == "values" else ("scalar", "a text")
            if part.kind != kind or (kind == "scalar" and not isinstance(part.value, str)):
                self._note(f"sample: {name!r} must be {must}; got {part.describe()}", part.place)
                wrong = True
        return None if missing or wrong else Sample(**{name: part.plain() for name, part in parts.items()})

    def _allow(self) -> dict[str, list[str]]:
        node = self._part("allow", "mapping")
        allowed: dict[str, list[str]] = {}
        for key, value in node.value if node else ():
            targets = value.plain() if value.kind == "list" else [value.plain()]
            if all(isinstance(target, str) for target in targets):
                allowed[str(key.value)] = targets
            else:
                must = f"allow: {key.value}: must be a stream, STREAM.OPERATOR or STREAM.OUTPUT, or a list of these"
                self._note(f"{must}; got {value.describe()}", value.place)
        return allowed

    def _streams(self) -> dict[str, list[StepSpec]]:
        node = self._part("streams", "mapping")
        if node is None:
            return {}
        streams: dict[str, list[StepSpec]] = {}
        if len(node.value) > MAX_STREAMS:
            self._note(f"a graph has at most {MAX_STREAMS:,} streams; got {len(node.value):,}", node.place)
        for key, value in node.value[:MAX_STREAMS]:
            name = str(key.value)
            if value.kind != "list":
                self._no_list(name, value)
                self.broken.add((name, 0))
                streams[name] = [StepSpec("?")]
                continue
            if len(value.value) > MAX_STEPS:
                must = f"a stream has at most {MAX_STEPS:,} steps; got {len(value.value):,}"
                self._note(must, value.place, name)
            streams[name] = [self._step(name, index, item) for index, item in enumerate(value.value[:MAX_STEPS])]
        return streams

    def _no_list(self, name: str, value: Node) -> None:
        if value.kind == "scalar" and value.value is None:
            message = "a stream is a list of steps; got nothing"
        else:
            first = value.value[0][0].value if value.kind == "mapping" and value.value else value.plain()
            message = f"a stream is a list of steps; begin each with '-', as in '- {first}'"
        self._note(message, value.place, name)

    def _step(self, stream: str, index: int, node: Node) -> StepSpec:
        before = len(self.problems)
        spec = StepReader(self._note, stream, index).read(node)
        if len(self.problems) > before:
            self.broken.add((stream, index))
        return spec
