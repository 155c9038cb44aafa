"""Benchmarks with their peers in the same run: `python tests/benchmarks [--size 1GB] [--files 3200] [NAME ...]`.

Every figure is CPU time or memory of whole processes, as the kernel counts them; peers that are not installed are named
and left out. Machines are shared and noisy: each pair is run alternately and the medians are shown.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import startup  # the benchmarks stand beside this file, which is run as a folder
import usage_cold
import usage_live
from measure import make_history

BENCHMARKS = {"cold": usage_cold.measure, "live": usage_live.measure, "startup": startup.measure}


def main() -> None:
    """Run the benchmarks named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHMARKS, []], help="which ones; all by default")
    parser.add_argument("--size", default="1GB", help="size of the history that is made")
    parser.add_argument("--files", type=int, default=3200, help="number of its files")
    parser.add_argument("--runs", type=int, default=5, help="counted runs of each command")
    parser.add_argument("--history", type=Path, help="a config folder to read instead of a made one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rxpipe-bench-") as folder:
        history = arguments.history or make_history(Path(folder) / "history", arguments.size, arguments.files)
        for name in arguments.names or BENCHMARKS:
            BENCHMARKS[name](history, Path(folder), arguments.runs)


if __name__ == "__main__":
    main()
