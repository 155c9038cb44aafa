"""Records of two streams that belong together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable

from rxpipe.context import current
from rxpipe.elements import Batch
from rxpipe.errors import ParameterError, ParameterProblem
from rxpipe.operator import operator
from rxpipe.operators.flow._join import Join, Rules, Side
from rxpipe.parameters.types import Expr, Ge
from rxpipe.parameters.units import Duration, seconds
from rxpipe.promises import Inflow, Lint, lints_of

_BOTH = 2


@operator
def join(
    source: Observable[Batch],
    other: Observable[Batch],
    on: Expr | list[Expr],
    within: Duration,
    kind: Literal["inner", "left", "outer"] = "inner",
    time: Expr | None = None,
    lateness: Duration = "0s",
    prefix: str = "",
    limit: Annotated[int, Ge(1)] = 100_000,
) -> Observable[Batch]:
    """Emit each pair of records, one of each stream, that have the same key and are no further apart than `within`.

    A pair is emitted when its second record comes: the fields of this stream's record, and those of the other's under
    their names with `prefix`, unless this one has a field of that name. A record may be in many pairs. With `left` a
    record of this stream without a partner is emitted alone when no partner can come any more, with `outer` one of
    either stream; the fields of the partner are then null, as far as they are known. A null key has no partner.

    Records are apart in the time that `time` gives, in seconds; without it, in the time of their arrival. A record is
    held until no partner can come: by arrival until `within` has passed; by `time` until the other stream has come
    further than `within` and `lateness` behind the record, or is complete. So a stream that stands still holds the
    other's records; of more than `limit` records the earliest are let go of, counted (the gauge `dropped`) and told of
    once in the log.

    A record that is retracted takes its pairs back; one that is held no more cannot be taken back, and goes to
    `errors`, as does a record for which an expression fails, whose key is a list or an object, or whose time is no
    number. Completes when both streams have, then also what is held is over; where a run with saved state is stopped it
    stays, and the next run goes on with it. An error of one ends all. All other elements pass.

        source                                 -a---|
        other                                  --b--|
        join(other, on="id", within="10s")     --c--|
        a: {"id": 1, "n": 2}
        b: {"id": 1, "m": 3}
        c: {"id": 1, "n": 2, "m": 3}

    Args:
        other: The stream to join with this one.
        on: The key, an expression over the fields of a record; or two, of this stream and of the other.
        within: How far apart the records of a pair may be.
        kind: Whether records without a partner are emitted: none, those of this stream, or those of both.
        time: The time of a record, an expression that gives seconds.
        lateness: How far behind the latest record of its stream a record may come; only with `time`.
        prefix: What the names of the other stream's fields begin with.
        limit: How many records are held at most.

    Example:
        >>> from reactivex.scheduler import EventLoopScheduler
        >>> import reactivex as rx
        >>> asked, answered = Batch([{"id": 1, "ask": "a"}]), Batch([{"id": 1, "answer": "b"}])
        >>> rx.of(asked).pipe(join(rx.of(answered), on="id", within="1m")).run(EventLoopScheduler(exit_if_empty=True))
        Batch([{'id': 1, 'ask': 'a', 'answer': 'b'}])

    State: the records held, one row each; a checkpoint writes those that came and went.
    """
    keys = [on, on] if isinstance(on, str) else on
    if len(keys) != _BOTH:
        problem = ParameterProblem(
            ("on",), f"must be one key, or two, of this stream and of the other; got {len(keys)}"
        )
        raise ParameterError("join", [problem])
    rules = Rules((keys[0], keys[1]), seconds(within), kind, time, seconds(lateness), prefix, limit)

    def subscribe(observer: ObserverBase[Batch], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        joined = Join(context, context.scheduler(scheduler), observer, rules)
        subscriptions = CompositeDisposable(joined.alarm)
        sides: tuple[tuple[Observable[Any], Side], ...] = ((source, 0), (other, 1))
        for stream, side in sides:
            take, end = joined.taker(side), joined.ender(side)
            subscriptions.add(stream.subscribe(take, observer.on_error, end, scheduler=scheduler))
        return subscriptions

    return Observable(subscribe)


@lints_of(join)
def _lints(inflow: Inflow, /, time: str | None, lateness: float | str, **_: object) -> Iterator[Lint]:
    if time is not None and not seconds(lateness) and inflow.disorder:
        message = f"records may be out of order ({inflow.disorder}), and without 'lateness' partners may be gone"
        yield Lint("late", f"{message}; say how far behind a record may be", ("time",))
