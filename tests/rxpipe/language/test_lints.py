"""Warnings: what is allowed in a graph and seldom meant."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import reactivex as rx
from reactivex import Observable

from rxpipe import operators as ops
from rxpipe.elements import Batch, FileEvent
from rxpipe.errors import GraphError
from rxpipe.graph import Graph, stream
from rxpipe.language.config import load_text
from rxpipe.language.dump import dump
from rxpipe.language.lints import lint
from rxpipe.operator import operator
from rxpipe.promises import Inflow, Lint, lints_of
from rxpipe.registry import registry

EVENTS = "{watch: {paths: [logs]}}"
LINES = f"{EVENTS}, read_lines, {{parse_json: {{fields: {{id: id, ts: ts, level: level}}}}}}"
OUT = "{to_jsonl: out.jsonl}"


def graph(streams: str, allow: str = "{}") -> Graph:
    return load_text(f"graph: g\nallow: {allow}\nstreams:\n{textwrap.indent(textwrap.dedent(streams), '  ')}")


def found(streams: str, allow: str = "{}") -> list[tuple[str, str]]:
    return [(warned.lint, warned.where) for warned in lint(graph(streams, allow).plan())]


@pytest.mark.parametrize(
    ("streams", "expected"),
    [
        (f"a: [{LINES}, {OUT}]", []),
        (f"a: [{EVENTS}, {{debounce: 1s}}, read_lines, parse_json, {OUT}]", [("starves", "a[1]")]),
        (f"a: [{EVENTS}, {{debounce: {{quiet: 1s, at_most: 5s}}}}, read_lines, parse_json, {OUT}]", []),
        (f"a: [{LINES}, {{aggregate: {{n: count()}}}}, {{debounce: 1s}}, to_terminal]", []),
        (f"a: [{LINES}, {{rx.throttle_first: 1s}}, {OUT}]", [("loses_last", "a[3]")]),
        (f"a: [{LINES}, {{throttle: 1Hz}}, {OUT}]", []),
        (f"a: [{EVENTS}, {{rx.debounce: 1s}}, read_lines, parse_json, {OUT}]", [("starves", "a[1]")]),
        (f"a: [{LINES}, {{dedupe: id}}, {OUT}]", [("unbounded", "a[3]")]),
        (f"a: [{LINES}, {{window: {{size: 1m, time: ts, n: count()}}}}, {OUT}]", [("late", "a[3]")]),
        (f"a: [{LINES}, {{window: {{size: 1m, time: ts, lateness: 1s, n: count()}}}}, {OUT}]", []),
        (f"a: [{LINES}, {{window: {{size: 1m, n: count()}}}}, {OUT}]", []),
        (f"a: [{{read_csv: a.csv}}, {{window: {{size: 1m, time: ts, n: count()}}}}, {OUT}]", []),
        (f"a: [{LINES}, to_stdout]\nb: [{{from: a}}]", [("unread", "b")]),
        (f"a: [{LINES}, to_stdout, {{where: id > 1}}]", []),
        (f"a: [{LINES}]\nb: [{{from: a}}, to_stdout]", []),
        (
            f"a: [{LINES}, {{split: {{x: id > 1, y: id < 1}}}}, {OUT}]\nb: [{{from: a.x}}, to_stdout]",
            [("unread", "a[3]")],
        ),
        (f"a: [{EVENTS}, {OUT}]", [("doubles", "a[1]")]),
        (f"a: [{EVENTS}, to_stdout]", []),
        (f"a: [{EVENTS}, {{to_callback: 'builtins:repr'}}]", [("doubles", "a[1]")]),
        (f"a: [{LINES}, {{to_callback: 'builtins:repr'}}]", []),
        ("a: [{list_files: [x]}, {to_sqlite: {path: d, table: t, mode: upsert, key: [path]}}]", []),
        ("a: [{read_table: {path: d, table: t}}, {to_sqlite: {path: e, table: t}}]", [("doubles", "a[1]")]),
        ("a: [{read_table: {path: d, table: t, cursor: id}}, {to_sqlite: {path: e, table: t}}]", []),
    ],
)
def test_lints(streams: str, expected: list[tuple[str, str]]) -> None:
    assert found(streams) == expected


def test_disorder_goes_with_the_data() -> None:
    late = "{window: {size: 1m, time: ts, n: count()}}"
    one = "a: [{read_csv: a.csv}]\nb: [{read_csv: b.csv}]\n"
    assert found(f"{one}c: [{{merge: [a, b]}}]\nd: [{{from: c}}, {{where: ts > 0}}, {late}, {OUT}]") == [
        ("late", "d[2]")
    ]
    assert found(f"{one}c: [{{from: a}}, {late}, {OUT}]\nd: [{{from: b}}, {OUT}]") == []
    joined = "{join: {other: b, on: id, within: 1m, time: ts}}"
    assert found(f"{one}c: [{{from: a}}, {joined}, {OUT}]") == []
    two = f"a: [{LINES}]\nb: [{{read_csv: b.csv}}]\n"
    joined = "{join: {other: a, on: id, within: 1m, time: ts}}"
    assert found(f"{two}c: [{{from: b}}, {joined}, {OUT}]") == [("late", "c[1]")]
    windows = (
        f"a: [{LINES}, {{window: {{size: 1m, n: count()}}}}, {{window: {{size: 1h, time: end, n: sum(n)}}}}, {OUT}]"
    )
    assert found(windows) == []
    mapped = "{map_async: 'builtins:dict'}"
    assert found(f"a: [{{read_csv: a.csv}}, {mapped}, {late}, {OUT}]") == [("late", "a[2]")]
    ordered = "{map_async: {function: 'builtins:dict', ordered: true}}"
    assert found(f"a: [{{read_csv: a.csv}}, {ordered}, {late}, {OUT}]") == []


def test_a_warning_names_its_place() -> None:
    [warned] = lint(graph(f"a: [{LINES}, {{dedupe: {{key: id}}}}, {OUT}]").plan())
    head, line, caret = str(warned).split("\n")
    assert head.startswith("<text>:4:")
    assert ": a[3]: warning: each new key is remembered for ever" in head
    assert head.endswith("(unbounded)")
    assert line[caret.index("^")] == "i"  # of the parameter


def test_allowed() -> None:
    a = f"a: [{LINES}, {{dedupe: id}}, {{split: {{x: id > 1}}}}]"
    assert found(a) == [("unread", "a"), ("unbounded", "a[3]"), ("unread", "a[4]")]
    assert found(a, "{unbounded: a, unread: [a]}") == []
    assert found(a, "{unbounded: a.dedupe, unread: a.x}") == [("unread", "a")]
    assert found(a, "{unread: a.split}") == [("unread", "a"), ("unbounded", "a[3]")]
    assert found(a, "{unread: a, unbounded: a.where}") == [("unused", ""), ("unbounded", "a[3]")]
    assert found(a, "{unread: a, unbounded: a, starves: a}") == [("unused", "")]


def test_allow_is_part_of_the_graph() -> None:
    made = graph(f"a: [{LINES}, {{dedupe: id}}]", "{unbounded: a, unread: [a, a.dedupe]}")
    assert made.allow == {"unbounded": ["a"], "unread": ["a", "a.dedupe"]}
    assert load_text(dump(made)) == made
    assert made != graph(f"a: [{LINES}, {{dedupe: id}}]", "{unbounded: a}")


@pytest.mark.parametrize(
    ("allow", "message"),
    [
        ("[unread: a]", "'allow' must be a mapping; got a list"),
        ("{unread: 3}", "allow: unread: must be a stream, STREAM.OPERATOR or STREAM.OUTPUT, or a list of these; got 3"),
        ("{unread: rwos}", "allow: unread: no stream 'rwos', did you mean 'rows'?"),
    ],
)
def test_wrong_allow(allow: str, message: str) -> None:
    with pytest.raises(GraphError) as caught:
        graph("rows: [from_stdin, to_stdout]", allow)
    [problem] = caught.value.problems
    assert problem.message == message
    assert problem.place is not None
    assert problem.place.line == 2


@pytest.fixture
def picky() -> Iterator[Any]:
    """An operator with a lint of its own."""

    @operator
    def t_picky(source: Observable[Batch], depth: int = 1) -> Observable[Batch]:
        """Pass."""
        return source

    @lints_of(t_picky)
    def _lints(inflow: Inflow, /, depth: int) -> Iterator[Lint]:
        assert inflow.has(Batch)
        assert not inflow.has(FileEvent)
        if depth > 2:
            yield Lint("deep", f"{depth} is deep", ("depth",))

    yield t_picky
    del registry._operators["t_picky"]


def test_a_lint_is_declared_beside_the_operator(picky: Any) -> None:
    assert found(f"a: [{{read_csv: a.csv}}, t_picky, {{t_picky: 3}}, {OUT}]") == [("deep", "a[2]")]
    assert found(f"a: [{{read_csv: a.csv}}, {{t_picky: 3}}, {OUT}]", "{deep: a.t_picky}") == []


def test_whoever_made_a_graph_in_python_may_read_any_stream() -> None:
    made = Graph("g", {"a": [rx.of(1)], "b": [stream("a"), ops.debounce("1s")]})
    assert lint(made.plan()) == []


PAGE = (Path(__file__).parents[3] / "docs" / "checking.md").read_text(encoding="utf-8")


def test_the_page_tells_of_all() -> None:
    told = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert told == {
        "unbounded",
        "starves",
        "loses_last",
        "late",
        "backtracks",
        "empty",
        "unread",
        "doubles",
        "unloaded",
        "unused",
    }
    [text] = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    made = load_text(text)
    assert lint(made.plan()) == []
    made.allow = {}
    assert {warned.lint for warned in lint(made.plan())} == {"unbounded", "unread"}


def test_the_operator_on_the_page() -> None:
    [program] = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    try:
        exec(program, {"__name__": "page"})  # it is our own
        streams = f"a: [{{read_csv: a.csv}}, keep, {{keep: 3}}, {OUT}]"
        assert found(streams) == [("unbounded", "a[1]")]
    finally:
        registry._operators.pop("keep", None)


def test_a_table_that_no_stream_has_is_shown_by_nobody() -> None:
    text = """
        rows: [{read_csv: a.csv}]
        counts: [{from: rows}, {aggregate: {by: [k], n: count()}}]
        screen:
          - merge: [counts, rows]
          - to_terminal:
              panels: [{table: counts}, {table: records}, {table: cuonts}]
              document:
                all: {table: counts, nest: {inner: {table: conts, on: [k]}}}
    """
    made = graph(text)
    wrong = lint(made.plan())
    assert [(warned.lint, warned.where, warned.message.rpartition(", ")[2]) for warned in wrong] == [
        ("empty", "screen[1]", "did you mean 'counts'?"),
        ("empty", "screen[1]", "did you mean 'counts'?"),
    ]
    places = [warned.place for warned in wrong]
    assert [place and place.text[place.column - 1 :].split("}")[0].split(",")[0] for place in places] == [
        "cuonts",
        "conts",
    ]
    assert found(text, "{empty: screen.to_terminal}") == []
