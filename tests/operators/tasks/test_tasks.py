"""Tasks in a store: done once, tried again, taken over, delivered again; in runs and in processes that are killed."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import reactivex as rx
from reactivex import operators as rxo
from reactivex.subject import Subject

from rxpipe import operators as ops
from rxpipe.context import entered
from rxpipe.elements import Batch
from rxpipe.errors import RxpipeError
from rxpipe.graph import Graph
from rxpipe.lease import Lease
from rxpipe.operators.tasks import _home
from rxpipe.operators.tasks._verdicts import Verdicts
from rxpipe.tasks import records
from rxpipe.tasks.attempt import attempt_of
from rxpipe.tasks.store import TaskStore
from rxpipe.testing import TestContext, VirtualRun
from tests.operators.tasks.work import Work, batch, run, states
from tests.rxpipe.parts import until


def test_each_is_done_once_however_often_it_comes(work: Work) -> None:
    run(batch(work, 1, 2, 3))
    run(batch(work, 2, 3, 4))
    assert work.calls == [1, 2, 3, 4]
    assert states() == {str(number): ("done", 1) for number in range(1, 5)}
    assert os.stat("t.sqlite").st_mode & 0o777 == 0o600


def test_what_changed_is_due_again_and_what_is_to_be_done_again(work: Work) -> None:
    run(batch(work, 1, 2))
    run(batch(work, 1, v=5))
    run(batch(work, 2, skip_existing=False))
    assert work.calls == [1, 2, 1, 2]


def test_the_content_of_a_file_counts_not_its_time(work: Work, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    done: list[str] = []

    def listed() -> None:
        steps = [ops.list_files(["."], patterns=["*.txt"]), ops.tasks("path", store="t.sqlite")]
        run(Graph("files", {"main": [*steps, ops.to_callback(lambda found: done.append(found.rows[0]["name"]))]}))

    file.write_text("one")
    listed()
    os.utime(file, (1, 1))
    listed()
    assert done == ["a.txt"]
    file.write_text("two")
    listed()
    assert done == ["a.txt", "a.txt"]


@pytest.mark.parametrize(("ahead", "after"), [(256, 1.5), (2, 30.5)], ids=["the last", "as many as are given out"])
def test_a_step_behind_may_wait_for_more_tasks_than_there_are(work: Work, ahead: int, after: float) -> None:
    seen: list[list[int]] = []
    rows = rx.of(Batch([{"n": n} for n in range(5)]))

    def note(batch: Batch) -> None:
        seen.append([row["n"] for row in batch.rows])

    steps = [rows, ops.tasks("n", store="t.sqlite", ahead=ahead), ops.buffer(count=100), ops.to_callback(note)]
    with VirtualRun(Graph("g", {"s": steps}), once=True) as run:
        run.advance(after - 1)
        assert seen == []
        run.advance(40)
        assert run.engine.state == "done"
    assert sorted(n for numbers in seen for n in numbers) == [0, 1, 2, 3, 4]
    assert max(map(len, seen)) == min(ahead, 5)
    assert {state for state, _ in states().values()} == {"done"}


class Down(Verdicts):
    """The service is taken for down from the start."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.down, self._outage.since = True, 1.0


@pytest.mark.parametrize("why", ["budget", "service down"])
def test_a_step_behind_may_wait_for_more_tasks_than_may_be_given_out_for_now(
    why: str, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    rows = rx.of(Batch([{"n": n} for n in range(5)]))

    def note(batch: Batch) -> None:
        seen.append(len(batch.rows))

    steps = [rows, ops.tasks("n", store="t.sqlite"), ops.buffer(count=100), ops.to_callback(note)]
    if why == "budget":  # the first is tried alone
        steps.insert(2, ops.budget("5 USD"))
    else:
        monkeypatch.setattr(_home, "Verdicts", Down)
    with VirtualRun(Graph("g", {"s": steps}), once=True) as run:
        run.advance(28)
        assert seen == []
        run.advance(40)
        assert run.engine.state == "done"
    assert seen == [1, 4]


def test_where_tasks_are_only_slow_steps_emit_what_they_hold_ever_more_seldom(work: Work) -> None:
    seen: list[int] = []
    slow, fast = rx.of(Batch([{"n": 1}])), rx.interval(1.0).pipe(rxo.map(lambda n: Batch([{"n": n}])))
    held: Subject[Batch] = Subject()

    def note(batch: Batch) -> None:
        seen.append(len(batch.rows))

    waiting = rxo.flat_map(lambda batch: held.pipe(rxo.map(lambda _: batch)))
    graph = Graph(
        "g",
        {
            "slow": [slow, ops.tasks("n", store="t.sqlite"), waiting],
            "fast": [fast, ops.buffer(count=1000), ops.to_callback(note)],
        },
    )
    with VirtualRun(graph) as run:
        run.advance(130)
        assert seen == [1, 1, 2, 4, 8, 16, 32, 64]


def test_the_smallest_come_first_and_those_that_failed_last(work: Work) -> None:
    work.fail[1] = [ConnectionError("no")]
    run(batch(work, 5, 1, 3, priority="n", ahead=1))
    assert work.calls == [1, 3, 5, 1]


def test_what_may_pass_is_tried_again_and_told_only_when_it_is_given_up(work: Work) -> None:
    errors: list[Any] = []
    work.fail = {1: [ConnectionError("no")] * 2, 2: [ConnectionError("no")] * 9, 3: [ValueError("bad")]}
    run(batch(work, 1, 2, 3, out=errors))
    assert Counter(work.calls) == {1: 3, 2: 4, 3: 1}
    assert states() == {"1": ("done", 3), "2": ("failed", 4), "3": ("failed", 1)}
    assert sorted(error.reason for error in errors) == ["ConnectionError: no", "ValueError: bad"]
    assert {error.step for error in errors} == {"main[3] call"}
    db = sqlite3.connect("t.sqlite")
    kinds = Counter(db.execute("SELECT task, kind FROM attempt").fetchall())
    db.close()
    assert sorted(kinds.values()) == [1, 2, 4]


def test_max_attempts_is_the_most_whatever_the_reason(work: Work) -> None:
    work.fail = {1: [ConnectionError("no")] * 9}
    run(batch(work, 1, max_attempts=2))
    assert states() == {"1": ("failed", 2)}


def test_a_drain_lets_what_was_given_out_end(work: Work) -> None:
    with batch(work, *range(1000), ahead=3).run(state=False) as made:
        until(lambda: len(work.calls) > 5)
        made.drain()
    found = Counter(state for state, _ in states().values())
    assert found["done"] == len(work.calls)
    assert found["running"] == 0
    run(batch(work, *range(1000)))
    assert Counter(work.calls) == Counter(range(1000))


def called(work: Work, times: int) -> bool:
    return len(work.calls) >= times


def test_a_stopped_run_leaves_its_tasks_to_the_next(work: Work) -> None:
    for stops in range(1, 8):
        with batch(work, *range(400), ahead=3).run(state=False) as made:
            until(partial(called, work, stops * 5))
            made.stop()
    run(batch(work, *range(400)))
    assert Counter(states().values()) == Counter({("done", 1): 400})


class Held:
    """An executor whose calls are made when the test says so."""

    def __init__(self) -> None:
        self.calls: list[tuple[Future[Any], Any]] = []

    def submit(self, call: Any, *arguments: Any) -> Future[Any]:
        """Keep a call."""
        made: Future[Any] = Future()
        self.calls.append((made, lambda: call(*arguments)))
        return made

    def go_on(self) -> None:
        """Make the first one."""
        future, call = self.calls.pop(0)
        future.set_result(call())


def test_a_record_holds_its_lease_until_it_is_in_the_store(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    context, held, source = TestContext(), Held(), Subject[Any]()
    monkeypatch.setattr(context, "executor", lambda: held)

    def give(number: int) -> None:
        lease = Lease(context.flow, 100)
        batch = Batch([{"n": number}], leases=(lease,))
        del lease
        source.on_next(batch)

    with entered(context):
        source.pipe(ops.tasks("n", store="t.sqlite")).subscribe(lambda _: None, scheduler=context.virtual)
    context.virtual.advance_by(0)
    held.go_on()
    context.virtual.advance_by(0)
    give(1)
    give(2)
    assert context.flow.in_flight == 200
    held.go_on()
    context.virtual.advance_by(0)
    assert (list(states()), context.flow.in_flight) == (["1"], 100)
    held.go_on()
    context.virtual.advance_by(0)
    assert (list(states()), context.flow.in_flight) == (["1", "2"], 0)


def test_files_are_read_aside_and_the_order_is_kept(
    work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.txt").write_text("a")
    threads, go = list[int](), threading.Event()
    really = records._of_file

    def slow(path: str) -> bytes:
        threads.append(threading.get_ident())
        go.wait(30)
        return really(path)

    monkeypatch.setattr(records, "_of_file", slow)
    ticks: list[int] = []
    source = rx.of(*(Batch([{"n": n} | ({"path": "a.txt"} if n == 1 else {})]) for n in range(4)))
    with Graph(
        "files",
        {
            "main": [source, ops.tasks("n", store="t.sqlite"), ops.call(work.do)],
            "ticks": [ops.interval("1ms"), rxo.map(lambda _: ticks.append(threading.get_ident()))],
        },
    ).run(state=False) as made:
        until(lambda: len(threads) > 0)
        seen = len(ticks)
        until(lambda: len(ticks) > seen + 10)  # the loop goes on
        assert states().keys() <= {"0"}  # what comes behind the file waits for it
        go.set()
        until(lambda: len(work.calls) == 4)
        made.drain()
    assert set(threads) & set(ticks) == set()
    assert work.calls == [0, 1, 2, 3]


@pytest.mark.parametrize("ends", ["completes", "drains", "stops"])
def test_who_ends_while_a_file_is_read(work: Work, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str) -> None:
    (tmp_path / "a.txt").write_text("a")
    begun, go = threading.Event(), threading.Event()
    really = records._of_file

    def slow(path: str) -> bytes:
        begun.set()
        go.wait(30)
        return really(path)

    monkeypatch.setattr(records, "_of_file", slow)
    source = rx.of(Batch([{"n": 1, "path": "a.txt"}, {"n": 2, "path": "missing.txt"}]))
    if ends != "completes":
        source = rx.concat(source, rx.never())
    steps = [source, ops.tasks("n", store="t.sqlite"), ops.call(work.do)]
    with Graph("files", {"main": steps}).run(once=ends == "completes", state=False) as made:
        until(begun.is_set)
        threading.Timer(0.01, go.set).start()
        if ends == "completes":
            made.wait()
        elif ends == "drains":
            made.drain()
        else:
            made.stop()
    if ends != "stops":
        assert set(states()) == {"1", "2"}


def test_results_behind_the_last_checkpoint_are_delivered_again_and_nothing_is_paid_again(
    work: Work, tmp_path: Path
) -> None:
    paid: list[int] = []

    def call(element: Batch) -> Batch:
        [row] = element.rows
        attempt = attempt_of(element.leases)
        assert attempt is not None
        answer = attempt.recall("call", row["n"])
        if answer is None:
            paid.append(row["n"])
            attempt.remember("call", row["n"], answer := row["n"] * 2)
        return element.replace([row | {"answer": answer}])

    def graph(state: str) -> None:
        source = rx.of(Batch([{"n": number} for number in range(50)]))
        steps = [source, ops.tasks("n", store="t.sqlite", ahead=10), rxo.map(call), ops.to_jsonl(f"{state}.jsonl")]
        run(Graph("batch", {"main": steps}), state=tmp_path / f"{state}.db")

    graph("one")
    before = (tmp_path / "one.jsonl").read_text()
    assert (before.count("\n"), len(paid)) == (50, 50)
    db = sqlite3.connect("one.db")
    step, saved = db.execute("SELECT step, value FROM state WHERE step LIKE '%tasks%'").fetchone()
    db.close()
    db = sqlite3.connect("t.sqlite")
    line, last = db.execute("SELECT line, max(delivery) FROM task JOIN maker ON maker.id = task.maker").fetchone()
    db.close()
    assert (last, line.encode() in saved) == (5, True), "ten are noted at a time"
    store = TaskStore(tmp_path / "t.sqlite", time.time)
    with store.transaction():
        assert store.deliver_again(line, 4) == 10, "as if the last checkpoint had been that"
    store.close()
    graph("one")
    lines = (tmp_path / "one.jsonl").read_text().splitlines()
    assert len(paid) == 50, "nothing is paid again"
    assert (len(lines), len({json.loads(line)["n"] for line in lines})) == (60, 50)
    assert step == "main[1] tasks"


def test_a_changed_graph_keeps_results_unless_told(work: Work) -> None:
    def changed(*steps: Any) -> Graph:
        made = batch(work, 1, 2)
        return Graph("batch", made.streams | {"main": [*made.streams["main"], *steps]})

    work.fail[2] = [ValueError("bad")]
    run(changed())
    run(changed(ops.where("n > 0")))
    assert work.calls == [1, 2]
    run(changed(ops.where("n > 0")), redo="changed")
    assert work.calls == [1, 2, 1]
    run(changed(ops.where("n > 0")), redo="changed")
    run(changed(ops.where("n > 0")), redo="failed")
    assert work.calls == [1, 2, 1, 2]
    run(changed(), redo="all")
    assert sorted(work.calls) == [1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize("wrong", ["text", "database", "newer"])
def test_what_is_no_store_is_left_alone(work: Work, tmp_path: Path, wrong: str) -> None:
    file = tmp_path / "t.sqlite"
    if wrong == "text":
        file.write_text("something else, which is long enough to be looked at by anybody who opens it" * 9)
    elif wrong == "database":
        sqlite3.connect(file).execute("CREATE TABLE mine (x)").connection.close()
    else:
        TaskStore(file, time.time).close()
        sqlite3.connect(file).execute("PRAGMA user_version = 9").connection.close()
    content = file.read_bytes()
    with pytest.raises(RxpipeError, match=r"task store .*t\.sqlite: "):
        run(batch(work, 1))
    assert file.read_bytes() == content


GRAPH = """
graph: killed
settings: {checkpoint: 50ms}
streams:
  results:
    - list_files: {paths: [in]}
    - tasks: {key: name, store: tasks.sqlite, ahead: 8}
    - limit: {concurrency: 4}
    - map_async: {function: "killed:work", concurrency: 8}
    - to_jsonl: out.jsonl
"""
WORK = """
import asyncio, os
async def work(record):
    with open("calls.txt", "a") as calls:
        calls.write(f"begin {record['name']}\\n")
    await asyncio.sleep(0.004)
    with open("calls.txt", "a") as calls:
        calls.write(f"end {record['name']}\\n")
    return record
"""


def _goes_on(process: subprocess.Popen[bytes], calls: Path, size: int) -> bool:
    return calls.stat().st_size > size or process.poll() is not None


@pytest.mark.parametrize("kills", [4, pytest.param(100, marks=pytest.mark.nightly)])
def test_killed_at_random_moments_every_task_is_done(tmp_path: Path, kills: int) -> None:
    rng = random.Random(5)  # reproducible
    (tmp_path / "in").mkdir()
    for number in range(200):
        (tmp_path / "in" / f"{number}.txt").write_text(str(number))
    (tmp_path / "graph.yaml").write_text(GRAPH)
    (tmp_path / "killed.py").write_text(WORK)
    command = [sys.executable, "-m", "rxpipe", "run", "graph.yaml", "--once", "--state", "state.db"]
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    calls = tmp_path / "calls.txt"
    calls.touch()
    for _ in range(kills):
        size = calls.stat().st_size
        process = subprocess.Popen(command, cwd=tmp_path, env=environ, stderr=subprocess.PIPE)
        until(partial(_goes_on, process, calls, size))
        time.sleep(rng.random() * 0.2)  # the random moment of the kill
        process.send_signal(signal.SIGKILL)
        process.communicate()
    last = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, timeout=60, check=False)
    assert last.returncode == 0, last.stderr.decode()
    names = Counter(json.loads(line)["name"] for line in (tmp_path / "out.jsonl").read_text().splitlines())
    assert names == Counter(f"{number}.txt" for number in range(200)), "every result is there, once"
    begun = Counter(line.split()[1] for line in calls.read_text().splitlines() if line.startswith("begin"))
    assert sum(begun.values()) <= 200 + kills * 4 + 200, "bounded by what was under way, and what no checkpoint knew"
    assert {state for state, _ in states(str(tmp_path / "tasks.sqlite")).values()} == {"done"}
