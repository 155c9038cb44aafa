"""YAML text as nodes that know their place; scalars are read by the YAML 1.2 core schema.

So `on`, `yes` and `2024-01-31` are texts, `1e3` is a number, and `010` is ten. Custom tags and merge keys are refused,
and so are documents that are huge, deep, or grow when their aliases are followed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal

import msgspec
import yaml

from rxpipe.errors import Place, Problem

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Without libyaml there is PyYAML's own: slower, and reads the same."""

MAX_CHARACTERS = 1_000_000
MAX_DEPTH = 60
MAX_NODES = 50_000

_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]{1,100}|0o[0-7]{1,100}|0x[0-9a-fA-F]{1,100}", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,5})?", re.ASCII)
_SPECIAL = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class LeafPlace(Place, frozen=True):
    """The place of a scalar, which knows where inside the source its text begins."""

    style: str | None = None
    value: str = ""
    following: tuple[str, ...] = ()

    def moved(self, columns: int) -> Place:
        """The place of the text's character number `columns`; in a text folded over several lines, of the whole."""
        if self.style in ("'", '"'):
            written = self.text[self.column :]
            if not written.startswith(self.value):  # escapes: the columns differ from there on
                columns = min(columns, _common(written, self.value))
            return Place(self.file, self.line, self.column + 1 + columns, self.text)
        if self.style == "|":
            line = self.value.count("\n", 0, columns)
            column = columns - (self.value.rfind("\n", 0, columns) + 1)
            if line < len(self.following):
                text = self.following[line]
                indent = len(self.following[0]) - len(self.following[0].lstrip(" "))
                return Place(self.file, self.line + 1 + line, indent + column + 1, text)
        if self.style is None and self.text[self.column - 1 :].startswith(self.value[: columns + 1]):
            return Place(self.file, self.line, self.column + columns, self.text)
        return Place(self.file, self.line, self.column, self.text)


class Node(msgspec.Struct, frozen=True):
    """A scalar (`value` is a Python value), a list (of nodes) or a mapping (pairs of nodes)."""

    kind: Literal["scalar", "list", "mapping"]
    value: Any
    place: Place
    size: int = 1

    def plain(self) -> Any:
        """The node as Python data."""
        if self.kind == "list":
            return [item.plain() for item in self.value]
        if self.kind == "mapping":
            return {key.value: item.plain() for key, item in self.value}
        return self.value

    def describe(self) -> str:
        """The node in a few words, for a message."""
        if self.kind == "scalar":
            return "nothing" if self.value is None else _short(repr(self.value))
        return f"a {self.kind}" if self.value else f"an empty {self.kind}"


def scalar(text: str) -> Any:
    """What a plain scalar means: null, a boolean, a number, or the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text[2:], 8 if text[1] == "o" else 16) if text[1:2] in ("o", "x") else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    special = _SPECIAL.fullmatch(text)
    if special:
        return float(special[1] + "inf") if special[2] else float("nan")
    return text


def compose(text: str, file: str) -> tuple[Node | None, list[Problem]]:
    """The document as nodes, and what is wrong with it; without a node the text is not YAML."""
    if len(text) > MAX_CHARACTERS:
        place = Place(file, 1, 1)
        return None, [Problem(f"a graph file has at most {MAX_CHARACTERS:,} characters; got {len(text):,}", place)]
    try:
        return _composed(text, file, _LOADER)
    except _TooDeepError:
        return _composed(text, file, yaml.SafeLoader)


def _composed(text: str, file: str, loader: Any) -> tuple[Node | None, list[Problem]]:
    composer = _Composer(text, file, loader)
    try:
        return composer.document(), composer.problems
    except _UnreadableError:
        return None, composer.problems
    except yaml.YAMLError as error:
        if loader is not yaml.SafeLoader and "nesting depth" in str(error):
            raise _TooDeepError from error
        return None, [*composer.problems, composer.syntax(error)]


class _UnreadableError(Exception):
    """The problem is noted and nothing behind it can be read."""


class _TooDeepError(Exception):
    """libyaml, from 0.2.6 on, gives up where it looks ahead; PyYAML's own parser comes to what `MAX_DEPTH` refuses."""


class _Composer:
    def __init__(self, text: str, file: str, loader: Any) -> None:
        self.file = file
        self.lines = [line.rstrip("\r") for line in text.removeprefix("\ufeff").split("\n")]
        self.problems: list[Problem] = []
        self._events: Iterator[Any] = yaml.parse(text, Loader=loader)
        self._anchors: dict[str, Node | None] = {}
        self._nodes = 0

    def document(self) -> Node | None:
        found: Node | None = None
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent) and found is not None:
                self._note("a graph file holds one document; got a second one, begun by '---'", event)
                raise _UnreadableError
            if isinstance(event, yaml.NodeEvent):
                found = self._node(event, 0)
        if found is None:
            self.problems.append(
                Problem("the file is empty; a graph begins with 'graph: NAME'", Place(self.file, 1, 1))
            )
        return found

    def _node(self, event: Any, depth: int) -> Node:
        if depth > MAX_DEPTH:
            self._note(f"lists and mappings may stand inside each other {MAX_DEPTH} deep at most; got more", event)
            raise _UnreadableError
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if event.tag not in (None, "!"):
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self._note(f"tags are not used in a graph; got {tag!r}; quote what is meant as text", event)
        if event.anchor:
            self._anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(inner := next(self._events), yaml.SequenceEndEvent):
                items.append(self._node(inner, depth + 1))
            node = Node("list", items, self._place(event), 1 + sum(item.size for item in items))
        else:
            node = self._mapping(event, depth)
        if event.anchor:
            self._anchors[event.anchor] = node
        self._count(1, event)
        return node

    def _scalar(self, event: Any) -> Node:
        style = event.style or None
        value = scalar(event.value) if style is None and event.implicit[0] else event.value
        place = self._place(event)
        following = tuple(self.lines[place.line : event.end_mark.line]) if style == "|" else ()
        leaf = LeafPlace(place.file, place.line, place.column, place.text, style, event.value, following)
        return Node("scalar", value, leaf)

    def _mapping(self, event: Any, depth: int) -> Node:
        pairs: list[tuple[Node, Node]] = []
        seen: dict[Any, Node] = {}
        while not isinstance(inner := next(self._events), yaml.MappingEndEvent):
            key = self._node(inner, depth + 1)
            value = self._node(next(self._events), depth + 1)
            if key.kind != "scalar":
                self.problems.append(Problem(f"a key must be a name; got {key.describe()}", key.place))
            elif key.value == "<<" and isinstance(key.place, LeafPlace) and key.place.style is None:
                self.problems.append(
                    Problem("merge keys ('<<') are not used in a graph; write the keys out", key.place)
                )
            elif key.value in seen:
                first = seen[key.value].place
                message = f"key {key.value!r} is given twice, first in line {first.line}, column {first.column}"
                self.problems.append(Problem(message, key.place))
            else:
                seen[key.value] = key
                pairs.append((key, value))
        return Node("mapping", pairs, self._place(event), 1 + sum(key.size + value.size for key, value in pairs))

    def _alias(self, event: Any) -> Node:
        if event.anchor not in self._anchors:
            self._note(f"unknown anchor {event.anchor!r}", event)
            raise _UnreadableError
        node = self._anchors[event.anchor]
        if node is None:
            self._note(f"anchor {event.anchor!r} contains itself", event)
            raise _UnreadableError
        self._count(node.size, event)
        return node

    def _count(self, size: int, event: Any) -> None:
        self._nodes += size
        if self._nodes > MAX_NODES:
            self._note(f"a graph has at most {MAX_NODES:,} values, aliases followed; got more", event)
            raise _UnreadableError

    def _note(self, message: str, event: Any) -> None:
        self.problems.append(Problem(message, self._place(event)))

    def _place(self, event: Any) -> Place:
        return self._at(event.start_mark.line, event.start_mark.column)

    def _at(self, line: int, column: int) -> Place:
        return Place(self.file, line + 1, column + 1, self.lines[line] if line < len(self.lines) else "")

    def syntax(self, error: yaml.YAMLError) -> Problem:
        """PyYAML's error, with its place."""
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        if mark is None:
            position = getattr(error, "position", None)
            reason = getattr(error, "reason", None) or str(error)
            where = f" (character number {position})" if position is not None else ""
            return Problem(f"not YAML: {reason}{where}", Place(self.file, 1, 1))
        message = f"not YAML: {getattr(error, 'problem', None) or error}"
        context = getattr(error, "context", None)
        if context:
            begun = getattr(error, "context_mark", None)
            message += f", {context}" + (f" begun in line {begun.line + 1}" if begun is not None else "")
        place = self._at(mark.line, mark.column)
        if place.text[: place.column].endswith("\t"):
            message += "; indent with spaces, not with tabs"
        return Problem(message, place)


def _common(one: str, other: str) -> int:
    """How many characters two texts have in common at their beginning."""
    for index, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return index
    return min(len(one), len(other))


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"
