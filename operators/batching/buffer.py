"""Batches of a wanted size."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable

from rxpipe.context import Context, current
from rxpipe.elements import Batch, Row
from rxpipe.errors import ParameterError, ParameterProblem
from rxpipe.expressions import Expression, parse
from rxpipe.expressions.known import KnownFields
from rxpipe.operator import fields_of, operator
from rxpipe.parameters.types import Expr, Ge
from rxpipe.parameters.units import Duration, Size, nbytes, seconds
from rxpipe.pending import Pending
from rxpipe.scheduling.alarm import PRECISION, Alarm


@operator
def buffer(
    source: Observable[Batch],
    count: Annotated[int, Ge(1)] | None = None,
    time: Duration | None = None,
    bytes: Size | None = None,  # the name it has in a graph
    urgent: Expr | None = None,
    leading: Duration | None = None,
) -> Observable[Batch]:
    """Gather records into batches of `count`, or of what comes within `time` or `bytes`, whichever is reached first.

    Records are held until there are `count` of them (a larger batch is split, so a full one has exactly `count`), until
    `time` after the first record held, or until the source blocks they came from would exceed `bytes`. A record for
    which `urgent` is true, and all before it, are emitted at once; one for which it fails is reported, and held like
    any other. A retraction of a record still held cancels that record; others travel ahead of the records, so that
    applying the batches gives what applying the source's would. Completion, an error, any other element, and a
    checkpoint emit what is held first. Nothing is ever dropped.

    With `leading`, records that come when nothing was emitted for `time` are held only for so long (0s: they go on at
    once), and `time` counts from the last batch: a single record is not late, and many are at most one batch in `time`
    unless there are `count` of them.

        source             -a-b-c--d-|
        buffer(count=2)    ---x----y-|
        x: [{"value": "a"}, {"value": "b"}]
        y: [{"value": "c"}, {"value": "d"}]

        source                                 -a-b-c------d-|
        buffer(time="400ms", leading="0s")     -a---z------d-|
        z: [{"value": "b"}, {"value": "c"}]

    Args:
        count: Records of a full batch.
        time: How long a record may be held.
        bytes: How large the source blocks may be that one batch came from; records without a source count nothing.
        urgent: Which records are emitted at once; an expression over the fields of a record.
        leading: How long the first record after a pause of `time` is held, and what follows it; at most `time`.

    Example:
        >>> import reactivex as rx
        >>> from rxpipe.elements import Batch
        >>> rx.of(Batch([{"n": 1}, {"n": 2}]), Batch([{"n": 3}])).pipe(buffer(count=3)).run()
        Batch([{'n': 1}, {'n': 2}, {'n': 3}])
    """
    if count is None and time is None and bytes is None:
        problem = ParameterProblem((), "one of 'count', 'time' and 'bytes' must be given; got none")
        raise ParameterError("buffer", [problem])
    if leading is not None and time is None:
        problem = ParameterProblem(
            ("leading",), "needs 'time': what comes after a pause of that length is held for less"
        )
        raise ParameterError("buffer", [problem])

    if leading is not None and time is not None and seconds(leading) > seconds(time):
        problem = ParameterProblem(
            ("leading",), f"must be at most 'time', {seconds(time):g} s; got {seconds(leading):g} s"
        )
        raise ParameterError("buffer", [problem])

    def subscribe(observer: ObserverBase[Batch], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        state = _Buffer(observer, context, context.scheduler(scheduler))
        state.count = count
        state.time = None if time is None else seconds(time)
        state.bytes = None if bytes is None else nbytes(bytes)
        state.urgent = None if urgent is None else parse(urgent)
        state.leading = None if leading is None else seconds(leading)
        upstream = source.subscribe(state.on_next, state.on_error, state.on_completed, scheduler=scheduler)
        return CompositeDisposable(upstream, state.alarm, Disposable(state.pending.clear))

    return Observable(subscribe)


@fields_of(buffer)
def _fields(known: KnownFields, /, urgent: str | None, **_: object) -> KnownFields:
    known.check(urgent, "urgent")
    return known


class _Buffer:
    """One subscription."""

    count: int | None
    time: float | None
    bytes: int | None
    urgent: Expression | None
    leading: float | None

    def __init__(self, observer: ObserverBase[Any], context: Context, scheduler: SchedulerBase) -> None:
        self.observer = observer
        self.context = context
        self.alarm = Alarm(context, scheduler, self.ring)
        self.pending = Pending()
        self.due: float | None = None
        self.quiet_from = -math.inf
        self.bound: dict[type, Callable[[Any], Any]] = {}
        context.on_flush(self.flush)
        context.gauge("queue_depth", lambda: len(self.pending.rows))

    def on_next(self, element: Any) -> None:
        """Hold a batch's records and emit the batches that are full."""
        if not isinstance(element, Batch):
            self.flush()
            self.observer.on_next(element)
            return
        pending = self.pending
        if element.retracted and not pending.fits(element):
            self.flush()
        if self.bytes is not None and pending and pending.nbytes + pending.more_bytes(element) > self.bytes:
            self.flush()
        pending.retract(element)
        urgent = 0 if self.urgent is None else self.last_urgent(element)
        if urgent:
            self.extend(element, element.rows[:urgent])
            self.flush()
        self.extend(element, element.rows[urgent:] if urgent else element.rows)
        if self.bytes is not None and pending.nbytes >= self.bytes:
            self.flush()
        self.arm()

    def extend(self, batch: Batch, rows: list[Row]) -> None:
        """Hold rows; emit as often as there are `count`."""
        pending = self.pending
        if self.count is None:
            pending.extend(batch, rows)
            return
        begin = 0
        while begin < len(rows) or len(pending.retracted) >= self.count:
            part = rows[begin : begin + self.count - len(pending.rows)]
            begin += len(part)
            pending.extend(batch, part)
            if len(pending.rows) == self.count or len(pending.retracted) >= self.count:
                self.flush()

    def last_urgent(self, batch: Batch) -> int:
        """How many rows of the batch to emit at once: up to the last urgent one."""
        last = 0
        for index, row in enumerate(batch.rows):
            kind = type(row)
            try:
                if kind not in self.bound:
                    self.bound[kind] = self.urgent.bind(kind)  # type: ignore[union-attr]  # asked only if there is one
                if self.bound[kind](row):
                    last = index + 1
            except Exception as error:  # whatever an expression raises concerns this record
                self.context.reject(f"urgent: {type(error).__name__}: {error}", row, leases=batch.leases)
        return last

    def arm(self) -> None:
        """Note until when what is held may be held."""
        if not self.pending:
            self.flush()
        elif self.time is not None and self.due is None:
            now = self.alarm.now()
            due = now + self.time if self.leading is None else max(self.quiet_from, now + self.leading)
            if due <= now + PRECISION:
                self.flush()
                return
            self.due = due
            self.alarm.by(due)

    def ring(self, now: float) -> float | None:
        """Emit what was held long enough; the next deadline."""
        if self.due is not None and self.due <= now:
            self.flush()
        return self.due

    def flush(self) -> None:
        """Emit what is held."""
        self.due = None
        pending = self.pending
        if pending:
            if self.leading is not None and self.time is not None:
                self.quiet_from = self.alarm.now() + self.time
            self.observer.on_next(pending.take())
        else:  # every record held was taken back
            pending.clear()

    def on_completed(self) -> None:
        """Emit what is held, then complete."""
        self.flush()
        self.observer.on_completed()

    def on_error(self, error: Exception) -> None:
        """Emit what is held, then the error."""
        self.flush()
        self.observer.on_error(error)
