"""Running mean over the last few records."""

from __future__ import annotations

from typing import Annotated, Any

from reactivex import Observable

from rxpipe.aggregations.moments import Moments
from rxpipe.elements import Batch
from rxpipe.expressions.known import KnownFields
from rxpipe.operator import fields_of, operator
from rxpipe.operators.aggregate._past import remembering
from rxpipe.operators.aggregate._recent import Length, Recent
from rxpipe.parameters.types import Expr, Ge, Gt
from rxpipe.parameters.units import Duration


@operator
def moving_average(
    source: Observable[Batch],
    of: Expr,
    count: Annotated[int, Ge(1)] | None = None,
    within: Annotated[Duration, Gt(0)] | None = None,
    by: list[Expr] | None = None,
    time: Expr | None = None,
    into: str = "average",
    partial: bool = False,
) -> Observable[Batch]:
    """Add to each record the mean of a value over the last records of its key.

    These are the last `count`, this one among them; where there are not that many yet the mean is null, unless
    `partial` is true. Or they are those less than `within` older than the key's latest, however many; a record that is
    older than that itself gets their mean, and is not part of it. The mean is that of the exact sum, however long it
    runs.

    A record whose value is null gets null, and counts for nothing. One whose value is no finite number, or for which an
    expression fails, goes to `errors`, as does one whose key is a list or an object. A retracted record goes on with
    the mean that it was given, and those of the records behind it stay. Completion and errors pass through; nothing is
    held back.

        source                              -a-b-c-|
        moving_average("value", count=2)    -x-y-z-|
        a: {"value": 1}
        b: {"value": 3}
        c: {"value": 5}
        x: {"value": 1, "average": None}
        y: {"value": 3, "average": 2.0}
        z: {"value": 5, "average": 4.0}

    Args:
        of: What to average.
        count: Over how many records.
        within: Over the records of how long.
        by: Fields (or expressions) that make the key.
        time: A record's time, where `within` is given: seconds since the epoch or an RFC 3339 text. Without it, a
            record's time is that of its arrival.
        into: The field that takes the mean.
        partial: Give the mean also where there are less than `count` records.

    Example:
        >>> rows = [{"ms": 10}, {"ms": 20}, {"ms": 60}]
        >>> rx.of(Batch(rows)).pipe(moving_average("ms", count=2, partial=True)).run()
        Batch([{'ms': 10, 'average': 10.0}, {'ms': 20, 'average': 15.0}, {'ms': 60, 'average': 40.0}])

    State: the last values of each key, and where records may be retracted what each was given; a checkpoint writes the
    keys that changed, each with its values.

    Raises:
        RxpipeError: Not one of `count` and `within` is given, or `time` without `within`.
    """
    length = Length("moving_average", count, within, time)
    return remembering(source, lambda: _Mean(length, partial), {into: float | None}, of, by, time)


@fields_of(moving_average)
def _fields(
    known: KnownFields, /, of: str, by: list[str] | None, time: str | None, into: str, **_: object
) -> KnownFields:
    return known.of_history(of, by, time).plus(into)


class _Mean:
    """The past of one key."""

    def __init__(self, length: Length, partial: bool) -> None:
        self._recent = Recent(length)
        self._partial = partial
        self._moments = Moments()

    def next(self, value: Any, time: float) -> tuple[Any, ...]:
        self._moments.may_add(value)
        self._moments.add(value)
        for gone in self._recent.push(value, time):
            self._moments.retract(gone)
        return (self._moments.mean() if self._partial or self._recent.full else None,)

    def dump(self) -> Any:
        return self._recent.entries

    def restored(self, saved: Any) -> _Mean:
        self._recent.entries = saved
        for _, value in saved:
            self._moments.add(value)
        return self
