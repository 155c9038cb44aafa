"""A batch and what the world does to it: a process that sleeps, a full disk, a locked store, a clock that is set."""

from __future__ import annotations

import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from rxpipe.tasks.store import TaskStore
from tests.rxpipe.parts import until

IMPATIENT = """
import sys
from rxpipe.operators.tasks import _noting
from rxpipe.tasks import owners, store
owners.SILENT, store.PATIENCE, _noting.BEAT = 1.0, 0.1, 0.1
from rxpipe.cli import main
sys.exit(main(sys.argv[1:]))
"""
"""A run that takes others for dead after a second, and waits for nobody who holds the store."""

SHARED = """
graph: shared
params: {who: a}
settings: {checkpoint: 100ms}
streams:
  results:
    - list_files: {paths: [in]}
    - tasks: {key: name, store: tasks.sqlite, ahead: 8}
    - limit: {concurrency: 4}
    - map_async: {function: "shared:work", concurrency: 8}
    - to_jsonl: "${who}.jsonl"
"""
WRITING = SHARED.replace(
    "    - to_jsonl",
    """    - write_file: {to: "out/{stem}.md", content: name}
      on_error: {retry: {rest: 100ms}}
    - to_jsonl""",
)
WORK = """
import asyncio, contextlib
from pathlib import Path
async def work(record):
    with contextlib.suppress(OSError), open("calls.txt", "a") as calls:
        calls.write(f"{record['name']}\\n")
    await asyncio.sleep(0.02)
    while not Path("go").exists():
        await asyncio.sleep(0.01)
    return record
"""


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def _names(file: Path) -> list[str]:
    return [json.loads(line)["name"] for line in _lines(file)]


def test_a_process_that_sleeps_while_another_takes_its_tasks_over(tmp_path: Path) -> None:
    tasks = 600
    _write(tmp_path, tasks, SHARED)
    calls, go = tmp_path / "calls.txt", tmp_path / "go"
    one = _start(tmp_path, "--state", "a.db", "--set", "who=a")
    until(lambda: len(_lines(calls)) == 4)
    one.send_signal(signal.SIGSTOP)
    asleep = set(_lines(calls))
    go.touch()
    two = _start(tmp_path, "--state", "b.db", "--set", "who=b")
    until(lambda: asleep <= set(_lines(calls)[4:]) or two.poll() is not None)
    one.send_signal(signal.SIGCONT)
    told = [process.communicate(timeout=60)[1] for process in (one, two)]
    assert [one.returncode, two.returncode] == [0, 0], told
    by_one, by_two = _names(tmp_path / "a.jsonl"), _names(tmp_path / "b.jsonl")
    assert Counter(by_one + by_two) == Counter(f"{number}.txt" for number in range(tasks)), "each is written once"
    assert by_one, "who slept goes on"
    assert asleep <= set(by_two)
    _require_done(tmp_path, tasks)


@pytest.mark.parametrize("fault", ["full", "locked"])
def test_a_disk_that_is_full_or_a_store_that_is_locked_for_a_while(tmp_path: Path, fault: str) -> None:
    tasks = 200
    _write(tmp_path, tasks, WRITING)
    (tmp_path / "go").touch()
    told: list[str] = []
    run = _start(tmp_path, "--state", "a.db")
    assert run.stderr is not None
    reader = Thread(target=told.extend, args=(run.stderr,))
    reader.start()
    until(lambda: len(_lines(tmp_path / "calls.txt")) > 20 or run.poll() is not None)
    with _full(run.pid) if fault == "full" else _locked(tmp_path / "tasks.sqlite"):
        until(
            lambda: any("tasks.sqlite: " in line and "trying again" in line for line in told) or run.poll() is not None
        )
        assert run.poll() is None, told
    assert run.wait(60) == 0, told
    reader.join()
    run.stderr.close()
    assert any("the task store can be written again" in line for line in told), told
    assert Counter(_names(tmp_path / "a.jsonl")) == Counter(f"{number}.txt" for number in range(tasks))
    files = {file.name: file.read_text() for file in (tmp_path / "out").iterdir()}
    assert files == {f"{number}.md": f"{number}.txt" for number in range(tasks)}, "each is there, and whole"
    if fault == "locked":
        assert len(_lines(tmp_path / "calls.txt")) == tasks, "nothing is called twice"
    _require_done(tmp_path, tasks)


def test_a_store_that_is_locked_when_a_run_begins(tmp_path: Path) -> None:
    _write(tmp_path, 1, SHARED)
    (tmp_path / "go").touch()
    TaskStore(tmp_path / "tasks.sqlite", time.time).close()
    with _locked(tmp_path / "tasks.sqlite"):
        run = _start(tmp_path, "--state", "a.db")
        [_, told] = run.communicate(timeout=60)
    assert run.returncode == 1
    assert "tasks.sqlite: cannot be used: database is locked; try again when the program that holds it is done" in told


def _write(folder: Path, tasks: int, graph: str) -> None:
    (folder / "in").mkdir()
    for number in range(tasks):
        (folder / "in" / f"{number}.txt").write_text(str(number))
    for name, text in {"graph.yaml": graph, "shared.py": WORK, "impatient.py": IMPATIENT}.items():
        (folder / name).write_text(text)


def _start(folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "impatient.py", "run", "graph.yaml", "--once", *options]
    environ = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.Popen(command, cwd=folder, env=environ, stderr=subprocess.PIPE, text=True)


@contextmanager
def _full(process: int) -> Iterator[None]:
    """No file of a process can be written, as on a disk that is full."""
    before = resource.prlimit(process, resource.RLIMIT_FSIZE)
    resource.prlimit(process, resource.RLIMIT_FSIZE, (0, before[1]))
    yield
    resource.prlimit(process, resource.RLIMIT_FSIZE, before)


@contextmanager
def _locked(store: Path) -> Iterator[None]:
    """Another program writes to a store, and takes its time."""
    db = sqlite3.connect(store, timeout=30, isolation_level=None)
    db.execute("BEGIN EXCLUSIVE")
    yield
    db.execute("COMMIT")
    db.close()


def _require_done(folder: Path, tasks: int) -> None:
    db = sqlite3.connect(folder / "tasks.sqlite")
    assert db.execute("SELECT state, count(*) FROM task GROUP BY state").fetchall() == [("done", tasks)]
    assert db.execute("SELECT count(*) FROM owner").fetchone() == (0,)
    db.close()
