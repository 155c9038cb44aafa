"""The events graph and a hand-written loop over the same typed blocks, in turn in one process: no start-up to pay.

Usage: `events_loop.py FILE FOLDER RUNS`.
"""

from __future__ import annotations

import gc
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import events_peers
from events import agree, written

from rxpipe.graph import Graph
from rxpipe.language.config import load
from rxpipe.runtime.logs import configure
from rxpipe.runtime.memory import tune

T = TypeVar("T")


def main() -> None:
    """Print the throughput of both and their ratio."""
    file, runs = sys.argv[1], int(sys.argv[3])
    graph, by_hand = load("events"), events_peers.handwritten()
    configure("WARNING", "text")
    tune()
    loops: list[float] = []
    graphs: list[float] = []
    for number in range(runs + 1):
        with tempfile.TemporaryDirectory(dir=sys.argv[2]) as made:
            out = Path(made, "costs.sqlite")
            loop, result = cpu_seconds(lambda: by_hand(file))
            whole = cpu_seconds(partial(run, graph, file, out))[0]
            if not agree(written(out), result):
                sys.exit(f"the graph and the loop differ: {written(out)} and {result}")
        if number:
            loops.append(loop)
            graphs.append(whole)
    megabytes = Path(file).stat().st_size / 1e6
    print(f"\nIn one process, {megabytes:.0f} MB, {runs} times in turn, MB per CPU second: median and best")
    for name, spent in (("hand-written loop over typed blocks", loops), ("rxpipe, whole engine on", graphs)):
        print(f"{name:48}{megabytes / statistics.median(spent):8.0f}{megabytes / min(spent):8.0f}")
    typical = statistics.median(loop / graph for loop, graph in zip(loops, graphs, strict=True))
    print(f"{'of the loop, rxpipe reaches':48}{typical:8.0%}{min(loops) / min(graphs):8.0%}")


def run(graph: Graph, file: str, out: Path) -> None:
    """The graph from a fresh state to the end of the file: a checkpoint each second, metrics, SQLite."""
    values, settings = {"paths": [file], "out": str(out)}, {"metrics": "127.0.0.1:0"}
    with graph.run(values=values, once=True, state=out.with_name("state.sqlite"), settings=settings) as made:
        made.wait()


def cpu_seconds(call: Callable[[], T]) -> tuple[float, T]:
    """What a call costs, on all threads, and what it gives."""
    gc.collect()
    started = time.process_time()
    made = call()
    return time.process_time() - started, made


if __name__ == "__main__":
    main()
