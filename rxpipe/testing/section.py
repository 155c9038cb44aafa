"""The `tests:` section of a graph: read into cases, every mistake a problem with its place."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rxpipe.elements import Batch
from rxpipe.errors import GraphError, Problem, RxpipeError
from rxpipe.graph import ERRORS, Graph
from rxpipe.language.config import in_order
from rxpipe.language.edges import type_name
from rxpipe.language.values import converted, unknown_parameter
from rxpipe.table import Table
from rxpipe.testing.cases import FILES, Case, Containing, Expectation, Failing, Given, Jump, Kill
from rxpipe.testing.happenings import HappeningsReader
from rxpipe.testing.kinds import kind_of, unfit
from rxpipe.testing.marbles import Event, length
from rxpipe.testing.reading import Section, filled, texts_of

if TYPE_CHECKING:
    from rxpipe.language.plan import Plan

KEYS = ("name", "tick", "until", "clock", "set", "where", "given", "files", "changes", "faults", "expect")
_FORMS = ("marble", "records", "rows")
_REST = 100
"""Ticks that pass, unless told otherwise, between the last thing that a test mentions and the end of its sources."""


def cases_of(graph: Graph) -> list[Case]:
    """The tests of a graph.

    Raises:
        GraphError: With all problems of the graph and its tests.
    """
    from rxpipe.language.check import examine  # the check of a file calls this module

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
    section = Section(graph, _kinds(graph, plan))
    cases = []
    for index, raw in enumerate(graph.tests):
        if isinstance(raw, Mapping):
            cases.append(_Test(section, index, raw).case())
        else:
            place = graph.places.at(("tests", index))
            section.problems.append(Problem(f"tests[{index}]: a test is a mapping with a name; got {raw!r}", place))
    return cases, section.problems


def _kinds(graph: Graph, plan: Plan | None) -> dict[str, Any]:
    """The streams of which something may be given or expected, and `errors`, each with the kind of its elements."""
    kinds = dict.fromkeys([*graph.streams, ERRORS], Any)
    for name, stream in plan.streams.items() if plan is not None else ():
        kinds[name] = kind_of(stream.steps[-1].emits)
        for step in stream.steps:
            kinds |= {f"{name}.{output}": kind_of(emits) for output, emits in step.outputs.items()}
    return kinds


class _Test(HappeningsReader):
    """Reads one test."""

    def case(self) -> Case:
        """The test."""
        self.known(self.raw, KEYS, "a test")
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

    def clock(self) -> float:
        value = self.raw.get("clock", 0)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        try:
            found = datetime.fromisoformat(str(value))
        except ValueError:
            self.note(f"clock: must be a time such as 2026-03-06T12:00:00Z; got {value!r}", "clock")
            return 0.0
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()

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
            if not self.stream(name, [stream for stream in self.section.kinds if stream != ERRORS], *path):
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

    def expected(self) -> list[Expectation]:
        found = []
        for name, value in self.mapping("expect").items():
            path = ("expect", name)
            if self.stream(name, [*self.section.kinds], *path):
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
            self.known(value, (*_FORMS, "match", "ordered"), "an expectation", *path)
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
            if stream == ERRORS:
                expected = [event._replace(value=_error(event.value)) for event in expected]
            if "|" not in value[form]:
                until = length(value[form], self.tick)
        elif not isinstance(value[form], list):
            self.note(f"{stream}: must be a marble or a list of {form}; got {value[form]!r}", *inner)
            return []
        else:
            expected = [_error(item) if stream == ERRORS else item for item in value[form]]
        self.fits(stream, form, expected, *inner)
        place = self.section.graph.places.at(("tests", self.index, *inner))
        part = match == "part" or stream == ERRORS
        return [Expectation(stream, form, expected, until, part=part, ordered=ordered is True, place=place)]

    def fits(self, stream: str, form: str, expected: list[Any], *path: str | int) -> None:
        """Note what can never come out of a stream."""
        kind = self.section.kinds[stream]
        if form == "rows" and kind not in (Table, Any):
            self.note(f"{stream}: rows are those of a table; what flows here is {type_name(kind)}", *path)
        if kind not in (Batch, Table):
            return
        values = [event.value for event in expected if event.kind == "next"] if form == "marble" else expected
        for index, value in enumerate(values):
            reason = unfit(value, kind)
            if reason is not None:
                inner = () if form == "marble" else (index,)
                self.note(f"{stream}: what is expected {reason}; got {value!r}", *path, *inner)
                return


def _error(item: Any) -> Any:
    """An expected error: a text alone, or as its reason, is a part of its reason."""
    if isinstance(item, str):
        return {"reason": Containing(item)}
    if isinstance(item, Mapping) and isinstance(item.get("reason"), str):
        return {**item, "reason": Containing(item["reason"])}
    return item
