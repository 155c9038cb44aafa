"""`report`: what it says of a batch, where it puts it, and that nothing about it ends a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from loguru import logger
from reactivex.subject import Subject

from rxpipe.context import entered
from rxpipe.errors import ParameterError, RxpipeError
from rxpipe.operators.tasks.report import report
from rxpipe.tasks.reading import Worked as OnBoard
from rxpipe.tasks.reading import reading
from rxpipe.tasks.report import Reason, Report, Slow, Times, _times, markdown
from rxpipe.tasks.report import report as made
from rxpipe.tasks.store import STATES, Ended
from rxpipe.testing import Receiver, TestContext
from rxpipe.testing.receiver import Answer
from tests.rxpipe.tasks.batches import Worked, working


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Worked]:
    """Ten tasks: one of them fails for good, one at first, each attempt takes a second longer."""
    with working(tmp_path / "tasks.sqlite", 10, 1, lambda _: 1.0, cost=0.5) as work:
        chance = iter(range(1, 12))
        work.takes = lambda _: float(next(chance))
        work.fails = lambda task: task.id == 5 and task.attempt == 1
        work.until(10)
        with work.store.transaction():
            work.store._db.execute(
                "UPDATE task SET state = 'running', owner = ?, attempts = 2 WHERE id = 3", (work.store.owners.own,)
            )
            work.store.end([Ended(3, 2, "failed", work.now, 0.25, "invalid input", "no | text\n")], "", None)
        yield work


def reported(context: TestContext, work: Worked | None, **parameters: str) -> tuple[Subject[int], list[str]]:
    if work is not None:
        context.board["a[1] tasks"] = OnBoard("a", work.path)
    source, ended = Subject[int](), list[str]()
    with entered(context):
        source.pipe(report(**parameters)).subscribe(
            lambda _: None, lambda e: ended.append(str(e)), lambda: ended.append("done")
        )
    return source, ended


@contextmanager
def logged() -> Iterator[list[str]]:
    lines: list[str] = []
    number = logger.add(lambda text: lines.append(text.strip()), format="{message}")
    try:
        yield lines
    finally:
        logger.remove(number)


def test_the_figures(work: Worked) -> None:
    with reading(work.path) as reader:
        found = made(reader, work.now, slowest=2)
    assert found.states == dict.fromkeys(STATES, 0) | {"done": 9, "failed": 1}
    assert (found.total, found.success) == (10, 0.9)
    assert found.cost == 11 * 0.5 + 0.25
    assert found.cost_per_task == pytest.approx(5.75 / 9)
    assert found.failed_attempts == {"invalid input": 1, "server": 1}
    assert found.reasons == [Reason("invalid input", 1, "no | text\n")]
    assert [(one.key, one.attempts) for one in found.slowest] == [("task 4", 2), ("task 9", 1)]
    assert found.began == 1000.0
    assert found.ended == work.now


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_percentiles(seconds: list[float]) -> None:
    found = _times(sorted(seconds))
    assert found is not None
    for share, value in ((0.5, found.p50), (0.9, found.p90), (0.99, found.p99)):
        assert value in seconds
        assert sum(one <= value for one in seconds) >= share * len(seconds)
        assert sum(one < value for one in seconds) < share * len(seconds)


def test_the_files(work: Worked, tmp_path: Path) -> None:
    context = TestContext()
    source, ended = reported(context, work, to=str(tmp_path / "made" / "report.md"), json=str(tmp_path / "report.json"))
    source.on_next(1)
    assert not (tmp_path / "made").exists()
    source.on_completed()
    context.virtual.advance_by(1)
    assert ended == ["done"]
    text = (tmp_path / "made" / "report.md").read_text()
    assert "9 of 10 tasks are done; 90.0% of those tried succeeded" in text
    assert "| invalid input | 1 | no \\| text |" in text
    assert "| p50 | " in text
    told = orjson.loads((tmp_path / "report.json").read_bytes())
    assert told["success"] == 0.9
    assert told["seconds"]["p90"] >= told["seconds"]["p50"]


def test_the_webhook_is_tried_again_until_it_takes_it(work: Worked, tmp_path: Path) -> None:
    server = Receiver([Answer(503), Answer(429)])
    context = TestContext()
    source, ended = reported(context, work, to=str(tmp_path / "r.md"), webhook=server.url)
    source.on_completed()
    context.virtual.advance_by(0)
    assert ended == []
    context.virtual.advance_by(60)
    assert ended == ["done"]
    assert len(server.bodies) == 3
    assert orjson.loads(server.bodies[0])["total"] == 10
    server.close()


@pytest.mark.parametrize("status", [400, 503])
def test_a_webhook_that_never_takes_it_ends_nothing(work: Worked, tmp_path: Path, status: int) -> None:
    server = Receiver([Answer(status)] * 100)
    context = TestContext()
    with logged() as lines:
        source, ended = reported(context, work, to=str(tmp_path / "r.md"), webhook=server.url)
        source.on_completed()
        context.virtual.advance_by(1000)
    assert ended == ["done"]
    assert len(server.bodies) == (1 if status == 400 else 6)
    assert f"HTTP Error {status}" in lines[-1]
    assert (tmp_path / "r.md").exists()
    server.close()


def test_a_report_that_cannot_be_written_ends_nothing(work: Worked, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    context = TestContext()
    with logged() as lines:
        source, ended = reported(context, work, to=str(tmp_path / "file" / "r.md"))
        source.on_completed()
        context.virtual.advance_by(1)
    assert ended == ["done"]
    assert "the report cannot be made" in lines[0]


def test_what_is_wrong_is_told_at_once(work: Worked, tmp_path: Path) -> None:
    context = TestContext()
    context.board["b[1] tasks"] = OnBoard("b", work.path)
    reported(context, work)
    with pytest.raises(RxpipeError, match="of: must name the stream whose tasks are meant"):
        context.virtual.advance_by(0)
    with pytest.raises(ParameterError, match="webhook: must be an http or https address"):
        report(webhook="file:///etc/passwd")


def test_a_run_without_tasks(tmp_path: Path) -> None:
    context = TestContext()
    with logged() as lines:
        source, ended = reported(context, None, to=str(tmp_path / "r.md"))
        source.on_completed()
    assert ended == ["done"]
    assert "must be a step 'tasks' in the run" in lines[0]
    assert not (tmp_path / "r.md").exists()


@given(st.text(), st.text(), st.text())
def test_whatever_a_key_or_an_error_is_a_table_stays_one(title: str, key: str, error: str) -> None:
    states = dict.fromkeys(STATES, 1)
    times = Times(1.0, 1.0, 1.0, 1.0, 1.0)
    found = Report(
        1.0, 0.0, 1.0, 6, states, 0.5, 1.0, 1.0, times, {key: 1}, [Reason(key, 1, error)], [Slow(key, 1.0, 1)]
    )
    lines = markdown(found, title).split("\n")
    row = next(line for line in lines[::-1] if line.startswith("| ") and line.endswith(" | 1 s | 1 |"))
    bare = row.replace("\\\\", "").replace("\\|", "")
    assert bare.count("|") == 4
    assert all(char.isprintable() for line in lines for char in line)
