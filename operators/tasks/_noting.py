"""What is noted in the task store, a group at a time: one transaction each, on a thread of its own."""

from __future__ import annotations

import math
import time
from typing import Any, NamedTuple

from rxpipe.tasks.store import Claimed, Ended, New, TaskStore

BEAT = 5.0
"""Seconds between two heartbeats."""


class Wanted(NamedTuple):
    """What is to be noted in the store, in one transaction.

    Attributes:
        new: Tasks to add.
        told: What steps tell of attempts, see `rxpipe.tasks.attempt.Attempt`.
        ended: What became of attempts.
        strays: What attempts have cost, by cost and task, of which nothing else comes.
        given: The tasks that are given out, but for those that ended.
        most: How many tasks to take.
    """

    new: list[New]
    told: list[tuple[Any, ...]]
    ended: list[Ended]
    strays: list[tuple[float, int]]
    given: list[int]
    most: int


class Noted(NamedTuple):
    """What came of it.

    Attributes:
        claimed: The tasks that were taken.
        paid: What was paid for them before, by task.
        open: Whether there are tasks that are not over.
        next_due: When the first of those that wait is due, if more are wanted.
        delivery: The number of the last result.
        lost: How many attempts ended whose task was no more this process's.
        order: What somebody wants of all who work on the store.
        held: The tasks that are this process's; None where nobody else has changed anything.
    """

    claimed: list[Claimed]
    paid: dict[int, dict[str, tuple[bytes, bytes]]]
    open: bool
    next_due: float | None
    delivery: int
    lost: int
    order: str | None
    held: set[int] | None


class Noting:
    """Notes in a store.

    Args:
        store: The open store.
        definition: A digest of what the graph makes of a task.
        line: Whose checkpoints say how far results were delivered; None where nobody's do.
        again: Whether tasks that are done are due again when they come again.

    Attributes:
        beaten: When the store was told last that this process is alive, by the clock that nobody sets.
    """

    def __init__(self, store: TaskStore, definition: str, line: str | None, *, again: bool) -> None:
        self._store = store
        self._definition = definition
        self._line = line
        self._again = again
        self._version: int | None = None
        self.beaten = -math.inf

    def note(self, wanted: Wanted) -> Noted:
        """One transaction."""
        store, at = self._store, time.monotonic()
        beats = at >= self.beaten + BEAT
        with store.transaction():
            if beats:
                store.owners.beat()
            version = store.version()
            known = version == self._version and not beats
            held = None if known else store.held({*wanted.given, *(one.id for one in wanted.ended)})
            store.enqueue(wanted.new, again=self._again)
            store.begin([told for told in wanted.told if len(told) == 2])  # as `Attempt.begin` tells
            store.remember([told for told in wanted.told if len(told) == 4])  # as `remember` tells
            ended = wanted.ended if held is None else [one for one in wanted.ended if one.id in held]
            lost = [] if held is None else [(one.cost, one.id) for one in wanted.ended if one.id not in held]
            store.charge(wanted.strays + lost)
            missed = store.end(ended, self._definition, self._line)
            order = store.order()
            takes = wanted.most > 0 and order is None
            claimed = store.claim(wanted.most) if takes else []
            paid = {task.id: store.recall(task.id) for task in claimed} if claimed and store.remembers() else {}
            due = store.next_due() if takes else None  # else there is no hurry
            left = bool(claimed) or store.open()
            noted = Noted(claimed, paid, left, due, store.delivery, len(lost) + missed, order, held)
        self._version = version
        if beats:
            self.beaten = at
        return noted
