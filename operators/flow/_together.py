"""What the operators of several streams share: how they subscribe to all, and records put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable

from rxpipe.context import Context
from rxpipe.elements import Batch, Row

RETRACTED = "retracted: what was made of it stays; put this step before the one that retracts"


def subscribe_each(
    streams: Sequence[Observable[Any]],
    take: Callable[[Any, int], None],
    end: Callable[[int], None],
    observer: ObserverBase[Any],
    scheduler: SchedulerBase | None,
) -> DisposableBase:
    """Subscribe to all streams; an error of one is passed on.

    Args:
        streams: The streams.
        take: Called with each element and the number of its stream.
        end: Called with the number of a stream that is complete.
        observer: Takes an error.
        scheduler: The scheduler of the subscription.
    """
    subscriptions = CompositeDisposable()

    def subscribe(stream: Observable[Any], number: int) -> None:
        def on_next(element: Any) -> None:
            take(element, number)

        def on_completed() -> None:
            end(number)

        subscriptions.add(stream.subscribe(on_next, observer.on_error, on_completed, scheduler=scheduler))

    for number, stream in enumerate(streams):
        subscribe(stream, number)
    return subscriptions


def combined(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One record of several: their fields in order, of one name the first."""
    made: dict[str, Any] = {}
    for row in rows:
        for name, value in row.items():
            made.setdefault(name, value)
    return made


def kept_rows(batch: Batch, context: Context) -> list[Row]:
    """The records of a batch; those that are retracted are rejected."""
    for row in batch.retracted:
        context.reject(RETRACTED, row, leases=batch.leases)
    return batch.rows
