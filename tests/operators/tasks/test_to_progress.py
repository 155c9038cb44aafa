"""`to_progress`: what is shown where, how often, and that every frame fits."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
import reactivex as rx
from hypothesis import given
from hypothesis import strategies as st
from loguru import logger
from reactivex import operators as rxo
from reactivex.subject import Subject

from rxpipe import operators as ops
from rxpipe.context import entered
from rxpipe.elements import Batch
from rxpipe.errors import RxpipeError
from rxpipe.operators.sinks._cells import line_width, plain
from rxpipe.operators.sinks._terminal import ENTER, LEAVE
from rxpipe.operators.tasks._screen import screen
from rxpipe.operators.tasks._words import left, line, speed
from rxpipe.operators.tasks.to_progress import to_progress
from rxpipe.runtime.output import Output
from rxpipe.tasks.attempt import attempt_of
from rxpipe.tasks.progress import Estimate, Failed, Progress, Working
from rxpipe.tasks.reading import Worked as OnBoard
from rxpipe.tasks.report import money
from rxpipe.tasks.store import STATES
from rxpipe.testing import TestContext
from tests.rxpipe.tasks.batches import Worked, working

texts = st.text(max_size=60)
counts = st.integers(0, 10**7)
seconds = st.floats(0, 1e8)
estimates = st.builds(Estimate, st.floats(1e-9, 1e9), seconds, seconds, seconds, seconds)
batches = st.builds(
    Progress,
    st.floats(0, 2e9),
    st.fixed_dictionaries(dict.fromkeys(STATES, counts)),
    counts,
    counts,
    st.floats(0, 1e9),
    st.none() | st.floats(0, 1e9),
    st.none() | estimates,
    st.lists(st.builds(Working, texts, st.integers(1, 99), seconds), max_size=40),
    st.lists(st.builds(Failed, st.floats(0, 2e9), texts, st.integers(1, 99), texts, texts), max_size=12),
    st.none() | st.just("pause"),
)


@given(st.none() | batches, st.integers(1, 200), st.integers(1, 60), texts, texts)
def test_every_frame_fits_and_nothing_in_it_is_obeyed(
    told: Progress | None, cells: int, lines: int, title: str, message: str
) -> None:
    made = screen(told, (cells, lines), title if title.isprintable() else "", None, message)
    assert len(made) == lines
    assert max(map(line_width, made), default=0) <= cells
    assert all(char.isprintable() for line in made for text, _ in line for char in text)


def batch(**given: Any) -> Progress:
    states = dict.fromkeys(STATES, 0) | {"done": 600, "failed": 20, "running": 4, "waiting": 2, "pending": 374}
    start = datetime(2026, 3, 4, 12, tzinfo=UTC).timestamp()
    fields: dict[str, Any] = {
        "time": start,
        "states": states,
        "total": 1000,
        "over": 620,
        "cost": 12.4,
        "projected": 20.0,
        "estimate": Estimate(1.5, 2.6, 253.0, 240.0, 270.0),
        "running": [Working(f"/data/documents/lesson-{n}.md", 1 + n // 3, 3.0 * n) for n in range(4)],
        "errors": [Failed(start, "/data/documents/a.md", 2, "rate limit", "429 Too Many Requests")] * 9,
        "order": None,
    }
    return Progress(**(fields | given))


def test_the_screen_of_a_small_terminal() -> None:
    text = plain(screen(batch(), (80, 24), "lessons", None))
    lines = text.splitlines()
    assert re.search(r"━{10,}─+ +62%  620 of 1,000$", lines[2])
    assert lines[3].startswith(" 4m 13s left (4m to 4m 30s)  ·  done about ")
    assert lines[3].endswith("·  1.5/s  ·  2.6s each")
    assert lines[4] == " 600 done  ·  4 running  ·  2 waiting  ·  374 pending  ·  20 failed"
    assert lines[5] == " cost $12.40 so far, about $20.00 in all  ·  $0.0200 each"
    assert "Working on" in text
    assert "/data/documents/lesson-3.md                                         2       9s" in text
    assert text.count("429 Too Many Requests") == 9


def test_many_workers_leave_room_for_the_last_errors() -> None:
    many = [Working(f"lesson {n}", 1, 1.0) for n in range(100)]
    text = plain(screen(batch(running=many), (80, 24), "lessons", None))
    assert text.count("429 Too Many Requests") == 3
    assert re.search(r"and \d+ more", text)


def test_paused_is_said() -> None:
    assert "rxpipe tasks resume" in plain(screen(batch(order="pause"), (80, 24), "", None))
    assert "paused" in line(batch(order="pause"))


@pytest.mark.parametrize(
    ("rate", "text"),
    [(1500.0, "1,500/s"), (1.234, "1.23/s"), (0.5, "30/min"), (0.01, "36/h"), (1e-4, "8.64/day"), (1e-6, "0.09/day")],
)
def test_speed(rate: float, text: str) -> None:
    assert speed(rate) == text


def test_words() -> None:
    assert [*map(money, (0.0, 0.000061, 0.1234, 12.3, 1234.5))] == [
        "$0.00",
        "$0.000061",
        "$0.1234",
        "$12.30",
        "$1,234.50",
    ]
    assert left(Estimate(1, 1, 10, 10, 10)) == "10s left"
    assert left(Estimate(1, 1, 10, 0, 30)) == "10s left (at most 30s)"
    assert line(batch()) == (
        "620 of 1,000 tasks (62%), 20 failed, 4 running, 2 waiting, 1.5/s, 4m 13s left (4m to 4m 30s), "
        "$12.40 so far, about $20.00 in all"
    )


class Shown(TestContext):
    """A step that shows a store."""

    def __init__(self, output: Output | None, *stores: tuple[str, Path]) -> None:
        super().__init__(name="progress[1] to_progress")
        self.stream = "progress"
        self._output = output
        self.board = {f"{stream}[1] tasks": OnBoard(stream, store) for stream, store in stores}

    def output(self) -> Output | None:
        return self._output


@contextmanager
def logged() -> Iterator[list[str]]:
    lines: list[str] = []
    number = logger.add(lambda text: lines.append(text.strip()), format="{message}")
    try:
        yield lines
    finally:
        logger.remove(number)


@contextmanager
def shown(
    tmp_path: Path, output: Output | None, **parameters: str
) -> Iterator[tuple[Shown, Worked, Subject[int], list[str]]]:
    """A batch of 30 tasks of 2 s with two workers, of which none is done yet, and how it is shown."""
    with working(tmp_path / "tasks.sqlite", 30, 2, lambda _: 2.0, now=0.0, cost=0.5) as work, logged() as lines:
        context, source, ended = Shown(output, ("results", work.path)), Subject[int](), list[str]()
        with entered(context):
            subscription = source.pipe(to_progress(**parameters)).subscribe(
                lambda _: None, lambda error: ended.append(str(error)), lambda: ended.append("completed")
            )
        yield context, work, source, lines
        subscription.dispose()


def advance(context: Shown, work: Worked, seconds: float) -> None:
    """Let some time pass for both."""
    end = context.now() + seconds
    while context.now() < end:
        context.virtual.advance_by(1.0)
        while work.next_end <= context.now() and work.step():
            pass
        work.now = max(work.now, context.now())


def test_without_a_terminal_there_is_a_line_at_most_every_10_s(tmp_path: Path) -> None:
    with shown(tmp_path, None) as (context, work, source, lines):
        advance(context, work, 25)
        assert [text.split(",")[0] for text in lines] == [
            "progress: 0 of 30 tasks (0%)",
            "progress: 10 of 30 tasks (33%)",
            "progress: 20 of 30 tasks (66%)",
        ]
        advance(context, work, 60)
        told = len(lines)
        assert told == 4, "nothing changes any more: nothing is said"
        source.on_completed()
        context.virtual.advance_by(1)
        assert len(lines) == told


def test_the_last_figures_are_logged(tmp_path: Path) -> None:
    with shown(tmp_path, None) as (context, work, source, lines):
        advance(context, work, 3)
        work.until(30)
        source.on_completed()
        context.virtual.advance_by(1)
        assert lines[-1] == "progress: 30 of 30 tasks (100%), $15.00"


@pytest.mark.parametrize("named", [True, False])
def test_the_file_for_programs(tmp_path: Path, named: bool) -> None:
    file = tmp_path / "progress.json"
    output = Output(io.StringIO(), progress_file=None if named else file)
    with shown(tmp_path, output, **({"file": str(file)} if named else {})) as (context, work, _, _):
        advance(context, work, 10)
        told = orjson.loads(file.read_bytes())
        assert told["total"] == 30
        assert told["over"] == told["states"]["done"] == 8
        assert told["estimate"]["low"] <= told["estimate"]["left"] <= told["estimate"]["high"]
        assert told["projected"] == 15.0
        assert [*tmp_path.glob(".*.part")] == []


@pytest.mark.parametrize("kept", [True, False])
def test_what_a_limit_lets_through_later_counts(tmp_path: Path, kept: bool) -> None:
    file, ends = tmp_path / "progress.json", list[float]()
    steps = [TestContext(name=f"results[{n}]", folder=tmp_path if kept else None) for n in (1, 2)]
    looks = Shown(Output(io.StringIO(), progress_file=file))
    for step in (*steps, looks):
        step.virtual, step.board = looks.virtual, looks.board
    steps[0].stream = steps[1].stream = "results"
    taken = Subject[Batch]()

    def begin(batch: Batch) -> Batch:
        attempt = attempt_of(batch.leases)
        assert attempt is not None
        attempt.begin()
        return batch

    with entered(steps[1]):
        taken.pipe(ops.limit(rate="6/min"), rxo.map(begin), rxo.delay(1.0)).subscribe(
            lambda _: ends.append(looks.now()), scheduler=looks.virtual
        )
    with entered(steps[0]):
        source = rx.concat(rx.of(Batch([{"n": n} for n in range(16)])), rx.never())
        source.pipe(ops.tasks("n", store=str(tmp_path / "tasks.sqlite"))).subscribe(taken, scheduler=looks.virtual)
    with entered(looks):
        Subject[int]().pipe(to_progress()).subscribe(scheduler=looks.virtual)
    looks.virtual.advance_by(5.0)
    told = orjson.loads(file.read_bytes())
    assert told["over"] == 6
    looks.virtual.advance_by(200.0)
    assert len(ends) == 16
    assert told["estimate"]["left"] == pytest.approx(ends[-1] - told["time"], rel=0.02)
    assert told["estimate"]["low"] == told["estimate"]["left"] <= told["estimate"]["high"]


def test_a_terminal_is_given_back_and_the_figures_stay(tmp_path: Path) -> None:
    stream = io.StringIO()
    output = Output(stream, terminal=True, interactive=True, colour=True, width=80, height=24)
    with shown(tmp_path, output) as (context, work, source, lines):
        advance(context, work, 5)
        assert output.screen
        work.until(30)
        source.on_completed()
        context.virtual.advance_by(1)
        text = stream.getvalue()
        assert not output.screen
        assert text.startswith(ENTER)
        assert "nothing is left to do" in text.partition(LEAVE)[2]
        assert lines == []


def test_a_run_that_ends_early_leaves_the_rest_to_the_next(tmp_path: Path) -> None:
    output = Output(stream := io.StringIO(), terminal=True, interactive=True, width=80, height=24)
    with shown(tmp_path, output) as (context, work, source, _):
        advance(context, work, 5)
        source.on_completed()
        context.virtual.advance_by(1)
    left = stream.getvalue().partition(LEAVE)[2]
    assert "the next run goes on with the 26 that are left" in left
    assert "not known yet" not in left


def test_a_screen_that_is_not_drawn_on_has_no_codes(tmp_path: Path) -> None:
    stream = io.StringIO()
    with shown(tmp_path, Output(stream, terminal=True)) as (context, work, source, lines):
        advance(context, work, 5)
        source.on_completed()
        context.virtual.advance_by(1)
        assert stream.getvalue() == ""
        assert lines


def test_of_several_one_must_be_named(tmp_path: Path) -> None:
    context = Shown(None, ("a", tmp_path / "a"), ("b", tmp_path / "b"))
    with entered(context):
        Subject[int]().pipe(to_progress()).subscribe()
    with pytest.raises(RxpipeError, match="must name the stream whose tasks are meant, as several have some: 'a', 'b'"):
        context.virtual.advance_by(1)
    with entered(context):
        Subject[int]().pipe(to_progress(of="c")).subscribe()
    with pytest.raises(RxpipeError, match="must name a stream with a step 'tasks'; got 'c'"):
        context.virtual.advance_by(1)


def test_a_run_without_tasks_is_told_of(tmp_path: Path) -> None:
    source = Subject[int]()
    context = Shown(None)
    with entered(context), logged() as lines:
        source.pipe(to_progress()).subscribe()
        source.on_completed()
        context.virtual.advance_by(1)
    assert lines == ["progress[1] to_progress: there must be a step 'tasks' in the run; got none"]


def test_a_store_that_cannot_be_read_is_looked_at_again(tmp_path: Path) -> None:
    store = tmp_path / "tasks.sqlite"
    store.write_bytes(b"no database, or not yet" * 100)
    context = Shown(None, ("results", store))
    with entered(context), logged() as lines:
        Subject[int]().pipe(to_progress()).subscribe()
        context.virtual.advance_by(5)
        assert len(lines) == 1
        assert "must be one that can be read" in lines[0]
        store.unlink()
        with working(store, 3, 1, lambda _: 1.0):
            context.virtual.advance_by(5)
        assert lines[-1].startswith("progress: 0 of 3 tasks")
