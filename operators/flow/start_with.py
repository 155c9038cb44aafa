"""Records before the first."""

from __future__ import annotations

from collections.abc import Iterable

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.context import Change, current
from rxpipe.elements import Batch
from rxpipe.expressions.known import KnownFields
from rxpipe.operator import fields_of, operator


@operator
def start_with(source: Observable[Batch], records: list[dict[str, object]]) -> Observable[Batch]:
    """Emit these records, as one batch, before everything that the source emits.

    They are emitted when the stream starts; where state is kept, by its first run only. Completion and errors of the
    source pass through; nothing is held back. (Elements that are no records are put first by `rx.start_with`.)

        source                            --a-|
        start_with([{"value": "s"}])      s-a-|

    Args:
        records: The records.

    Example:
        >>> rx.of(Batch([{"n": 1}])).pipe(start_with([{"n": 0}]), ops.to_list()).run()
        [Batch([{'n': 0}]), Batch([{'n': 1}])]

    State: that they were emitted.
    """

    def subscribe(observer: ObserverBase[Batch], scheduler: SchedulerBase | None = None) -> DisposableBase:
        unsaved = True

        def changes() -> Iterable[Change]:
            nonlocal unsaved
            if unsaved:
                unsaved = False
                yield b"emitted", "", b""

        emitted = any(current().state("operator", changes, "that the records were emitted").items())
        unsaved = not emitted
        if records and not emitted:
            observer.on_next(Batch([dict(record) for record in records]))
        return source.subscribe(observer, scheduler=scheduler)

    return Observable(subscribe)


@fields_of(start_with)
def _fields(known: KnownFields, /, records: list[dict[str, object]]) -> KnownFields:
    return known.plus(*(name for record in records for name in record))
