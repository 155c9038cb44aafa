"""One stream after the other."""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Ge
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable

from rxpipe.context import current
from rxpipe.elements import Batch, OriginGone
from rxpipe.errors import RxpipeError
from rxpipe.operator import operator
from rxpipe.operators.flow._together import subscribe_each
from rxpipe.operators.flow._waiting import Waiting
from rxpipe.promises import Inflow, order_of


@operator
def concat(
    source: Observable[Batch], *others: Observable[Batch], limit: Annotated[int, Ge(1)] = 100_000
) -> Observable[Batch]:
    """Emit all of the first stream, when it is complete all of the next, and so on.

    All streams are subscribed from the beginning, since those of a graph run anyway; what comes of one before its turn
    waits, in order and without holding a checkpoint. If more than `limit` records wait, the stream ends in an error,
    for none must be lost. So this is for what is told first and then goes on: files read to their end (`list_files`, or
    any source of a run with `once`), then what is live. A first stream that never completes never gives way.

    Completes when all streams have; where a run with saved state is stopped, what waits stays for the next run. An
    error of one ends all at once, and what waits is dropped. Of a stream that waits elements other than batches and
    `OriginGone` pass at once.

        source            -a--b-|
        other             --c-----d-|
        concat(other)     -a--b-c-d-|

    Args:
        others: The streams that follow, in order.
        limit: How many records may wait for their turn.

    Example:
        >>> from reactivex.scheduler import CurrentThreadScheduler
        >>> rx.of(Batch([{"n": 1}])).pipe(concat(rx.of(Batch([{"n": 2}]))), ops.to_list()).run(CurrentThreadScheduler())
        [Batch([{'n': 1}]), Batch([{'n': 2}])]

    State: the batches that wait. Whose turn it is every run finds out: the first streams must complete again.
    """

    def subscribe(observer: ObserverBase[Any], scheduler: SchedulerBase | None = None) -> DisposableBase:
        streams = (source, *others)
        waiting = Waiting(current(), len(streams), limit)
        complete = [False] * len(streams)
        turn = 0

        def on_next(element: Any, number: int) -> None:
            if number == turn or not isinstance(element, Batch | OriginGone):
                observer.on_next(element)
                return
            try:
                waiting.add(number, _packable(element), len(element.rows) if isinstance(element, Batch) else 0)
            except RxpipeError as error:
                observer.on_error(error)

        def on_completed(number: int) -> None:
            nonlocal turn
            complete[number] = True
            while turn < len(streams) and complete[turn] and not waiting.stays:
                turn += 1
                while turn < len(streams) and waiting[turn]:
                    observer.on_next(_element(waiting.take(turn)))
            if all(complete):
                observer.on_completed()

        upstream = subscribe_each(streams, on_next, on_completed, observer, scheduler)
        return CompositeDisposable(upstream, Disposable(waiting.clear))

    return Observable(subscribe)


@order_of(concat)
def _order(_: Inflow, /, **__: object) -> str:
    return "streams follow each other, whatever their times"


def _packable(element: Batch | OriginGone) -> list[Any]:
    if isinstance(element, OriginGone):
        return [element.path]
    return [element.dicts(), element.dicts(element.retracted), element.retractable]


def _element(parts: list[Any]) -> Batch | OriginGone:
    if len(parts) == 1:
        return OriginGone(parts[0])
    rows, retracted, retractable = parts
    return Batch(rows, retracted, retractable=retractable)
