"""Differences between a record and the one before it."""

from __future__ import annotations

from math import isfinite
from typing import Any

from reactivex import Observable

from rxpipe.elements import Batch
from rxpipe.expressions.known import KnownFields
from rxpipe.operator import fields_of, operator
from rxpipe.operators.aggregate._past import remembering
from rxpipe.parameters.types import Expr


@operator
def delta(
    source: Observable[Batch], of: Expr, by: list[Expr] | None = None, into: str = "delta", counter: bool = False
) -> Observable[Batch]:
    """Add to each record by how much a value differs from that of the record of its key before it.

    For a key's first record that is null. With `counter` the value is one that only grows until it begins anew at 0,
    as a process does that restarts: where it is smaller than before, all of it is the difference. (That of `per_second`
    is one by time.)

    A record whose value is null gets null, and the next is compared with the one before it. One whose value is no
    finite number, or for which an expression fails, goes to `errors`, as does one whose key is a list or an object. A
    retracted record goes on with what it was given; what the record behind it was given stays. Completion and errors
    pass through; nothing is held back.

        source                           -a-b-c-|
        delta("value", counter=True)     -x-y-z-|
        a: {"value": 5}
        b: {"value": 9}
        c: {"value": 2}
        x: {"value": 5, "delta": None}
        y: {"value": 9, "delta": 4}
        z: {"value": 2, "delta": 2}

    Args:
        of: What to compare.
        by: Fields (or expressions) that make the key.
        into: The field that takes the difference.
        counter: The value is a counter, that may begin anew.

    Example:
        >>> rows = [{"host": "a", "n": 5}, {"host": "b", "n": 1}, {"host": "a", "n": 3}]
        >>> rx.of(Batch(rows)).pipe(delta("n", by=["host"])).run().rows[-1]
        {'host': 'a', 'n': 3, 'delta': -2}

    State: the last value of each key, and where records may be retracted what each was given; a checkpoint writes those
    that changed.
    """
    return remembering(source, lambda: _Last(counter), {into: float | int | None}, of, by)


@fields_of(delta)
def _fields(known: KnownFields, /, of: str, by: list[str] | None, into: str, **_: object) -> KnownFields:
    return known.of_history(of, by).plus(into)


class _Last:
    """The past of one key."""

    def __init__(self, counter: bool) -> None:
        self._counter = counter
        self._value: Any = None

    def next(self, value: Any, time: float) -> tuple[Any, ...]:
        if isinstance(value, float) and not isfinite(value):
            msg = f"it must be a finite number; got {value}"
            raise ValueError(msg)
        before = self._value
        difference = value - (0 if before is None else before)
        if self._counter and before is not None and value < before:
            difference = value
        self._value = value
        return (None if before is None else difference,)

    def dump(self) -> Any:
        return self._value

    def restored(self, saved: Any) -> _Last:
        self._value = saved
        return self
