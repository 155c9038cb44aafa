"""Records of one stream sent to several outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.context import Emit, current
from rxpipe.elements import Batch, OriginGone, Row
from rxpipe.fusion.rows import Reject

Choose = Callable[[list[Row], Reject], tuple[list[Row], Iterable[tuple[int, ...]]]]
"""From rows to those that did not fail, and for each the numbers of its outputs; none: it goes on in the stream."""


def parted(source: Observable[Batch], outputs: list[str], choose: Choose) -> Observable[Batch]:
    """Send each record to its outputs, or on in the stream; a retraction follows its record.

    Args:
        source: The records.
        outputs: The names of the outputs.
        choose: Tells where rows go; the same for the same row, whenever it is asked.
    """

    def subscribe(observer: ObserverBase[Batch], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        emits: list[Emit] = [*map(context.emitter, outputs), observer.on_next]

        def on_next(element: Any) -> None:
            if isinstance(element, Batch):

                def reject(row: Row, error: Exception) -> None:
                    context.reject(error, row, leases=element.leases)

                parts = _parts(element.rows, choose, reject, len(emits))
                retracted = _parts(element.retracted, choose, _ignore, len(emits))
                for emit, mine, taken in zip(emits, parts, retracted, strict=True):
                    if mine or taken:
                        emit(element.replace(mine, taken))
            elif isinstance(element, OriginGone):  # it is void wherever its records went
                for emit in emits:
                    emit(element)
            else:
                observer.on_next(element)

        return source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

    return Observable(subscribe)


def _parts(rows: list[Row], choose: Choose, reject: Reject, count: int) -> list[list[Row]]:
    """The rows for each output, and last those that go on."""
    made: list[list[Row]] = [[] for _ in range(count)]
    kept, numbers = choose(rows, reject)
    for row, chosen in zip(kept, numbers, strict=True):
        for number in chosen or (-1,):
            made[number].append(row)
    return made


def _ignore(row: Row, error: Exception) -> None:
    """A retracted record was refused when it came by the first time, and counted then."""
