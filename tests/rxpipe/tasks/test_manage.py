"""`Tasks` and `rxpipe tasks`: what people see of tasks and do with them, also while a run works on them."""

from __future__ import annotations

import csv
import io
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import orjson
import pytest

from rxpipe.cli import FAILED, main
from rxpipe.errors import RxpipeError, StateError
from rxpipe.tasks.kinds import Kind
from rxpipe.tasks.manage import Tasks
from rxpipe.tasks.schema import OVER
from rxpipe.tasks.store import OPEN, STATES, Ended, New, TaskStore
from tests.rxpipe.tasks.batches import Worked, working


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Worked]:
    """Six tasks: 1 is done and was paid for, 2 waits, 3 has failed, 4 is worked on, 5 and 6 are pending."""
    with working(tmp_path / "tasks.sqlite", 6, 1, lambda _: 1.0, cost=0.5) as work:
        store = work.store
        with store.transaction():
            ends: list[tuple[Literal["done", "waiting", "failed"], Kind | None]]
            ends = [("done", None), ("waiting", "server"), ("failed", "invalid input")]
            for state, kind in ends:
                [task] = store.claim(1)
                store.begin([(task.id, 1)])
                store.remember([(task.id, "chat", b"request", b'{"text":"=1"}')])
                error = None if kind is None else f"no {kind}"
                store.end([Ended(task.id, 1, state, 1001.0, 0.5, kind, error, 2000.0)], "", None)
            store.claim(1)
        yield work


def states(work: Worked) -> list[str]:
    return [task["state"] for task in Tasks(work.path).select()]


def rxpipe(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["tasks", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_select(work: Worked) -> None:
    tasks = Tasks(work.path)
    assert states(work) == ["done", "waiting", "failed", "running", "pending", "pending"]
    assert [task["key"] for task in tasks.select(["failed", "waiting"])] == ["task 1", "task 2"]
    assert [task["key"] for task in tasks.select(kinds=["server"])] == ["task 1"]
    with pytest.raises(RxpipeError, match=r"state: must be one of pending, .*; got 'dnoe', did you mean 'done'"):
        [*tasks.select(["dnoe"])]


def test_looking_at_a_store_that_nobody_has_open_leaves_no_files(tmp_path: Path) -> None:
    path = tmp_path / "tasks.sqlite"
    TaskStore(path, lambda: 1.0).close()
    assert [*Tasks(path).select()] == []
    assert [*tmp_path.iterdir()] == [path]


def test_show(work: Worked) -> None:
    told = Tasks(work.path).show("task 2")
    assert (told["state"], told["kind"], told["cost"], told["record"]) == ("failed", "invalid input", 0.5, {})
    assert told["answers"] == {"chat": {"text": "=1"}}
    assert [(one["number"], one["kind"]) for one in told["failed"]] == [(1, "invalid input")]
    with pytest.raises(RxpipeError, match="key: must be that of a task; got 'tsk 2', did you mean 'task 2'"):
        Tasks(work.path).show("tsk 2")


def test_retry(work: Worked) -> None:
    tasks = Tasks(work.path)
    assert tasks.retry(kinds=["server"]) == 0
    assert tasks.retry(keys=["task 0"]) == 0
    assert tasks.retry() == 1
    assert states(work)[2] == "pending"
    told = tasks.show("task 2")
    assert (told["attempts"], told["kind"], told["error"], told["cost"]) == (0, None, None, 0.5)


def test_cancel_and_what_ends_then(work: Worked) -> None:
    tasks = Tasks(work.path)
    assert tasks.cancel(states=["waiting"]) == 1
    assert tasks.cancel(["task 3"]) == 1
    with work.store.transaction():
        assert work.store.end([Ended(4, 1, "done", 1002.0)], "", None) == 1, "its result is not kept"
    assert states(work) == ["done", "cancelled", "failed", "cancelled", "pending", "pending"]
    assert tasks.cancel() == 2
    assert tasks.cancel() == 0
    with pytest.raises(
        RxpipeError, match="state: of tasks to cancel must be one of pending, running, waiting; got 'done'"
    ):
        tasks.cancel(states=["done"])
    with pytest.raises(RxpipeError, match="key: must be that of a task"):
        tasks.cancel(["none"])


def test_requeue(work: Worked) -> None:
    tasks = Tasks(work.path)
    assert tasks.requeue(["task 0", "task 3"]) == 1, "one is worked on"
    assert states(work)[0] == "pending"
    assert tasks.show("task 0")["answers"] == {"chat": {"text": "=1"}}
    assert tasks.requeue(["task 0"], forget=True) == 1
    assert tasks.show("task 0")["answers"] == {}
    with pytest.raises(RxpipeError, match="key: must be those of tasks; got none"):
        tasks.requeue([])
    with pytest.raises(RxpipeError, match="key: must be that of a task"):
        tasks.requeue(["none"], forget=True)


def test_pause_and_resume(work: Worked) -> None:
    tasks = Tasks(work.path)
    tasks.pause()
    tasks.pause()
    with work.store.transaction():
        assert work.store.order() == "pause"
    assert tasks.progress().order == "pause"
    assert tasks.resume()
    assert not tasks.resume()
    with work.store.transaction():
        assert work.store.order() is None


def test_progress_and_report(work: Worked) -> None:
    assert Tasks(work.path).progress().total == 6
    assert Tasks(work.path).report().reasons[0].kind == "invalid input"


def test_what_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="must be there; got nothing"):
        Tasks(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    (tmp_path / "text").write_text("text" * 1000)
    with pytest.raises(StateError, match="must be one that can be read; got file is not a database"):
        Tasks(tmp_path / "text")
    with sqlite3.connect(tmp_path / "other") as db:
        db.execute("CREATE TABLE a (b)")
    db.close()
    with pytest.raises(StateError, match="must be a task store of rxpipe; got a database with a"):
        Tasks(tmp_path / "other")
    store = TaskStore(tmp_path / "old", lambda: 0.0)
    store._db.execute("PRAGMA user_version = 99")
    store.close()
    with pytest.raises(StateError, match="format must be 2 at most; got 99"):
        Tasks(tmp_path / "old")


def test_a_store_that_somebody_holds(work: Worked, monkeypatch: pytest.MonkeyPatch) -> None:
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *args, **given: real(*args, **(given | {"timeout": 0.05})))
    with work.store.transaction():
        with pytest.raises(StateError, match="locked"):
            Tasks(work.path).retry()


def test_the_commands(work: Worked, capsys: pytest.CaptureFixture[str]) -> None:
    listed = rxpipe(capsys, "list", work.path, "--state", "failed").splitlines()
    assert listed == ["failed         1    $0.5000  task 2  invalid input: no invalid input"]
    for limit, told in ((4, "the first 4; there are more"), (6, "6 tasks")):
        assert main(["tasks", "list", str(work.path), "--limit", str(limit)]) == 0
        captured = capsys.readouterr()
        assert len(captured.out.splitlines()) == limit
        assert captured.err.splitlines() == ["state      tries       cost  task", told]
    assert [orjson.loads(line)["key"] for line in rxpipe(capsys, "list", work.path, "--json").splitlines()][
        -1
    ] == "task 5"
    shown = rxpipe(capsys, "show", work.path)
    assert shown.startswith("2 of 6 tasks (33%), 1 failed, 1 waiting, ")
    assert shown.endswith(", $1.50 so far, about $3.00 in all\n")
    assert orjson.loads(rxpipe(capsys, "show", work.path, "--json"))["over"] == 2
    assert orjson.loads(rxpipe(capsys, "show", work.path, "task 2"))["kind"] == "invalid input"
    assert "1 task will be tried again" in rxpipe(capsys, "retry", work.path)
    assert orjson.loads(rxpipe(capsys, "requeue", work.path, "task 0", "--json"))["tasks"] == 1
    assert "paused" in rxpipe(capsys, "pause", work.path)
    assert "resumed" in rxpipe(capsys, "resume", work.path)
    assert "was not paused" in rxpipe(capsys, "resume", work.path)
    assert "6 tasks cancelled" in rxpipe(capsys, "cancel", work.path)


def test_export(work: Worked, capsys: pytest.CaptureFixture[str]) -> None:
    tasks = [orjson.loads(line) for line in rxpipe(capsys, "export", work.path).splitlines()]
    assert [task["answers"] for task in tasks] == [{"chat": {"text": "=1"}}] * 3 + [{}] * 3
    rows = [*csv.DictReader(io.StringIO(rxpipe(capsys, "export", work.path, "--csv", "--kind", "server")))]
    assert [(row["key"], row["state"], orjson.loads(row["answers"])) for row in rows] == [
        ("task 1", "waiting", {"chat": {"text": "=1"}})
    ]


def test_a_key_is_not_obeyed_by_the_terminal(work: Worked, capsys: pytest.CaptureFixture[str]) -> None:
    with work.store.transaction():
        work.store.enqueue([New("\x1b[2J\nx", 0.0, b"{}", b"")])
    assert rxpipe(capsys, "list", work.path).splitlines()[-1].endswith("  [2J x")


GRAPH = """
graph: lessons
params: {store: {type: str, default: tasks.sqlite}}
streams:
  results:
    - list_files: [docs]
    - tasks: {key: path, store: "${store}"}
"""


@pytest.fixture
def graph(work: Worked, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(work.path.parent)
    path = Path("lessons.yaml")
    path.write_text(GRAPH)
    return path


def test_the_store_of_a_graph(graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(rxpipe(capsys, "list", graph).splitlines()) == 6
    assert main(["tasks", "list", str(graph), "--set", "store=other.sqlite"]) == FAILED
    assert "task store other.sqlite: must be there" in capsys.readouterr().err


def refused(capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    assert main(["tasks", *map(str, arguments)]) == FAILED
    return capsys.readouterr().err


def test_graphs_with_no_tasks_and_with_several(graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph.write_text("graph: g\nstreams:\n  a: [{list_files: [docs]}]\n")
    assert "lessons.yaml: must have a step 'tasks'; got none" in refused(capsys, "list", graph)
    graph.write_text(GRAPH + "  more:\n    - list_files: [docs]\n    - tasks: {key: path, store: more.sqlite}\n")
    assert "several have some: 'more', 'results'; got none" in refused(capsys, "list", graph)
    assert len(rxpipe(capsys, "list", graph, "--of", "results").splitlines()) == 6
    assert "did you mean 'results'" in refused(capsys, "list", graph, "--of", "result")


def test_the_condition_of_what_is_over_says_so_and_has_its_index(work: Worked) -> None:
    for state in STATES:
        [(over,)] = work.store._db.execute(f"SELECT {OVER} FROM (SELECT ? AS state)", (state,))
        assert bool(over) == (state not in OPEN)
    for query in ("SELECT state, count(*)", "SELECT total(cost)"):
        told = str(work.store._db.execute(f"EXPLAIN QUERY PLAN {query} FROM task WHERE {OVER}").fetchall())
        assert "COVERING INDEX task_over" in told
