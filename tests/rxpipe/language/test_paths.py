"""What is guaranteed on each path from a source to a sink, and the step that weakens it."""

from __future__ import annotations

import orjson
import pytest
import reactivex as rx

from rxpipe import operators as ops
from rxpipe.graph import Graph
from rxpipe.language.config import load_text
from rxpipe.language.paths import paths
from rxpipe.views.show import as_json, show

LINES = "{watch: {paths: [logs]}}, read_lines, parse_json"
OUT = "{to_jsonl: out.jsonl}"
UPSERT = "{to_sqlite: {path: d, table: t, mode: upsert, key: [id]}}"
CALL = "{to_callback: 'builtins:repr'}"


def told(streams: str) -> list[tuple[str, str, str, list[str]]]:
    made = paths(load_text(f"graph: g\nstreams:\n{streams}").plan())
    return [(path.source, path.sink, path.guarantee, [weak.step for weak in path.weakened]) for path in made]


@pytest.mark.parametrize(
    ("steps", "guarantee", "weakened"),
    [
        (f"{LINES}, {OUT}", "exactly once", []),
        (f"{LINES}, {UPSERT}", "idempotent", ["a[3] to_sqlite"]),
        (f"{LINES}, {CALL}", "at least once", ["a[3] to_callback"]),
        (f"{LINES}, to_stdout", "shown", ["a[3] to_stdout"]),
        (f"{{watch: {{paths: [x]}}}}, {OUT}", "at least once", ["a[0] watch"]),
        (f"{{list_files: [x]}}, {UPSERT}", "idempotent", ["a[0] list_files"]),
        (f"from_stdin, parse_json, {OUT}", "at most once", ["a[0] from_stdin"]),
        (f"from_stdin, parse_json, {UPSERT}", "at most once", ["a[0] from_stdin"]),
        (f"from_stdin, parse_json, {CALL}", "at most once", ["a[0] from_stdin"]),
        (f"{{interval: 1s}}, {OUT}", "at most once", ["a[0] interval"]),
        (f"{LINES}, {{on_slow: drop_oldest}}, {OUT}", "at most once", ["a[3] on_slow"]),
        (f"{LINES}, {{on_slow: block}}, {OUT}", "exactly once", []),
        (f"{LINES}, {{conflate: id}}, {OUT}", "at most once", ["a[3] conflate"]),
        (f"{LINES}, {{aggregate: {{by: [id], n: count()}}}}, conflate, {UPSERT}", "idempotent", ["a[5] to_sqlite"]),
        (f"{LINES}, {{on_slow: drop_newest}}, {CALL}", "no guarantee", ["a[3] on_slow", "a[4] to_callback"]),
        (f"{LINES}, {{rx.throttle_first: 1s}}, {OUT}", "at most once", ["a[3] rx.throttle_first"]),
        (f"{{at: '0 * * * *'}}, {OUT}", "at most once", ["a[0] at"]),
        (f"{LINES}, {{to_csv: out.csv}}", "exactly once", []),
        (f"{LINES}, to_log", "shown", ["a[3] to_log"]),
        (f"{LINES}, {{map_async: 'builtins:dict'}}, {OUT}", "exactly once", []),
        (f"{{read_csv: x.csv}}, {OUT}", "exactly once", []),
        (f"{{read_table: {{path: d, table: t, cursor: id}}}}, {OUT}", "exactly once", []),
        (f"{{read_table: {{path: d, table: t}}}}, {OUT}", "at least once", ["a[0] read_table"]),
    ],
)
def test_guarantee(steps: str, guarantee: str, weakened: list[str]) -> None:
    [(_, _, found, by)] = told(f"  a: [{steps}]")
    assert (found, by) == (guarantee, weakened)


def test_every_path_of_its_own() -> None:
    streams = (
        f"  a: [{LINES}]\n  b: [{{from: a}}, {{on_slow: drop_newest}}]\n  c: [from_stdin, parse_json]\n"
        f"  d: [{{merge: [a, b, c]}}, {OUT}, to_stdout]"
    )
    assert sorted(told(streams)) == [
        ("a[0] watch", "d[1] to_jsonl", "at most once", ["b[1] on_slow"]),
        ("a[0] watch", "d[1] to_jsonl", "exactly once", []),
        ("a[0] watch", "d[2] to_stdout", "shown", ["d[2] to_stdout"]),
        ("c[0] from_stdin", "d[1] to_jsonl", "at most once", ["c[0] from_stdin"]),
        ("c[0] from_stdin", "d[2] to_stdout", "shown", ["d[2] to_stdout"]),
    ]


def test_outputs_and_errors_are_ways_too() -> None:
    streams = (
        f"  e: [{{from: errors}}, {OUT}]\n  a: [{LINES}, {{split: {{x: id > 1}}}}, {{on_slow: drop_newest}}]\n"
        f"  x: [{{from: a.x}}, {OUT}]"
    )
    assert told(streams) == [
        ("a[0] watch", "x[1] to_jsonl", "exactly once", []),
        ("a[0] watch", "e[1] to_jsonl", "at most once", ["a[4] on_slow"]),
        ("a[0] watch", "e[1] to_jsonl", "exactly once", []),
    ]


def test_an_observable_of_python_promises_nothing() -> None:
    [path] = paths(Graph("g", {"a": [rx.of(1), ops.to_jsonl("out.jsonl")]}).plan())
    assert path.guarantee == "at most once"
    assert path.reason == "a[0] python: it exists only in Python, and says nothing of going back"


def test_shown() -> None:
    made = load_text(
        f"graph: g\nstreams:\n  a: [{LINES}]\n  b: [{{from: a}}, {OUT}]\n  c: [from_stdin, parse_json, {UPSERT}]"
    ).plan()
    reason = "c[0] from_stdin: what was read of a pipe cannot be read again"
    assert show(made).split("\n")[-4:] == [
        "",
        "guarantees",
        "├─ a[0] watch -> b[1] to_jsonl        exactly once",
        f"└─ c[0] from_stdin -> c[2] to_sqlite  at most once  {reason}",
    ]
    assert "to_jsonl<br/><small>out.jsonl</small><br/><i>exactly once</i>" in show(made, "mermaid")
    assert '[label="to_jsonl\\nout.jsonl\\nexactly once"];' in show(made, "dot")
    told = orjson.loads(as_json(made))
    assert told["streams"]["b"]["steps"][1] == {
        "operator": "to_jsonl",
        "parameters": {"path": "out.jsonl"},
        "emits": "Batch",
    }
    assert told["paths"][1] == {
        "source": "c[0] from_stdin",
        "sink": "c[2] to_sqlite",
        "guarantee": "at most once",
        "weakened": [{"step": "c[0] from_stdin", "why": reason.partition(": ")[2]}],
    }
