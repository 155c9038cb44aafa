"""Tasks whose work is counted and made to fail, in graphs that run to their end."""

from __future__ import annotations

import sqlite3
from typing import Any

import reactivex as rx

from rxpipe import operators as ops
from rxpipe.elements import Batch
from rxpipe.graph import Graph, stream
from tests.rxpipe.parts import collect


class Work:
    """What a task is: counted, and made to fail."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.fail: dict[int, list[Exception]] = {}

    def do(self, record: dict[str, Any]) -> dict[str, Any]:
        """Do it."""
        self.calls.append(record["n"])
        if self.fail.get(record["n"]):
            raise self.fail[record["n"]].pop(0)
        return record


def batch(work: Work, *numbers: int, out: list[Any] | None = None, **options: Any) -> Graph:
    """A graph of tasks."""
    steps: list[Any] = [
        rx.of(Batch([{"n": number, "v": options.pop("v", 0)} for number in numbers])),
        ops.tasks("n", **{"store": "t.sqlite"} | options),
        ops.retry({"network": {"first": "1ms", "attempts": 4}}),
        ops.call(work.do),
    ]
    bad: list[Any] = [] if out is None else out
    return Graph("batch", {"main": steps, "bad": [stream("errors"), collect(bad)]})


def run(graph: Graph, **options: Any) -> None:
    """A run to its end."""
    with graph.run(once=True, **{"state": False} | options) as made:
        made.wait()


def states(path: str = "t.sqlite") -> dict[str, tuple[str, int]]:
    """State and attempts of each task."""
    db = sqlite3.connect(path)
    found = {key: (state, attempts) for key, state, attempts in db.execute("SELECT key, state, attempts FROM task")}
    db.close()
    return found
