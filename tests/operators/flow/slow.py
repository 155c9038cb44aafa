"""A reader that holds what it is given, for the tests of what waits for it."""

from __future__ import annotations

from typing import Any

from reactivex.subject import Subject

from rxpipe.context import entered
from rxpipe.elements import Batch, as_dict
from rxpipe.lease import Lease
from rxpipe.testing import TestContext


class Slow:
    """The operator in front of a reader that holds all it is given until it is told to let go."""

    def __init__(self, step: Any, context: TestContext | None = None) -> None:
        self.context, self.source = context or TestContext(), Subject[Any]()
        self.held: list[Any] = []
        self.out: list[Any] = []
        self.rows: list[Any] = []
        self.keep = True
        with entered(self.context):
            self.subscription = self.source.pipe(step).subscribe(
                self.read, self.out.append, lambda: self.out.append("|"), scheduler=self.context.virtual
            )

    def read(self, element: Any) -> None:
        self.out += [as_dict(row)["n"] for row in element.rows] if isinstance(element, Batch) else [element]
        self.rows += element.rows if isinstance(element, Batch) else []
        if self.keep:
            self.held.append(element)

    def put(self, *numbers: int, **more: Any) -> None:
        lease = Lease(self.context.flow, 10, "file", numbers[0], numbers[-1])
        rows = [{"n": n, "key": n % 3} for n in numbers]
        self.source.on_next(Batch(rows, leases=(lease,), **more))

    def let_go(self, count: int = 1) -> None:
        """Let go of the oldest elements, and let a turn pass."""
        del self.held[:count]
        self.context.virtual.advance_by(0)

    def catch_up(self) -> None:
        """Hold nothing any more."""
        self.keep = False
        self.let_go(len(self.held))

    def gauge(self, name: str) -> float:
        return self.context.gauges[name]()
