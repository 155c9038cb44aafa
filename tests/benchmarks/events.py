"""The events job: a file of service events, grouped by service and model, beside other tools and hand-written loops."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
import sqlite3
import statistics
import subprocess
import sys
from functools import partial
from pathlib import Path

from events_peers import Groups
from measure import HERE, PEER_PYTHON, RXPIPE, Job, compare, installed, script

SLOW_MB = 100
"""What the slow peers read at most; their throughput is that of this much."""
PEERS = {
    "msgspec typed blocks, hand-written loop": "handwritten",
    "plain loop, orjson per line": "plain",
    "Polars streaming, all cores": "polars",
    "DuckDB, one thread": "duckdb",
}
SLOW_PEERS = {
    "RxPY, one item per line": "rxpy",
    "Bytewax, blocks of lines": "bytewax",
    "streamz, one item per line": "streamz",
    "Pathway": "pathway",
}
MODULES = {"handwritten": "msgspec", "plain": "orjson", "rxpy": "reactivex"}
"""The module a peer needs, where it does not bear its name."""
EVENTS_PEERS = [sys.executable, str(HERE / "events_peers.py")]
PARALLEL = """
graph: events
params: {paths: {type: list, default: []}, out: {type: str, default: ""}}
streams:
  costs:
    - watch: {paths: "${paths}"}
    - read_lines
    - parallel:
        workers: 2
        steps:
          - parse_json:
              fields:
                ts: {path: ts, type: float}
                service: {path: service, type: str}
                level: {path: level, type: str}
                model: {path: model, type: str}
                user: {path: user, type: str}
                latency: {path: latency, type: float}
                tokens_in: {path: tokens_in, type: int}
                tokens_out: {path: tokens_out, type: int}
          - where: level != 'DEBUG'
          - derive: {cost: tokens_in * 3e-6 + tokens_out * 15e-6}
          - aggregate: {by: [service, model], calls: count(), cost: sum(cost), dearest: max(cost)}
    - throttle: 1Hz
    - to_sqlite: {path: "${out}", table: costs}
"""


def measure(folder: Path, size: int, runs: int) -> None:
    """Compare the shipped graph with its peers, then with a hand-written loop in this process, then in parallel."""
    made = Events(folder, size)
    whole, less = made.file("events", size), made.file("less", min(size, SLOW_MB * 1_000_000))
    jobs = {"rxpipe run events (state, metrics, SQLite)": made.job("events", whole)}
    peers = PEERS | SLOW_PEERS
    found = installed([MODULES.get(peer, peer) for peer in peers.values()])
    print("Fluent Bit: neither in Debian nor in a package index, left out")
    for name, peer in peers.items():
        if MODULES.get(peer, peer) in found:
            jobs[name] = made.peer(peer, less if name in SLOW_PEERS else whole)
    compare(f"Events job, {size / 1e6:,.0f} MB (at most {SLOW_MB} MB for the slow peers)", jobs, runs)
    script("events_loop.py", whole, folder, runs)
    in_parallel(made, whole, runs)


def in_parallel(made: Events, whole: Path, runs: int) -> None:
    """Compare the job in one process, in one with `parallel`, and as two processes that know nothing of each other.

    Two such processes, each over half of the data, are what two cores can give on a machine at that time.
    """
    graph = made.folder / "parallel.yaml"
    graph.write_text(PARALLEL, encoding="utf-8")
    alone, parallel, apart = "rxpipe run events, one process", "the same with `parallel: 2`", "two, each over a half"
    half = made.file("half", whole.stat().st_size // 2)
    one, other = made.job("events", half), made.job("events", half, "other")
    jobs = {
        alone: made.job("events", whole),
        parallel: made.job(str(graph), whole),
        apart: one._replace(megabytes=2 * one.megabytes, beside=other.command, check=partial(made.check_both, half)),
    }
    costs = compare("Events job in parallel; with two free cores look at the elapsed time", jobs, runs)
    print(f"\n{'Times as fast as one process, by the clock':48}{'median':>8}{'best':>8}")
    for name in (parallel, apart):
        times = [first.elapsed / second.elapsed for first, second in zip(costs[alone], costs[name], strict=True)]
        least = min(cost.elapsed for cost in costs[alone]) / min(cost.elapsed for cost in costs[name])
        print(f"{name:48}{statistics.median(times):8.2f}{least:8.2f}")


class Events:
    """The files of the job, and what must come out of each.

    Args:
        folder: Where everything is written.
        size: Bytes of the whole file.
    """

    def __init__(self, folder: Path, size: int) -> None:
        self.folder = folder
        self.size = size
        self._expected: dict[Path, Groups] = {}

    def file(self, name: str, size: int) -> Path:
        """A file of events, in the page cache, and its result computed by the standard library."""
        file = self.folder / name / "events.jsonl"
        file.parent.mkdir(exist_ok=True)
        script("make_events.py", file, "--size", size)
        self._expected[file] = groups_of(subprocess.check_output([*EVENTS_PEERS, "independent", str(file)]))
        return file

    def job(self, graph: str, file: Path, name: str = "one") -> Job:
        """The graph with everything on: a checkpoint every second, metrics, a sink that gets each row exactly once."""
        out = self.out(name)
        values = ["--set", f"paths={file}", "--set", f"out={out}"]
        engine = ["--state", str(out.with_suffix(".state")), "--metrics", "127.0.0.1:0"]
        command = [*RXPIPE, "run", graph, "--once", *values, *engine]
        return Job(command, {}, file.stat().st_size / 1e6, self.clear, lambda _: self.check(file, written(out)))

    def out(self, name: str) -> Path:
        """Where a graph writes to; its state is beside it."""
        return self.folder / f"out-{name}.sqlite"

    def check_both(self, file: Path, _: bytes) -> None:
        """Hold what two graphs wrote against the independent result."""
        for name in ("one", "other"):
            self.check(file, written(self.out(name)))

    def peer(self, peer: str, file: Path) -> Job:
        """A peer."""

        command = [PEER_PYTHON, EVENTS_PEERS[1], peer, str(file)]
        return Job(command, {}, file.stat().st_size / 1e6, check=lambda printed: self.check(file, groups_of(printed)))

    def clear(self) -> None:
        """Remove what the last run left."""
        for left in self.folder.glob("out-*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()

    def check(self, file: Path, got: Groups) -> None:
        """Hold a result against the independent one."""
        if not agree(got, self._expected[file]):
            sys.exit(f"the result is wrong: got {got}, expected {self._expected[file]}")


def written(database: Path) -> Groups:
    """The last row of each group in the graph's database."""
    with contextlib.closing(sqlite3.connect(database)) as db:
        rows = db.execute("SELECT service, model, calls, cost, dearest FROM costs ORDER BY _rowid")
        return {(service, model): figures for service, model, *figures in rows}


def agree(got: Groups, expected: Groups) -> bool:
    """Whether two results are the same, but for the order in which floats were added."""
    return got.keys() == expected.keys() and all(
        math.isclose(one, other, rel_tol=1e-9)
        for key, figures in expected.items()
        for one, other in zip(got[key], figures, strict=True)
    )


def groups_of(printed: bytes) -> Groups:
    """The result that a peer printed last."""
    told = json.loads(printed.splitlines()[-1])
    return {(service, model): figures for key, figures in told.items() for service, model in [key.split("/")]}
