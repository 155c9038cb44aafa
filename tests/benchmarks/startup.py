"""How long commands take to start, beside the bare interpreter and the libraries that rxpipe stands on."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from measure import RXPIPE
from usage_live import first_screen, saved_state

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import of the libraries": [sys.executable, "-c", "import asyncio, pydantic, reactivex, orjson, msgspec, yaml"],
    "import rxpipe": [sys.executable, "-c", "import rxpipe"],
    "rxpipe --help": [*RXPIPE, "--help"],
    "rxpipe check usage": [*RXPIPE, "check", "usage"],
}


def measure(history: Path, folder: Path, runs: int) -> None:
    """Measure each command in turn, and a restart of the usage graph until its first full screen."""
    environment = {**os.environ, "CLAUDE_CONFIG_DIR": str(history), "HOME": str(folder), "TERM": "xterm"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # a user's second start finds the bytecode of the first
    run, _ = saved_state(environment, folder)
    seconds: dict[str, list[float]] = {name: [] for name in [*COMMANDS, "rxpipe run usage"]}
    for number in range(runs + 1):
        for name, command in COMMANDS.items():
            started = time.perf_counter()
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
            seconds[name].append(time.perf_counter() - started)
        seconds["rxpipe run usage"].append(first_screen(run, environment))
        if not number:
            for values in seconds.values():
                values.clear()
    print(f"\nStart, median and least of {runs}")
    for name, values in seconds.items():
        until = " (until the first full screen)" if name == "rxpipe run usage" else ""
        print(f"{statistics.median(values) * 1000:6.0f} {min(values) * 1000:6.0f} ms  {name}{until}")
