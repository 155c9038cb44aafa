"""What to do with data for which the reader is not ready yet."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable

from rxpipe.context import Context, current
from rxpipe.elements import Batch
from rxpipe.errors import ParameterError, ParameterProblem
from rxpipe.operator import operator
from rxpipe.operators.flow._queues import Latest, Line, Queue
from rxpipe.operators.flow._slow import Slow
from rxpipe.operators.flow._spill import Spill
from rxpipe.parameters.types import Expr, Ge
from rxpipe.parameters.units import Size, nbytes
from rxpipe.promises import Inflow, Promise, promise_of

T = TypeVar("T")

Policy = Literal["block", "drop_oldest", "drop_newest", "conflate", "spill"]


@operator
def on_slow(
    source: Observable[T],
    policy: Policy,
    limit: Annotated[int, Ge(1)] = 1000,
    by: Expr | None = None,
    disk: Size = "1GB",
) -> Observable[T]:
    """Give the reader what it is ready for, and do with what comes meanwhile as the policy says.

    The reader is all that comes behind this step, also on other threads. It is ready while it holds at most one batch
    or block of lines: it is done with one when nobody holds it any more. While it is not ready, what comes waits, and
    is given in order. Elements that hold no leases (tables, file events, plain values) it is always done with; they
    only wait behind others.

    - `block`: the sources of the run are held while `limit` records wait (and with every policy, while more than may
      be dropped wait).
    - `drop_oldest`, `drop_newest`: of more than `limit` records the oldest or the newest are dropped.
    - `conflate`: of the records of one key only the latest waits, in order of the latest; all that wait are given as
      one batch. Of tables of one name, and of any other elements of one type, the latest waits.
    - `spill`: what waits is written to disk, up to `disk` bytes, and is then done with for its source: the reader may
      lag far behind, and what it has not read survives a restart. Where the disk is full too, it is as with `block`.
      Records that were on disk are given as dicts, if a restart came between.

    A batch has as many records as rows; any other element is one. Where records may be retracted, none is dropped,
    conflated or written to disk, nor ever `OriginGone`. What is dropped is done with for its source, counted (the
    gauge `dropped`), and told of once in the log. A record whose key fails goes to `errors`.

    What waits keeps its leases, so a checkpoint waits for it, but for what is on disk. A step behind this one that
    gathers records, as `buffer`, is slow as long as it gathers: place this behind it. Where nothing was taken for a
    second all steps emit what they hold, as before a checkpoint. Completion and errors keep their place behind what
    waits; with `spill` and a state file, a run that drains leaves the rest to the next one.

        source              -a-b-|
        on_slow("block")    -a-b-|

    Args:
        policy: What becomes of what waits.
        limit: How many records may wait.
        by: The key of `conflate`; without it only the latest record waits.
        disk: How much `spill` may keep on disk.

    Example:
        >>> rx.of(Batch([{"n": 1}]), Batch([{"n": 2}])).pipe(on_slow("drop_oldest", limit=100)).run()
        Batch([{'n': 2}])

    Guarantee: at-most-once for records with `drop_oldest`, `drop_newest` and `conflate`, as far as records are dropped.

    State: with `spill`, how far the files beside the state file were read and written; they are made durable at each
    checkpoint.
    """
    if by is not None and policy != "conflate":
        problem = ParameterProblem(("by",), f"'by' is the key of policy 'conflate'; got policy {policy!r}")
        raise ParameterError("on_slow", [problem])

    def queue(context: Context) -> Queue:
        if policy == "spill":
            return Spill(context, nbytes(disk))
        return Latest(context, limit, by) if policy == "conflate" else Line(limit, policy)

    def subscribe(observer: ObserverBase[T], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        slow = Slow(context, scheduler, observer, queue(context))
        upstream = source.subscribe(slow.take, slow.fail, slow.complete, scheduler=scheduler)
        return CompositeDisposable(upstream, Disposable(slow.close))

    return Observable(subscribe)


@promise_of(on_slow)
def lossy(inflow: Inflow, /, policy: Policy = "conflate", **_: object) -> Promise | None:
    """What a policy does to records: of what tells the present state only the latest counts anyway."""
    if policy in {"block", "spill"} or not inflow.has(Batch):
        return None
    return Promise("at-most-once", f"policy {policy!r} drops records for a slow reader")
