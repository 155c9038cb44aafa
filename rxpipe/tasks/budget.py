"""What may be spent: reserved by estimate before a call, settled when the task is over."""

from __future__ import annotations

import math


class Budget:
    """The money of one stream's tasks.

    Args:
        stream: The stream.
        most: What may be spent in all, by this run and those before it.

    Attributes:
        spent: What was spent.
    """

    def __init__(self, stream: str, most: float) -> None:
        self.stream = stream
        self.most = most
        self.spent = 0.0
        self._reserved: dict[int, float] = {}
        self._expected: set[int] = set()
        self._known = False
        self._settled = 0
        self._costs = 0.0

    @property
    def reserved(self) -> float:
        """What calls under way are expected to cost."""
        return sum(self._reserved.values())

    def usual(self) -> float:
        """What a task has cost on average, as far as is known."""
        if self._settled:
            return self._costs / self._settled
        told = [reserved for task, reserved in self._reserved.items() if task not in self._expected]
        return sum(told) / len(told) if told else 0.0

    def room(self) -> float:
        """How many more tasks may be given out, at what they usually cost; while nobody knows that, one at a time."""
        if not self._known and not self.usual():
            return 1 - len(self._reserved)
        usual = self.usual()
        return math.inf if usual == 0 else (self.most - self.spent - self.reserved + 1e-9) / usual

    def expect(self, task: int) -> None:
        """A task is given out: what it usually costs is set aside, until a call says what it will cost."""
        self._reserved[task] = self.usual()
        self._expected.add(task)

    def reserve(self, task: int, estimate: float | None) -> bool:
        """Set aside what a call is expected to cost, what tasks usually cost if that is not known; whether there is it.

        A further reservation for the same task adds to those before: it makes another call.
        """
        if task in self._expected:
            self._expected.discard(task)
            del self._reserved[task]
        wanted = self.usual() if estimate is None else estimate
        if self.spent + self.reserved + wanted > self.most + 1e-9:
            return False
        self._reserved[task] = self._reserved.get(task, 0.0) + wanted
        return True

    def settle(self, task: int, cost: float) -> None:
        """A task's attempt is over, and has cost so much."""
        self._reserved.pop(task, None)
        self._expected.discard(task)
        self._known = True
        if cost:
            self._settled += 1
            self._costs += cost
            self.spent += cost
