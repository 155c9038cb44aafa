"""Fields that no record has are refused when a graph is checked, and no others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import pytest
import reactivex as rx
from reactivex import Observable
from reactivex import operators as rxo

from rxpipe import operators as ops
from rxpipe.errors import GraphError, Problem
from rxpipe.expressions.known import KnownFields
from rxpipe.graph import Graph, stream
from rxpipe.language.check import problems
from rxpipe.language.config import load_text
from rxpipe.operator import Operator

READ = "streams:\n  s:\n    - watch: [logs]\n    - read_lines\n"
LEVELS = f"{READ}    - parse_json: {{fields: {{level: level, text: message.text, n: n}}}}\n"
UNKNOWN = "unknown field 'leve', did you mean 'level'?"


def found(body: str, **values: Any) -> list[Problem]:
    try:
        load_text("graph: g\n" + body, values=values, environ={})
    except GraphError as error:
        return error.problems
    return []


CASES = {
    "where": ("where: n > 1 and leve == 'x'", f"where: condition: {UNKNOWN}", "leve == 'x'"),
    "derive": ("derive: {day: len(text), x: day + leve}", f"derive: x: {UNKNOWN}", "leve}"),
    "a column of itself": ("derive: {leve: leve}", f"derive: leve: {UNKNOWN}", "leve}"),
    "select": ("select: {a: level, b: a + leve}", f"select: b: {UNKNOWN}", "leve}"),
    "select by name": ("select: {fields: [text, leve]}", f"select: fields.1: {UNKNOWN}", "leve]}"),
    "validate": ("validate: {rule: leve is not None, other: rule}", f"validate: rule: {UNKNOWN}", "leve is"),
    "explode": ("explode: split(leve, ' ')", f"explode: items: {UNKNOWN}", "leve, ' '"),
    "enrich": ("enrich: {key: leve, table: {}}", f"enrich: key: {UNKNOWN}", "leve, table"),
    "dedupe": ("dedupe: {key: n, keep: largest, by: [n, -leve]}", f"dedupe: by.1: {UNKNOWN}", "leve]}"),
    "dedupe by origin": ("dedupe: {key: n, origin: leve}", f"dedupe: origin: {UNKNOWN}", "leve}"),
    "buffer": ("buffer: {count: 3, urgent: leve == 'x'}", f"buffer: urgent: {UNKNOWN}", "leve == 'x'"),
    "aggregate by": ("aggregate: {by: [leve]}", f"aggregate: by.0: {UNKNOWN}", "leve]}"),
    "aggregate": ("aggregate: {by: [level], n: 'sum(n + leve)'}", f"aggregate: n: {UNKNOWN}", "leve)'"),
    "a quantile": ("aggregate: {by: [level], p: 'quantile(leve, 0.9)'}", f"aggregate: p: {UNKNOWN}", "leve, 0.9"),
    "moving_average": ("moving_average: {of: n + leve, count: 2}", f"moving_average: of: {UNKNOWN}", "leve, count"),
    "delta": ("delta: {of: n, by: [level, leve]}", f"delta: by.1: {UNKNOWN}", "leve]}"),
    "per_second": ("per_second: {of: n, time: leve}", f"per_second: time: {UNKNOWN}", "leve}"),
    "anomaly": ("anomaly: {of: leve, count: 50}", f"anomaly: of: {UNKNOWN}", "leve, count"),
    "histogram": ("histogram: {of: leve, width: 1}", f"histogram: of: {UNKNOWN}", "leve, width"),
    "to_csv": ("to_csv: {path: x, columns: [n, leve]}", f"to_csv: columns.1: {UNKNOWN}", "leve]}"),
    "to_sqlite": (
        "to_sqlite: {path: x, table: t, mode: upsert, key: [leve]}",
        f"to_sqlite: key.0: {UNKNOWN}",
        "leve]}",
    ),
    "to_log": ("to_log: {message: 'at {leve}: {n}'}", f"to_log: message: {UNKNOWN}", "'at {leve}"),
    "write_lines": ("write_lines: {path: x, text: leve}", f"write_lines: text: {UNKNOWN}", "leve}"),
    "to_plot": ("to_plot: {path: x.svg, y: [n], by: leve}", f"to_plot: by: {UNKNOWN}", "leve}"),
    "to_prometheus": (
        "to_prometheus: {metrics: {m: {type: gauge, labels: [leve]}}}",
        f"to_prometheus: metrics.m.labels.0: {UNKNOWN}",
        "leve]}}}",
    ),
    "a panel of records": (
        "to_terminal: {panels: [{table: records, columns: {level: {field: leve}}}]}",
        f"to_terminal: panels.0.columns.level.field: {UNKNOWN}",
        "leve}}}]}",
    ),
    "a quoted text": ('where: "n > 1 and leve"', f"where: condition: {UNKNOWN}", 'leve"'),
    "a folded text": ("where: >-\n        n > 1\n        and leve", f"where: condition: {UNKNOWN}", ">-"),
    "nothing near": ("where: zzz", "where: condition: unknown field 'zzz'; there are level, text, n", "zzz"),
}


def test_an_unknown_field_of_a_table() -> None:
    made = found(f"{LEVELS}    - aggregate: {{by: [level]}}\n    - pivot: {{on: leve, value: sum(n), by: [levl]}}\n")
    assert [(problem.where, problem.message.split(";")[0]) for problem in made] == [
        ("s[4]", f"pivot: on: {UNKNOWN}"),
        ("s[4]", "pivot: value: unknown field 'n'"),
        ("s[4]", "pivot: by.0: unknown field 'levl', did you mean 'level'?"),
    ]


@pytest.mark.parametrize("case", CASES)
def test_an_unknown_field(case: str) -> None:
    step, message, pointed = CASES[case]
    made = found(f"{LEVELS}    - {step}\n")
    assert [(problem.where, problem.message) for problem in made][:1] == [("s[3]", message)]
    place = made[0].place
    assert place is not None
    assert place.text[place.column - 1 :].startswith(pointed)


def test_all_at_once() -> None:
    made = found(f"{LEVELS}    - where: leve\n    - derive: {{a: levl, b: a}}\n    - to_nowhere\n")
    assert [problem.where for problem in made] == ["s[3]", "s[4]", "s[5]"]


@pytest.mark.parametrize(
    ("steps", "known"),
    [
        (["derive: {a: n}"], "level, text, n, a"),
        (["select: {fields: [n], a: n}"], "n, a"),
        (["explode: {items: text, into: word, index: i}"], "level, text, n, word, i"),
        (["enrich: {key: n, table: {}, columns: [a, b], prefix: p_}"], "level, text, n, p_a, p_b"),
        (["enrich: {key: n, table: {}, columns: {a: int}}"], "level, text, n, a"),
        (["buffer: {count: 2}", "dedupe: n", "where: n", "validate: {r: n}"], "level, text, n"),
        (["throttle: 1Hz", "debounce: 1s", "tap", "to_stdout"], "level, text, n"),
        (["aggregate: {by: [level, 'n % 2'], m: max(n)}", "top: {count: 3, by: m}"], "level, m"),
        (
            ["aggregate: {by: [n], start: min(n), end: max(n), m: count()}", "sessionize: 5m"],
            "n, start, end, m, first, last, idle, active",
        ),
        (["merge: [errors]"], "level, text, n, step, reason, time, path, start, end, record"),
    ],
)
def test_what_is_known_behind_a_step(steps: list[str], known: str) -> None:
    lines = "".join(f"    - {step}\n" for step in steps)
    made = found(f"{LEVELS}{lines}  t:\n    - from: s\n    - where: q_q\n")
    assert [problem.message for problem in made] == [f"where: condition: unknown field 'q_q'; there are {known}"]


@pytest.mark.parametrize(
    "steps",
    [
        ["parse_json"],
        ["parse_json", "derive: {a: b}", "explode: items"],
        ["parse_json: {fields: {a: a}}", "call: 'copy:copy'"],
        ["parse_json: {fields: {a: a}}", "enrich: {key: a, table: {x: {y: 1}}}"],
        ["parse_json: {fields: {a: a}}", "of_type: Batch"],
        ["parse_json: {fields: {a: a}}", "merge: [other]"],
        ["parse_json: {fields: {a: a}}", "select: {fields: '${wanted}'}"],
    ],
)
def test_nothing_is_refused_where_the_fields_are_not_known(steps: list[str]) -> None:
    lines = "".join(f"    - {step}\n" for step in [*steps, "where: whatever.it_is"])
    body = f"params: {{wanted: {{type: list, required: true}}}}\n{READ}{lines}"
    body += "  other:\n    - watch: [logs]\n    - read_lines\n    - parse_json\n"
    assert found(body) == []


def test_names_of_loops_and_functions_are_no_fields() -> None:
    assert found(f"{LEVELS}    - where: any(len(x.y) > n for x in split(text, ' '))\n") == []


SHOWN = """
  t:
    - from: s
    - aggregate: {by: [level], "most of all": max(n), many: count()}
  u:
    - from: s
    - aggregate: {by: [text], sum: sum(n)}
  screen:
    - merge: [t, u]
    - to_terminal:
"""


@pytest.mark.parametrize(
    ("parameters", "path", "message"),
    [
        ("panels: [{table: t, columns: {leve: {format: int}}}]", "panels.0.columns.leve", UNKNOWN),
        ("panels: [{table: t, where: sum > 1}]", "panels.0.where", "unknown field 'sum'; there are level"),
        ("panels: [{table: u, sort: [text, -summ]}]", "panels.0.sort.1", "unknown field 'summ', did you mean 'sum'?"),
        ("document: {a: {table: t, columns: [leve]}}", "document.a.columns.0", UNKNOWN),
        ("document: {a: {table: t, form: value, column: leve}}", "document.a.column", UNKNOWN),
        (
            "document: {a: {table: t, columns: [level], nest: {b: {table: u, on: [level]}}}}",
            "document.a.nest.b.on.0",
            "unknown field 'level'; there are text, sum",
        ),
    ],
)
def test_what_is_shown_of_a_table_must_be_a_column_of_that_table(parameters: str, path: str, message: str) -> None:
    made = found(f"{LEVELS}{SHOWN}        {parameters}\n")
    assert len(made) == 1
    assert made[0].message.startswith(f"to_terminal: {path}: {message}")


@pytest.mark.parametrize("shown", ["panels: [{", "document: {a: {"])
def test_the_records_of_all_streams_are_one_table(shown: str) -> None:
    streams = "  records:\n    - from: s\n    - select: {fields: [n]}\n  screen:\n    - merge: [records, s]\n"
    columns = "columns: {n: n, text: text}"
    closing = "}]" if shown.endswith("[{") else "}}"
    body = f"{LEVELS}{streams}    - to_terminal:\n        {shown}table: records, {columns}{closing}\n"
    assert found(body) == []


def test_a_column_may_have_any_name() -> None:
    columns = "{most of all: {format: int, to: many}, twice: many * 2}"
    body = f"{LEVELS}{SHOWN}        panels: [{{table: t, sort: -most of all, columns: {columns}}}]\n"
    assert found(body) == []


def test_a_message_that_cannot_be_read_is_told_once() -> None:
    assert [p.where for p in found(f"{LEVELS}    - to_log: {{message: 'at {{leve'}}\n")] == ["s[3]"]


def test_errors_have_fields() -> None:
    made = found("streams:\n  s:\n    - from: errors\n    - where: resaon != ''\n")
    assert [p.message for p in made] == ["where: condition: unknown field 'resaon', did you mean 'reason'?"]


def test_steps_that_exist_only_in_python() -> None:
    read = [ops.watch(["."]), ops.read_lines(), ops.parse_json(fields={"a": "a"})]
    changed = rxo.map(lambda batch: batch)
    assert [p.where for p in problems(Graph("g", {"s": [*read, ops.where("b")]}))] == ["s[3]"]
    assert problems(Graph("g", {"s": [*read, changed, ops.where("b")]})) == []
    assert problems(Graph("g", {"s": [rx.never(), ops.where("b")]})) == []
    streams = {"s": read, "t": [stream("s"), ops.where("b")]}
    assert [p.where for p in problems(Graph("g", streams))] == ["t[1]"]


T = TypeVar("T")
B = TypeVar("B", bound=int)
C = TypeVar("C", int, str)


@pytest.mark.parametrize(("hint", "passes"), [(T, True), (B, False), (C, False), (int, False), (Any, False)])
def test_only_an_operator_on_any_type_passes_what_it_takes(hint: Any, passes: bool) -> None:
    def same(source: Observable[Any]) -> Observable[Any]:
        return source

    same.__annotations__ = {"source": Observable[hint], "return": Observable[hint]}
    assert Operator(same).passes is passes


def test_a_source_of_any_type_passes_nothing() -> None:
    def made(value: Callable[[], object]) -> Observable[Any]:
        return rx.of(value)

    made.__annotations__ = {"return": Observable[T]}  # type: ignore[valid-type]  # read as any annotation is
    assert not Operator(made).passes


def test_names_that_cannot_be_read_are_no_harm() -> None:
    known = KnownFields(["class", "n % 2", "_x", "n"])
    known.check("m", "condition")
    assert [str(problem) for problem in known.problems] == ["condition: unknown field 'm'; there are n"]
