"""What the tests of this family share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from reactivex.subject import Subject

from rxpipe.context import entered
from rxpipe.elements import Batch
from rxpipe.testing import TestContext


class Fed:
    """One subscription of a step, fed by hand."""

    def __init__(self, step: Any, states: Sequence[Any] = (), now: float = 0.0) -> None:
        self.step = step
        self.context = TestContext(states)
        self.context.virtual.advance_to(now)
        self.source: Subject[Any] = Subject()
        self.seen: list[Any] = []
        with entered(self.context):
            self.source.pipe(step).subscribe(self.seen.append, scheduler=self.context.virtual)
        self.context.virtual.advance_by(0)

    def feed(self, rows: Sequence[Any] = (), retracted: Sequence[Any] = (), *, retractable: bool = False) -> Fed:
        """Give it a batch."""
        self.source.on_next(Batch([*rows], [*retracted], retractable=retractable))
        return self

    def again(self) -> Fed:
        """Take a checkpoint, and go on from it in another run."""
        return Fed(self.step, self.context.checkpoint(), self.context.now())

    @property
    def rows(self) -> list[Any]:
        """Those of the last element that came out."""
        return self.seen[-1].dicts() if self.seen else []

    @property
    def reasons(self) -> list[str]:
        """Why records went to errors."""
        return [error.reason for error in self.context.errors]


@pytest.fixture(scope="session")
def fed() -> type[Fed]:
    """Feeds a step by hand."""
    return Fed
