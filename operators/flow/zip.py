"""Records of several streams side by side."""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Ge
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable

from rxpipe.context import current
from rxpipe.elements import Batch, as_dict
from rxpipe.errors import RxpipeError
from rxpipe.operator import operator
from rxpipe.operators.flow._latest import combined, kept_rows
from rxpipe.operators.flow._waiting import Waiting


@operator
def zip(  # noqa: A001  # the name it has in Rx
    source: Observable[Batch], *others: Observable[Batch], limit: Annotated[int, Ge(1)] = 100_000
) -> Observable[Batch]:
    """Make one record of the first records of all streams, one of the second ones, and so on.

    It has the fields of all; of a name that several have, the value of the stream named first. A record waits until
    each other stream has one, without holding a checkpoint. If more than `limit` wait, one stream is that far ahead,
    and the stream ends in an error: a pair must not be lost.

    Completes when a stream is complete and none of its records wait; an error of one ends all at once, and what waits is
    dropped. A record that is retracted goes to `errors`, since its place in the order is not known any more: put this
    before the step that retracts. All other elements pass.

        source         -a---b-|
        other          --c----d--|
        zip(other)     --m----(n|)
        a: {"id": 1}
        b: {"id": 2}
        c: {"at": 3}
        d: {"at": 4}
        m: {"id": 1, "at": 3}
        n: {"id": 2, "at": 4}

    Args:
        others: The streams beside this one.
        limit: How many records may wait for those of other streams.

    Example:
        >>> names, ages = rx.of(Batch([{"name": "a"}, {"name": "b"}])), rx.of(Batch([{"age": 1}]))
        >>> names.pipe(zip(ages)).run()
        Batch([{'name': 'a', 'age': 1}])

    State: the records that wait, one row each.
    """

    def subscribe(observer: ObserverBase[Batch], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        streams = (source, *others)
        numbers = range(len(streams))
        waiting = Waiting(context, len(streams), limit)
        complete = [False] * len(streams)

        def end() -> bool:
            return any(complete[number] and not waiting[number] for number in numbers)

        def on_next(element: Any, number: int) -> None:
            if not isinstance(element, Batch):
                observer.on_next(element)
                return
            rows = []
            for row in kept_rows(element, context):
                try:
                    waiting.add(number, as_dict(row))
                except RxpipeError as error:
                    observer.on_error(error)
                    return
                if all(waiting[each] for each in numbers):
                    rows.append(combined([waiting.take(each) for each in numbers]))
            if rows:
                observer.on_next(Batch(rows, leases=element.leases))
            if end():
                observer.on_completed()

        def on_completed(number: int) -> None:
            complete[number] = True
            if end():
                observer.on_completed()

        subscriptions = CompositeDisposable(Disposable(waiting.clear))
        for number, stream in enumerate(streams):
            subscriptions.add(
                stream.subscribe(
                    lambda element, number=number: on_next(element, number),
                    observer.on_error,
                    lambda number=number: on_completed(number),
                    scheduler=scheduler,
                )
            )
        return subscriptions

    return Observable(subscribe)
