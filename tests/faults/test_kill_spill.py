"""A run whose reader is slow, killed with `kill -9` at random moments while what it has not read is on disk."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

KILLS = int(os.environ.get("KILLS", "20")) // 2
GRAPH = """
graph: spilled
settings: {checkpoint: 30ms}
streams:
  main:
    - watch: {paths: ["FOLDER/logs"], patterns: ["*.jsonl"]}
    - read_lines: {block: 1KB}
    - parse_json: {fields: {id: {path: id, type: int}}}
    - on_slow: {policy: spill, disk: 200KB}
    - map_async: {function: "slow:slow", concurrency: 4, ordered: true}
    - to_jsonl: {path: FOLDER/out.jsonl}
"""
SLOW = """
import asyncio

async def slow(record):
    await asyncio.sleep(0.001)
    return record
"""
RECORDS = 6000


def start(folder: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "rxpipe", "run", str(folder / "graph.yaml"), "--state", str(folder / "state.db")]
    environ = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.Popen([*command, *options], env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _all_written(out: Path) -> bool:
    return out.exists() and out.read_bytes().count(b"\n") == RECORDS


def test_what_waits_on_disk_is_neither_lost_nor_doubled(tmp_path: Path) -> None:
    rng = random.Random(3)  # reproducible, not secret
    (tmp_path / "logs").mkdir()
    (tmp_path / "graph.yaml").write_text(GRAPH.replace("FOLDER", str(tmp_path)))
    (tmp_path / "slow.py").write_text(SLOW)
    out, spilled = tmp_path / "out.jsonl", 0
    with (tmp_path / "logs" / "a.jsonl").open("w") as file:
        file.writelines(f'{{"id": {number}}}\n' for number in range(RECORDS))
    for _ in range(KILLS):
        before = out.stat().st_size if out.exists() else 0
        run = start(tmp_path)
        end = time.monotonic() + 30
        while (not out.exists() or out.stat().st_size == before) and not _all_written(out):
            assert time.monotonic() < end, "the run must write something"
            time.sleep(0.005)  # between two looks
        time.sleep(rng.random() * 0.2)  # the random moment of the kill
        run.send_signal(signal.SIGKILL)
        run.wait()
        assert run.stderr is not None
        run.stderr.close()
        spilled = max(spilled, sum(path.stat().st_size for path in tmp_path.glob("state.db.spool/*/*")))
    last = start(tmp_path, "--once")
    _, log = last.communicate(timeout=60)
    assert last.returncode == 0, log.decode()
    assert [json.loads(line)["id"] for line in out.read_bytes().splitlines()] == list(range(RECORDS))
    assert spilled > 1000, "the reader was slow enough to be worth killing"
