"""A graph of many sinks, killed and restarted, and an independent computation of what its sinks must hold."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

HERE = Path(__file__).parent
GRAPH = """
graph: crashed
settings: {checkpoint: 50ms}
allow: {unbounded: unique}
streams:
  records:
    - watch: {paths: [logs], patterns: ["*.jsonl"]}
    - debounce: {quiet: 5ms, by: path, at_most: 20ms}
    - read_lines: {block: 4KB}
    - parse_json:
        fields:
          id: {path: id, type: int}
          pair: {path: pair, type: int}
          group: group
          n: {path: n, type: int}
          ts: {path: ts, type: float}
    - where: n >= 5
  broken: [{from: errors}, {to_jsonl: {path: out/deep/broken.jsonl}}]
  unique: [{from: records}, {dedupe: id}]
  kept: [{from: unique}, {buffer: {count: 64, time: 10ms}}, {to_jsonl: {path: out/deep/kept.jsonl}}]
  sheet: [{from: unique}, {to_csv: {path: out/deep/sheet.csv}}]
  rows: [{from: records}, {to_sqlite: {path: out/deep/rows.db, table: rows}}]
  totals:
    - from: records
    - aggregate: {by: [group], n: sum(n), records: count(), largest: max(id)}
    - throttle: 20Hz
    - to_sqlite: {path: out/deep/totals.db, table: totals, mode: upsert}
  counts:
    - from: records
    - aggregate: {records: count(), n: sum(n)}
    - throttle: 20Hz
    - to_sqlite: {path: out/deep/counts.db, table: counts}
  windows:
    - from: unique
    - window: {size: 5s, time: ts, lateness: 1s, by: [group], records: count(), n: sum(n)}
    - to_jsonl: {path: out/deep/windows.jsonl}
  late: [{from: windows.late}, {to_jsonl: {path: out/deep/late.jsonl}}]
  even: [{from: unique}, {where: id % 2 == 0}]
  odd: [{from: unique}, {where: id % 2 == 1}]
  pairs:
    - from: even
    - join: {other: odd, on: pair, within: 1h, prefix: other_, limit: 10000000}
    - to_jsonl: {path: out/deep/pairs.jsonl}
"""
WINDOW = 5.0


def until(condition: Callable[[], object], deadline: float = 30.0) -> None:
    """Wait for a condition."""
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.005)  # between two looks at the condition


class Server:
    """A process that forks runs of one graph, see `server.py`.

    Args:
        graph: The graph's file.
        shim: The compiled `shim.c`, where faults are to be had.
        path: A folder of modules that the graph names.
    """

    def __init__(self, graph: Path, shim: Path | None = None, path: Path | None = None) -> None:
        environ = (
            {**os.environ} | ({"LD_PRELOAD": str(shim)} if shim else {}) | ({"PYTHONPATH": str(path)} if path else {})
        )
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "server.py"), str(graph)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environ,
        )

    def start(self, folder: Path, *arguments: str, faults: tuple[str | int, ...] = ()) -> Running:
        """Start `rxpipe` in a folder; one at a time."""
        assert self._process.stdin is not None
        job = {"folder": str(folder), "arguments": arguments, "faults": faults}
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return Running(self._read(), self._read)

    def _read(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()


class Running:
    """One run."""

    def __init__(self, process: int, read: Callable[[], int]) -> None:
        self.process = process
        self._read = read
        self.code: int | None = None

    def wait(self) -> int:
        """Wait for the end; the exit code, negative for a signal."""
        if self.code is None:
            self.code = self._read()
        return self.code

    def kill(self) -> int:
        """End it with `kill -9`."""
        os.kill(self.process, signal.SIGKILL)
        return self.wait()


class World:
    """A folder in which a graph runs and a writer writes.

    Args:
        server: Who runs the graph.
        folder: An empty folder.
        seed: What is random.
        lines: How many lines are written.
        pause: Seconds between each 20 of them.
    """

    def __init__(self, server: Server, folder: Path, seed: int, lines: int = 1_000_000, pause: float = 0.01) -> None:
        self.server = server
        self.folder = folder
        self.out = folder / "out" / "deep"
        self.rng = random.Random(seed)  # reproducible, not secret
        (folder / "logs").mkdir(parents=True)
        (folder / "graph.yaml").write_text(GRAPH)
        command = [sys.executable, str(HERE / "writer.py"), str(folder / "logs"), str(seed), str(lines), str(pause)]
        self._writer = subprocess.Popen(command)

    def run(self, *options: str, faults: tuple[str | int, ...] = ()) -> Running:
        """Start the graph."""
        return self.server.start(self.folder, "run", "graph.yaml", "--state", "state.db", *options, faults=faults)

    def stop(self) -> None:
        """Let the writer end."""
        (self.folder / "logs" / "stop").touch()
        self._writer.wait(timeout=60)

    def kill_at_random(self) -> None:
        """Run, and kill at a random moment: half of the times soon, while it is starting."""
        run = self.run()
        time.sleep(self.rng.random() * self.rng.choice((0.1, 0.4)))  # the random moment of the kill
        assert run.kill() == -signal.SIGKILL, self.log()

    def finish(self) -> list[str]:
        """Read what is left; what is wrong with the sinks then."""
        code = self.run("--once").wait()
        if code:
            return [f"exit code {code}:\n{self.log()}"]
        try:
            return list(self.problems())
        except (ValueError, sqlite3.Error) as error:  # a line that is no JSON, no table
            return [f"a sink cannot be read: {error}"]

    def log(self) -> str:
        """What the runs have told."""
        path = self.folder / "faults.log"
        return path.read_text()[-4000:] if path.exists() else ""

    def problems(self) -> Iterator[str]:
        """How the sinks differ from what the writer wrote."""
        lines = [line for file in sorted(self.folder.glob("logs/*.jsonl")) for line in file.read_bytes().splitlines()]
        records = [json.loads(line) for line in lines if not line.startswith(b"{torn")]
        records = [record for record in records if record["n"] >= 5]  # as the graph's condition
        unique = {record["id"]: record for record in records}
        ids, all_ids = Counter(unique.keys()), Counter(record["id"] for record in records)
        for name, found, wanted in (
            ("broken.jsonl", len(self._lines("broken.jsonl")), sum(line.startswith(b"{torn") for line in lines)),
            ("kept.jsonl", Counter(row["id"] for row in self._lines("kept.jsonl")), ids),
            ("sheet.csv", self._sheet(), ids),
            ("rows.db", Counter(row[0] for row in self._table("rows", "id")), all_ids),
            (
                "totals.db",
                {row[0]: row[1:] for row in self._table("totals", '"group", n, records, largest')},
                _totals(records),
            ),
            ("pairs.jsonl", Counter((r["id"], r["other_id"]) for r in self._lines("pairs.jsonl")), _pairs(unique)),
        ):
            if found != wanted:
                yield f"{name}: {_difference(found, wanted)}"
        yield from self._windows(unique)
        yield from self._counts(records)

    def _windows(self, unique: dict[int, dict[str, Any]]) -> Iterator[str]:
        """Each record is in the window of its time or is late, and each window came once."""
        wanted: dict[tuple[float, str], list[int]] = defaultdict(lambda: [0, 0])
        found: dict[tuple[float, str], list[int]] = defaultdict(lambda: [0, 0])
        for record in unique.values():
            _add(wanted[record["ts"] // WINDOW * WINDOW, record["group"]], 1, record["n"])
        windows = [((row["start"], row["group"]), row["records"], row["n"]) for row in self._lines("windows.jsonl")]
        late = [((row["ts"] // WINDOW * WINDOW, row["group"]), 1, row["n"]) for row in self._lines("late.jsonl")]
        for key, *values in windows + late:
            _add(found[key], *values)
        if found != wanted:
            yield f"windows.jsonl, late.jsonl: {_difference(found, wanted)}"
        twice = [key for key, count in Counter(key for key, *_ in windows).items() if count > 1]
        if twice:
            yield f"windows.jsonl: windows that came twice: {twice[:5]}"

    def _counts(self, records: list[dict[str, Any]]) -> Iterator[str]:
        """Of a table with one row, which only grows, each row is larger than the one before, and the last is whole."""
        rows = self._table("counts", "records, n", order="_rowid")
        again = [(before, after) for before, after in pairwise(rows) if not before[0] < after[0]]
        if again:
            yield f"counts.db: rows that came without a change: {again[:5]}"
        wanted = (len(records), sum(record["n"] for record in records))
        if not rows or rows[-1] != wanted:
            yield f"counts.db: the last row must be {wanted}; got {rows[-1:]}"

    def _lines(self, name: str) -> list[dict[str, Any]]:
        path = self.out / name
        return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []

    def _sheet(self) -> Counter[int]:
        header, *lines = (self.out / "sheet.csv").read_text().splitlines()
        assert header == "id,pair,group,n,ts"
        return Counter(int(line.partition(",")[0]) for line in lines)

    def _table(self, name: str, columns: str, order: str = "1") -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.out / f"{name}.db")) as db:
            return db.execute(f"SELECT {columns} FROM {name} ORDER BY {order}").fetchall()


def _totals(records: list[dict[str, Any]]) -> dict[str, tuple[int, int, int]]:
    totals = dict.fromkeys((record["group"] for record in records), (0, 0, 0))
    for record in records:
        n, count, largest = totals[record["group"]]
        totals[record["group"]] = (n + record["n"], count + 1, max(largest, record["id"]))
    return totals


def _pairs(unique: dict[int, Any]) -> Counter[tuple[int, int]]:
    return Counter((number, number + 1) for number in unique if number % 2 == 0 and number + 1 in unique)


def _add(to: list[int], *values: int) -> None:
    to[:] = [before + value for before, value in zip(to, values, strict=True)]


def _difference(found: Any, wanted: Any) -> str:
    if isinstance(found, dict) and isinstance(wanted, dict):
        wrong = {
            key: (found.get(key), wanted.get(key)) for key in {**found, **wanted} if found.get(key) != wanted.get(key)
        }
        return f"{len(wrong):,} of {len(wanted):,} differ (got, wanted): {dict(list(wrong.items())[:5])}"
    return f"got {found}, wanted {wanted}"
