"""Values that are unlike those before them."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from math import isfinite
from typing import Annotated, Any

from reactivex import Observable

from rxpipe.elements import Batch
from rxpipe.errors import RxpipeError
from rxpipe.expressions.known import KnownFields
from rxpipe.operator import fields_of, operator
from rxpipe.operators.aggregate._past import remembering
from rxpipe.operators.aggregate._recent import Length, Recent
from rxpipe.parameters.types import Expr, Ge, Gt
from rxpipe.parameters.units import Duration

_MEDIAN_DEVIATION = 1.482602
"""How many times larger the standard deviation of a normal distribution is than its median absolute deviation."""

_MEAN_DEVIATION = 1.253314
"""The same for its mean absolute deviation."""


@operator
def anomaly(
    source: Observable[Batch],
    of: Expr,
    count: Annotated[int, Ge(3)] | None = None,
    within: Annotated[Duration, Gt(0)] | None = None,
    by: list[Expr] | None = None,
    time: Expr | None = None,
    threshold: Annotated[float, Gt(0)] = 3.5,
    at_least: Annotated[int, Ge(3)] = 10,
    score: str = "score",
    flag: str = "anomaly",
) -> Observable[Batch]:
    """Tell how unlike a value is to the last ones of its key, and flag those that are far off.

    The score is the robust z-score of Iglewicz and Hoaglin: the distance from the median of the values before, in units
    of 1.4826 times the median of the distances that these have from it (the standard deviation, were they normally
    distributed; a few outliers among them do not change it). Where more than half of them are equal it is 1.2533 times
    the mean of the distances. A record is flagged where the score is above `threshold` or below minus that. Where all
    before are equal, there is no score (null), and any other value is flagged.

    The values before are the key's last `count`, or those less than `within` older than the record, without the record
    itself. Where they are less than `at_least`, its score is null and it is not flagged. Flagged values count for those
    behind them, so that a new level is not told for ever.

    A record whose value is null gets null and null, and counts for nothing. One whose value is no finite number, or for
    which an expression fails, goes to `errors`, as does one whose key is a list or an object. A retracted record goes
    on with what it was given, and what the records behind it were given stays. Completion and errors pass through;
    nothing is held back.

    Args:
        of: What to judge.
        count: How many values before are compared.
        within: How old the values may be that are compared.
        by: Fields (or expressions) that make the key.
        time: A record's time, where `within` is given: seconds since the epoch or an RFC 3339 text. Without it, a
            record's time is that of its arrival.
        threshold: The score above which a record is flagged.
        at_least: How many values there must be to compare with.
        score: The field that takes the score.
        flag: The field that is true for what is flagged.

    Example:
        >>> rows = [{"ms": ms} for ms in (10, 12, 11, 13, 11, 90)]
        >>> judged = rx.of(Batch(rows)).pipe(anomaly("ms", count=100, at_least=5)).run()
        >>> [(row["ms"], round(row["score"], 1), row["anomaly"]) for row in judged.rows[5:]]
        [(90, 53.3, True)]

    State: the last values of each key, and where records may be retracted what each was given; a checkpoint writes the
    keys that changed, each with its values.

    Raises:
        RxpipeError: Not one of `count` and `within` is given, `time` without `within`, or `at_least` is above `count`.
    """
    length = Length("anomaly", count, within, time)
    if count is not None and at_least > count:
        msg = f"anomaly: 'at_least' must be at most 'count' ({count}); got {at_least}"
        raise RxpipeError(msg)
    columns = {score: float | None, flag: bool | None}
    return remembering(source, lambda: _Usual(length, threshold, at_least), columns, of, by, time)


@fields_of(anomaly)
def _fields(
    known: KnownFields, /, of: str, by: list[str] | None, time: str | None, score: str, flag: str, **_: object
) -> KnownFields:
    return known.of_history(of, by, time).plus(score, flag)


class _Usual:
    """The past of one key: its last values as they came, and in order."""

    def __init__(self, length: Length, threshold: float, at_least: int) -> None:
        self._recent = Recent(length)
        self._ordered: list[Any] = []
        self._threshold = threshold
        self._at_least = at_least

    def next(self, value: Any, time: float) -> tuple[Any, ...]:
        if not isfinite(value):
            msg = f"it must be a finite number; got {value}"
            raise ValueError(msg)
        self._drop(self._recent.expire(time))
        judged = self._judged(value)
        insort(self._ordered, value)
        self._drop(self._recent.push(value, time))
        return judged

    def _judged(self, value: Any) -> tuple[Any, ...]:
        ordered = self._ordered
        if len(ordered) < self._at_least:
            return None, False
        middle = _median(ordered)
        distances = sorted(abs(one - middle) for one in ordered)
        spread = _MEDIAN_DEVIATION * _median(distances) or _MEAN_DEVIATION * sum(distances) / len(distances)
        if not spread:
            return None, value != middle
        score = (value - middle) / spread
        return score, abs(score) > self._threshold

    def _drop(self, values: list[Any]) -> None:
        for value in values:
            del self._ordered[bisect_left(self._ordered, value)]

    def dump(self) -> Any:
        return self._recent.entries

    def restored(self, saved: Any) -> _Usual:
        self._recent.entries = saved
        self._ordered = sorted(value for _, value in saved)
        return self


def _median(ordered: Sequence[Any]) -> Any:
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
