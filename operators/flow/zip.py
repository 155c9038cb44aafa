"""Records of several streams side by side."""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Ge
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable

from rxpipe.context import Context, current
from rxpipe.elements import Batch, Row, as_dict
from rxpipe.errors import RxpipeError
from rxpipe.operator import operator
from rxpipe.operators.flow._together import combined, kept_rows, subscribe_each
from rxpipe.operators.flow._waiting import Waiting


@operator
def zip(  # the name it has in Rx
    source: Observable[Batch], *others: Observable[Batch], limit: Annotated[int, Ge(1)] = 100_000
) -> Observable[Batch]:
    """Make one record of the first records of all streams, one of the second ones, and so on.

    It has the fields of all; of a name that several have, the value of the stream named first. A record waits until
    each other stream has one, without holding a checkpoint. If more than `limit` wait, one stream is that far ahead,
    and the stream ends in an error: a pair must not be lost.

    Completes when a stream is complete and none of its records wait; where a run with saved state is stopped, when all
    are, and the next run goes on with what waits. An error of one ends all at once, and what waits is dropped. A record
    that is retracted goes to `errors`, since its place in the order is not known any more: put this before the step
    that retracts. All other elements pass.

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
        >>> from reactivex.scheduler import CurrentThreadScheduler
        >>> names, ages = rx.of(Batch([{"name": "a"}, {"name": "b"}])), rx.of(Batch([{"age": 1}]))
        >>> names.pipe(zip(ages)).run(CurrentThreadScheduler())
        Batch([{'name': 'a', 'age': 1}])

    State: the records that wait, one row each.
    """

    def subscribe(observer: ObserverBase[Batch], scheduler: SchedulerBase | None = None) -> DisposableBase:
        streams = (source, *others)
        zipping = _Zipping(current(), observer, len(streams), limit)
        upstream = subscribe_each(streams, zipping.take, zipping.end, observer, scheduler)
        return CompositeDisposable(upstream, Disposable(zipping.waiting.clear))

    return Observable(subscribe)


class _Zipping:
    """One subscription."""

    def __init__(self, context: Context, observer: ObserverBase[Any], streams: int, limit: int) -> None:
        self._context = context
        self._observer = observer
        self._streams = range(streams)
        self._complete: set[int] = set()
        self.waiting = Waiting(context, streams, limit)

    def take(self, element: Any, number: int) -> None:
        """Have the records of a stream wait, and emit those that have all others."""
        if not isinstance(element, Batch):
            self._observer.on_next(element)
            return
        try:
            rows = [made for row in kept_rows(element, self._context) for made in self._made(row, number)]
        except RxpipeError as error:
            self._observer.on_error(error)
            return
        if rows:
            self._observer.on_next(Batch(rows, leases=element.leases))
        self._end_if_over()

    def end(self, number: int) -> None:
        """A stream is complete."""
        self._complete.add(number)
        self._end_if_over()

    def _made(self, row: Row, number: int) -> list[dict[str, Any]]:
        """What a record completes: one record, or none."""
        first = as_dict(row)
        if not all(self.waiting[each] for each in self._streams if each != number):
            self.waiting.add(number, first)
            return []
        return [combined([first if each == number else self.waiting.take(each) for each in self._streams])]

    def _end_if_over(self) -> None:
        over = not self.waiting.stays and any(not self.waiting[number] for number in self._complete)
        if over or len(self._complete) == len(self._streams):
            self._observer.on_completed()
