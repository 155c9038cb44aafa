"""Batches of tasks that are worked on in virtual time, in a store of their own."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from rxpipe.tasks.progress import Progress, progress
from rxpipe.tasks.reading import reading
from rxpipe.tasks.store import Claimed, Ended, New, TaskStore

Takes = Callable[[float], float]
"""How long an attempt takes that begins at a moment."""


class Worked:
    """A store with tasks that workers work on.

    Args:
        path: The store.
        tasks: How many tasks there are.
        workers: How many of them are worked on at a time.
        takes: How long an attempt takes.
        fails: Whether an attempt fails: it is tried again a minute later.
        cost: What a task costs.
        now: When they begin.
    """

    def __init__(
        self,
        path: Path,
        tasks: int,
        workers: int,
        takes: Takes,
        fails: Callable[[Claimed], bool] = lambda task: False,
        cost: float = 0.0,
        now: float = 1000.0,
    ) -> None:
        self.path = path
        self.now = now
        self.store = TaskStore(path, lambda: self.now)
        self.store._db.execute("PRAGMA synchronous=OFF")  # nobody cuts the power
        self.workers = workers
        self.takes = takes
        self.fails = fails
        self.cost = cost
        self.tasks = tasks
        self._running: list[tuple[float, int, Claimed]] = []
        with self.store.transaction():
            self.store.owners.join()
            self.store.enqueue([New(f"task {n}", 0.0, b"{}", b"") for n in range(tasks)])

    @property
    def next_end(self) -> float:
        """When the next attempt ends; now, if none is under way."""
        return self._running[0][0] if self._running else self.now

    def step(self) -> bool:
        """Begin what there is room for, and end an attempt that is due; whether any was under way."""
        self._begin()
        if not self._running:
            return False
        if self.next_end > self.now:
            self.now = self.next_end
        self._end()
        self._begin()
        return True

    def until(self, over: int) -> bool:
        """Work until so many tasks are over, or all are; whether there is more to do."""
        while True:
            self._begin()
            with self.store.transaction():
                counts = self.store.counts()
            done = counts["done"] + counts["failed"]
            if done >= over or done == self.tasks:
                return done < self.tasks
            if self._running:
                self._end()
            else:
                self.now = self.store.next_due() or self.now

    def _begin(self) -> None:
        with self.store.transaction():
            for task in self.store.claim(self.workers - len(self._running)):
                self.store.begin([(task.id, task.attempt)])
                heapq.heappush(self._running, (self.now + self.takes(self.now), task.id, task))

    def _end(self) -> None:
        self.now, _, task = heapq.heappop(self._running)
        ended = Ended(task.id, task.attempt, "done", self.now, self.cost)
        if self.fails(task):
            ended = replace(ended, state="waiting", kind="server", error="503: busy", due=self.now + 60)
        with self.store.transaction():
            self.store.end([ended], "", None)

    def progress(self) -> Progress:
        """How far they are."""
        with reading(self.path) as reader:
            return progress(reader, self.now)

    def error(self, share: float) -> float:
        """How wrong the time is that is told when a share of the tasks is over, as a share of what was left."""
        self.until(int(self.tasks * share))
        told, at = self.progress(), self.now
        self.until(self.tasks)
        assert told.estimate is not None
        return abs(told.estimate.left - (self.now - at)) / (self.now - at)


@contextmanager
def working(path: Path, tasks: int, workers: int, takes: Takes, **more: Any) -> Iterator[Worked]:
    """A store that is closed in the end."""
    made = Worked(path, tasks, workers, takes, **more)
    try:
        yield made
    finally:
        made.store.close()
