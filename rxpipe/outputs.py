"""An operator's outputs beside its main one, read without a graph."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.context import Context, Emit, current, entered
from rxpipe.errors import RxpipeError, did_you_mean, nearest
from rxpipe.operator import Step

A = TypeVar("A")
B = TypeVar("B")


def with_outputs(
    step: Callable[[Observable[A]], Observable[B]], **readers: ObserverBase[Any] | Emit
) -> Callable[[Observable[A]], Observable[B]]:
    """The same step, with somebody who reads its outputs beside the main one.

    In a graph another stream reads them, `from: STREAM.OUTPUT`; elsewhere this is how. Each reader is an observer, a
    subject for example, or a function that takes an element. Observers are told the end of the step, too.

    Args:
        step: An operator with its parameters.
        readers: Who reads each output.

    Example:
        >>> from rxpipe import operators as ops
        >>> split = with_outputs(ops.split(high="n > 1"), high=print)
        >>> rx.of(Batch([{"n": 1}, {"n": 2}])).pipe(split).run()
        Batch([{'n': 2}])
        Batch([{'n': 1}])

    Raises:
        RxpipeError: The step has no such output; the nearest name is suggested.
    """
    _require(step, readers)
    observers = [reader for reader in readers.values() if isinstance(reader, ObserverBase)]
    emits = {name: reader.on_next if isinstance(reader, ObserverBase) else reader for name, reader in readers.items()}

    def apply(source: Observable[A]) -> Observable[B]:
        def subscribe(observer: ObserverBase[B], scheduler: SchedulerBase | None = None) -> DisposableBase:
            outer = current()
            inner = copy.copy(outer)
            inner.readers = {**outer.readers, **emits}

            def on_error(error: Exception) -> None:
                for reader in observers:
                    reader.on_error(error)
                observer.on_error(error)

            def on_completed() -> None:
                for reader in observers:
                    reader.on_completed()
                observer.on_completed()

            with entered(inner):
                applied = step(outside(source, outer))
                return applied.subscribe(observer.on_next, on_error, on_completed, scheduler=scheduler)

        return Observable(subscribe)

    return apply


def _require(step: Callable[..., Any], readers: Mapping[str, object]) -> None:
    if not isinstance(step, Step):
        msg = f"with_outputs: the step must be an operator with its parameters; got {step!r}"
        raise RxpipeError(msg)
    outputs = step.operator.outputs(step.parameters)
    for name in readers:
        if name not in outputs:
            there = f"there are {', '.join(map(repr, outputs))}" if outputs else "it has none"
            guess = did_you_mean(nearest(name, outputs)) or f"; {there}"
            msg = f"with_outputs: {step.operator.name!r} has no output {name!r}{guess}"
            raise RxpipeError(msg)


def outside(source: Observable[A], context: Context) -> Observable[A]:
    """A source that is subscribed in its own context: the readers are those of the one step alone."""

    def subscribe(observer: ObserverBase[A], scheduler: SchedulerBase | None = None) -> DisposableBase:
        with entered(context):
            return source.subscribe(observer, scheduler=scheduler)

    return Observable(subscribe)
