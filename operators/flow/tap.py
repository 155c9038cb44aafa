"""A look at what passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.context import current
from rxpipe.log import logger
from rxpipe.operator import operator
from rxpipe.parameters.calls import Function, function_named

T = TypeVar("T")
SHOWN = 1000
"""How many characters of an element are logged."""


@operator
def tap(source: Observable[T], call: Function[Callable[[T], object]] | None = None) -> Observable[T]:
    """Look at each element that passes, and change nothing.

    The function is called with each element before the element is emitted; its result is ignored. What it raises goes
    to the stream `errors`, and the element passes all the same. Without a function each element is logged at debug
    level.

        source   -a-b-|
        tap()    -a-b-|

    Args:
        call: A function, or `module:name` of one, whose module a check of the graph imports; logs by default.

    Example:
        >>> import reactivex as rx
        >>> rx.of(1, 2).pipe(tap(print)).run()
        1
        2
        2
    """
    function = None if call is None else function_named(call)

    def subscribe(observer: ObserverBase[T], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()

        def log(element: object) -> None:
            logger.opt(lazy=True).debug("{}: {}", lambda: context.name, lambda: repr(element)[:SHOWN])

        look = function or log

        def on_next(element: T) -> None:
            try:
                look(element)
            except Exception as error:  # whatever the function raises must not end the stream
                context.reject(error, element, leases=getattr(element, "leases", ()))
            observer.on_next(element)

        return source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

    return Observable(subscribe)
