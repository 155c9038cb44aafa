"""Where cost grows faster than the work: more watched files, more steps, more groups, more tasks.

Usage: `scale.py FOLDER RUNS`.
"""

from __future__ import annotations

import asyncio
import math
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import reactivex as rx
from engine import Row, compared, spent
from reactivex import operators as rxo

from rxpipe import Batch, Graph, operators
from rxpipe.runtime.asyncrun import AsyncRun
from rxpipe.runtime.logs import configure
from rxpipe.runtime.memory import tune
from rxpipe.tasks.manage import Tasks
from rxpipe.tasks.store import Ended, New, TaskStore

FILES = (10, 100, 1_000, 10_000)
STEPS = (1, 2, 5, 10, 20, 50)
TASKS = (1_000, 10_000, 100_000)
GROUPS = (10, 100, 1_000, 10_000, 100_000, 1_000_000)
BENT = 1.5
"""The cost bends where one unit costs this many times the least of the smaller sizes."""
APPENDED = 200
RECORDS = 1_000_000
BLOCKS = 2_000


def main() -> None:
    """Print for each size what one unit costs."""
    folder, runs = Path(sys.argv[1]), int(sys.argv[2])
    configure("WARNING", "text")
    tune()
    print(f"\nScale: CPU for one unit (median of {runs}); * is more than {BENT} times the least before it")
    with tempfile.TemporaryDirectory(dir=folder) as made:
        folders = {files: _filled(Path(made, str(files)), files) for files in FILES}
        row(
            "files, each of one line: first scan and read",
            "us",
            FILES,
            lambda files: first(folders[files], files),
            runs,
        )
        row(
            "files watched: a line appended to one",
            "us",
            FILES,
            lambda files: asyncio.run(_appended(folders[files], files)),
            runs,
        )
        shutil.rmtree(made, ignore_errors=True)
        Path(made).mkdir()
    row("steps: a block through one that does nothing", "ns", STEPS, through, runs)
    row("steps: a record through a fused `derive`", "ns", STEPS, fused, runs)
    row("groups: a record aggregated", "ns", GROUPS, grouped, runs)
    with tempfile.TemporaryDirectory(dir=folder) as made:
        stores = {tasks: _stored(Path(made, f"{tasks}.sqlite"), tasks) for tasks in TASKS}
        row("tasks, half of them done: one of them enqueued", "us", TASKS, lambda tasks: enqueued(made, tasks), runs)
        row(
            "tasks, half of them done: a look at all, as a screen does, for each",
            "ns",
            TASKS,
            lambda tasks: looked(stores[tasks]),
            runs,
        )
        row("tasks, half of them done: one of them listed", "us", TASKS, lambda tasks: listed(stores[tasks]), runs)


def row(what: str, unit: str, sizes: tuple[int, ...], cost: Callable[[int], float], runs: int) -> None:
    """Measure what one unit costs at each size, and print it."""
    found = compared(runs, {size: partial(cost, size) for size in sizes})
    factor, least = {"us": 1e6, "ns": 1e9}[unit], math.inf
    print(f"\n{what}, {unit}\n" + "".join(f"{size:>12,}" for size in sizes))
    for value in found.values():
        print(f"{value * factor:>11,.0f}{'*' if value > BENT * least else ' '}", end="")
        least = min(least, value)
    print()


def _filled(folder: Path, files: int) -> Path:
    """A folder of files with a line each, a hundred in each folder in it."""
    for number in range(files):
        file = _file(folder, number)
        file.parent.mkdir(parents=True, exist_ok=True)
        append(file)
    return folder


def _file(folder: Path, number: int) -> Path:
    return folder / str(number // 100) / f"{number}.jsonl"


def append(file: Path) -> None:
    """Write one more line."""
    with file.open("a", encoding="utf-8") as log:
        log.write('{"n":1}\n')


def first(folder: Path, files: int) -> float:
    """CPU seconds for each file of a run that finds and reads them all."""
    seen: list[int] = []  # not the batches: who keeps those keeps the run from ending

    def count(batch: Batch) -> None:
        seen.append(len(batch.rows))

    steps = [
        operators.watch([str(folder)]),
        operators.read_lines(),
        operators.parse_json(),
        operators.tap(count),
    ]
    used = spent(Graph("files", {"s": steps}))
    if sum(seen) != files:
        sys.exit(f"{files} files were there; {sum(seen)} were read")
    return used / files


async def _appended(folder: Path, count: int) -> float:
    """CPU seconds for a line that is appended to one of the watched files, from the write to its arrival."""
    news = asyncio.Event()
    steps = [
        operators.watch([str(folder)], rescan="1h"),
        operators.read_lines(start="end"),
        rxo.map(lambda _: news.set()),
    ]
    async with AsyncRun(Graph("files", {"s": steps})) as run:
        while run.status().steps[1].gauges["queue_depth"] or run.status().steps[0].records_out < count:
            await asyncio.sleep(0.05)  # between two looks at whether all files are known
        started = time.process_time()
        for number in range(APPENDED):
            news.clear()
            append(_file(folder, number * max(1, count // APPENDED) % count))
            await asyncio.wait_for(news.wait(), 30)
        return (time.process_time() - started) / APPENDED


def through(steps: int) -> float:
    """CPU seconds for a block and a step that does nothing."""
    batches = [Batch([Row(1, 1)], row_type=Row)] * BLOCKS
    graph = Graph(
        "steps", {"s": [rx.from_iterable(batches), *(rxo.map(lambda element: element) for _ in range(steps))]}
    )
    return spent(graph) / BLOCKS / steps


def fused(steps: int) -> float:
    """CPU seconds for a record and a fused step."""
    batches = [Batch([Row(n, n) for n in range(1_000)], row_type=Row)] * 100
    made = [operators.derive(value="value + 1") for _ in range(steps)]
    return spent(Graph("steps", {"s": [rx.from_iterable(batches), *made]})) / 100_000 / steps


def grouped(groups: int) -> float:
    """CPU seconds for a record that is aggregated."""

    def batches() -> Iterator[Batch]:
        for start in range(0, RECORDS, 1_000):
            yield Batch([Row(n % groups, n) for n in range(start, start + 1_000)], row_type=Row)

    table = operators.aggregate(by=["key"], n="count()", total="sum(value)", most="max(value)")
    return spent(Graph("groups", {"s": [rx.from_iterable(batches()), table]})) / RECORDS


def _stored(path: Path, tasks: int) -> Path:
    """A store with so many tasks, half of them done."""
    path.unlink(missing_ok=True)
    store = TaskStore(path, time.time)
    with store.transaction():
        store.owners.join()
        store.enqueue(New(f"document {n}", n, b'{"name": "document"}', b"x" * 16) for n in range(tasks))
    with store.transaction():
        store.end((Ended(task.id, 1, "done", time.time()) for task in store.claim(tasks // 2)), "", None)
    store.close()
    return path


def enqueued(folder: str, tasks: int) -> float:
    """CPU seconds for each task of a new store."""
    started = time.process_time()
    _stored(Path(folder, "new.sqlite"), tasks)
    return (time.process_time() - started) / tasks


def looked(store: Path) -> float:
    """CPU seconds for each task of a look at how far they are."""
    tasks = Tasks(store)
    started = time.process_time()
    total = tasks.progress().total
    return (time.process_time() - started) / total


def listed(store: Path) -> float:
    """CPU seconds for each task of a list of all."""
    started = time.process_time()
    count = sum(1 for _ in Tasks(store).select())
    return (time.process_time() - started) / count


if __name__ == "__main__":
    main()
