"""Several streams as one."""

from __future__ import annotations

from typing import TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable

from rxpipe.operator import operator
from rxpipe.promises import Inflow, order_of

T = TypeVar("T")


@operator
def merge(source: Observable[T], *others: Observable[T]) -> Observable[T]:
    """Emit what any of the streams emits, as it comes.

    Nothing is held or reordered. Completes when all streams have; an error of one ends all at once.

        source           -a---c-|
        other            --b-----d|
        merge(other)     -ab--c--d|

    Args:
        others: The streams to add.

    Example:
        >>> from reactivex.scheduler import CurrentThreadScheduler
        >>> import reactivex as rx
        >>> from reactivex import operators as rxo
        >>> rx.of(1, 2).pipe(merge(rx.of(3)), rxo.to_list()).run(CurrentThreadScheduler())
        [1, 2, 3]
    """

    def subscribe(observer: ObserverBase[T], scheduler: SchedulerBase | None = None) -> DisposableBase:
        streams = (source, *others)
        running = len(streams)
        subscriptions = CompositeDisposable()

        def on_completed() -> None:
            nonlocal running
            running -= 1
            if running == 0:
                observer.on_completed()

        for stream in streams:
            subscriptions.add(stream.subscribe(observer.on_next, observer.on_error, on_completed, scheduler=scheduler))
        return subscriptions

    return Observable(subscribe)


@order_of(merge)
def _order(_: Inflow, /) -> str:
    return "streams are merged as they come"
