"""A hundred thousand tasks: what is looked at is bounded, and so is what waits to be kept; nothing here is timed."""

from __future__ import annotations

import sqlite3
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, TextIO

import pytest
import reactivex as rx

from rxpipe import operators as ops
from rxpipe.cli import main
from rxpipe.context import entered
from rxpipe.elements import Batch
from rxpipe.operators.tasks import _home
from rxpipe.operators.tasks._screen import screen
from rxpipe.tasks.manage import Tasks
from rxpipe.tasks.progress import progress
from rxpipe.tasks.reading import TaskReader
from rxpipe.tasks.store import Ended, New, TaskStore
from rxpipe.testing import TestContext

MANY = 100_000
MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with many tasks, a third of them done, which somebody works on."""
    path = tmp_path_factory.mktemp("many") / "tasks.sqlite"
    made = TaskStore(path, lambda: 1e9)
    made._db.execute("PRAGMA synchronous=OFF")  # nobody cuts the power
    with made.transaction():
        made.owners.join()
        made.enqueue(New(f"document {n}", n % 977, b'{"name": "document", "size": 1}', b"x" * 16) for n in range(MANY))
        claimed = made.claim(MANY // 3)
        made.begin([(task.id, task.attempt) for task in claimed])
        made.end((Ended(task.id, 1, "done", 1e9 + task.id / 1000, 0.01) for task in claimed), "", None)
        made.begin([(task.id, task.attempt) for task in made.claim(256)])
    made._db.close()  # as a process that was killed leaves it
    return path


def peak(call: Callable[[], object]) -> int:
    """The bytes of memory that a call takes at most."""
    tracemalloc.start()
    call()
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found


def test_a_look_at_how_far_they_are_is_small(store: Path) -> None:
    tasks = Tasks(store, lambda: 1e9 + 100)
    tasks.progress()
    assert peak(tasks.progress) < MEGABYTE
    shown = screen(tasks.progress(), (80, 24), "many", None, "")
    assert len(shown) <= 24


def test_a_look_reads_indexes_and_no_tasks(store: Path) -> None:
    db = sqlite3.connect(store)
    steps = [0]

    def count() -> int:
        steps[0] += 1
        return 0

    db.set_progress_handler(count, 1000)
    assert progress(TaskReader(db), 1e9 + 100).total == MANY
    assert steps[0] < 10 * MANY / 1000, "thousands of steps of SQLite's machine"
    db.close()


def test_a_list_is_never_whole_in_memory(store: Path, tmp_path: Path) -> None:
    count = [0]

    def listed() -> None:
        count[0] = sum(1 for _ in Tasks(store).select(["done"]))

    assert peak(listed) < MEGABYTE
    assert count == [MANY // 3]

    def printed(out: TextIO) -> None:
        with redirect_stdout(out):
            assert main(["tasks", "list", str(store), "--limit", "10000"]) == 0

    with (tmp_path / "out.txt").open("w") as out:
        assert peak(lambda: printed(out)) < 4 * MEGABYTE, "with what the command imports"
    assert (tmp_path / "out.txt").read_text().count("\n") == 10_000


class Later:
    """An executor that makes its calls when it is told to."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], None]] = []

    def submit(self, call: Any, *arguments: Any) -> Future[Any]:
        """Keep a call."""
        made: Future[Any] = Future()
        self.calls.append(lambda: made.set_result(call(*arguments)))
        return made


@pytest.mark.parametrize("named", [False, True])
def test_what_waits_to_be_kept_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool) -> None:
    context, later, emitted = TestContext(), Later(), list[int]()
    monkeypatch.setattr(context, "executor", lambda: later)

    def blocks() -> Iterator[int]:
        yield from range(0, 20_000, 500)

    numbers = blocks()

    def give(*_: object) -> None:
        """A source that waits while it is held, as all do."""
        if context.flow.open:
            start = next(numbers, None)
            if start is None:
                source.on_completed()
                return
            more = {"path": "missing"} if named else {}
            emitted.append(start)
            source.on_next(Batch([{"n": n} | more for n in range(start, start + 500)]))
            context.virtual.schedule(give)
        else:
            context.flow.wait(give)

    source = rx.subject.Subject[Any]()
    with entered(context):
        kept = source.pipe(ops.tasks("n", store=str(tmp_path / "t.sqlite"))).subscribe(scheduler=context.virtual)
    give()
    context.virtual.advance_by(0)
    assert len(emitted) * 500 <= _home._MOST_NEW + 1000, "the store is busy: the source is held"
    deadline = time.monotonic() + 60
    while len(emitted) < 40:
        assert time.monotonic() < deadline
        while later.calls:
            later.calls.pop(0)()
        context.virtual.advance_by(0)
    kept.dispose()
    assert context.flow.open
