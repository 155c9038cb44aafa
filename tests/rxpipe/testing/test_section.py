"""The `tests:` section: what is read, and what is refused, where, and with which guess."""

from __future__ import annotations

import textwrap

import pytest

from rxpipe.errors import GraphError
from rxpipe.graph import Graph
from rxpipe.language.config import load_text
from rxpipe.operators import debounce, parse_json, read_lines, watch
from rxpipe.testing.cases import Change, Failing, Jump, Kill
from rxpipe.testing.section import cases_of

GRAPH = """\
graph: g
params: {paths: [a], mode: {type: str, default: x, choices: [x, y]}}
streams:
  lines: [{watch: {paths: "${paths}"}}, read_lines]
  rows: [{from: lines}, {parse_json: {fields: {n: n}}}]
  parts: [{from: rows}, {split: {big: n > 3}}]
  counts: [{from: rows}, {aggregate: {n: count()}}]
  out: [{from: rows}, {to_jsonl: out}]
  both: [{from: rows}, {to_jsonl: one}, {to_jsonl: two}]
tests:
"""
LINE = GRAPH.count("\n") + 1


def written(text: str) -> str:
    return GRAPH + textwrap.indent(textwrap.dedent(text).strip(), "  ") + "\n"


def problems(text: str) -> list[str]:
    """The problems of a test, each with its place behind the beginning of the tests."""
    with pytest.raises(GraphError) as caught:
        load_text(written(text), file="g", tests=True)
    found = []
    for problem in caught.value.problems:
        assert problem.place is not None
        found.append(f"{problem.place.line - LINE}:{problem.place.column - 2}: {problem.message}")
    return found


def test_all_of_a_test() -> None:
    text = """\
    - name: all
      tick: 10ms
      clock: 2026-03-06T12:00:00+01:00
      set: {mode: y}
      where: {a: {n: 1}, 2: {n: 2}}
      given: {lines: "-a-2|"}
      files: {x/y: text}
      changes:
        - {at: 2, rename: {x/y: z}, }
        - {at: 1, append: {x/y: [{n: 3}]}}
        - {at: 3, delete: [z]}
      faults: [{kill: 3}, {jump: -1h, at: 2}, {sink: out, fails: 2}, {sink: "both[2]", fails: 1, at: 1}]
      expect: {out: "-a-2", counts: [{n: 2}], parts.big: []}
    """
    graph = load_text(written(text), tests=True)
    [case] = cases_of(graph)
    assert (case.name, case.tick, case.clock, case.sets) == ("all", 0.01, 1772794800.0, {"mode": "y"})
    assert [(event.time, event.kind, event.value) for event in case.given["lines"].events] == [
        (0.01, "next", {"n": 1}),
        (0.03, "next", {"n": 2}),
        (0.04, "completed", None),
    ]
    assert case.changes == [
        Change(0.01, "append", "x/y", [{"n": 3}]),
        Change(0.02, "rename", "x/y", "z"),
        Change(0.03, "delete", "z"),
    ]
    assert case.kills == [Kill(0.03)]
    assert case.jumps == [Jump(0.02, -3600.0)]
    assert case.failing == [Failing(0.0, "out", 1, 2), Failing(0.01, "both", 2, 1)]
    assert [(e.stream, e.form, e.ordered, e.until) for e in case.expected] == [
        ("out", "marble", True, 0.04),
        ("counts", "rows", False, None),
        ("parts.big", "records", True, None),
    ]
    assert case.until == pytest.approx(0.05 + 1.0)  # a hundred ticks behind the end of the longest marble
    assert load_text(graph.to_yaml()) == graph
    assert load_text(graph.to_yaml()).tests == graph.tests


def test_who_only_runs_a_graph_is_not_told() -> None:
    text = written("- {nam: x}")
    assert load_text(text).tests == [{"nam": "x"}]
    with pytest.raises(GraphError, match="unknown key 'nam', did you mean 'name'"):
        cases_of(load_text(text))


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("- 3", ["0:3: tests[0]: a test is a mapping with a name; got 3"]),
        (
            "- {expect: {out: []}}",
            ["0:3: tests[0]: a test needs a name, a text; got None"],
        ),
        (
            "- {name: x, expect: {out: []}}\n- {name: x, expect: {out: []}}",
            ["1:10: tests[1]: a test's name must be its own; 'x' is given twice"],
        ),
        ("- {name: x}", ["0:3: tests[0]: a test expects something: 'expect: {STREAM: marble or records}'"]),
        (
            "- {name: x, expect: {otu: []}}",
            ["0:22: tests[0]: unknown stream 'otu', did you mean 'out'?"],
        ),
        (
            "- {name: x, given: {parts.bag: []}, expect: {out: []}}",
            ["0:21: tests[0]: unknown stream 'parts.bag', did you mean 'parts.big'?"],
        ),
        (
            "- {name: x, given: {errors: []}, expect: {out: []}}",
            ["0:21: tests[0]: unknown stream 'errors', did you mean 'rows'?"],
        ),
        (
            "- {name: x, where: {a: {n: 1}}, given: {rows: '--ab'}, expect: {out: []}}",
            ["0:51: tests[0]: marble: unknown letter 'b': must be one of the test's 'where'; it has 'a'"],
        ),
        (
            "- {name: x, given: {rows: '-(-)'}, expect: {out: []}}",
            [
                (
                    "0:30: tests[0]: marble: must be one of - ( ) | # ^, a letter or a digit; "
                    "got '-' at column 3 of '-(-)'"
                ),
            ],
        ),
        (
            "- {name: x, expect: {out: '-#'}}",
            ["0:29: tests[0]: marble: '#' would be an error, which ends a run; got '-#'"],
        ),
        (
            "- {name: x, given: {rows: '-1'}, expect: {out: []}}",
            ["0:27: tests[0]: given: rows: must be a record or a list of records; got 1"],
        ),
        (
            "- {name: x, expect: {out: '-1'}}",
            ["0:27: tests[0]: out: what is expected must be a record or a list of records; got 1"],
        ),
        (
            "- {name: x, expect: {out: [{n: 1}, 2]}}",
            ["0:36: tests[0]: out: what is expected must be a record or a list of records; got 2"],
        ),
        (
            "- {name: x, expect: {out: {rows: []}}}",
            ["0:34: tests[0]: out: rows are those of a table; what flows here is Batch"],
        ),
        (
            "- {name: x, expect: {counts: {rows: [], marble: '', mach: part}}}",
            [
                (
                    "0:30: tests[0]: counts: an expectation has one of 'marble', 'records' and 'rows'; got "
                    "{'rows': [], 'marble': '', 'mach': 'part'}"
                ),
                "0:53: tests[0]: unknown key 'mach', did you mean 'match'?",
            ],
        ),
        (
            "- {name: x, expect: {counts: {rows: [], match: some, ordered: 1}}}",
            [
                "0:48: tests[0]: match: must be 'whole' or 'part'; got 'some'",
                "0:63: tests[0]: ordered: must be true or false; got 1",
            ],
        ),
        (
            "- {name: x, set: {path: [b]}, expect: {out: []}}",
            ["0:19: tests[0]: set: unknown parameter 'path' of graph 'g', did you mean 'paths'?"],
        ),
        (
            "- {name: x, set: {mode: z}, expect: {out: []}}",
            ["0:25: tests[0]: set: mode: must be one of 'x', 'y'; got 'z'"],
        ),
        (
            "- {name: x, set: {paths: ['${HOME}']}, expect: {out: []}}",
            ["0:26: tests[0]: set: paths: the one variable of a test is ${files}; got '${HOME}'"],
        ),
        (
            "- {name: x, tick: 0s, until: -1, clock: noon, expect: {out: []}}",
            [
                "0:19: tests[0]: tick: must be above 0; got '0s'",
                "0:30: tests[0]: until: must be a number of ticks from 0 on; got -1",
                "0:41: tests[0]: clock: must be a time such as 2026-03-06T12:00:00Z; got 'noon'",
            ],
        ),
        (
            "- {name: x, where: {ab: 1}, files: {/etc/x: '', a/../../b: '', c: 3}, expect: {out: []}}",
            [
                "0:21: tests[0]: where: must be one letter or digit; got 'ab'",
                "0:37: tests[0]: a file's name must be a path below the test's folder; got '/etc/x'",
                "0:49: tests[0]: a file's name must be a path below the test's folder; got 'a/../../b'",
                "0:67: tests[0]: a file's content must be a text, or a list of records or lines; got 3",
            ],
        ),
        (
            (
                "- name: x\n  expect: {out: []}\n"
                "  changes: [{at: 1}, {at: 1, delete: a, aped: b}, {at: 1, truncate: {a: x}}]"
            ),
            [
                (
                    "2:13: tests[0]: a change has 'at' and one of 'append', 'write', 'delete', 'rename', 'truncate'; "
                    "got 'at'"
                ),
                "2:41: tests[0]: unknown key 'aped', did you mean 'append'?",
                "2:73: tests[0]: truncate: must be a number of bytes; got 'x'",
            ],
        ),
        (
            "- {name: x, faults: [{kil: 1}, {jump: soon, at: 1}, {sink: uot, fails: 1}], expect: {out: []}}",
            [
                (
                    "0:22: tests[0]: a fault is {kill: TICK}, {sink: STREAM, fails: TIMES} or {jump: DURATION}, these "
                    "two with 'at'; got {'kil': 1}"
                ),
                (
                    "0:39: tests[0]: jump: duration must be seconds or a text such as '100ms', '10s' or '1h30m', not "
                    "negative; got 'soon'"
                ),
                "0:60: tests[0]: sink: must name a stream with a sink, or STREAM[STEP]; got 'uot', did you mean 'out'?",
            ],
        ),
        (
            "- {name: x, faults: [{sink: both, fails: 0}], expect: {out: []}}",
            [
                (
                    "0:29: tests[0]: sink: must name a stream with a sink, or STREAM[STEP]; got 'both', did you mean "
                    "'both[2]'?"
                ),
                "0:42: tests[0]: fails: must be how often, a number from 1 on; got 0",
            ],
        ),
        (
            "- {name: x, given: 3, changes: {}, expect: {out: []}}",
            [
                "0:20: tests[0]: 'given' must be a mapping; got 3",
                "0:32: tests[0]: 'changes' must be a list; got {}",
            ],
        ),
    ],
)
def test_refused(test: str, expected: list[str]) -> None:
    assert problems(test) == expected


def test_problems_of_a_graph_and_of_its_tests_come_together() -> None:
    text = written("- {name: x, expect: {otu: []}}").replace("read_lines", "raed_lines")
    with pytest.raises(GraphError) as caught:
        load_text(text, tests=True)
    messages = [problem.message for problem in caught.value.problems]
    assert [message.split(";")[0] for message in messages] == [
        "unknown operator 'raed_lines', did you mean 'read_lines'?",
        "tests[0]: unknown stream 'otu', did you mean 'out'?",
    ]


def test_a_graph_made_in_python() -> None:
    rows = [watch(["."]), debounce("10ms"), read_lines(), parse_json()]
    graph = Graph(
        "g", {"rows": rows}, tests=[{"name": "x", "given": {"rows": [{"n": 1}]}, "expect": {"rows": [{"n": 1}]}}]
    )
    [case] = cases_of(graph)
    assert case.place is None
    assert [event.value for event in case.given["rows"].events] == [[{"n": 1}], None]
