"""The `tests:` section of a graph: read into cases, every mistake a problem with its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from rxpipe.errors import GraphError, Problem, RxpipeError, did_you_mean, nearest
from rxpipe.graph import ERRORS, Graph
from rxpipe.language.config import in_order
from rxpipe.language.values import converted, unknown_parameter
from rxpipe.registry import registry
from rxpipe.table import Table
from rxpipe.testing.cases import FILES, Case, Change, Containing, Expectation, Failing, Given, Jump, Kill
from rxpipe.testing.diagrams import element_kind
from rxpipe.testing.doubles import unfit
from rxpipe.testing.marbles import TICK, Event, MarbleError, length, parse_marbles
from rxpipe.units import seconds

if TYPE_CHECKING:
    from rxpipe.language.plan import Plan

Path = tuple[str | int, ...]

_KEYS = ("name", "tick", "until", "clock", "set", "where", "given", "files", "changes", "faults", "expect")
_ACTIONS = ("append", "write", "delete", "rename", "truncate")
_FORMS = ("marble", "records", "rows")
_REST = 100
"""Ticks that pass, unless told otherwise, between the last thing that a test mentions and the end of its sources."""


def cases_of(graph: Graph) -> list[Case]:
    """The tests of a graph.

    Raises:
        GraphError: With all problems of the graph and its tests.
    """
    from rxpipe.language.check import examine  # noqa: PLC0415  # the check of a file calls this module

    plan, problems = examine(graph, {}, lenient=True)
    cases, found = read_cases(graph, plan)
    if problems or found:
        raise GraphError(in_order([*problems, *found]))
    return cases


def read_cases(graph: Graph, plan: Plan | None = None) -> tuple[list[Case], list[Problem]]:
    """The tests of a graph, and what is wrong with them.

    Args:
        graph: The graph.
        plan: Its plan, if it has one: then values are compared with what flows in the streams.
    """
    reader = _Section(graph, plan)
    cases = [reader.case(index, raw) for index, raw in enumerate(graph.tests)]
    return [case for case in cases if case is not None], reader.problems


class _Section:
    """Reads the tests of one graph, and notes every problem on its way."""

    def __init__(self, graph: Graph, plan: Plan | None) -> None:
        self.graph = graph
        self.problems: list[Problem] = []
        self.kinds: dict[str, Any] = dict.fromkeys([*graph.streams, ERRORS], Any)
        for stream in plan.streams.values() if plan is not None else ():
            self.kinds[stream.name] = element_kind(stream.steps[-1].emits)
        self.names: set[str] = set()

    def note(self, message: str, path: Path, *, name: bool = False, column: int = 0) -> None:
        place = self.graph.places.at(("tests", *path), name=name)
        self.problems.append(Problem(f"tests: {message}", place and place.moved(column)))

    def case(self, index: int, raw: Any) -> Case | None:
        """One test; None if it cannot be read at all."""
        if not isinstance(raw, Mapping):
            self.note(f"a test is a mapping with a name; got {raw!r}", (index,))
            return None
        self.known(raw, _KEYS, (index,), "a test")
        return _Test(self, index, raw).case()

    def known(self, raw: Mapping[Any, Any], keys: Sequence[str], path: Path, what: str) -> None:
        """Note the keys that mean nothing here."""
        for key in raw:
            if key not in keys:
                guess = nearest(str(key), keys)
                tail = did_you_mean(guess) if guess else f"; {what} has {', '.join(map(repr, keys))}"
                self.note(f"unknown key {key!r}{tail}", (*path, key), name=True)

    def stream(self, name: Any, path: Path, *, of: Sequence[str]) -> bool:
        """Whether there is such a stream."""
        if name in of:
            return True
        guess = nearest(str(name), of)
        tail = did_you_mean(guess) if guess else f"; there are {', '.join(map(repr, of))}"
        self.note(f"unknown stream {name!r}{tail}", path, name=True)
        return False


class _Test:
    """Reads one test."""

    def __init__(self, section: _Section, index: int, raw: Mapping[str, Any]) -> None:
        self.section = section
        self.index = index
        self.raw = raw
        self.last = 0.0
        """The last second that the test mentions."""
        self.tick = self.duration("tick", TICK)
        self.letters = self.where()

    def note(self, message: str, *path: str | int, name: bool = False, column: int = 0) -> None:
        self.section.note(message, (self.index, *path), name=name, column=column)

    def case(self) -> Case:
        """The test."""
        faults = self.faults()
        given = self.given()
        files = self.files()
        changes = self.changes()
        expected = self.expected()
        until = self.at(self.raw["until"], "until") if "until" in self.raw else self.last + _REST * self.tick
        return Case(
            name=self.name(),
            tick=self.tick,
            until=until,
            clock=self.clock(),
            sets=self.sets(),
            letters=self.letters,
            given=given,
            files=files if files is not None else ({} if changes else None),
            changes=sorted(changes, key=lambda change: change.at),
            kills=[fault for fault in faults if isinstance(fault, Kill)],
            jumps=[fault for fault in faults if isinstance(fault, Jump)],
            failing=[fault for fault in faults if isinstance(fault, Failing)],
            expected=expected,
            place=self.section.graph.places.at(("tests", self.index)),
        )

    def name(self) -> str:
        name = self.raw.get("name")
        if not isinstance(name, str) or not name:
            self.note(f"a test needs a name, a text; got {name!r}", *(("name",) if "name" in self.raw else ()))
        elif name in self.section.names:
            self.note(f"a test's name must be its own; {name!r} is given twice", "name")
        self.section.names.add(str(name))
        return str(name)

    def mapping(self, key: str) -> Mapping[Any, Any]:
        """The value of a key that is a mapping."""
        value = self.raw.get(key)
        if value is not None and not isinstance(value, Mapping):
            self.note(f"{key!r} must be a mapping; got {value!r}", key)
        return value if isinstance(value, Mapping) else {}

    def items(self, key: str) -> list[tuple[int, Mapping[Any, Any]]]:
        """The mappings of a key that is a list of them."""
        value = self.raw.get(key)
        if value is not None and not isinstance(value, list):
            self.note(f"{key!r} must be a list; got {value!r}", key)
        found = []
        for index, item in enumerate(value if isinstance(value, list) else []):
            if isinstance(item, Mapping):
                found.append((index, item))
            else:
                self.note(f"{key}: must be a mapping; got {item!r}", key, index)
        return found

    def duration(self, key: str, default: float) -> float:
        value = self.raw.get(key, default)
        try:
            found = seconds(value)
            if found > 0:
                return found
            self.note(f"{key}: must be above 0; got {value!r}", key)
        except (RxpipeError, TypeError) as error:
            self.note(f"{key}: {error}", key)
        return default

    def at(self, value: Any, *path: str | int) -> float:
        """A number of ticks, in seconds."""
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            self.note(f"{path[-1]}: must be a number of ticks from 0 on; got {value!r}", *path)
            return 0.0
        self.last = max(self.last, value * self.tick)
        return round(value * self.tick, 9)

    def clock(self) -> float:
        value = self.raw.get("clock", 0)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        try:
            found = datetime.fromisoformat(value)
        except (ValueError, TypeError):
            self.note(f"clock: must be a time such as 2026-03-06T12:00:00Z; got {value!r}", "clock")
            return 0.0
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()

    def where(self) -> dict[str, Any]:
        letters: dict[str, Any] = {}
        for key, value in self.mapping("where").items():
            if len(str(key)) == 1 and str(key).isalnum():
                letters[str(key)] = value
            else:
                self.note(f"where: must be one letter or digit; got {key!r}", "where", key, name=True)
        return letters

    def sets(self) -> dict[str, Any]:
        params = self.section.graph.params
        for name, value in self.mapping("set").items():
            if name not in params:
                self.note(f"set: {unknown_parameter(str(name), self.section.graph)}", "set", name, name=True)
                continue
            other = [text for text in texts_of(value) if "${" in text.replace(FILES, "")]
            if other:
                self.note(f"set: {name}: the one variable of a test is {FILES}; got {other[0]!r}", "set", name)
                continue
            try:
                converted(params[name], filled(value, "/files"))
            except RxpipeError as error:
                self.note(f"set: {name}: {error}", "set", name)
        return dict(self.mapping("set"))

    def given(self) -> dict[str, Given]:
        found: dict[str, Given] = {}
        for name, value in self.mapping("given").items():
            path = ("given", name)
            if not self.section.stream(name, (self.index, *path), of=[*self.section.graph.streams]):
                continue
            events: list[Event] = []
            if isinstance(value, str):
                events = self.marble(value, *path)
            elif isinstance(value, list):
                events = [Event(0.0, "next", value), Event(0.0, "completed")]
            else:
                self.note(f"given: {name}: must be a marble or a list of records; got {value!r}", *path)
            for event in events:
                reason = unfit(event.value, self.section.kinds[name]) if event.kind == "next" else None
                if reason is not None:
                    self.note(f"given: {name}: {reason}; got {event.value!r}", *path)
                    break
            found[name] = Given(events, self.section.graph.places.at(("tests", self.index, *path)))
        return found

    def marble(self, text: str, *path: str | int) -> list[Event]:
        """The events of a marble, every letter of which is known."""
        for column, char in enumerate(text):
            if char in "^#":
                means = {"^": "time zero, which is where a test begins", "#": "an error, which ends a run"}[char]
                self.note(f"marble: {char!r} would be {means}; got {text!r}", *path, column=column)
                return []
            if char.isalpha() and char not in self.letters:
                known = f"it has {', '.join(map(repr, self.letters))}" if self.letters else "there is none"
                self.note(
                    f"marble: unknown letter {char!r}: must be one of the test's 'where'; {known}", *path, column=column
                )
                return []
        try:
            found = parse_marbles(text, self.letters, tick=self.tick)
        except MarbleError as error:
            self.note(str(error), *path, column=error.column)
            return []
        self.last = max(self.last, length(text, self.tick))
        return found

    def files(self) -> dict[str, Any] | None:
        if "files" not in self.raw:
            return None
        for name, content in self.mapping("files").items():
            self.file(name, "files", name)
            self.content(content, "files", name)
        return dict(self.mapping("files"))

    def file(self, name: Any, *path: str | int) -> None:
        if not isinstance(name, str) or not name or name.startswith(("/", "~")) or ".." in PurePosixPath(name).parts:
            self.note(f"a file's name must be a path below the test's folder; got {name!r}", *path, name=True)

    def content(self, content: Any, *path: str | int) -> None:
        lines = content if isinstance(content, list) else [content]
        if not all(isinstance(line, str | Mapping) for line in lines):
            self.note(f"a file's content must be a text, or a list of records or lines; got {content!r}", *path)

    def changes(self) -> list[Change]:
        found: list[Change] = []
        for index, item in self.items("changes"):
            path = ("changes", index)
            self.section.known(item, ("at", *_ACTIONS), (self.index, *path), "a change")
            actions = [action for action in _ACTIONS if action in item]
            if "at" not in item or len(actions) != 1:
                names = ", ".join(map(repr, _ACTIONS))
                self.note(f"a change has 'at' and one of {names}; got {', '.join(map(repr, item))}", *path)
                continue
            at = self.at(item["at"], *path, "at")
            found += self.change(at, actions[0], item[actions[0]], *path, actions[0])
        return found

    def change(self, at: float, action: Any, what: Any, *path: str | int) -> list[Change]:
        if action == "delete":
            what = dict.fromkeys(what if isinstance(what, list) else [what])
        if not isinstance(what, Mapping):
            self.note(f"{action}: must be a mapping from files; got {what!r}", *path)
            return []
        for name, value in what.items():
            self.file(name, *path, name)
            if action in ("append", "write"):
                self.content(value, *path, name)
            elif action == "rename":
                self.file(value, *path, name)
            elif action == "truncate" and (type(value) is not int or value < 0):
                self.note(f"truncate: must be a number of bytes; got {value!r}", *path, name)
        return [Change(at, action, str(name), value) for name, value in what.items()]

    def faults(self) -> list[Kill | Jump | Failing]:
        found: list[Kill | Jump | Failing] = []
        for index, item in self.items("faults"):
            path = ("faults", index)
            at = self.at(item.get("at", 0), *path, "at")
            match sorted(key for key in item if key != "at"):
                case ["kill"] if "at" not in item:
                    found.append(Kill(self.at(item["kill"], *path, "kill")))
                case ["jump"]:
                    found.append(Jump(at, self.jump(item["jump"], *path, "jump")))
                case ["fails", "sink"]:
                    found += self.failing(at, item, *path)
                case _:
                    must = (
                        "a fault is {kill: TICK}, {sink: STREAM, fails: TIMES} or {jump: DURATION}, these two with 'at'"
                    )
                    self.note(f"{must}; got {dict(item)!r}", *path)
        return found

    def jump(self, value: Any, *path: str | int) -> float:
        back = isinstance(value, str) and value.startswith("-")
        try:
            return -seconds(value[1:]) if back else seconds(value)
        except (RxpipeError, TypeError) as error:
            self.note(f"jump: {error}", *path)
            return 0.0

    def failing(self, at: float, item: Mapping[str, Any], *path: str | int) -> list[Failing]:
        name, times = item["sink"], item["fails"]
        if type(times) is not int or times < 1:
            self.note(f"fails: must be how often, a number from 1 on; got {times!r}", *path, "fails")
        sinks = {
            f"{stream}[{index}]": (stream, index)
            for stream, steps in self.section.graph.streams.items()
            for index, step in enumerate(steps)
            if is_sink(step.operator)
        }
        streams = [stream for stream, _ in sinks.values()]
        names = sinks | {stream: found for found in sinks.values() if streams.count(stream := found[0]) == 1}
        if name not in names:
            guess = nearest(str(name), names)
            tail = did_you_mean(guess) if guess else f"; there are {', '.join(map(repr, names)) or 'none'}"
            self.note(f"sink: must name a stream with a sink, or STREAM[STEP]; got {name!r}{tail}", *path, "sink")
            return []
        stream, step = names[name]
        return [Failing(at, stream, step, times if type(times) is int else 1)]

    def expected(self) -> list[Expectation]:
        found = []
        for name, value in self.mapping("expect").items():
            path = ("expect", name)
            if self.section.stream(name, (self.index, *path), of=[*self.section.kinds]):
                found += self.expectation(name, value, *path)
        if not self.mapping("expect"):
            self.note(
                "a test expects something: 'expect: {STREAM: marble or records}'",
                *(("expect",) if "expect" in self.raw else ()),
            )
        return found

    def expectation(self, stream: str, value: Any, *path: str | int) -> list[Expectation]:
        table = self.section.kinds[stream] is Table
        if not isinstance(value, Mapping):
            value = {"marble" if isinstance(value, str) else "rows" if table else "records": value}
            inner = path
        else:
            self.section.known(value, (*_FORMS, "match", "ordered"), (self.index, *path), "an expectation")
            forms = [form for form in _FORMS if form in value]
            if len(forms) != 1:
                self.note(
                    f"{stream}: an expectation has one of 'marble', 'records' and 'rows'; got {dict(value)!r}", *path
                )
                return []
            inner = (*path, forms[0])
        form: Any = next(form for form in _FORMS if form in value)
        match, ordered = value.get("match", "whole"), value.get("ordered", form != "rows")
        if match not in ("whole", "part"):
            self.note(f"match: must be 'whole' or 'part'; got {match!r}", *path, "match")
        if not isinstance(ordered, bool):
            self.note(f"ordered: must be true or false; got {ordered!r}", *path, "ordered")
        until = None
        if form == "marble":
            if not isinstance(value[form], str):
                self.note(f"{stream}: a marble is a text; got {value[form]!r}", *inner)
                return []
            expected: list[Any] = self.marble(value[form], *inner)
            if "|" not in value[form]:
                until = length(value[form], self.tick)
        elif not isinstance(value[form], list):
            self.note(f"{stream}: must be a marble or a list of {form}; got {value[form]!r}", *inner)
            return []
        else:
            expected = [_error(item) if stream == ERRORS else item for item in value[form]]
        place = self.section.graph.places.at(("tests", self.index, *inner))
        part = match == "part" or stream == ERRORS
        return [Expectation(stream, form, expected, until, part=part, ordered=ordered is True, place=place)]


def _error(item: Any) -> Any:
    """An expected error: a text is a part of its reason."""
    return {"reason": Containing(item)} if isinstance(item, str) else item


def is_sink(name: str) -> bool:
    """Whether an operator delivers something to somebody outside the graph."""
    try:
        operator = registry.get(name)
    except Exception:  # noqa: BLE001  # an operator that cannot be imported is reported by the check
        return False
    return operator is not None and operator.delivery is not None


def filled(value: Any, folder: str) -> Any:
    """A value whose texts name the folder of the test's files."""
    if isinstance(value, str):
        return value.replace(FILES, folder)
    if isinstance(value, Mapping):
        return {key: filled(item, folder) for key, item in value.items()}
    return [filled(item, folder) for item in value] if isinstance(value, list) else value


def texts_of(value: Any) -> list[str]:
    """All texts in a value."""
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in texts_of(item)]
    if isinstance(value, list):
        return [text for item in value for text in texts_of(item)]
    return [value] if isinstance(value, str) else []
