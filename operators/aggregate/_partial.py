"""The part of an aggregation that is done in workers: groups of one batch, merged by whoever has the others."""

from __future__ import annotations

from typing import Any

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.aggregations.aggregation import parse_aggregation
from rxpipe.context import current
from rxpipe.elements import Batch, Fold, Partial
from rxpipe.fusion.lift import fold
from rxpipe.lease import Lease
from rxpipe.operators.aggregate._groups import Groups


def partial_groups(source: Observable[Any], /, by: list[str] | None = None, **columns: str) -> Observable[Any]:
    """Replace the batches that are made of an element by their groups; what may be retracted passes as it is."""
    aggregations = {name: parse_aggregation(text) for name, text in columns.items()}

    def subscribe(observer: ObserverBase[Any], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        groups = Groups(context, tuple(by or ()), aggregations)
        groups.part()
        leases: dict[Lease, None] | None = None

        def flush() -> None:
            nonlocal leases
            held, leases = leases, None
            if held is not None:
                observer.on_next(Partial(groups.part(), tuple(held)))

        def on_next(element: Any) -> None:
            nonlocal leases
            if isinstance(element, Fold) or (
                isinstance(element, Batch) and not (element.retractable or element.retracted)
            ):
                if groups.apply(element):
                    leases = (leases or {}) | dict.fromkeys(element.leases)
            else:
                flush()
                observer.on_next(element)

        context.on_flush(flush)
        return fold(source, groups).subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

    return Observable(subscribe)
