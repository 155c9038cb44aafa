"""What a task costs that does nothing: kept in a store, given out, and noted as done; beside other ways to do that.

Usage: `tasks.py FOLDER RUNS`.
"""

from __future__ import annotations

import asyncio
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import orjson
import reactivex as rx

from rxpipe import Batch, Graph, operators
from rxpipe.runtime.logs import configure
from rxpipe.runtime.memory import tune

TASKS, AT_ONCE, WORKERS = 20_000, 256, 4
HUEY_TASKS = 1_000
"""Of the slow peer."""


def main() -> None:
    """Measure each several times in turn and print medians."""
    configure("WARNING", "text")
    tune()
    ways: dict[str, tuple[Callable[[Path], None], int]] = {
        "plain SQLite loop, synchronous, 256 a transaction": (plain, TASKS),
        "rxpipe: tasks": (kept, TASKS),
        "rxpipe: tasks, limit, an async function": (limited, TASKS),
        "asyncio with a semaphore, nothing kept": (semaphore, TASKS),
    }
    if find_spec("huey") is None:
        print("huey is not installed: left out")
    else:
        ways["huey on SQLite"] = (huey, HUEY_TASKS)
    told: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(int(sys.argv[2])):
        for name, (way, count) in ways.items():
            with tempfile.TemporaryDirectory(dir=sys.argv[1]) as folder:
                cpu, began = time.process_time(), time.perf_counter()
                way(Path(folder))
                took = (time.process_time() - cpu) / count, (time.perf_counter() - began) / count
                told[name].append((took[0] * 1e6, took[1] * 1e6))
    print(f"\nA task that does nothing, microseconds (median of {sys.argv[2]}, {TASKS:,} tasks)")
    print(f"{'':52}{'CPU':>9}{'elapsed':>9}{'of plain':>10}")
    least = statistics.median(cpu for cpu, _ in next(iter(told.values())))
    for name, all_told in told.items():
        cpu, wall = (statistics.median(one[figure] for one in all_told) for figure in (0, 1))
        print(f"{name:52}{cpu:9.1f}{wall:9.1f}{cpu / least:9.1f}x")


def plain(folder: Path) -> None:
    """One table, one writer."""
    db = sqlite3.connect(folder / "plain.sqlite", isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE task (id INTEGER PRIMARY KEY, key TEXT UNIQUE, state TEXT, input BLOB, done REAL)")
    db.execute("CREATE INDEX pending ON task (id) WHERE state = 'pending'")
    for start in range(0, TASKS, AT_ONCE):
        rows = [(str(number), orjson.dumps({"n": number})) for number in range(start, min(start + AT_ONCE, TASKS))]
        db.execute("BEGIN IMMEDIATE")
        db.executemany("INSERT INTO task (key, state, input) VALUES (?, 'pending', ?)", rows)
        db.execute("COMMIT")
    done: list[tuple[float, int]] = []
    while True:
        db.execute("BEGIN IMMEDIATE")
        db.executemany("UPDATE task SET state = 'done', done = ? WHERE id = ?", done)
        chosen = f"SELECT id FROM task WHERE state = 'pending' ORDER BY id LIMIT {AT_ONCE}"
        taken = db.execute(f"UPDATE task SET state = 'running' WHERE id IN ({chosen}) RETURNING id, input").fetchall()
        db.execute("COMMIT")
        if not taken:
            break
        done = [(time.time(), number) for number, record in taken if orjson.loads(record)]
    db.close()


def kept(folder: Path, *more: object) -> None:
    """The operator, in a run that keeps state."""
    rows = [{"n": number} for number in range(TASKS)]
    source = rx.of(*(Batch(rows[start : start + 1000]) for start in range(0, TASKS, 1000)))
    graph = Graph("tasks", {"main": [source, operators.tasks("n", store=str(folder / "tasks.sqlite")), *more]})
    with graph.run(once=True, state=folder / "state.sqlite") as run:
        run.wait()


def limited(folder: Path) -> None:
    """With a limit, and a call that is awaited."""

    async def call(record: dict[str, object]) -> dict[str, object]:
        return record

    kept(folder, operators.limit(concurrency=WORKERS * 16), operators.map_async(call, concurrency=AT_ONCE))


def semaphore(folder: Path) -> None:
    """What many write by hand."""

    async def call(number: int, free: asyncio.Semaphore) -> None:
        async with free:
            orjson.loads(orjson.dumps({"n": number}))

    async def whole() -> None:
        free = asyncio.Semaphore(WORKERS)
        await asyncio.gather(*(call(number, free) for number in range(TASKS)))

    asyncio.run(whole())


def huey(folder: Path) -> None:
    """Its consumer with threads, in this process."""
    queue = import_module("huey").SqliteHuey(filename=str(folder / "huey.sqlite"), fsync=True)
    left = [HUEY_TASKS]

    @queue.task()  # type: ignore[untyped-decorator]  # huey has no types
    def call(number: int) -> int:
        left[0] -= 1
        return number

    for number in range(HUEY_TASKS):
        call(number)
    consumer = queue.create_consumer(workers=WORKERS)
    consumer.start()
    while left[0] > 0:
        time.sleep(0.01)  # between two looks at what is left
    consumer.stop()


if __name__ == "__main__":
    main()
