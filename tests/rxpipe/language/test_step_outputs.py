"""Outputs of steps, read as `STREAM.OUTPUT`: names, types, order, and how they are drawn."""

from __future__ import annotations

from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest

from rxpipe import operators as ops
from rxpipe.elements import Batch
from rxpipe.errors import Problem
from rxpipe.graph import Graph, stream
from rxpipe.language.check import plan
from rxpipe.language.dump import dump
from rxpipe.views.reference import edge, find, kind
from rxpipe.views.show import show

ROWS = """\
streams:
  rows:
    - t_files: {paths: [a]}
    - t_read
    - t_parse
    - split: {bad: "level == 'ERROR'", slow: ms > 1000}
"""
GOOD = f"""\
graph: parts
plugins: [./lang_ops]
{ROWS}  alarms:
    - from: rows.bad
    - t_where: ms > 1
  all:
    - t_merge: [rows, rows.slow, alarms]
  more:
    - from: rows.bad
    - t_table: {{by: [level]}}
"""

Read = Callable[..., Graph]
Found = Callable[..., list[Problem]]

PROBLEMS = {
    "unknown output": (
        f"{ROWS}  s:\n    - from: rows.slwo\n",
        "rows.slwo",
        "stream 'rows' has no output 'slwo', did you mean 'rows.slow'?",
    ),
    "unknown output, nothing near": (
        f"{ROWS}  s:\n    - t_merge: [rows, rows.zzzzzz]\n",
        "rows.zzzzzz",
        "stream 'rows' has no output 'zzzzzz'; there are 'rows.bad', 'rows.slow'",
    ),
    "a stream without outputs": (
        f"{ROWS}  s:\n    - from: rows\n  t:\n    - from: s.bad\n",
        "s.bad",
        "stream 's' has no output 'bad'; no step of it has one",
    ),
    "an output of errors": (
        f"{ROWS}  s:\n    - from: errors.bad\n",
        "errors.bad",
        "unknown stream 'errors.bad', did you mean 'errors'?",
    ),
    "an unknown stream": (
        f"{ROWS}  s:\n    - from: row.bad\n",
        "row.bad",
        "unknown stream 'row.bad', did you mean 'rows'?",
    ),
    "two steps": (
        f"{ROWS}    - split: {{slow: ms > 2000}}\n  s:\n    - from: rows.slow\n",
        "rows.slow",
        "two steps of 'rows' have an output 'slow'; make one of them a stream of its own",
    ),
    "a name that is none": (
        ROWS.replace("slow:", "too-slow:"),
        "too-slow:",
        "split: an output's name is made of letters, digits and '_'; got 'too-slow'",
    ),
    "a name in a list that is none": (
        f"{ROWS}    - route: {{by: zone, to: [eu, us-1]}}\n",
        "us-1",
        "route: an output's name is made of letters, digits and '_'; got 'us-1'",
    ),
    "a circle": (
        f"{ROWS}    - t_merge: [other]\n  other:\n    - from: rows.bad  # here\n",
        None,
        "streams read each other in a circle: rows -> other -> rows",
    ),
    "a circle of one": (
        f"{ROWS}    - t_merge: [rows.bad]\n",
        "rows.bad",
        "streams read each other in a circle: rows -> rows",
    ),
    "the type": (
        f"{ROWS}  s:\n    - from: rows.bad\n    - t_read\n",
        "t_read\n",
        "t_read takes FileEvent, got Batch from s[0] from",
    ),
    "the type of an input": (
        f"{ROWS}  s:\n    - from: rows\n    - t_join: {{other: rows.slow}}\n",
        "rows.slow",
        "t_join takes Table as 'other', got Batch from stream 'rows.slow'",
    ),
}


@pytest.mark.parametrize("case", PROBLEMS)
def test_problems(case: str, found: Found) -> None:
    body, at, message = PROBLEMS[case]
    problem, *more = found(body)
    assert not more
    assert problem.message == message
    if at is not None:
        assert problem.place is not None
        line = f"graph: g\nplugins: [./lang_ops]\n{body}".split("\n")[problem.place.line - 1]
        assert (line[problem.place.column - 1 :] + "\n").startswith(at)


def test_nothing_is_said_of_outputs_of_a_stream_that_is_not_understood(found: Found) -> None:
    problems = found(ROWS.replace("ms > 1000", "ms >") + "  s:\n    - from: rows.fast\n")
    assert [problem.message.split(": ")[:2] for problem in problems] == [["split", "slow"]]


FIELDS = """\
streams:
  rows:
    - watch: [logs]
    - read_lines
    - parse_json: {fields: {ts: float, level: str}}
    - split: {bad: "level == 'ERROR'"}
    - sequence: {by: [level], of: ts}
    - window: {size: 1m, time: ts, n: count()}
  s:
"""


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("[{from: rows}, {where: n > 1 and start > 2}]", ""),
        ("[{from: rows.bad}, {where: level == ts}]", ""),
        ("[{from: rows.gaps}, {where: missing > 1 and level > after}]", ""),
        ("[{from: rows.late}, {where: sequence > 1 and ts > 2}]", ""),
        ("[{from: rows}, {where: ts > 1}]", "where: condition: unknown field 'ts'"),
        ("[{from: rows.bad}, {where: levl == ts}]", "where: condition: unknown field 'levl', did you mean 'level'?"),
        ("[{from: rows.gaps}, {where: ts > 1}]", "where: condition: unknown field 'ts'"),
        ("[{from: rows.late}, {where: start > 1}]", "where: condition: unknown field 'start'"),
    ],
)
def test_fields_of_outputs(steps: str, message: str, read: Read, found: Found) -> None:
    text = FIELDS.replace("  s:\n", f"  s: {steps}\n")
    if not message:
        assert read("graph: g\n" + text)
        return
    (problem,) = found(text, start="graph: g\n")
    assert problem.message.startswith(message)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("split: {bad: lvl > 1}", "split: bad: unknown field 'lvl', did you mean 'level'?"),
        ("route: {by: lvl, to: [a]}", "route: by: unknown field 'lvl', did you mean 'level'?"),
        ("window: {size: 1s, time: tss}", "window: time: unknown field 'tss', did you mean 'ts'?"),
        ("window: {size: 1s, by: [lvl]}", "window: by.0: unknown field 'lvl', did you mean 'level'?"),
        ("window: {size: 1s, n: sum(tss)}", "window: n: unknown field 'tss', did you mean 'ts'?"),
        ("sequence: {of: tss}", "sequence: of: unknown field 'tss', did you mean 'ts'?"),
        ("sequence: {by: [lvl]}", "sequence: by.0: unknown field 'lvl', did you mean 'level'?"),
    ],
)
def test_unknown_fields(step: str, message: str, found: Found) -> None:
    head = FIELDS.split("    - split", maxsplit=1)[0]
    (problem,) = found(f"{head}    - {step}\n", start="graph: g\n")
    assert problem.message == message


def test_types_readers_and_order(read: Read) -> None:
    made = plan(read(GOOD))
    assert made.streams["rows"].readers == ["all"]
    assert made.streams["rows"].output_readers == {"bad": ["alarms", "more"], "slow": ["all"]}
    assert made.streams["rows"].steps[3].outputs == {"bad": Batch, "slow": Batch}
    assert made.streams["alarms"].steps[0].emits is Batch
    order = list(made.streams)
    assert order.index("rows") < order.index("alarms") < order.index("all")


def test_a_graph_in_python_is_the_same_as_in_yaml(read: Read) -> None:
    graph = Graph(
        "parts",
        {
            "rows": [ops.interval("1s"), ops.split(high="value > 1")],
            "high": [stream("rows.high")],
            "both": [stream("rows"), ops.merge(stream("rows.high"))],
        },
    )
    assert "- from: rows.high" in dump(graph)
    assert "- merge: [rows.high]" in dump(graph)
    graph = read(GOOD)
    assert read(dump(graph)) == graph


def test_tree(read: Read) -> None:
    lines = show(plan(read(GOOD))).split("\n")
    start = next(n for n, line in enumerate(lines) if "split" in line)
    assert lines[start + 1 : start + 4] == [
        "├─ read by all",
        "├─ .bad read by alarms, more",
        "└─ .slow read by all",
    ]


def test_drawings(read: Read) -> None:
    made = plan(read(GOOD))
    assert '  rows_3 -->|"bad: Batch"| alarms_1' in show(made, "mermaid").split("\n")
    assert '  rows_3 -> all_0 [label="slow: Batch"];' in show(made, "dot").split("\n")
    words = [e.text for e in ET.fromstring(show(made, "svg")).iter("{http://www.w3.org/2000/svg}text")]
    assert {"bad: Batch", "slow: Batch"} <= {*words}


def test_reference() -> None:
    assert edge(find("split")) == "Batch -> Batch, and an output for each of conditions"
    assert edge(find("route")) == "Batch -> Batch, and an output for each of to"
    assert edge(find("window")) == "Batch -> Batch, late: Batch"
    assert kind(find("split"), "conditions") == "Expr"
