"""An operator of several streams on subjects, for its tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reactivex import Observable
from reactivex.subject import Subject

from rxpipe.context import entered
from rxpipe.elements import Batch
from rxpipe.lease import Lease
from rxpipe.testing import MarbleSource, TestContext, record


class Driven:
    """One subscription: `step` is called with the first subject and all others."""

    def __init__(self, step: Callable[..., Any], streams: int = 2, states: Any = ()) -> None:
        self.context = TestContext(states)
        self.streams = [Subject[Any]() for _ in range(streams)]
        self.out: list[Any] = []
        self.back: list[Any] = []
        with entered(self.context):
            self.subscription = step(*self.streams).subscribe(
                self._note, self.out.append, lambda: self.out.append("|"), scheduler=self.context.virtual
            )

    def _note(self, element: Any) -> None:
        self.out += element.dicts() if isinstance(element, Batch) else [element]
        self.back += element.dicts(element.retracted) if isinstance(element, Batch) else []

    def put(self, stream: int, *rows: dict[str, Any], **more: Any) -> None:
        """Have a stream emit a batch that holds a lease."""
        self.streams[stream].on_next(Batch(list(rows), leases=(Lease(self.context.flow, 1, "file", 0, 1),), **more))

    def end(self, stream: int) -> None:
        """Have a stream complete."""
        self.streams[stream].on_completed()

    def restarted(self, step: Callable[..., Any]) -> Driven:
        """The same after a checkpoint and a restart."""
        states = self.context.checkpoint()
        self.subscription.dispose()
        return Driven(step, len(self.streams), states)

    @property
    def reasons(self) -> list[str]:
        """Why records were rejected."""
        return [error.reason for error in self.context.errors]

    def gauge(self, name: str) -> float:
        """A figure."""
        return self.context.gauges[name]()


def left_early(step: Callable[..., Observable[Any]]) -> list[list[tuple[float, float | None]]]:
    """When two sources were subscribed, and unsubscribed, of which nobody wants to hear any more after 0.2 seconds."""
    context = TestContext()
    sources = [MarbleSource("-a-a-", scheduler=context.virtual) for _ in range(2)]
    record(step(*sources), 0.2, context=context)
    return [source.subscriptions for source in sources]
