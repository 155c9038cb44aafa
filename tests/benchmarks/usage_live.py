"""The usage graph with a whole history behind it: start again, one line more, nothing to do."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from measure import RXPIPE, cpu_of

PORT = 19464
LINES = 100
IDLE = 30.0
SETTLE = 35.0
"""Seconds after which rescans have shown that notifications are complete, and share what is quiet."""


def measure(history: Path, folder: Path, runs: int) -> None:
    """Measure restart, append and idle on a run whose state is saved."""
    environment = {**os.environ, "CLAUDE_CONFIG_DIR": str(history), "HOME": str(folder), "TERM": "xterm"}
    run, first = saved_state(environment, folder)
    print(f"\nLive, on the history of {sum(1 for _ in history.rglob('*.jsonl'))} files")
    print(f"first read and state saved: {first:.2f} s")
    starts = [first_screen(run, environment) for _ in range(runs)]
    print(f"restart with saved offsets, to the first full screen: median {statistics.median(starts):.3f} s of {runs}")
    _append_and_idle(run, environment, history)


def saved_state(environment: dict[str, str], folder: Path) -> tuple[list[str], float]:
    """Read the history once and save the state; returns the command that goes on from it and the seconds it took."""
    run = [*RXPIPE, "run", "usage", "--state", str(folder / "usage.sqlite")]
    return run, _measured(run, environment, "to read the history once and save its state")


def _measured(command: list[str], environment: dict[str, str], what: str) -> float:
    started = time.perf_counter()
    process = subprocess.run([*command, "--once"], env=environment, stdout=subprocess.DEVNULL, check=False)
    if process.returncode:
        raise SystemExit(f"could not run {what}: exit code {process.returncode}")
    return time.perf_counter() - started


def first_screen(command: list[str], environment: dict[str, str]) -> float:
    """Seconds from the start of the process until a terminal of 160 by 50 has the whole screen, totals included."""
    import pty
    import termios

    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (50, 160))
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdin=slave, stdout=slave, stderr=subprocess.DEVNULL)
    os.close(slave)
    seen = b""
    try:
        while b"Total" not in seen:
            seen += os.read(master, 65536)
        return time.perf_counter() - started
    finally:
        process.kill()
        process.wait()
        os.close(master)


def _append_and_idle(command: list[str], environment: dict[str, str], history: Path) -> None:
    process = subprocess.Popen(
        [*command, "--metrics", f":{PORT}"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _until(lambda: _records() is not None)
        file = next(history.rglob("*.jsonl"))
        time.sleep(SETTLE)  # the run's own time
        _until_quiet(process.pid)
        before = cpu_of(process.pid)
        for number in range(LINES):
            with file.open("ab") as log:
                log.write(_line(number))
            time.sleep(0.25)  # the pace of the writer: each line is handled on its own
        used = cpu_of(process.pid) - before
        _until_quiet(process.pid)
        before = cpu_of(process.pid)
        time.sleep(IDLE)  # the time that is measured
        idle = cpu_of(process.pid) - before
        print(
            f"one appended line: {(used - idle * LINES * 0.25 / IDLE) / LINES * 1000:.2f} ms of CPU (mean of {LINES})"
        )
        print(f"idle: {idle / IDLE * 100:.3f} % of a core over {IDLE:.0f} s")
    finally:
        process.terminate()
        process.wait()


def _line(number: int) -> bytes:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    usage = {
        "input_tokens": 10,
        "output_tokens": number,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 100,
    }
    message = {"id": f"msg_bench_{number}", "model": "claude-opus-4-5-20251101", "role": "assistant", "usage": usage}
    record = {"type": "assistant", "timestamp": now, "requestId": f"req_{number}", "message": message}
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def _records() -> str | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics", timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        return None


def _until(condition: Callable[[], bool], deadline: float = 60.0) -> None:
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > end:
            raise SystemExit("the run did not come up in time")
        time.sleep(0.05)  # between two looks


def _until_quiet(pid: int) -> None:
    """Wait until the process uses next to nothing."""
    before = cpu_of(pid)
    _until(lambda: _quiet(pid, before))


def _quiet(pid: int, _: float) -> bool:
    before = cpu_of(pid)
    time.sleep(2.0)  # the time over which quiet is judged
    return cpu_of(pid) - before < 0.01  # half a percent
