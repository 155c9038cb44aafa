"""An async Python function called with each record, several calls at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from annotated_types import Ge
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable

from rxpipe.calls import function_named
from rxpipe.context import current
from rxpipe.elements import Batch
from rxpipe.operator import operator
from rxpipe.operators.flow._calls import Calls
from rxpipe.units import Duration, seconds


@operator
def map_async(
    source: Observable[Batch],
    function: str | Callable[[dict[str, object]], object],
    concurrency: Annotated[int, Ge(1)] = 8,
    ordered: bool = False,
    timeout: Duration | None = None,
) -> Observable[Batch]:
    """Replace each record by what an async Python function makes of it, several calls at a time.

    The function takes the record as a dict of its own and returns a dict, a list of dicts, or None to drop the record.
    A coroutine function is awaited on the run's loop; a plain function is called in the run's threads. Results are
    emitted as they come, or with `ordered` in the order of the records. Where records may be retracted they are emitted
    in order anyway; the function is called with a retracted record too, and must give the same for the same record. All
    other elements keep their place: they wait for the records before them.

    A record for which the function raises, returns something else or takes longer than `timeout` goes to `errors`; the
    stream goes on. A coroutine that takes too long is cancelled; a plain function cannot be, and counts among the
    `concurrency` calls until it returns.

    At most `concurrency` blocks wait for their calls to begin: then the sources of the run are held until one has
    begun. What waits or runs keeps its leases, so a checkpoint waits for all of it: what takes long should stand behind
    a durable store. Completion waits for all calls; an error passes at once; unsubscribing cancels.

        source                              -a-b-|
        map_async(function="builtins:dict") -a-b-|

    Args:
        function: `module:name`, or in Python the function itself.
        concurrency: How many calls run at a time.
        ordered: Whether results are emitted in the order of the records.
        timeout: How long one call may take, from its beginning or the moment it was given to a thread.

    Example:
        >>> async def doubled(record):
        ...     return {"n": record["n"] * 2}
        >>> rx.of(Batch([{"n": 2}])).pipe(map_async(doubled, timeout="5s")).run()
        Batch([{'n': 4}])

    Raises:
        RxpipeError: There is no such function.
    """
    found = function_named(function)
    longest = None if timeout is None else seconds(timeout)

    def subscribe(observer: ObserverBase[Batch], scheduler: SchedulerBase | None = None) -> DisposableBase:
        calls = Calls(current(), scheduler, observer, found, concurrency, longest, ordered=ordered)
        upstream = source.subscribe(calls.take, calls.fail, calls.complete, scheduler=scheduler)
        return CompositeDisposable(upstream, Disposable(calls.close))

    return Observable(subscribe)
