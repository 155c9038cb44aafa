"""The rate at which a counter grows."""

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
def per_second(
    source: Observable[Batch],
    of: Expr,
    by: list[Expr] | None = None,
    time: Expr | None = None,
    into: str = "per_second",
) -> Observable[Batch]:
    """Add to each record by how much per second a counter has grown since the record of its key before it.

    A counter only grows, until it begins anew at 0, as a process does that restarts: where it is smaller than before,
    all of it is what it has grown by. A key's first record gets null. So does one that is not later than the latest
    before it, since no time has passed; the next is then compared with that latest one. (For events, which are no
    counter, `window` counts them, and `derive` divides by its size; for the mere difference there is `delta`.)

    A record whose value is null gets null, and the next is compared with the one before it. One whose value is no
    finite number, which has no time, or for which an expression fails, goes to `errors`, as does one whose key is a
    list or an object. A retracted record goes on with what it was given; what the record behind it was given stays.
    Completion and errors pass through; nothing is held back.

        source                 -a----b-|
        per_second("value")    -x----y-|
        a: {"value": 5}
        b: {"value": 15}
        x: {"value": 5, "per_second": None}
        y: {"value": 15, "per_second": 20.0}

    Args:
        of: The counter.
        by: Fields (or expressions) that make the key.
        time: A record's time: seconds since the epoch or an RFC 3339 text. Without it, that of its arrival.
        into: The field that takes the rate.

    Example:
        >>> rows = [{"ts": 10, "bytes": 500}, {"ts": 12, "bytes": 800}, {"ts": 14, "bytes": 60}]
        >>> rates = rx.of(Batch(rows)).pipe(per_second("bytes", time="ts")).run()
        >>> [row["per_second"] for row in rates.rows]
        [None, 150.0, 30.0]

    State: the last value and time of each key, and where records may be retracted what each was given; a checkpoint
    writes those that changed.
    """
    return remembering(source, _Last, {into: float | None}, of, by, time)


@fields_of(per_second)
def _fields(known: KnownFields, /, of: str, by: list[str] | None, time: str | None, into: str) -> KnownFields:
    return known.of_history(of, by, time).plus(into)


class _Last:
    """The past of one key."""

    def __init__(self) -> None:
        self._last: tuple[Any, float] | None = None

    def next(self, value: Any, time: float) -> tuple[Any, ...]:
        if isinstance(value, float) and not isfinite(value):
            msg = f"it must be a finite number; got {value}"
            raise ValueError(msg)
        growth = value + 0.0
        rate = None
        if self._last is not None:
            before, then = self._last
            if time <= then:
                return (None,)
            rate = (growth if value < before else value - before) / (time - then)
        self._last = (value, time)
        return (rate,)

    def dump(self) -> Any:
        return self._last

    def restored(self, saved: Any) -> _Last:
        self._last = saved
        return self
