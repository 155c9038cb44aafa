"""A run whose reader is slow, killed with `kill -9` at random moments while what it has not read is on disk."""

from __future__ import annotations

import json
import random
import time
from functools import partial
from pathlib import Path

import pytest

from tests.faults.harness import Server, until

GRAPH = """
graph: spilled
settings: {checkpoint: 30ms}
streams:
  main:
    - watch: {paths: [logs], patterns: ["*.jsonl"]}
    - read_lines: {block: 1KB}
    - parse_json: {fields: {id: {path: id, type: int}}}
    - on_slow: {policy: spill, disk: 200KB}
    - map_async: {function: "slow:slow", concurrency: 4, ordered: true}
    - to_jsonl: {path: out.jsonl}
"""
SLOW = """
import asyncio

async def slow(record):
    await asyncio.sleep(0.001)
    return record
"""
RECORDS = 6000
RUN = ("run", "graph.yaml", "--state", "state.db")


@pytest.mark.parametrize("kills", [5, pytest.param(100, marks=pytest.mark.nightly)])
def test_what_waits_on_disk_is_neither_lost_nor_doubled(tmp_path: Path, kills: int) -> None:
    rng = random.Random(3)  # reproducible, not secret
    (tmp_path / "logs").mkdir()
    (tmp_path / "graph.yaml").write_text(GRAPH)
    (tmp_path / "slow.py").write_text(SLOW)
    out, spilled = tmp_path / "out.jsonl", 0
    with (tmp_path / "logs" / "a.jsonl").open("w") as file:
        file.writelines(f'{{"id": {number}}}\n' for number in range(RECORDS))
    with Server(tmp_path / "graph.yaml", path=tmp_path) as server:
        for _ in range(kills):
            before = out.stat().st_size if out.exists() else 0
            run = server.start(tmp_path, *RUN)
            until(partial(_goes_on, out, before))
            time.sleep(rng.random() * 0.2)  # the random moment of the kill
            run.kill()
            spilled = max(spilled, sum(path.stat().st_size for path in tmp_path.glob("state.db.spool/*/*")))
        assert server.start(tmp_path, *RUN, "--once").wait() == 0, (tmp_path / "faults.log").read_text()
    assert [json.loads(line)["id"] for line in out.read_bytes().splitlines()] == list(range(RECORDS))
    assert spilled > 1000, "the reader was slow enough to be worth killing"


def _goes_on(out: Path, size: int) -> bool:
    return out.exists() and (out.stat().st_size != size or _all_written(out))


def _all_written(out: Path) -> bool:
    return out.read_bytes().count(b"\n") == RECORDS
