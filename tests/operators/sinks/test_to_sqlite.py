"""`to_sqlite`: appending exactly once, upserting by key, whatever is locked or full."""

from __future__ import annotations

import os
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxpipe.elements import Batch
from rxpipe.errors import ParameterError, RxpipeError, StateError
from rxpipe.lease import Lease
from rxpipe.operators.sinks.to_sqlite import to_sqlite
from rxpipe.table import Table
from rxpipe.testing import run_marbles
from tests.operators.sinks.parts import Running


def running(path: Path, states: Sequence[Any] = (), table: str = "t", **parameters: Any) -> Running:
    return Running(to_sqlite(str(path), table, **parameters), states)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "out.sqlite"


@pytest.fixture(autouse=True)
def closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every connection is closed at a test's end."""
    made: list[Running] = []
    begin = Running.__init__

    def init(self: Running, *args: Any, **kwargs: Any) -> None:
        made.append(self)
        begin(self, *args, **kwargs)

    monkeypatch.setattr(Running, "__init__", init)
    yield
    for run in made:
        run.stop()


def query(path: Path, text: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(text).fetchall()


class Row(msgspec.Struct):
    a: int
    at: datetime


def live(rows: list[Any], key: tuple[str, ...] = ("k",)) -> Table:
    return Table("live", key, lambda: list(rows), lambda: 1)


def test_columns_and_values(path: Path) -> None:
    run = running(path)
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    batches = [
        Batch([Row(1, at)]),
        Batch(
            [
                {"a": None, "x": 1.5, "l": [1, {"b": at}]},
                {"b": b"\xff", 'A-"b; DROP': True, "n": 1 << 64, "d": Decimal("0.1")},
            ]
        ),
        Batch([{}]),
        Batch([]),
    ]
    run.push(*batches)
    assert run.out == batches
    assert query(path, "SELECT * FROM t") == [
        (1, 1, "2026-01-02T03:04:05Z", None, None, None, None, None, None),
        (2, None, None, 1.5, '[1,{"b":"2026-01-02T03:04:05Z"}]', None, None, None, None),
        (3, None, None, None, None, b"\xff", 1, "18446744073709551616", "0.1"),
        (4, None, None, None, None, None, None, None, None),
    ]
    names = [(row[1], row[2]) for row in query(path, "PRAGMA table_info(t)")]
    integers = [("_rowid", "INTEGER"), ("a", "INTEGER")]
    others = [("at", "TEXT"), ("x", "REAL"), ("l", "TEXT"), ("b", "BLOB"), ('A-"b; DROP', "INTEGER")]
    assert names == [*integers, *others, ("n", "TEXT"), ("d", "TEXT")]
    assert query(path, "PRAGMA journal_mode") == [("wal",)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_names_are_quoted(path: Path) -> None:
    run = running(path, table='my "t"; --')
    run.push(Batch([{'x"; DROP TABLE t; --': 1, "select": 2}]))
    assert query(path, 'SELECT "select" FROM "my ""t""; --"') == [(2,)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"a": object()}, "a value of type object has no JSON form"),
        ({"a": "\ud800"}, "surrogates not allowed"),
        ({"a": 1, "A": 2}, "two fields differ only in upper and lower case"),
        ({"": 1}, "a column cannot be named ''"),
        ({"_ROWID": 1}, "a column cannot be named '_ROWID'"),
        ({str(n): n for n in range(1001)}, "the table would have too many columns"),
    ],
)
def test_a_record_that_cannot_be_written_is_rejected(path: Path, row: Any, reason: str) -> None:
    run = running(path)
    run.push(Batch([row, {"b": 1}], leases=(Lease(run.context.flow, 1, "f", 2, 3),)))
    assert query(path, "SELECT b FROM t") == [(1,)]
    assert [reason in error.reason for error in run.context.errors] == [True]
    assert run.context.errors[0].path == "f"


def test_a_retraction_cannot_be_appended(path: Path) -> None:
    run = running(path)
    run.push(Batch([{"a": 2}], [{"a": 1}]))
    assert "taken back cannot be taken out of a table in mode 'append'" in run.context.errors[0].reason
    assert query(path, "SELECT a FROM t") == [(2,)]


@pytest.mark.parametrize("source", ["|", "-a-|", "-a-b|", "#", "-a#", "(ab|)"])
def test_marbles(source: str, path: Path) -> None:
    assert run_marbles(to_sqlite(str(path), "t"), source) == source


@given(
    st.lists(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(-9, 9), max_size=2), max_size=3), max_size=8),
    st.lists(st.sampled_from(["next", "next", "checkpoint", "crash"]), max_size=20),
)
def test_exactly_once(batches: list[list[dict[str, int]]], actions: list[str]) -> None:
    """However checkpoints and crashes fall, each row is there once, numbered without a gap."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x")
        run = running(path)
        states = run.context.checkpoint()
        offset = saved = 0
        for action in [*actions, *["next"] * len(batches), "crash", *["next"] * len(batches)]:
            if action == "next" and offset < len(batches):
                run.push(Batch(batches[offset]))
                offset += 1
            elif action == "checkpoint":
                states, saved = run.context.checkpoint(), offset
            elif action == "crash":
                run.stop()
                run, offset = running(path, states), saved
                assert run.failed is None
        run.stop()
        rows = [row for batch in batches for row in batch]
        if not rows:
            return
        names = [row[1] for row in query(path, "PRAGMA table_info(t)")]
        found = [dict(zip(names, row, strict=True)) for row in query(path, "SELECT * FROM t ORDER BY _rowid")]
        assert [row.pop("_rowid") for row in found] == list(range(1, len(rows) + 1))
        assert [{name: value for name, value in row.items() if value is not None} for row in found] == rows


@given(
    st.lists(
        st.one_of(
            st.dictionaries(st.sampled_from(["x", "y", None]), st.integers(0, 3)),
            st.sampled_from(["checkpoint", "crash"]),
        ),
        max_size=12,
    )
)
def test_a_live_table_is_mirrored(actions: list[Any]) -> None:
    """Rows that change are written, rows that go are deleted, whatever crashes, and those of others stay."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x")
        run = running(path, mode="upsert", key=["k"])
        run.push(Batch([{"k": "other", "n": 9}]))
        states = run.context.checkpoint()
        saved: dict[Any, int] = {}
        now: dict[Any, int] = {}
        for action in actions:
            if action == "checkpoint":
                states, saved = run.context.checkpoint(), now
            elif action == "crash":
                run.stop()
                run = running(path, states, mode="upsert", key=["k"])
                run.push(live([{"k": k, "n": n} for k, n in now.items()]))  # replayed from where it was saved
            else:
                now = action
                run.push(live([{"k": k, "n": n} for k, n in now.items()]))
        run.stop()
        assert saved is not None
        assert dict(query(path, "SELECT k, n FROM t")) == {"other": 9, **now}


def test_upsert(path: Path) -> None:
    run = running(path, mode="upsert", key=["k", "j"])
    run.push(Batch([{"k": 1, "j": None, "v": "a"}, {"k": 2, "j": "x", "v": "b"}, {"k": 1, "j": None, "v": "c"}]))
    assert query(path, "SELECT k, j, v FROM t ORDER BY k") == [(1, None, "c"), (2, "x", "b")]
    run.push(Batch([{"k": 1, "j": None, "w": 1}], [{"k": 2, "j": "x", "v": "b"}]))
    assert query(path, "SELECT k, j, v, w FROM t") == [(1, None, None, 1)]
    run.push(Batch([{"k": 5}]))
    assert "a record must have its key; 'j' is missing" in run.context.errors[0].reason


def test_only_differences_are_written(path: Path) -> None:
    rows = [{"k": "a", "n": 1}, {"k": "b", "n": 2}]
    run = running(path, mode="upsert")
    run.push(live(rows))
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE t SET n = 100")
        db.commit()
    rows[1]["n"] = 3
    run.push(live(rows))
    assert query(path, "SELECT k, n FROM t ORDER BY k") == [("a", 100), ("b", 3)]
    del rows[0]
    run.push(live(rows))
    assert query(path, "SELECT k, n FROM t ORDER BY k") == [("b", 3)]
    assert {part for _, part in run.context.checkpoint()[0]} == {"live"}


def test_keys_of_the_last_run_are_deleted_when_they_go(path: Path) -> None:
    run = running(path, mode="upsert")
    run.push(live([{"k": "a"}, {"k": "b"}]))
    states = run.context.checkpoint()
    run.stop()
    run = running(path, states, mode="upsert")
    run.push(live([{"k": "b"}]))
    assert query(path, "SELECT k FROM t") == [("b",)]


def test_upsert_needs_a_key(path: Path) -> None:
    run = running(path, mode="upsert")
    with pytest.raises(RxpipeError, match="mode 'upsert' needs 'key'"):
        run.push(Batch([{"a": 1}]))
    with pytest.raises(ParameterError, match="key: belongs to mode 'upsert'"):
        run_marbles(to_sqlite(str(path), "t", key=["a"]), "|")


def test_locked_by_another_program(path: Path) -> None:
    run = running(path)
    run.push(Batch([{"n": 1}]))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        run.push(Batch([{"n": 2}]), Batch([{"n": 3, "new": 1}]))
        run.source.on_completed()
        run.context.virtual.advance_by(60)
        assert (len(run.out), run.done, run.context.flow.held) == (1, False, True)
        assert "database is locked" in run.context.details["degraded"]()
        with pytest.raises(AssertionError, match="1 leases are still held"):
            run.context.checkpoint()
        other.execute("ROLLBACK")
    run.context.virtual.advance_by(31)
    assert (len(run.out), run.done, run.context.flow.held) == (3, True, False)
    assert query(path, "SELECT n, new FROM t") == [(1, None), (2, None), (3, 1)]
    assert run.context.checkpoint() != [{}]  # after completion too


def test_a_full_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def noted(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        made.append(connect(*args, **kwargs))
        return made[-1]

    monkeypatch.setattr(sqlite3, "connect", noted)
    run = running(path)
    run.push(Batch([{"n": "x"}]))
    with closing(sqlite3.connect(path)) as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
    database = made[0]
    database.execute(f"PRAGMA max_page_count={pages}")
    run.push(Batch([{"n": "x" * 10_000}, {"m": 1}]))
    assert "full" in run.context.details["degraded"]()
    database.execute("PRAGMA max_page_count=100000")
    run.context.virtual.advance_by(1)
    assert query(path, "SELECT length(n), m FROM t") == [(1, None), (10_000, None), (None, 1)]


def test_a_programming_error_is_raised(path: Path) -> None:
    run = running(path)
    run.push(Batch([{"n": 1}]))
    with closing(sqlite3.connect(path)) as db:
        db.execute("DROP TABLE t")
        db.commit()
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        run.push(Batch([{"n": 1}]))


def appended(path: Path) -> list[Any]:
    run = running(path)
    run.push(Batch([{"n": 1}, {"n": 2}]))
    states = run.context.checkpoint()
    run.stop()
    return states


def _change(text: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with closing(sqlite3.connect(path)) as db:
            db.executescript(text)

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda path: [file.unlink() for file in path.parent.iterdir()],
            "there is no such table: it was removed or replaced",
        ),
        (_change("DROP TABLE t"), "there is no such table"),
        (_change("UPDATE t SET n = 7 WHERE _rowid = 2"), "it holds others"),
        (_change("DELETE FROM t; UPDATE sqlite_sequence SET seq = 1"), "it has 1: it was"),
    ],
)
def test_another_table_is_refused(path: Path, change: Callable[[Path], Any], message: str) -> None:
    states = appended(path)
    change(path)
    with pytest.raises(StateError, match=f"table 't' must hold the 2 rows that this graph appended; {message}"):
        raise running(path, states).failed or AssertionError


def test_rows_that_a_user_deleted_stay_deleted(path: Path) -> None:
    states = appended(path)
    _change("DELETE FROM t")(path)
    run = running(path, states)
    run.push(Batch([{"n": 3}]))
    assert query(path, "SELECT * FROM t") == [(3, 3)]


def test_a_table_of_someone_else(path: Path) -> None:
    path.parent.mkdir()
    _change("CREATE TABLE t (n)")(path)
    with pytest.raises(RxpipeError, match="must have been made by to_sqlite in mode append"):
        raise running(path).failed or AssertionError


def test_no_database(path: Path, tmp_path: Path) -> None:
    with pytest.raises(RxpipeError, match=r"must be a database that can be written; got .*Is a directory"):
        raise running(tmp_path).failed or AssertionError
    path.parent.mkdir()
    path.write_bytes(b"no database at all" * 99)
    with pytest.raises(RxpipeError, match="must be an SQLite database that can be written; got file is not a database"):
        raise running(path).failed or AssertionError


def test_a_checkpoint_is_durable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    run = running(path)
    assert synced == [str(path.parent.parent)], "the folder that was made must survive, too"
    run.push(Batch([{"n": 1}]))
    run.context.checkpoint()
    run.context.checkpoint()
    assert synced[1:] == [f"{path}-wal", str(path.parent)]
    run.push(Batch([{"n": 2}]))
    run.context.checkpoint()
    assert synced[3:] == [f"{path}-wal"]
