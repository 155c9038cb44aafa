"""The beginning of a stream."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, TypeVar

from annotated_types import Ge
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import Disposable

from rxpipe.aggregations.packing import pack, unpack
from rxpipe.context import Change, current
from rxpipe.operator import operator
from rxpipe.operators.flow._cut import head, units

T = TypeVar("T")


@operator
def take(source: Observable[T], count: Annotated[int, Ge(0)]) -> Observable[T]:
    """Emit the first `count` records, then complete and unsubscribe from the source.

    What is counted are the records of batches, the lines of blocks, and elements of any other kind, a table each time
    it is emitted; an element that has too many is cut. `OriginGone` passes uncounted, and so do retractions: what they
    take back has passed, and stays counted. A count of 0 completes at once. Completion and errors pass through; nothing
    is held back.

        source     -a-b-c-|
        take(2)    -a-(b|)

    Args:
        count: How many to emit.

    Example:
        >>> rx.of(Batch([{"n": n} for n in range(100)])).pipe(take(20), ops.map(len)).run()
        20

    State: how many were emitted; when it is all of them, the next run completes at once.
    """

    def subscribe(observer: ObserverBase[T], scheduler: SchedulerBase | None = None) -> DisposableBase:
        taken = saved = 0

        def changes() -> Iterable[Change]:
            nonlocal saved
            if taken != saved:
                saved = taken
                yield b"taken", "", pack(taken)

        for _, _, value in current().state("operator", changes, "how many were taken").items():
            taken = saved = unpack(value)

        def on_next(element: Any) -> None:
            nonlocal taken
            left = count - taken
            if left <= 0:  # a source that emits while it is subscribed cannot be stopped
                return
            found = units(element)
            taken += min(found, left)
            observer.on_next(element if found <= left else head(element, left))
            if found >= left:
                observer.on_completed()

        if taken >= count:
            observer.on_completed()
            return Disposable()
        return source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

    return Observable(subscribe)
