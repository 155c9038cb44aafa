"""A run killed with `kill -9` at random moments while its files grow loses nothing and doubles nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

KILLS = int(os.environ.get("KILLS", "20"))
WRITER = Path(__file__).with_name("writer.py")
GRAPH = """
graph: killed
settings: {checkpoint: 50ms}
streams:
  records:
    - watch: {paths: ["FOLDER/logs"], patterns: ["*.jsonl"]}
    - debounce: {quiet: 5ms, by: path, at_most: 20ms}
    - read_lines: {block: 4KB}
    - parse_json: {fields: {id: {path: id, type: int}, group: group, n: {path: n, type: int}}}
    - where: n >= 5
  kept:
    - from: records
    - dedupe: id
    - buffer: {count: 64, time: 10ms}
    - to_jsonl: {path: FOLDER/out.jsonl}
  rows:
    - from: records
    - to_sqlite: {path: FOLDER/out.db, table: rows}
  totals:
    - from: records
    - aggregate: {by: [group], n: sum(n), records: count(), largest: max(id)}
    - throttle: 20Hz
    - to_sqlite: {path: FOLDER/totals.db, table: totals, mode: upsert}
"""


def grown(file: Path, before: int) -> bool:
    """Whether the file is there, of another size."""
    return file.exists() and file.stat().st_size != before


def until(condition: Callable[[], object], deadline: float = 30.0) -> None:
    """Wait for a condition."""
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.005)  # between two looks at the condition


def start(folder: Path, *options: str) -> subprocess.Popen[bytes]:
    """Start a run of the graph."""
    command = [
        sys.executable,
        "-m",
        "rxpipe",
        "run",
        str(folder / "graph.yaml"),
        "--state",
        str(folder / "state.db"),
        *options,
    ]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def written(folder: Path) -> list[dict[str, int]]:
    """All records of the log files, read independently."""
    lines = [line for file in sorted((folder / "logs").glob("*.jsonl")) for line in file.read_bytes().splitlines()]
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("seed", [1])
def test_nothing_is_lost_or_doubled_when_killed_at_random(tmp_path: Path, seed: int) -> None:
    """Sinks and aggregates equal an independent count after many kills."""
    rng = random.Random(seed)  # reproducible, not secret
    (tmp_path / "logs").mkdir()
    (tmp_path / "graph.yaml").write_text(GRAPH.replace("FOLDER", str(tmp_path)))
    writer = subprocess.Popen([sys.executable, str(WRITER), str(tmp_path / "logs"), str(seed), "1000000"])
    out = tmp_path / "out.jsonl"
    try:
        for _ in range(KILLS):
            before = out.stat().st_size if out.exists() else 0
            run = start(tmp_path)
            until(partial(grown, out, before))
            time.sleep(rng.random() * 0.15)  # the random moment of the kill
            run.send_signal(signal.SIGKILL)
            run.wait()
            assert run.stderr is not None
            run.stderr.close()
    finally:
        (tmp_path / "logs" / "stop").touch()
        writer.wait(timeout=30)
    last = start(tmp_path, "--once")
    _, log = last.communicate(timeout=600)
    assert last.returncode == 0, log.decode()

    expected = [record for record in written(tmp_path) if record["n"] >= 5]  # as the graph's condition
    assert len(expected) > 1000  # the writer wrote enough to be worth killing for
    ids = Counter(record["id"] for record in expected)
    assert Counter(json.loads(line)["id"] for line in out.read_bytes().splitlines()) == ids
    with sqlite3.connect(tmp_path / "out.db") as db:
        assert Counter(number for (number,) in db.execute("SELECT id FROM rows")) == ids
    db.close()
    totals = dict.fromkeys({str(record["group"]) for record in expected}, (0, 0, 0))
    for record in expected:
        n, count, largest = totals[str(record["group"])]
        totals[str(record["group"])] = (n + record["n"], count + 1, max(largest, record["id"]))
    with sqlite3.connect(tmp_path / "totals.db") as db:
        rows = {row[0]: row[1:] for row in db.execute('SELECT "group", n, records, largest FROM totals')}
    db.close()
    assert rows == totals
