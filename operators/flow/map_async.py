"""An async Python function called with each record, several calls at a time."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Annotated, Any

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable

from rxpipe.context import current
from rxpipe.elements import Batch, as_dict
from rxpipe.operator import operator
from rxpipe.operators.flow._call import AnyFuture, Call, running_loop
from rxpipe.operators.flow._calls import Calls
from rxpipe.operators.records.call import RecordFunction
from rxpipe.parameters.calls import Function, function_named, records_made
from rxpipe.parameters.types import Ge
from rxpipe.parameters.units import Duration, seconds
from rxpipe.promises import Inflow, order_of


@operator
def map_async(
    source: Observable[Batch],
    function: Function[RecordFunction],
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
    begun. Of results that wait for earlier ones there are at most as many. What waits or runs keeps its leases, so a
    checkpoint waits for all of it: what takes long should stand behind a durable store. Completion waits for all calls;
    an error passes at once; unsubscribing cancels.

        source                              -a-b-|
        map_async(function="builtins:dict") -a-b-|

    Args:
        function: `module:name`, whose module a check of the graph imports, or in Python the function itself.
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
        calls = _Records(found, current(), scheduler, observer, concurrency, longest, ordered=ordered)
        upstream = source.subscribe(calls.take, calls.fail, calls.complete, scheduler=scheduler)
        return CompositeDisposable(upstream, Disposable(calls.close))

    return Observable(subscribe)


@order_of(map_async)
def _order(_: Inflow, /, ordered: bool, **__: object) -> str | None:
    return None if ordered else "results come as they are ready, not 'ordered'"


class _Records(Calls):
    """A call for each record."""

    def __init__(self, function: Callable[[Any], Any], *common: Any, ordered: bool) -> None:
        super().__init__(*common)
        self._function = function
        self._ordered = ordered
        self._loop = running_loop() if _is_coroutine_function(function) else None

    def _made_of(self, element: Any) -> list[Call]:
        if not isinstance(element, Batch):
            return []
        return [
            *(Call(element, row, retracts=True) for row in element.retracted),
            *(Call(element, row) for row in element.rows),
        ]

    def _begun(self, call: Call) -> AnyFuture:
        record = as_dict(call.row)
        if self._loop is not None:
            return self._loop.create_task(self._function(record))
        return self._context.executor().submit(_called, self._function, record)

    def _results(self, call: Call, result: Any) -> list[Any]:
        return records_made(result)

    def _may_overtake(self, call: Call) -> bool:
        return not (self._ordered or call.element.retractable or call.element.retracted)

    def _elements(self, calls: list[Call]) -> list[Any]:
        rows = [row for call in calls if not call.retracts for row in call.made]
        retracted = [row for call in calls if call.retracts for row in call.made]
        return [calls[0].element.replace(rows, retracted)] if rows or retracted else []


def _called(function: Callable[[Any], Any], record: dict[str, Any]) -> Any:
    """Call a function in a thread; a coroutine gets a loop of its own there."""
    result = function(record)
    return asyncio.run(result) if inspect.iscoroutine(result) else result


def _is_coroutine_function(function: Callable[[Any], Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
