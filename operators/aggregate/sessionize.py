"""Merge a table's rows that are near in time into sessions of activity."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.context import current
from rxpipe.elements import Row, as_dict
from rxpipe.errors import RxpipeError, did_you_mean, nearest
from rxpipe.expressions.known import KnownFields
from rxpipe.operator import fields_of, operator
from rxpipe.parameters.units import Duration, seconds
from rxpipe.table import Table

_OWN = ("start", "end", "first", "last", "idle", "active")
"""The columns that are made; columns of these names in the source are not added up."""


@operator
def sessionize(
    source: Observable[Table],
    gap: Duration,
    start: str = "start",
    end: str = "end",
    at_most: Duration | None = None,
    align: Duration | None = None,
    largest: list[str] = [],
) -> Observable[Table]:
    """Merge rows that are near in time into sessions of activity.

    Each row of the source stands for the records between its `start` and `end`, in seconds since the epoch. In order of
    time, a row opens a new session when it starts more than `gap` after the end of the row before it, or more than
    `at_most` after the start of the session. A session's start is floored to a multiple of `align` (counted from the
    epoch, so 1h means full hours UTC).

    The rows made have `start`; `end`, which is start + `at_most`, or without it the end of the last row; `first` and
    `last`, the times of the first and last record; `idle`, the seconds between the session before and this one's first
    record (null for the first session); `active`, whether by the clock of the run less than `gap` has passed since
    `last`, and less than `at_most` since `start`; and the sums of all other numeric columns, or the largest value of
    those in `largest`, null without one. They are computed when the table is read. Rows without a start are left out.

    Exact for any records, as long as no row spans the boundary of a session: aggregate by `ceil_time(time, '1h')` with
    the minimum and maximum of the time as `start` and `end`, and let `align` and `at_most` be full hours.

    Completion and errors pass through; nothing is held back.

    Args:
        gap: Silence that ends a session.
        start: Column with the time of a row's first record.
        end: Column with the time of a row's last record.
        at_most: Length after which a session ends however busy it is.
        align: What a session's start is floored to a multiple of.
        largest: Columns of which the largest value counts, and not the sum.

    Example:
        >>> times = [(0.0, 40.0, 2), (90.0, 95.0, 1), (300.0, 300.0, 4)]
        >>> rows = [{"start": start, "end": end, "n": n} for start, end, n in times]
        >>> table = Table("busy", ("start",), lambda: rows, lambda: 0)
        >>> [(row["start"], row["end"], row["n"]) for row in rx.of(table).pipe(sessionize("60s")).run().dicts()]
        [(0.0, 95.0, 3), (300.0, 300.0, 4)]
    """
    longest = None if at_most is None else seconds(at_most)
    rules = (start, end, seconds(gap), longest, None if align is None else seconds(align), largest)

    def subscribe(observer: ObserverBase[Table], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()

        def merged(rows: list[Row]) -> list[Row]:
            return _sessions([as_dict(row) for row in rows], context.now(), *rules)

        def on_next(element: Any) -> None:
            if isinstance(element, Table):
                element = element.map(merged, name=context.stream, key=("start",))
            observer.on_next(element)

        return source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

    return Observable(subscribe)


@fields_of(sessionize)
def _fields(known: KnownFields, /, start: str, end: str, largest: list[str], **_: object) -> KnownFields:
    for parameter, column in (("start", start), ("end", end), *(("largest", name) for name in largest)):
        if column.isidentifier():
            known.check(column, parameter)
    return known.plus(*_OWN)


def _sessions(
    rows: list[dict[str, Any]],
    now: float,
    start: str,
    end: str,
    gap: float,
    longest: float | None,
    align: float | None,
    largest: list[str],
) -> list[Row]:
    apart = {start, end, *_OWN, *largest}
    sessions: list[dict[str, Any]] = []
    last: float | None = None
    for begins, ends, row in _in_order(rows, start, end):
        session = sessions[-1] if sessions else None
        fits = session is not None and last is not None and begins - last <= gap
        if session is None or not fits or (longest is not None and begins - session["start"] > longest):
            floored = begins if align is None else begins // align * align
            idle = None if last is None else begins - last
            session = {"start": floored, "end": floored, "first": begins, "last": begins, "idle": idle, "active": False}
            session |= dict.fromkeys(largest)
            sessions.append(session)
        last = session["last"] = max(session["last"], ends)
        for name, value in row.items():
            if name not in apart and isinstance(value, int | float) and not isinstance(value, bool):
                session[name] = session.get(name, 0) + value
        for name in largest:
            value, so_far = row.get(name), session[name]
            if value is not None and (so_far is None or value > so_far):
                session[name] = value
    for session in sessions:
        session["end"] = session["last"] if longest is None else session["start"] + longest
        session["active"] = now < session["end"] + (gap if longest is None else 0) and now - session["last"] < gap
    return list(sessions)


def _in_order(rows: list[dict[str, Any]], start: str, end: str) -> list[tuple[float, float, dict[str, Any]]]:
    """Start, end and row, in order of time, of the rows that have a start."""
    timed = []
    for row in rows:
        for name in (start, end):
            if name not in row:
                msg = f"sessionize: the table must have the column {name!r}; got {', '.join(map(repr, row))}"
                raise RxpipeError(msg + did_you_mean(nearest(name, row)))
        if row[start] is not None:
            timed.append((row[start], row[start] if row[end] is None else row[end], row))
    timed.sort(key=itemgetter(0))
    return timed
