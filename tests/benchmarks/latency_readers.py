"""Readers of a growing file: how long after it was written each line arrives, and what that costs.

Usage: `latency_readers.py READER FILE LINES`. Prints a line when it is ready, and as the last one a JSON object.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measure import cpu_of

Taken = list[tuple[int, bytes]]
"""When what arrived."""


class Arrivals:
    """What has arrived of a number of lines.

    Args:
        lines: How many are written.
        cpu: CPU seconds that the reader has used.
    """

    def __init__(self, lines: int, cpu: Callable[[], float] = time.process_time) -> None:
        self.lines = lines
        self.missing = lines
        self.all = threading.Event()
        self.cpu = cpu
        self.taken: Taken = []
        self.latencies: list[int] = []
        self._began = (0.0, 0.0)

    def ready(self) -> None:
        """The reader waits: the writer may begin."""
        self._began = (time.monotonic(), self.cpu())
        print("ready", flush=True)

    def rows(self, batch: Any) -> None:
        """Take decoded records."""
        now = time.monotonic_ns()
        self.latencies += [now - row.written for row in batch.rows]
        self._arrived(len(batch.rows))

    def data(self, data: bytes) -> None:
        """Take bytes; they are decoded when all is over."""
        self.taken.append((time.monotonic_ns(), data))
        self._arrived(data.count(b"\n"))

    def _arrived(self, lines: int) -> None:
        self.missing -= lines
        if self.missing <= 0:
            self.all.set()

    def tell(self) -> None:
        """Print the figures: milliseconds, and the share of a core."""
        began, used = self._began
        share = (self.cpu() - used) / (time.monotonic() - began)
        rest = b""
        for now, data in self.taken:
            *whole, rest = (rest + data).split(b"\n")
            self.latencies += [now - json.loads(line)["written"] for line in whole]
        self.latencies.sort()
        p50, p99 = (self.latencies[int(len(self.latencies) * part)] / 1e6 for part in (0.5, 0.99))
        print(json.dumps({"lines": len(self.latencies), "p50": p50, "p99": p99, "share": share}))


def rxpipe(path: str, lines: int, **watched: Any) -> None:
    """A graph with its state, its metrics and a checkpoint every second."""
    from rxpipe import Graph, operators  # the other readers do without
    from rxpipe.runtime.memory import tune

    tune()  # as `rxpipe run` does
    arrivals = Arrivals(lines)
    steps = [
        operators.watch([str(Path(path).parent)], patterns=["*.jsonl"], **watched),
        operators.read_lines(),
        operators.parse_json(fields={"written": {"path": "written", "type": "int"}}),
        operators.to_callback(arrivals.rows),
    ]
    with Graph("latency", {"lines": steps}).run(state=Path(path).with_suffix(".sqlite")) as run:
        while run.status().steps[0].records_out < 1:
            time.sleep(0.05)  # between two looks at whether the file is watched
        arrivals.ready()
        arrivals.all.wait()
        arrivals.tell()


def coalesced(path: str, lines: int) -> None:
    """The graph with changes of 5 ms taken together."""
    rxpipe(path, lines, rest="5ms")


def tail(path: str, lines: int) -> None:
    """`tail -F`, of which only its own time is counted."""
    with subprocess.Popen(["tail", "-n0", "-F", path], stdout=subprocess.PIPE) as process:
        arrivals = Arrivals(lines, lambda: cpu_of(process.pid))
        time.sleep(0.5)  # it does not tell when it is ready
        arrivals.ready()
        assert process.stdout is not None
        while arrivals.missing > 0:
            arrivals.data(os.read(process.stdout.fileno(), 1 << 16))
        arrivals.tell()
        process.terminate()


def watchdog(path: str, lines: int) -> None:
    """An observer of watchdog that reads what is new."""
    from watchdog.events import FileModifiedEvent, FileSystemEventHandler  # of this reader alone
    from watchdog.observers import Observer

    arrivals = Arrivals(lines)
    with Path(path).open("rb", buffering=0) as file:

        class Handler(FileSystemEventHandler):
            def on_modified(self, event: Any) -> None:
                if isinstance(event, FileModifiedEvent) and (data := file.read(1 << 20)):
                    arrivals.data(data)

        observer = Observer()
        observer.schedule(Handler(), str(Path(path).parent))
        observer.start()
        arrivals.ready()
        arrivals.all.wait()
        arrivals.tell()
        observer.stop()
        observer.join()


def inotify(path: str, lines: int) -> None:
    """A bare loop: wait for a notification, read what is new."""
    from watchdog.observers import inotify_c as binding  # of this reader alone

    arrivals = Arrivals(lines)
    notifications = binding.inotify_init()
    binding.inotify_add_watch(notifications, os.fsencode(path), binding.InotifyConstants.IN_MODIFY)
    with Path(path).open("rb", buffering=0) as file:
        arrivals.ready()
        while arrivals.missing > 0:
            os.read(notifications, 1 << 16)
            if data := file.read(1 << 20):
                arrivals.data(data)
        arrivals.tell()


READERS: dict[str, Callable[[str, int], None]] = {
    "rxpipe": rxpipe,
    "coalesced": coalesced,
    "tail": tail,
    "watchdog": watchdog,
    "inotify": inotify,
}


if __name__ == "__main__":
    READERS[sys.argv[1]](sys.argv[2], int(sys.argv[3]))
