"""Which of the tasks that were given out still belong to this process: others cancel them, or take them over."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from rxpipe.tasks import owners
from rxpipe.tasks.reading import reading
from rxpipe.tasks.store import Claimed


class Holding:
    """What one subscription of `tasks` has given out.

    A process that sleeps, or is stopped, is taken for dead by the others in the end. When it goes on, it does not know
    that; so what was told a while ago is not sure any more, until the store has been asked again.

    Args:
        path: The store.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._given: dict[int, Claimed] = {}
        self._renewed = time.monotonic()
        self._waiting: dict[Callable[[], None], None] = {}

    def give(self, tasks: Iterable[Claimed]) -> None:
        """Tasks are given out; what is still done for them from before is no more this process's."""
        self._given.update((task.id, task) for task in tasks)

    def given(self) -> list[int]:
        """The tasks that are given out."""
        return list(self._given)

    def end(self, task: Claimed) -> bool:
        """Nobody works on a task any more; whether it was still this process's."""
        if self._given.get(task.id) is not task:
            return False
        del self._given[task.id]
        return True

    def has(self, task: Claimed) -> bool:
        """Whether a task still is this process's, as far as is known."""
        return self._given.get(task.id) is task

    def others_have(self, task: Claimed, step: str, answer: object) -> bool:
        """Whether another task remembers the same answer of a step; asks the store, on any thread."""
        with reading(self._path) as reader:
            return reader.others_have(task.id, step, answer)

    def sure(self, then: Callable[[], None]) -> bool:
        """Whether nobody can have taken a task over meanwhile; if not, `then` is called once the store was asked."""
        if time.monotonic() - self._renewed < owners.SILENT / 2:  # the other half is for what is begun now
            return True
        self._waiting[then] = None
        return False

    def renew(self, at: float, held: Collection[int] | None) -> None:
        """The store was asked.

        Args:
            at: When it was told last that this process is alive, by the clock that nobody sets.
            held: Which tasks are this process's; None where nothing has changed.
        """
        if held is not None:
            self._given = {task: given for task, given in self._given.items() if task in held}
        self._renewed = at
        waiting, self._waiting = self._waiting, {}
        for call in waiting:
            call()

    def close(self) -> None:
        """Nobody is called any more."""
        self._waiting.clear()
