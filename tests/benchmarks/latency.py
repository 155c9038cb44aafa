"""From the write of a line to its arrival behind a graph, beside other ways to follow a file."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import HERE

RATES = (1_000, 20_000)
READERS = {
    "rxpipe: watch, read_lines, parse_json": "rxpipe",
    "the same with changes of 5 ms taken together": "coalesced",
    "tail -F": "tail",
    "watchdog and a read": "watchdog",
    "a bare loop over inotify": "inotify",
}


def measure(folder: Path, seconds: float, runs: int) -> None:
    """Run each reader in turn at each rate."""
    for rate in RATES:
        told: dict[str, list[dict[str, float]]] = {name: [] for name in READERS}
        for _ in range(runs):
            for name, reader in READERS.items():
                told[name].append(followed(folder, reader, int(rate * seconds), rate))
        print(f"\nLatency at {rate:,} lines/s for {seconds:g} s (median of {runs})")
        print(f"{'':48}{'p50 ms':>9}{'p99 ms':>9}{'of a core':>11}")
        for name, all_told in told.items():
            p50, p99, share = (statistics.median(one[figure] for one in all_told) for figure in ("p50", "p99", "share"))
            print(f"{name:48}{p50:9.2f}{p99:9.2f}{share:11.1%}")


def followed(folder: Path, reader: str, lines: int, rate: int) -> dict[str, float]:
    """What a reader tells of a file that is written at a rate."""
    with tempfile.TemporaryDirectory(dir=folder) as made:
        file = Path(made, "lines.jsonl")
        file.touch()
        command = [sys.executable, str(HERE / "latency_readers.py"), reader, str(file), str(lines)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            process.stdout.readline()
            subprocess.run(
                [sys.executable, str(HERE / "latency_writer.py"), str(file), str(lines), str(rate)], check=True
            )
            told, _ = process.communicate(timeout=60)
        if process.returncode:
            sys.exit(f"{' '.join(command)} ended with {process.returncode}")
        result: dict[str, float] = json.loads(told.splitlines()[-1])
        if result["lines"] != lines:
            sys.exit(f"{reader}: {lines} lines were written; {result['lines']:.0f} arrived")
        return result
