"""`read_table`: new rows once, whole tables again and again, whatever happens to the database meanwhile."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxpipe.context import entered
from rxpipe.errors import ParameterError
from rxpipe.operators.files.read_table import read_table
from rxpipe.testing import TestContext
from tests.rxpipe.parts import until


class Database:
    """A database that another program writes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run("CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER, text TEXT)")

    def run(self, text: str, *values: Any) -> None:
        with closing(sqlite3.connect(self.path)) as db, db:
            db.execute(text, values)

    def add(self, *at: int | None) -> None:
        for value in at:
            self.run("INSERT INTO t (at, text) VALUES (?, 'x')", value)


class Reading:
    """A subscription under virtual time."""

    def __init__(self, path: Path, states: Any = (), *, once: bool = False, field: str = "id", **options: Any) -> None:
        self.context = TestContext(states, once=once)
        self.rows: list[Any] = []
        self.sizes: list[int] = []
        self.field = field
        self.done = False
        with entered(self.context):
            self.subscription = read_table(str(path), **options).subscribe(self.note, on_completed=self.complete)
        self.context.virtual.advance_by(0)

    def note(self, batch: Any) -> None:
        self.rows += [row[self.field] for row in batch.rows]
        self.sizes.append(len(batch.rows))

    def complete(self) -> None:
        self.done = True

    def look(self, seconds: float = 1.0) -> list[Any]:
        self.context.virtual.advance_by(seconds)
        found, self.rows = self.rows, []
        return found


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "in.db")


def test_a_whole_table_once_in_batches(database: Database) -> None:
    database.add(*range(5))
    reading = Reading(database.path, table="t", rows=2)
    assert (reading.look(), reading.sizes, reading.done) == ([1, 2, 3, 4, 5], [2, 2, 1], True)
    assert reading.context.states == []  # nothing to remember


def test_a_whole_table_again(database: Database) -> None:
    database.add(7)
    reading = Reading(database.path, table="t", every="1s")
    assert reading.look(0) == [1]
    database.add(8)
    assert reading.look() == [1, 2]
    reading.context.drain()
    assert (reading.look(10), reading.done) == ([], True)


def test_only_new_rows_come(database: Database) -> None:
    database.add(*range(5))
    reading = Reading(database.path, table="t", cursor="id", every="1s", rows=2)
    assert reading.look(0) == [1, 2, 3, 4, 5]
    assert reading.look(3) == []
    database.add(9)
    database.run("DELETE FROM t WHERE id = 5")
    assert reading.look() == [6]
    states = reading.context.checkpoint()
    database.add(10)
    reading.look()
    again = Reading(database.path, states, table="t", cursor="id", once=True, every="1s")
    assert (again.look(0), again.done) == ([7], True)


def test_a_row_behind_the_deleted_last_one_is_not_lost(database: Database) -> None:
    database.add(1, 2)
    reading = Reading(database.path, table="t", cursor="id", every="1s")
    database.run("DELETE FROM t")
    database.add(3)
    assert reading.look() == [1, 2, 3]


def test_a_query(database: Database) -> None:
    database.add(3, 1, None, 2)
    reading = Reading(database.path, query="SELECT at, at * 2 AS twice FROM t WHERE id < 9", cursor="at", field="twice")
    assert reading.look() == [2, 4, 6]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(["look", "checkpoint", "crash", ""])), max_size=25),
    st.integers(1, 4),
)
def test_exactly_once_with_equal_values(steps: list[tuple[int, str]], rows: int) -> None:
    """Whatever shares a value of the cursor, and wherever pages, polls and crashes fall, each row comes once."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(Path(folder) / "in.db")
        options: dict[str, Any] = {"table": "t", "cursor": "at", "every": "1s", "rows": rows}
        reading = Reading(database.path, **options)
        got: list[int] = []
        states, kept, at = reading.context.checkpoint(), 0, 0
        for step, action in steps:
            at += step // 2
            database.add(at)
            if action:
                got += reading.look()
            if action == "checkpoint":
                states, kept = reading.context.checkpoint(), len(got)
            elif action == "crash":
                reading.subscription.dispose()
                del got[kept:]
                reading = Reading(database.path, states, **options)
        got += reading.look()
        reading.subscription.dispose()
    assert got == list(range(1, len(steps) + 1))


def test_nothing_is_emitted_while_held(database: Database) -> None:
    database.add(1, 2, 3)
    reading = Reading(database.path, table="t", cursor="id", every="1s")
    reading.look()
    database.add(4)
    reading.context.flow.hold()
    assert reading.look(5) == []
    states = reading.context.checkpoint()
    reading.subscription.dispose()
    assert Reading(database.path, states, table="t", cursor="id").look() == [4]


def test_what_cannot_be_read_is_told_once_and_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "in.db"
    reading = Reading(path, table="t", cursor="id", every="1s")
    reading.look(5)
    database = Database(path)
    database.add(1)
    assert reading.look() == [1]
    database.run("ALTER TABLE t RENAME TO u")
    reading.look(3)
    assert [(e.path, e.reason) for e in reading.context.errors] == [
        (str(path), "cannot be read: unable to open database file"),
        (str(path), "cannot be read: no such table: t"),
    ]


def test_a_cursor_that_is_no_column_is_told(database: Database) -> None:
    database.add(1)
    reading = Reading(database.path, table="t", cursor="di")
    assert reading.look() == []
    assert [error.reason for error in reading.context.errors] == ["cannot be read: no such column: source.di"]


@pytest.mark.parametrize("options", [{"cursor": "id", "rows": 2}, {"rows": 2}, {}])
def test_a_text_that_is_no_utf8_keeps_no_row_from_being_read(database: Database, options: dict[str, Any]) -> None:
    database.add(1, 2)
    database.run("INSERT INTO t (at, text) VALUES (3, CAST(X'61FF' AS TEXT))")
    database.add(4)
    reading = Reading(database.path, table="t", field="text", **options)
    assert reading.look() == ["x", "x", "a\ufffd", "x"]
    assert not reading.context.errors


def test_a_locked_database_is_waited_for(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rxpipe.operators.files._tablereader.PATIENCE", 0.01)
    database.add(1)
    with closing(sqlite3.connect(database.path, isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        reading = Reading(database.path, table="t", cursor="id", every="1s")
        assert reading.look(0) == []
        db.execute("ROLLBACK")
    assert [e.reason for e in reading.context.errors] == ["cannot be read: database is locked"]
    assert reading.look() == [1]


def test_the_database_is_let_go_of(database: Database) -> None:
    database.add(1, 2, 3)
    reading = Reading(database.path, table="t", cursor="id", every="1s", rows=1)
    reading.look()
    with closing(sqlite3.connect(database.path, timeout=0)) as db:
        db.execute("BEGIN EXCLUSIVE")


@pytest.mark.parametrize(("given_", "got"), [({}, "neither"), ({"table": "t", "query": "SELECT 1"}, "both")])
def test_table_or_query(given_: dict[str, Any], got: str) -> None:
    with pytest.raises(ParameterError, match=f"one of 'table' and 'query' must be given; got {got}"):
        read_table("x.db", **given_).run()


GRAPH = """
graph: polled
settings: {checkpoint: 20ms}
streams:
  rows:
    - read_table: {path: FOLDER/in.db, table: t, cursor: id, every: 5ms, rows: 7}
    - to_jsonl: {path: FOLDER/out.jsonl}
"""


def grown(file: Path, before: int) -> bool:
    return file.exists() and file.stat().st_size > before


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """Real processes, killed while rows are added."""
    database = Database(tmp_path / "in.db")
    database.run("PRAGMA journal_mode=WAL")
    graph, out = tmp_path / "graph.yaml", tmp_path / "out.jsonl"
    graph.write_text(GRAPH.replace("FOLDER", str(tmp_path)))
    run = [sys.executable, "-m", "rxpipe", "run", str(graph), "--state", str(tmp_path / "state.db")]
    for _ in range(4):
        before = out.stat().st_size if out.exists() else 0
        process = subprocess.Popen(run, stderr=subprocess.DEVNULL)
        for _ in range(50):
            database.add(1)
        until(partial(grown, out, before))
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run([*run, "--once"], check=True, timeout=60, stderr=subprocess.DEVNULL)
    assert [orjson.loads(line)["id"] for line in out.read_bytes().splitlines()] == list(range(1, 201))
