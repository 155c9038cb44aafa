"""The task store on its own: what is added, taken and noted many at a time, and stores of older formats."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rxpipe.errors import StateError
from rxpipe.tasks.manage import Tasks
from rxpipe.tasks.owners import SILENT
from rxpipe.tasks.schema import BUSY
from rxpipe.tasks.statements import digest
from rxpipe.tasks.store import Ended, New, TaskStore

FIRST = """
PRAGMA application_id = 1920496756;
PRAGMA user_version = 1;
CREATE TABLE task (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, state TEXT NOT NULL, priority REAL NOT NULL,
    due REAL NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0, begun INTEGER NOT NULL DEFAULT 0,
    input BLOB NOT NULL, content BLOB NOT NULL, owner INTEGER, created REAL NOT NULL, started REAL, finished REAL,
    line TEXT, delivery INTEGER, definition TEXT, cost REAL NOT NULL DEFAULT 0, kind TEXT, error TEXT
);
CREATE INDEX task_pending ON task (attempts, priority, id) WHERE state = 'pending';
CREATE INDEX task_waiting ON task (due) WHERE state = 'waiting';
CREATE INDEX task_running ON task (owner) WHERE state = 'running';
CREATE INDEX task_over ON task (finished, state, cost) WHERE state < 'pending';
CREATE TABLE attempt (
    task INTEGER NOT NULL, number INTEGER NOT NULL, started REAL, finished REAL NOT NULL, kind TEXT NOT NULL,
    error TEXT NOT NULL, cost REAL NOT NULL, PRIMARY KEY (task, number, finished)
) WITHOUT ROWID;
CREATE INDEX attempt_finished ON attempt (finished);
CREATE TABLE paid (
    task INTEGER NOT NULL, step TEXT NOT NULL, request BLOB NOT NULL, answer BLOB NOT NULL, PRIMARY KEY (task, step)
) WITHOUT ROWID;
CREATE TABLE owner (
    id INTEGER PRIMARY KEY, pid INTEGER NOT NULL, host TEXT NOT NULL, joined REAL NOT NULL, beat REAL NOT NULL
);
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
INSERT INTO task (key, state, priority, attempts, input, content, created, line, delivery, definition, cost) VALUES
    ('a', 'done', 0, 1, '{}', 'a', 1, 'one', 1, 'old', 0.5),
    ('b', 'done', 0, 1, '{}', 'b', 1, 'one', 2, 'new', 0.25),
    ('c', 'done', 0, 1, '{}', 'c', 1, NULL, NULL, 'new', 0),
    ('d', 'waiting', 0, 2, '{}', 'd', 1, NULL, NULL, NULL, 0),
    ('e', 'running', 0, 1, '{}', 'e', 1, NULL, NULL, NULL, 0);
UPDATE task SET owner = 7 WHERE key = 'e';
"""
"""A store as the first version made it."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store is."""
    return tmp_path / "t.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[TaskStore]:
    """A store that this process works on."""
    made = TaskStore(path, lambda: 1e9)
    with made.transaction():
        made.owners.join()
        yield made
    made.close()


def news(*numbers: int, content: bytes = b"") -> list[New]:
    """Tasks."""
    return [New(str(number), 0.0, b"{}", content) for number in numbers]


def states(store: TaskStore) -> dict[str, str]:
    """The state of each task."""
    return {row["key"]: row["state"] for row in store.select("SELECT key, state FROM task")}


@pytest.mark.parametrize("count", [0, 1, 7, 8, 63, 64, 65, 200])
def test_however_many_are_added_each_is_there_once(store: TaskStore, count: int) -> None:
    assert store.enqueue(news(*range(count))) == count
    assert store.enqueue(news(*range(count))) == 0
    assert store.enqueue(news(*range(count), content=b"changed")) == count
    assert store.counts()["pending"] == count


def test_many_are_added_taken_and_noted_with_few_statements(store: TaskStore) -> None:
    told: list[str] = []
    store._db.set_trace_callback(told.append)
    store.enqueue(news(*range(1024)))
    for _ in range(4):
        store.end([Ended(task.id, 1, "done", 1e9) for task in store.claim(256)], "d", None)
    store._db.set_trace_callback(None)
    assert Counter(states(store).values()) == {"done": 1024}
    assert len(told) < 50


def test_a_record_that_is_all_that_a_task_depends_on_is_compared_itself(store: TaskStore) -> None:
    store._db.execute(
        "INSERT INTO task (key, state, priority, input, content, created) VALUES ('a', 'done', 0, ?, ?, 1)",
        (b"{}", digest(b"{}")),
    )
    store.enqueue([New("b", 0.0, b"{}", b""), New("c", 0.0, b"{}", digest(b"{}"))])
    for content in (b"", digest(b"{}")):
        assert store.enqueue([New(key, 0.0, b"{}", content) for key in "abc"]) == 0, (
            "as an older version kept it, or not"
        )
    assert store.enqueue([New(key, 0.0, b"[]", b"") for key in "abc"]) == 3
    assert store.enqueue([New(key, 0.0, b"[]", b"") for key in "abc"]) == 0
    assert store.enqueue([New(key, 0.0, b"[1]", digest(b"of a file")) for key in "abc"]) == 3
    assert store.enqueue([New(key, 0.0, b"[2]", digest(b"of a file")) for key in "abc"]) == 0, "the file is the same"
    assert store.enqueue([New(key, 0.0, b"[1]", b"") for key in "abc"]) == 3, "the file is gone"


def test_one_that_comes_twice_at_a_time_is_what_came_last(store: TaskStore) -> None:
    twice = [New(str(n % 40), float(n), b"{}", str(n).encode()) for n in range(80)]
    assert store.enqueue(twice) == 80
    assert [task.priority for task in store.claim(80)] == list(range(40, 80))


def test_those_that_are_done_or_not_any_more_this_process_s_are_told_apart(store: TaskStore) -> None:
    chance = random.Random(3)
    store.enqueue(New(str(n), chance.random(), b"{}", b"") for n in range(300))
    claimed = {task.id: task for task in store.claim(200)}
    assert {int(key) + 1 for key, state in states(store).items() if state == "running"} == set(claimed)
    others = set(chance.sample(sorted(claimed), 50))
    store._db.executemany("UPDATE task SET owner = 1 WHERE id = ?", [(task,) for task in others])
    assert store.held(claimed) == set(claimed) - others
    assert store.held([]) == set()
    ended = chance.sample(sorted(claimed), 120)
    lost = store.end([Ended(task, 1 + (task % 5 == 0), "done", 1e9, task % 3) for task in ended], "d", "line")
    done = {task for task in ended if task not in others and task % 5}
    assert {int(key) + 1 for key, state in states(store).items() if state == "done"} == done
    assert lost == len(ended) - len(done)
    assert store.spent() == sum(task % 3 for task in done)


def test_those_in_a_row_are_told_apart_too(store: TaskStore) -> None:
    store.enqueue(news(*range(10)))
    claimed = store.claim(8)
    store._db.execute("UPDATE task SET owner = 1 WHERE id = 4")
    assert store.held([task.id for task in claimed]) == {1, 2, 3, 5, 6, 7, 8}
    assert store.end([Ended(task.id, 1, "done", 1e9) for task in claimed], "d", None) == 1
    assert Counter(states(store).values()) == {"done": 7, "running": 1, "pending": 2}
    assert store.open()
    assert Counter(store.counts()) == Counter(states(store).values())


def test_what_only_others_work_on_is_not_over(store: TaskStore) -> None:
    assert not store.open()
    store.enqueue(news(1))
    [task] = store.claim(1)
    assert store.open()
    store.end([Ended(task.id, 1, "done", 1e9)], "d", None)
    assert not store.open()


def test_what_a_task_has_cost_that_was_only_taken_counts(store: TaskStore, path: Path) -> None:
    store.enqueue(news(1, 2))
    [task] = store.claim(1)
    store.end([Ended(task.id, 1, "waiting", 1e9, 0.5, "server", "no", 1e9)], "", None)
    assert {(again.id, again.attempt) for again in store.claim(2)} == {(1, 2), (2, 1)}
    store._db.execute("COMMIT")
    told = Tasks(path, lambda: 1e9).progress()
    store._db.execute("BEGIN")
    assert (told.cost, told.states["running"], told.states["pending"], told.running) == (0.5, 0, 2, [])
    query = f"EXPLAIN QUERY PLAN SELECT total(cost) FROM task WHERE {BUSY}"
    assert "task_busy" in str(store.select(query))


def test_results_that_are_noted_together_are_delivered_together(store: TaskStore) -> None:
    store.enqueue(news(*range(6)))
    for _ in range(3):
        store.end([Ended(task.id, 1, "done", 1e9) for task in store.claim(2)], "d", "line")
    assert store.delivery == 3
    assert store.deliver_again("other", 0) == 0
    assert store.deliver_again("line", 2) == 2
    assert [task.key for task in store.claim(9)] == ["4", "5"]


def shape(path: Path) -> dict[str, Any]:
    """The columns of each table and index of a store, the condition of each index, and the format."""
    db = sqlite3.connect(path)
    made: dict[str, Any] = {"format": db.execute("PRAGMA user_version").fetchone()[0]}
    for kind, name, sql in db.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall():
        if kind == "table":
            made[name] = sorted(row[1:] for row in db.execute(f"PRAGMA table_info({name})"))
        else:
            columns = [row[2] for row in db.execute(f"PRAGMA index_info({name})")]
            made[name] = (columns, sql.split(" WHERE ")[1:])
    db.close()
    return made


def test_a_store_of_the_first_version_becomes_one_of_today(path: Path, tmp_path: Path) -> None:
    sqlite3.connect(path).executescript(FIRST).connection.close()
    TaskStore(tmp_path / "new", lambda: 1e9).close()
    store = TaskStore(path, lambda: 1e9)
    assert shape(path) == shape(tmp_path / "new")
    with store.transaction():
        assert (store.outdated("new"), store.outdated("old"), store.spent()) == (1, 2, 0.75)
        assert store.redo("changed", "new") == 1
        assert store.deliver_again("one", 1) == 1
        assert store.delivery == 2
        assert states(store) == {"a": "pending", "b": "pending", "c": "done", "d": "waiting", "e": "running"}
    store.close()
    TaskStore(path, lambda: 1e9).close()
    assert shape(path)["format"] == 2


def test_looking_at_a_store_of_the_first_version_brings_it_up_to_date(path: Path) -> None:
    sqlite3.connect(path).executescript(FIRST).connection.close()
    assert Tasks(path).progress().total == 5
    assert shape(path)["format"] == 2


def test_a_store_that_an_older_version_works_on_is_left_alone(path: Path) -> None:
    db = sqlite3.connect(path)
    db.executescript(FIRST)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        with db:
            db.execute("INSERT INTO owner VALUES (7, ?, ?, 1, 1000)", (other.pid, os.uname().nodename))
        with pytest.raises(StateError, match=rf"brought up to date; got process {other.pid} on .*: let it end first"):
            TaskStore(path, lambda: 1000 + SILENT)
        assert shape(path)["format"] == 1
        other.kill()
    TaskStore(path, lambda: 1000 + SILENT).close()
    assert shape(path)["format"] == 2
    db.close()


def test_a_store_that_is_brought_up_to_date_is_old_or_new_whatever_happens(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite3.connect(path).executescript(FIRST).connection.close()
    before = shape(path)
    monkeypatch.setattr("rxpipe.tasks.schema._CHANGES", {1: "ALTER TABLE task DROP COLUMN line;\nnonsense"})
    with pytest.raises(StateError, match="nonsense"):
        TaskStore(path, time.time)
    assert shape(path) == before
