"""A batch of paid calls, killed again and again: every result whole and once, and what the service itself counted."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from rxpipe.testing.service import Behaviour, Service
from tests.rxpipe.parts import until

GRAPH = """
graph: lessons
settings: {checkpoint: 200ms}
streams:
  results:
    - list_files: {paths: [in], patterns: ["*.md"]}
    - tasks: {key: name, store: tasks.sqlite, priority: size}
    - retry: {kinds: {server: {attempts: 20, first: 50ms}, network: {attempts: 20, first: 50ms}}}
    - limit: {concurrency: 4, rate: RATE, quota: 100000/day}
    - chat: {model: small, prompt: "Say what {{ name }} says.", attach: path, prices: prices.json, timeout: 10s}
    - budget: {limit: 5 USD}
    - render: {template: "{{ name }}: {{ text }}\\n", into: note}
    - write_file: {to: "out/{stem}.txt", content: note}
    - to_jsonl: results.jsonl
"""
PRICES = {"small": {"input": 1, "output": 2}}
WORKERS = 4


@pytest.mark.parametrize(
    ("tasks", "kills", "rate", "minute"),
    [(120, 4, "2000/min", 2000), pytest.param(2000, 40, "1200/min", 1200, marks=pytest.mark.nightly)],
)
def test_nothing_is_paid_twice(tmp_path: Path, tasks: int, kills: int, rate: str, minute: int) -> None:
    rng = random.Random(7)  # reproducible
    (tmp_path / "in").mkdir()
    for number in range(tasks):
        (tmp_path / "in" / f"{number}.md").write_text(f"document {number} " * rng.randint(1, 20))
    (tmp_path / "graph.yaml").write_text(GRAPH.replace("RATE", rate))
    (tmp_path / "prices.json").write_text(json.dumps(PRICES))
    behaviour = Behaviour(
        latency="uniform 5ms 60ms", statuses={500: 0.05}, faults={"cut": 0.02}, requests_per_minute=minute
    )
    command = [sys.executable, "-m", "rxpipe", "run", "graph.yaml", "--once", "--state", "state.db"]
    with Service(behaviour) as service:
        environ = {**os.environ, "OPENAI_BASE_URL": service.url, "OPENAI_API_KEY": "none"}
        for _ in range(kills):
            before = service.stats().get("answered", 0)
            run = subprocess.Popen(command, cwd=tmp_path, env=environ, stderr=subprocess.PIPE)
            until(partial(_goes_on, service, before, run), deadline=90)  # the rate may be used up for a minute
            time.sleep(rng.random() * (0.4 if kills < 10 else 4))  # the random moment of the kill
            run.send_signal(signal.SIGKILL)
            run.communicate()
        last = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, timeout=600, check=False)
        assert last.returncode == 0, last.stderr.decode()
        stats = service.stats()
    _whole(tmp_path, tasks)
    lost = WORKERS * kills
    failed = stats.get("failed", 0) + stats.get("cut", 0)
    assert stats["asked"] <= tasks + failed + lost, stats
    assert len(stats["twice"]) <= lost, "only what was under way at a kill may be asked for again"
    assert stats.get("refused", 0) == 0, "the rate was never passed"
    assert stats["most_in_a_minute"] <= minute
    assert (stats["input_tokens"] + 2 * stats["output_tokens"]) / 1e6 <= 5


def _goes_on(service: Service, before: int, run: subprocess.Popen[bytes]) -> bool:
    return service.stats().get("answered", 0) > before or run.poll() is not None


def _whole(folder: Path, tasks: int) -> None:
    """Every file is there, whole, and every result once; all tasks are done."""
    files = {file.stem: file.read_text() for file in (folder / "out").iterdir()}
    assert set(files) == {str(number) for number in range(tasks)}
    assert all(text.startswith(f"{name}.md: ") and text.endswith("\n") for name, text in files.items())
    names = [json.loads(line)["name"] for line in (folder / "results.jsonl").read_text().splitlines()]
    assert sorted(names) == sorted(f"{number}.md" for number in range(tasks))
    db = sqlite3.connect(folder / "tasks.sqlite")
    assert db.execute("SELECT state, count(*) FROM task GROUP BY state").fetchall() == [("done", tasks)]
    spent, attempts = db.execute("SELECT sum(cost), max(attempts) FROM task").fetchone()
    db.close()
    assert 0 < spent <= 5
    assert attempts >= 1
