"""A batch and what the world does to it: a process that sleeps, a full disk, a locked store, a clock that is set."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path

from tests.rxpipe.parts import until

IMPATIENT = """
import sys
from rxpipe.operators.tasks import _home
from rxpipe.tasks import store
store.SILENT, _home.BEAT = 1.0, 0.1
from rxpipe.cli import main
sys.exit(main(sys.argv[1:]))
"""
"""A run that takes others for dead after a second."""

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
WORK = """
import asyncio, os
from pathlib import Path
async def work(record):
    with open("calls.txt", "a") as calls:
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
    (tmp_path / "in").mkdir()
    for number in range(tasks):
        (tmp_path / "in" / f"{number}.txt").write_text(str(number))
    for name, text in {"graph.yaml": SHARED, "shared.py": WORK, "impatient.py": IMPATIENT}.items():
        (tmp_path / name).write_text(text)
    calls, go = tmp_path / "calls.txt", tmp_path / "go"
    command = [sys.executable, "impatient.py", "run", "graph.yaml", "--once"]
    start = partial(
        subprocess.Popen,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    one = start([*command, "--state", "a.db", "--set", "who=a"])
    until(lambda: len(_lines(calls)) == 4)
    one.send_signal(signal.SIGSTOP)
    asleep = set(_lines(calls))
    go.touch()
    two = start([*command, "--state", "b.db", "--set", "who=b"])
    until(lambda: asleep <= set(_lines(calls)[4:]) or two.poll() is not None)
    one.send_signal(signal.SIGCONT)
    told = [process.communicate(timeout=60)[1] for process in (one, two)]
    assert [one.returncode, two.returncode] == [0, 0], told
    by_one, by_two = _names(tmp_path / "a.jsonl"), _names(tmp_path / "b.jsonl")
    assert Counter(by_one + by_two) == Counter(f"{number}.txt" for number in range(tasks)), "each is written once"
    assert by_one, "who slept goes on"
    assert asleep <= set(by_two)
    db = sqlite3.connect(tmp_path / "tasks.sqlite")
    assert db.execute("SELECT state, count(*) FROM task GROUP BY state").fetchall() == [("done", tasks)]
    assert db.execute("SELECT count(*) FROM owner").fetchone() == (0,)
    db.close()
