"""A live table in front of a sink that appends: a restart announces nothing that was written, and loses nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rxpipe import operators as ops
from rxpipe.elements import Batch
from rxpipe.operators.sinks._versions import Versions
from rxpipe.table import Table
from rxpipe.testing.context import DictSaved
from tests.operators.sinks.parts import Running


def sqlite_rows(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as db:
        return [n for (n,) in db.execute("SELECT n FROM t ORDER BY _rowid")]


def parquet_rows(path: Path) -> list[int]:
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra `parquet`")
    return [row["n"] for file in sorted(path.glob("*.parquet")) for row in parquet.read_table(file).to_pylist()]


SINKS: dict[str, tuple[Callable[[str], Any], Callable[[Path], list[int]]]] = {
    "to_jsonl": (ops.to_jsonl, lambda path: [json.loads(line)["n"] for line in path.read_text().splitlines()]),
    "to_csv": (ops.to_csv, lambda path: [int(line) for line in path.read_text().splitlines()[1:]]),
    "to_sqlite": (lambda path: ops.to_sqlite(path, "t"), sqlite_rows),
    "to_parquet": (lambda path: ops.to_parquet(path, rows=1), parquet_rows),
}


@pytest.fixture(params=SINKS)
def begun(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Running]:
    sink, _ = SINKS[request.param]
    counted = ops.aggregate(n="count()")

    def begin(states: list[Any] | None = None) -> Running:
        path = str(tmp_path / "out")
        run = Running(lambda source: source.pipe(counted, ops.throttle("1Hz"), sink(path)), states or [])
        run.context.virtual.advance_by(0)
        return run

    return begin


@pytest.fixture
def written(request: pytest.FixtureRequest, begun: object, tmp_path: Path) -> Callable[[], list[int]]:
    _, read = SINKS[request.node.callspec.params["begun"]]
    return lambda: read(tmp_path / "out")


def test_a_restored_table_is_shown_but_not_written_again(
    begun: Callable[..., Running], written: Callable[[], list[int]]
) -> None:
    run = begun()
    run.push(Batch([{}, {}]))
    for _ in range(3):
        states = run.context.checkpoint()
        run.stop()
        run = begun(states)
        assert [isinstance(element, Table) for element in run.out] == [True], "who is behind it sees it at the start"
        assert run.out[0].dicts() == [{"n": 2}]
    run.context.virtual.advance_by(1)
    run.push(Batch([{}]))
    run.context.checkpoint()
    run.stop()
    assert written() == [2, 3]


def test_what_was_held_at_the_checkpoint_is_written_after_it(
    begun: Callable[..., Running], written: Callable[[], list[int]]
) -> None:
    run = begun()
    run.push(Batch([{}]), Batch([{}, {}]))  # the second is held by `throttle`, and in the state of `aggregate`
    states = run.context.checkpoint()
    run.stop()
    run = begun(states)
    run.context.checkpoint()
    run.stop()
    assert written() == [1, 3]


def test_an_empty_table_is_written_once(begun: Callable[..., Running], written: Callable[[], list[int]]) -> None:
    states: list[Any] = []
    for _ in range(2):
        run = begun(states)
        run.complete()
        states = run.context.checkpoint()
        run.stop()
    assert written() == [0]


def test_only_the_same_version_of_the_same_count_is_no_news() -> None:
    def table(since: float | None, version: int) -> Table:
        return Table("t", (), list, lambda: version, since)

    def restarted() -> Versions:
        made = Versions()
        made.restore(DictSaved({(key, part): value for key, part, value in changes if value is not None}))
        return made

    before = Versions()
    assert before.news(table(5.0, 7))
    changes = list(before.changes())
    assert list(before.changes()) == []
    assert not restarted().news(table(5.0, 7))
    assert restarted().news(table(5.0, 8)), "it changed"
    assert restarted().news(table(9.0, 7)), "counted anew, since its state was reset"
    assert restarted().news(table(None, 7)), "nobody knows what its version says"
    again = restarted()
    assert [again.news(table(5.0, 7)) for _ in range(2)] == [False, True], "only the first is one that was restored"
