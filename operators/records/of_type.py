"""Keep the elements of one type."""

from __future__ import annotations

from typing import Any, Literal

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.elements import Batch, FileEvent, LineDelta, OriginGone
from rxpipe.operator import operator
from rxpipe.table import Table

_TYPES: dict[str, type] = {
    made.__name__: made for made in (Batch, FileEvent, LineDelta, OriginGone, Table, bool, dict, float, int, list, str)
}

TypeName = Literal[
    "Batch", "FileEvent", "LineDelta", "OriginGone", "Table", "bool", "dict", "float", "int", "list", "str"
]


class Anything(Observable[Any]):
    """An observable of whatever; a class, for mypy gives up on overloads, as `operator` has, where it sees `Any`."""


@operator
def of_type(source: Observable[object], name: TypeName) -> Anything:
    """Keep the elements of one type and drop all others.

    True and False are of type bool, not int. Completion and errors pass through; nothing is held back.

        source          -1-2-|
        of_type("int")  -1-2-|

    Args:
        name: The type's name.

    Example:
        >>> rx.of(1, "a", 2).pipe(of_type("int"), rx.operators.to_list()).run()
        [1, 2]
    """
    wanted = _TYPES[name]

    def subscribe(observer: ObserverBase[object], scheduler: SchedulerBase | None = None) -> DisposableBase:
        def on_next(element: object) -> None:
            if isinstance(element, wanted) and not (wanted is int and isinstance(element, bool)):
                observer.on_next(element)

        return source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

    return Anything(subscribe)
