"""Tasks in a store that others look at, stop and work on: paused, cancelled, taken over, noted in time."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import reactivex as rx

from rxpipe import operators as ops
from rxpipe.context import entered
from rxpipe.elements import Batch
from rxpipe.graph import Graph
from rxpipe.operators.tasks import _noting
from rxpipe.tasks.attempt import attempt_of
from rxpipe.tasks.manage import Tasks
from rxpipe.tasks.owners import SILENT
from rxpipe.tasks.store import Ended, New, TaskStore
from rxpipe.testing import TestContext
from tests.operators.tasks.work import Work, batch, states
from tests.rxpipe.parts import until


def test_two_runs_share_a_store(work: Work) -> None:
    numbers = range(200)
    with batch(work, *numbers, ahead=5).run(once=True, state=False) as one:
        with batch(work, *numbers, ahead=5).run(once=True, state=False) as two:
            one.wait()
            two.wait()
    assert Counter(work.calls) == Counter(numbers)
    assert {state for state, _ in states().values()} == {"done"}


def test_a_silent_process_is_taken_for_dead_by_a_clock_that_nobody_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clocks = {"epoch": 1e9, "monotonic": 0.0}
    monkeypatch.setattr("rxpipe.tasks.owners.time.monotonic", lambda: clocks["monotonic"])
    one, two = (TaskStore(tmp_path / "t.sqlite", lambda: clocks["epoch"]) for _ in range(2))
    for store in (one, two):
        with store.transaction():
            store.owners.join()
    with one.transaction():
        one.enqueue([New("a", 0, b"{}", b"")])
        one.claim(1)
    clocks["epoch"] += 86_400
    with two.transaction():
        assert two.owners.beat() == 0, "the clock was set, nobody is silent"
    clocks["monotonic"] += SILENT + 1
    with two.transaction():
        assert two.owners.beat() == 1
    one.close()
    two.close()


def test_pausing_from_elsewhere(work: Work, tmp_path: Path) -> None:
    store = TaskStore(tmp_path / "t.sqlite", time.time)
    with store.transaction() as db:
        db.execute("INSERT INTO meta VALUES ('order', 'pause')")
    with batch(work, 1, 2).run(once=True, state=False) as made:
        until(lambda: len(states()) == 2)
        assert work.calls == []
        with store.transaction() as db:
            db.execute("DELETE FROM meta")
        made.wait()
    assert work.calls == [1, 2]
    store.close()


@pytest.mark.parametrize("limited", [True, False])
def test_cancelling_reaches_what_waits_for_its_call(work: Work, limited: bool) -> None:
    go, begun, kept = threading.Event(), list[int](), list[Any]()

    def call(record: dict[str, Any]) -> dict[str, Any]:
        begun.append(record["n"])
        go.wait(30)
        return record

    steps: list[Any] = [
        rx.of(Batch([{"n": number} for number in range(20)])),
        ops.tasks("n", store="t.sqlite"),
        *([ops.limit(concurrency=2)] if limited else []),
        ops.map_async(call, concurrency=2),
        ops.to_callback(lambda found: kept.extend(found.rows)),
    ]
    with Graph("batch", {"main": steps}).run(once=True, state=False) as made:
        until(lambda: len(begun) == 2)
        store = Tasks("t.sqlite")
        assert store.cancel([str(number) for number in range(1, 19)]) == 18
        version = noted("t.sqlite")
        until(lambda: noted("t.sqlite") > version)
        go.set()
        made.wait()
    assert sorted(begun) == [0, 1, 19], "what waited is not called"
    assert sorted(row["n"] for row in kept) == [0, 19], "what was called is not kept"
    found = states()
    assert {key for key, (state, _) in found.items() if state == "done"} == {"0", "19"}
    assert found["1"][0] == "cancelled"


def test_what_a_cancelled_task_has_cost_is_kept_and_its_failure_is_nobodys(work: Work) -> None:
    context, given = TestContext(), list[Batch]()
    with entered(context):
        source = rx.concat(rx.of(Batch([{"n": 1}, {"n": 2}])), rx.never())
        source.pipe(ops.tasks("n", store="t.sqlite")).subscribe(given.append, scheduler=context.virtual)
    context.virtual.advance_by(1)
    assert len(given) == 2
    Tasks("t.sqlite").cancel(["1", "2"])
    context.virtual.advance_by(2)
    for element in given:
        attempt = attempt_of(element.leases)
        assert attempt is not None
        attempt.charge(0.5)
        context.reject(ValueError("no"), element.rows[0], leases=element.leases)
        del attempt
    given.clear()
    del element
    context.virtual.advance_by(3)
    db = sqlite3.connect("t.sqlite")
    assert db.execute("SELECT state, cost FROM task").fetchall() == [("cancelled", 0.5)] * 2
    assert context.errors == []
    db.close()


def noted(path: str) -> float:
    """When a run was alive the last time."""
    db = sqlite3.connect(path)
    found: float = db.execute("SELECT max(beat) FROM owner").fetchone()[0]
    db.close()
    return found


def test_a_run_is_alive_however_busy_its_threads_are(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_noting, "BEAT", 0.0)
    go, begun = threading.Event(), list[int]()

    def call(record: dict[str, Any]) -> dict[str, Any]:
        begun.append(record["n"])
        go.wait(30)
        return record

    source = rx.of(Batch([{"n": number} for number in range(100)]))
    steps: list[Any] = [source, ops.tasks("n", store="t.sqlite"), ops.map_async(call, concurrency=100)]
    with Graph("batch", {"main": steps}).run(once=True, state=False) as made:
        until(lambda: len(begun) >= min(32, (os.cpu_count() or 1) + 4))
        before = noted("t.sqlite")
        until(lambda: noted("t.sqlite") > before)
        go.set()
        made.wait()


def test_a_clock_that_is_set_back_has_nobody_wait_longer(tmp_path: Path) -> None:
    clock = 1e9
    store = TaskStore(tmp_path / "t.sqlite", lambda: clock)
    with store.transaction():
        store.owners.join()
        store.enqueue([New("a", 0, b"{}", b"")])
        [task] = store.claim(1)
        store.end([Ended(task.id, 1, "waiting", clock, kind="network", error="no", due=clock + 10)], "", None)
        store.owners.beat()
    clock -= 86_400
    with store.transaction():
        store.owners.beat()
        assert store.next_due() == clock + 10
        store.owners.beat()
        assert store.next_due() == clock + 10
    clock += 2 * 86_400
    with store.transaction():
        store.owners.beat()
        assert len(store.claim(1)) == 1, "set forward, it is due"
    store.close()


def test_a_run_beats_by_a_clock_that_nobody_sets(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_noting, "BEAT", 0.0)
    context = TestContext()
    clock = [1e9]
    monkeypatch.setattr(context, "now", lambda: clock[0])
    with entered(context):
        rx.never().pipe(ops.tasks("n", store="t.sqlite")).subscribe(lambda _: None, scheduler=context.virtual)
    context.virtual.advance_by(2)
    assert noted("t.sqlite") == 1e9
    clock[0] -= 3600
    context.virtual.advance_by(2)
    assert noted("t.sqlite") == 1e9 - 3600
