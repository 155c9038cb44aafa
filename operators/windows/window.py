"""Aggregates of the records of each window of time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, NoReturn

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable

from rxpipe.aggregations.aggregation import parse_aggregation
from rxpipe.context import current
from rxpipe.elements import Batch
from rxpipe.errors import RxpipeError
from rxpipe.expressions.known import KnownFields
from rxpipe.operator import Outputs, fields_of, operator
from rxpipe.operators.windows._windows import Rules, Windows
from rxpipe.parameters.types import AggregationExpr, Expr
from rxpipe.parameters.units import Duration, seconds
from rxpipe.promises import IN_ORDER, Inflow, Lint, lints_of, order_of

MOST_WINDOWS = 1000
"""How many windows a record may be in."""


@operator
def window(
    source: Observable[Batch],
    /,
    size: Duration | None = None,
    every: Duration | None = None,
    gap: Duration | None = None,
    time: Expr | None = None,
    lateness: Duration | None = None,
    idle: Duration | None = None,
    by: list[Expr] | None = None,
    **columns: AggregationExpr,
) -> Annotated[Observable[Batch], Outputs(late=Batch)]:
    """Aggregate the records of each window of time, and emit a window's rows when it closes.

    Windows of one `size` follow each other, or with `every` begin that often and overlap; both begin at multiples
    counted from the epoch, in UTC. With `gap` there are sessions instead: a window of each key's records that are less
    than `gap` apart; it begins with its first record and ends a gap after its last. A record belongs to a window from
    its `start` up to its `end`, without that.

    With `time` a record's own time counts: seconds since the epoch or an RFC 3339 text, rounded to microseconds. The
    watermark is the largest time seen, less `lateness`; a window closes when the watermark reaches its end, so it waits
    that long for records out of order. A record all of whose windows have closed is late: it goes to the output `late`
    and changes nothing. All this depends on the records and their order alone, not on the clock nor on how they were
    batched: old data gives what it gave live. With `idle` the clock helps where records fail to come: after so much
    silence the watermark goes on as if time had passed in the data, too. (One record far in the future makes all that
    follow late; filter out what cannot be.)

    Without `time` a record's time is that of its arrival, by the clock of the run, and so is the watermark.

    The rows have `start` and `end`, in seconds since the epoch, the key and the columns; they come in the order of the
    windows' ends, then starts, then of the groups' first records. A window without records gives no row. Each window is
    emitted once: on completion all that are open are, and what would still come for them is late. Where a run with
    saved state is stopped they stay open, and the next run goes on with them. A checkpoint closes none.

    A retracted record is taken back from its open windows; if none is open, the retraction goes to `late`, and without
    `time` it always does, since when the record arrived is not known any more. A session whose records are taken back
    keeps its bounds. Where records may be retracted, all values of a group are kept, as in `aggregate`, which also says
    what the columns can be. Where a record makes two sessions one, the earlier session's values count as first.

    A record for which an expression fails, whose time is none, or whose value does not fit the function goes to
    `errors`. An error passes through. All other elements end here, but that an origin is gone is told to `late`.

        source                                                        -a-b-c-d-|
        window(size="10s", time="ts", lateness="5s", n="count()")     -----x---(y|)
        .late                                                         -------d-|
        a: {"ts": 1}
        b: {"ts": 9}
        c: {"ts": 16}
        d: {"ts": 4}
        x: {"start": 0, "end": 10, "n": 2}
        y: {"start": 10, "end": 20, "n": 1}

    Args:
        size: The length of each window.
        every: How often a window begins; by default one begins where another ends.
        gap: The silence that ends a session.
        time: An expression for a record's time; its arrival, by default.
        lateness: How far behind the largest time seen a record may be and still find its window open.
        idle: Silence, by the clock of the run, after which time goes on without records.
        by: Fields (or expressions) that make the key; each becomes a column named by its text.
        columns: Each column's aggregation, as in `aggregate`.

    Outputs:
        late: The records that came when their windows had closed, and retractions of such.

    Example:
        >>> rows = [{"ts": 3, "n": 1}, {"ts": 61, "n": 5}, {"ts": 58, "n": 2}, {"ts": 75, "n": 4}, {"ts": 2, "n": 9}]
        >>> minutes = window(size="1m", time="ts", lateness="10s", total="sum(n)")
        >>> rx.of(Batch(rows)).pipe(with_outputs(minutes, late=print), ops.map(print)).run()
        Batch([{'ts': 2, 'n': 9}])
        Batch([{'start': 0.0, 'end': 60.0, 'total': 3}])
        Batch([{'start': 60.0, 'end': 120.0, 'total': 9}])

    State: the open windows' groups, one row each, and the watermark; a checkpoint writes those that changed.

    Raises:
        RxpipeError: Not one of `size` and `gap` is given; `every` is not above 0 and at most `size`, or gives more
            than 1,000 windows at a time; `lateness` or `idle` is given without `time`; or a name is given twice.
    """
    keys = tuple(by or ())
    rules = _rules(size, every, gap, time, lateness, idle)
    for name in ("start", "end", *keys):
        if name in columns or keys.count(name) > (name not in {"start", "end"}):
            _refuse(f"the names of keys and columns must differ, and 'start' and 'end' are taken; got {name!r} twice")
    aggregations = {name: parse_aggregation(text) for name, text in columns.items()}

    def subscribe(observer: ObserverBase[Batch], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        windows = Windows(observer, context, context.scheduler(scheduler), rules, keys, aggregations)
        upstream = source.subscribe(windows.on_next, observer.on_error, windows.on_completed, scheduler=scheduler)
        return CompositeDisposable(upstream, windows.alarm)

    return Observable(subscribe)


@fields_of(window)
def _fields(known: KnownFields, /, time: str | None, by: list[str] | None, **columns: Any) -> KnownFields:
    for name in ("size", "every", "gap", "lateness", "idle"):
        del columns[name]
    known.check(time, "time")
    for index, text in enumerate(by or []):
        known.check(text, "by", index)
    for name, text in columns.items():
        known.check(parse_aggregation(text).expression, name, column=text.index("(") + 1)
    return known.only("start", "end", *(by or []), *columns).beside(late=known)


@order_of(window)
def _order(_: Inflow, /, **__: object) -> str:
    return IN_ORDER  # a window's rows come with its end


@lints_of(window)
def _lints(inflow: Inflow, /, time: str | None, lateness: float | None, **_: object) -> Iterator[Lint]:
    if time is not None and not lateness and inflow.disorder:
        message = f"records may be out of order ({inflow.disorder}), and without 'lateness' those behind are late"
        yield Lint("late", f"{message}; say how long to wait for them", ("time",))


def _rules(
    size: Duration | None,
    every: Duration | None,
    gap: Duration | None,
    time: str | None,
    lateness: Duration | None,
    idle: Duration | None,
) -> Rules:
    if (size is None) == (gap is None):
        _refuse(f"one of 'size' and 'gap' must be given; got {'none' if size is None else 'both'}")
    if every is not None and size is None:
        _refuse("'every' goes with 'size': sessions begin with their records")
    if time is None and not (lateness is None and idle is None):
        _refuse("'lateness' and 'idle' go with 'time': by arrival nothing is late, and the clock goes on by itself")
    length, step = _microseconds(size), _microseconds(size if every is None else every)
    if size is not None and not (0 < step <= length <= step * MOST_WINDOWS):
        _refuse(f"'every' must be at most 'size' ({size}), and at least a 1,000th of it, above 0; got {every or size}")
    if gap is not None and _microseconds(gap) == 0:
        _refuse(f"'gap' must be above 0; got {gap}")
    return Rules(
        None if size is None else length,
        step,
        _microseconds(gap),
        time,
        _microseconds(lateness),
        None if idle is None else _microseconds(idle),
    )


def _microseconds(duration: Duration | None) -> int:
    return 0 if duration is None else round(seconds(duration) * 1e6)


def _refuse(message: str) -> NoReturn:
    msg = f"window: {message}"
    raise RxpipeError(msg)
