"""An operator that asks, under test: fed with records of tasks and others, on a loop, with virtual timers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from reactivex.subject import Subject

from rxpipe.context import entered
from rxpipe.elements import Batch
from rxpipe.tasks.attempt import Attempt, Outcome
from rxpipe.tasks.budget import Budget
from rxpipe.tasks.store import Claimed
from rxpipe.testing import TestContext

LONGEST = 15


class Asked:
    """One subscription.

    Attributes:
        out: The records that came out, and `|` at the end.
        back: Those that were taken back.
        told: What attempts told: what was begun, and what is to be remembered.
        outcomes: What became of attempts.
    """

    def __init__(self, step: Any, paid: dict[str, tuple[bytes, bytes]] | None = None) -> None:
        self.context, self.source = TestContext(), Subject[Any]()
        self.out: list[Any] = []
        self.back: list[Any] = []
        self.told: list[tuple[Any, ...]] = []
        self.outcomes: list[Outcome] = []
        self.paid = paid or {}
        self.budget: Budget | None = None
        with entered(self.context):
            self.subscription = self.source.pipe(step).subscribe(
                self._note, self.out.append, lambda: self.out.append("|"), scheduler=self.context.virtual
            )

    def _note(self, element: Any) -> None:
        self.out += element.dicts() if isinstance(element, Batch) else [element]
        self.back += element.retracted if isinstance(element, Batch) else []

    def put(self, *rows: dict[str, Any]) -> None:
        """Records of no task."""
        self.source.on_next(Batch([*rows]))

    def task(self, row: dict[str, Any], number: int = 1) -> None:
        """The record of a task."""
        claimed = Claimed(1, 0.0, number, str(number), b"", None)
        attempt = Attempt(claimed, self.paid, self.told.append, self.outcomes.append, self.budget)
        self.source.on_next(Batch([row], leases=(attempt,)))

    @property
    def begun(self) -> int:
        """How many attempts have begun."""
        return sum(len(told) == 2 for told in self.told)

    def remembered(self) -> dict[str, tuple[bytes, bytes]]:
        """What a store would give to the next attempt."""
        return {told[1]: (told[2], told[3]) for told in self.told if len(told) == 4}

    @property
    def reasons(self) -> list[str]:
        """Why records went to `errors`."""
        return [error.reason for error in self.context.errors]

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until something is so."""
        while not condition():
            self.context.virtual.advance_by(0)
            await asyncio.sleep(0)


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test on a loop, and see that it leaves no task behind."""

    async def watched() -> None:
        async with asyncio.timeout(LONGEST):
            await main()
            await gone()

    asyncio.run(watched())


async def gone() -> None:
    """Wait until all tasks but this one are over."""
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)
