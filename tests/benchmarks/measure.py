"""What all benchmarks need: a history of logs, processes measured by the kernel, a table of medians."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
RXPIPE = [sys.executable, "-m", "rxpipe"]


class Cost(NamedTuple):
    """What one process cost: CPU seconds (user and system), elapsed seconds, peak resident megabytes."""

    cpu: float
    elapsed: float
    peak_mb: float


def make_history(folder: Path, size: str, files: int) -> Path:
    """A generated history of session logs, in the page cache."""
    maker = [
        sys.executable,
        str(HERE / "make_logs.py"),
        str(folder),
        "--size",
        size,
        "--files",
        str(files),
        "--seed",
        "1",
    ]
    subprocess.run(maker, check=True, stdout=subprocess.DEVNULL)
    for file in folder.rglob("*.jsonl"):
        file.read_bytes()
    return folder


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Cost:
    """Run a command to its end and measure it."""
    import time

    started = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, **(environment or {})}
    )
    assert process.stderr is not None
    message = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}:\n{message.decode()}")
    return Cost(usage.ru_utime + usage.ru_stime, time.perf_counter() - started, usage.ru_maxrss / 1024)


def compare(title: str, commands: Mapping[str, tuple[Sequence[str], Mapping[str, str]]], runs: int) -> None:
    """Run several commands in turn, after a warm-up each, and print medians and ratios to the first."""
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for number in range(runs + 1):
        for name, (command, environment) in commands.items():
            cost = run(command, environment)
            if number:
                costs[name].append(cost)
    print(f"\n{title} (median of {runs})\n{'':44}{'CPU s':>8}{'ratio':>8}{'elapsed s':>11}{'peak MB':>9}")
    first = statistics.median(cost.cpu for cost in next(iter(costs.values())))
    for name, made in costs.items():
        cpu, elapsed, peak = (statistics.median(values) for values in zip(*made, strict=True))
        print(f"{name:44}{cpu:8.2f}{cpu / first:8.2f}{elapsed:11.2f}{peak:9.0f}")


def cpu_of(pid: int) -> float:
    """CPU seconds (user and system) that a running process has used, in nanoseconds where the kernel tells."""
    try:
        fields = Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()
        total = int(fields[0])
        for task in Path(f"/proc/{pid}/task").iterdir():
            if task.name != str(pid):
                total += int((task / "schedstat").read_text(encoding="ascii").split()[0])
        return total / 1e9
    except OSError:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
