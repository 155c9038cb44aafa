"""Benchmarks with their peers in the same run: `python tests/benchmarks [--size 1GB] [--runs 5] [NAME ...]`.

Every figure is CPU time or memory of whole processes, as the kernel counts them, or the ratio of two loops in one
process; peers that are not installed are named and left out. Machines are shared and noisy: what is compared is run
alternately and the medians are shown.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import batch  # the benchmarks stand beside this file, which is run as a folder
import events
import latency
import startup
import usage_cold
import usage_live
from make_logs import bytes_of
from measure import make_history, script


def main() -> None:
    """Run the benchmarks named, or all."""
    with tempfile.TemporaryDirectory(prefix="rxpipe-bench-") as made:
        folder = Path(made)
        arguments = _parser().parse_args()
        runs = arguments.runs

        @cache
        def history() -> Path:
            return arguments.history or make_history(folder / "history", arguments.size, arguments.files)

        benchmarks: dict[str, Callable[[], None]] = {
            "events": lambda: events.measure(folder, int(bytes_of(arguments.size)), runs),
            "cold": lambda: usage_cold.measure(history(), folder, runs),
            "live": lambda: usage_live.measure(history(), folder, runs),
            "latency": lambda: latency.measure(folder, arguments.seconds, runs),
            "engine": lambda: script("engine.py", folder, runs),
            "batch": lambda: batch.measure(folder, runs),
            "tasks": lambda: script("tasks.py", folder, runs),
            "scale": lambda: script("scale.py", folder, runs),
            "startup": lambda: startup.measure(history(), folder, runs),
        }
        unknown = [name for name in arguments.names if name not in benchmarks]
        if unknown:
            sys.exit(f"benchmarks: must be of {', '.join(benchmarks)}; got {', '.join(unknown)}")
        for name in arguments.names or benchmarks:
            benchmarks[name]()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="which ones; all by default")
    parser.add_argument(
        "--size", default="1GB", help="size of the events, and of the history of sessions, that are made"
    )
    parser.add_argument("--files", type=int, default=3200, help="number of the history's files")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long lines are written for `latency`")
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each command")
    parser.add_argument("--history", type=Path, help="a config folder to read instead of a made one")
    return parser


if __name__ == "__main__":
    main()
