"""What all benchmarks need: a history of logs, processes measured by the kernel, a table of medians."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
RXPIPE = [sys.executable, "-m", "rxpipe"]
PEERS = HERE.parents[1] / ".venv-bench"
"""The environment of the peers, which `make bench` makes."""
PEER_PYTHON = str(PEERS / "bin" / "python")


class Cost(NamedTuple):
    """What a command cost: CPU seconds (user and system), elapsed seconds, resident megabytes of a process at most."""

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


class Job(NamedTuple):
    """A command to measure.

    Attributes:
        command: The command.
        environment: What it finds in its environment besides this process's own.
        megabytes: How much it reads; 0 where that says nothing.
        prepare: Called before each run.
        check: Called after each run with what it printed; raises where that is wrong.
        beside: Another command that runs at the same time, and is measured with it.
    """

    command: Sequence[str]
    environment: Mapping[str, str] = {}
    megabytes: float = 0.0
    prepare: Callable[[], None] = lambda: None
    check: Callable[[bytes], None] = lambda _: None
    beside: Sequence[str] = ()


def run(job: Job) -> Cost:
    """Run a command to its end, with the one beside it, and measure both together."""
    job.prepare()
    cpu = peak = 0.0
    with tempfile.TemporaryFile() as printed, tempfile.TemporaryFile() as told:
        started = time.perf_counter()
        environment = {**os.environ, **job.environment}
        processes = [
            subprocess.Popen(command, stdout=printed, stderr=told, env=environment)
            for command in (job.command, job.beside)
            if command
        ]
        for process in processes:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            cpu += usage.ru_utime + usage.ru_stime
            peak = max(peak, usage.ru_maxrss / 1024)
        elapsed = time.perf_counter() - started
        for file in (printed, told):
            file.seek(0)
        if any(process.returncode for process in processes):
            codes = " and ".join(str(process.returncode) for process in processes)
            sys.exit(f"{' '.join(job.command)} ended with {codes}:\n{told.read().decode()}")
        job.check(printed.read())
    return Cost(cpu, elapsed, peak)


def compare(title: str, jobs: Mapping[str, Job], runs: int) -> dict[str, list[Cost]]:
    """Run several commands in turn, after a warm-up each, and print medians and what each costs to the first's 1.

    Returns:
        What each run cost.
    """
    costs: dict[str, list[Cost]] = {name: [] for name in jobs}
    for number in range(runs + 1):
        for name, job in jobs.items():
            cost = run(job)
            if number:
                costs[name].append(cost)
    speeds = any(job.megabytes for job in jobs.values())
    print(f"\n{title} (median of {runs})\n{'':48}{'CPU s':>8}{'ratio':>8}{'elapsed s':>11}{'peak MB':>9}", end="")
    print(f"{'MB per CPU s':>14}" if speeds else "")
    first = 0.0
    for name, made in costs.items():
        cpu, elapsed, peak = (statistics.median(values) for values in zip(*made, strict=True))
        each = cpu / (jobs[name].megabytes or 1.0)
        first = first or each
        print(f"{name:48}{cpu:8.2f}{each / first:8.2f}{elapsed:11.2f}{peak:9.0f}", end="")
        print(f"{jobs[name].megabytes / cpu:14.0f}" if speeds else "")
    return costs


def script(name: str, *arguments: object) -> None:
    """Run a benchmark that measures within one process; in one of its own, since a process hands its peak memory on."""
    subprocess.run([sys.executable, str(HERE / name), *map(str, arguments)], check=True)


def installed(modules: Sequence[str]) -> set[str]:
    """Which of these modules the environment of the peers has; the others are named."""
    look = "import sys, importlib.util; print(*[m for m in sys.argv[1:] if importlib.util.find_spec(m)])"
    found: set[str] = set()
    if os.path.exists(PEER_PYTHON):
        told = subprocess.run([PEER_PYTHON, "-c", look, *modules], check=True, capture_output=True, text=True)
        found = set(told.stdout.split())
    for module in modules:
        if module not in found:
            print(f"{module}: not installed in {PEERS.name}, left out")
    return found


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
