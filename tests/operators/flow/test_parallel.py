"""`parallel`: the same results as without it, in order; workers that die, hang or are left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable
from reactivex.subject import Subject

import rxpipe
from rxpipe import operators as ops
from rxpipe.context import entered
from rxpipe.elements import Batch, OriginGone
from rxpipe.errors import GraphError, ParameterError, RunError, RxpipeError
from rxpipe.language.config import load_text
from rxpipe.lease import Lease
from rxpipe.operators.flow._worker import Setup
from rxpipe.operators.flow._workers import ProcessWorker, WorkerError, Workers
from rxpipe.operators.flow.parallel import parallel
from rxpipe.testing import TestContext, run_marbles
from rxpipe.views.show import show
from tests.rxpipe.parts import Blocks, collect, graph, until

KINDS: tuple[Literal["threads", "processes"], ...] = ("threads", "processes")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes of workers, as they are started."""
    made: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def popen(*arguments: Any, **options: Any) -> Any:
        made.append(real(*arguments, **options))
        return made[-1]

    monkeypatch.setattr("rxpipe.operators.flow._workers.subprocess.Popen", popen)
    return made


@pytest.mark.parametrize("source", ["|", "-a-|", "-a-b|", "#", "-a#", "-(ab)-|"])
@pytest.mark.parametrize("kind", KINDS)
def test_marbles(source: str, kind: Any) -> None:
    def batches(marbles: Observable[Any]) -> Observable[Any]:
        return marbles.pipe(parallel([{"where": "value == value"}], kind=kind))

    assert run_marbles(batches, source, {char: Batch([{"value": char}]) for char in "ab"}) == source


LINES = st.lists(
    st.one_of(
        st.builds(lambda a, n: json.dumps({"a": a, "n": n}), st.sampled_from("xyz"), st.integers(0, 9)),
        st.sampled_from(['{"a": "x"}', '{"a": "y", "n": "no"}', "{", "[]", "", '{"a": ["x"], "n": 1}']),
    ),
    max_size=30,
)
STEPS = [
    ops.parse_json(fields={"a": "a", "n": {"path": "n", "type": "int"}}),
    ops.where("n != 3"),
    ops.derive(half="10 // n"),
]
COLUMNS = {
    "calls": "count()",
    "known": "count(half)",
    "total": "sum(n)",
    "mean": "mean(n)",
    "least": "min(n)",
    "most": "max(half)",
    "early": "first(half)",
    "late": "last(n)",
    "kinds": "distinct(n)",
    "about": "approx_distinct(n)",
    "middle": "median(n)",
    "high": "quantile(n, 0.9)",
}


def blocks_of(lines: list[str], size: int) -> Callable[[TestContext], list[Any]]:
    def make(context: TestContext) -> list[Any]:
        made, at = [], 0
        for start in range(0, len(lines), size):
            data = b"".join(line.encode() + b"\n" for line in lines[start : start + size])
            lease = Lease(context.flow, len(data), "file", at, at + len(data))
            made.append(rxpipe.LineDelta("file", "f", at, at + len(data), data, lease))
            at += len(data)
        return made

    return make


def outcome(step: Callable[[Observable[Any]], Observable[Any]], elements: Callable[[TestContext], list[Any]]) -> Any:
    """Rows, the last table, and errors without the names of steps and the place in the file.

    Steps in workers stand next to `parse_json`, and tell of a line where others tell of its block.
    """
    context, source = TestContext(), Subject[Any]()
    rows: list[Any] = []
    tables: list[Any] = []

    def note(element: Any) -> None:
        if isinstance(element, Batch):
            rows.extend(element.dicts())
        else:
            tables[:] = [element.dicts()]

    with entered(context):
        source.pipe(step).subscribe(note, scheduler=context.virtual)
    for element in elements(context):
        source.on_next(element)
        del element
    source.on_completed()
    context.virtual.advance_by(0)
    assert context.flow.blocks == 0
    errors = [(error.reason, error.path, error.record) for error in context.errors]
    return rows, tables, errors


def piped(*steps: Any) -> Callable[[Observable[Any]], Observable[Any]]:
    return lambda source: source.pipe(*steps)


@given(lines=LINES, size=st.integers(1, 10), workers=st.integers(1, 3))
def test_it_gives_what_the_steps_give(lines: list[str], size: int, workers: int) -> None:
    blocks = blocks_of(lines, size)
    assert outcome(parallel(STEPS, kind="threads", workers=workers), blocks) == outcome(piped(*STEPS), blocks)


@given(lines=LINES, size=st.integers(1, 10), by=st.sampled_from([None, ["a"], ["a", "n"]]))
def test_parts_of_an_aggregation_give_what_the_whole_gives(lines: list[str], size: int, by: Any) -> None:
    steps = [*STEPS, ops.aggregate(by=by, **COLUMNS)]
    blocks = blocks_of(lines, size)
    rows, tables, errors = outcome(piped(*steps), blocks)
    assert outcome(parallel(steps, kind="threads"), blocks) == (rows, tables, errors)


def test_processes_give_the_same() -> None:
    lines = [json.dumps({"a": "xyz"[n % 3], "n": n % 10}) for n in range(200)] + ["{", '{"a": [1], "n": 1}']
    for steps in (STEPS, [*STEPS, ops.aggregate(by=["a"], **COLUMNS)]):
        blocks = blocks_of(lines, 30)
        rows, tables, errors = outcome(piped(*steps), blocks)
        assert errors
        assert outcome(parallel(steps), blocks) == (rows, tables, errors)


def test_retractions_and_other_elements_keep_their_place() -> None:
    def elements(_: TestContext) -> list[Any]:
        return [
            Batch([{"a": "x", "n": 1}, {"a": "y", "n": 2}], retractable=True),
            OriginGone("file"),
            Batch([{"a": "x", "n": 5}], [{"a": "x", "n": 1}], retractable=True),
            Batch([{"a": "x", "n": 7}]),
        ]

    steps = [ops.where("n > 0"), ops.aggregate(by=["a"], n="sum(n)", most="max(n)")]
    for kind in KINDS:
        whole = outcome(piped(*steps), elements)
        assert outcome(parallel(steps, kind=kind), elements) == whole
    assert whole[1] == [[{"a": "y", "n": 2, "most": 2}, {"a": "x", "n": 12, "most": 7}]]


def test_groups_from_before_a_restart_and_those_of_workers_are_put_together() -> None:
    states: list[Any] = []
    for counted in (2, 4):
        context, source, tables = TestContext(states), Subject[Any](), list[Any]()
        step = parallel([ops.aggregate(by=["a"], calls="count()")], kind="threads")
        with entered(context):
            source.pipe(step).subscribe(tables.append, scheduler=context.virtual)
        source.on_next(Batch([{"a": "x"}, {"a": "y"}, {"a": "x"}]))
        context.virtual.advance_by(0)
        assert tables[-1].dicts() == [{"a": "x", "calls": counted}, {"a": "y", "calls": counted // 2}]
        states = context.checkpoint()


@pytest.mark.parametrize("kind", KINDS)
def test_in_a_run_order_is_kept_and_no_worker_is_left(kind: Any, started: list[Any]) -> None:
    blocks, rows = Blocks(300), list[Any]()
    step = parallel([ops.derive(m="n * 2")], workers=2, kind=kind)
    with graph(blocks.source(), step, collect(rows)).run() as run:
        run.wait()
    assert [(row.n, row.m) if hasattr(row, "n") else (row["n"], row["m"]) for row in rows] == [
        (n, n * 2) for n in range(300)
    ]
    calls = 2 * 2  # at work, as many done, two waiting; one more arrives; a thread lets go a moment after it is done
    assert blocks.peak <= (2 * calls + 2 + 1 + calls) * blocks.nbytes
    assert len(started) == (2 if kind == "processes" else 0)
    assert all(process.returncode is not None for process in started)


def test_a_worker_that_dies_is_replaced_and_its_block_done_by_another(tiresome: Path, started: list[Any]) -> None:
    rows, errors = list[Any](), list[Any]()
    step = parallel([{"call": "tiresome:dies_once"}], workers=1)
    with graph(
        main=[Blocks(20).source(), step, collect(rows)], bad=[rxpipe.stream("errors"), collect(errors)]
    ).run() as run:
        run.wait()
    assert ([row["n"] for row in rows], errors, len(started)) == (list(range(20)), [], 2)


@pytest.mark.parametrize(
    ("function", "options", "reason"),
    [
        ("dies", {}, "WorkerError: two workers died of the block, or while they had it"),
        ("hangs", {"timeout": "2s"}, "WorkerError: the block took longer than 'timeout'; its worker was replaced"),
    ],
)
def test_a_block_that_no_worker_can_do_goes_to_errors(
    function: str, options: dict[str, Any], reason: str, tiresome: Path, started: list[Any]
) -> None:
    rows, errors = list[Any](), list[Any]()
    step = parallel([{"call": f"tiresome:{function}"}], workers=2, **options)
    with graph(
        main=[Blocks(10).source(), step, collect(rows)], bad=[rxpipe.stream("errors"), collect(errors)]
    ).run() as run:
        run.wait()
    assert [row["n"] for row in rows] == [n for n in range(10) if n != 5]
    [error] = errors
    assert (error.reason, error.path, error.start) == (reason, "origin", 5)
    assert all(process.returncode is not None for process in started)


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_at_fault_ends_the_run_with_its_name(kind: Any, started: list[Any]) -> None:
    step = parallel([ops.where("n >= 0"), ops.enrich("n", files="missing.json")], kind=kind)
    with pytest.raises(RunError, match=re.escape("main[1] parallel")) as caught:
        with graph(Blocks(3).source(), step).run() as run:
            run.wait()
    assert "missing.json" in str(caught.value)
    assert all(process.returncode is not None for process in started)


def test_the_error_of_a_step_in_a_process_is_told(tmp_path: Path) -> None:
    workers = Workers(lambda: ProcessWorker(Setup("s", tmp_path, [("wher", "x.py", {})]), 20.0), 1)
    with pytest.raises(RxpipeError, match=re.escape("operator 'wher' must be found in the worker too; it is in x.py")):
        workers.run(Batch([{"n": 1}]))
    workers.close()
    with pytest.raises(WorkerError, match="two workers died"):
        workers.run(Batch([{"n": 1}]))


def test_functions_must_be_such_that_a_process_finds_them() -> None:
    with pytest.raises(ParameterError, match="steps: must be such that they can be sent to a process: functions as"):
        parallel([ops.call(lambda record: record)])(Subject[Any]())


# The language

TEXT = """
graph: many
streams:
  lines: [{watch: {paths: [logs]}}, read_lines]
  counts:
    - from: lines
    - parallel:
        workers: 3
        steps:
          - parse_json
          - where: n > 1
          - aggregate: {by: [a], n: sum(n)}
    - top: {count: 3, by: n}
"""


def test_from_yaml_and_back() -> None:
    made = load_text(TEXT)
    assert load_text(made.to_yaml()) == made
    text = show(made.plan())
    assert re.search(r"parallel +workers: 3, steps: parse_json > where > aggreg.* +-> Table", text)
    assert "├─ parallel" in text
    assert "│    where  n > 1\n" in text
    built = rxpipe.Graph(
        "many",
        {
            "lines": [ops.watch(["logs"]), ops.read_lines()],
            "counts": [
                rxpipe.stream("lines"),
                parallel([ops.parse_json(), ops.where("n > 1"), ops.aggregate(by=["a"], n="sum(n)")], workers=3),
                ops.top(3, by="n"),
            ],
        },
    )
    assert [step.operator for step in built.streams["counts"]] == [step.operator for step in made.streams["counts"]]
    assert load_text(built.to_yaml()).to_yaml() == built.to_yaml()


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        ("- wher: n > 1", "11:13: counts[1]: parallel: steps.1: unknown operator 'wher', did you mean 'where'?"),
        ("- where: n >", "11:23: counts[1]: parallel: steps.1.where: an expression must be valid syntax"),
        ("- where: {conditio: n}", "steps.1.where: unknown parameter 'conditio', did you mean 'condition'?"),
        ("- dedupe: n", "'dedupe' does not, and must stand outside"),
        ("- interval: 1s", "'interval' does not, and must stand outside"),
        ("- to_jsonl: {path: x}", "'to_jsonl' does not, and must stand outside"),
        ("- aggregate: {by: [a]}", "'aggregate' can only be the last step here"),
        ("- top: {count: 1, by: n}", "parallel: steps.1: top takes Table, got Batch"),
        ("- {select: [a, b], where: a}", "a step is one operator's name"),
        ("- [1]", "a step is one operator's name, alone or with parameters; got [1]"),
    ],
)
def test_steps_inside_are_checked_like_any_others(step: str, problem: str) -> None:
    text = TEXT.replace("- where: n > 1", step)
    with pytest.raises(GraphError) as caught:
        load_text(text)
    assert problem in str(caught.value)
    assert "counts[2]" not in str(caught.value) or "top takes" in problem


def test_the_fields_inside_are_known() -> None:
    text = TEXT.replace("- parse_json\n", "- parse_json: {fields: {a: a, n: n}}\n")
    load_text(text)
    with pytest.raises(GraphError, match=re.escape("unknown field 'm'; there are a, n")) as caught:
        load_text(text.replace("n > 1", "m > 1"))
    assert "11:20: counts[1]: parallel: steps.1.where" in str(caught.value)
    with pytest.raises(GraphError, match=re.escape("counts[2]: top: by: unknown field 'total'")):
        load_text(text.replace("by: n}", "by: total}"))


def test_a_step_that_needs_more_than_the_record_is_refused_when_it_begins() -> None:
    with pytest.raises(RunError, match=re.escape("steps[0] buffer: a step in workers must make of each record what")):
        with graph(Blocks(3).source(), parallel([ops.buffer(count=2)], kind="threads")).run() as run:
            run.wait()


# What is left behind

PROGRAM = """
import signal
import sys
import rxpipe
from rxpipe import operators as ops

signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs the tests may have it ignored
graph = rxpipe.Graph("left", {"main": [
    ops.watch([sys.argv[1]], patterns=["*.jsonl"]), ops.read_lines(),
    ops.parallel(["parse_json"], workers=2), ops.to_jsonl(sys.argv[1] + "/out.txt"),
]})
with graph.run() as run:
    run.wait()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_workers_end_with_the_process_of_the_run(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"n": 1}\n')
    run = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], start_new_session=True, stderr=subprocess.DEVNULL
    )
    out = tmp_path / "out.txt"
    until(lambda: out.exists() and out.stat().st_size > 0, "the first record")
    workers = children(run.pid)
    assert len(workers) == 2
    os.killpg(run.pid, number) if number == signal.SIGINT else run.send_signal(number)
    run.wait(timeout=20)
    until(lambda: not any(alive(pid) for pid in workers), "the end of the workers")


def children(pid: int) -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and parent_of(entry) == pid]


def parent_of(entry: Path) -> int | None:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
