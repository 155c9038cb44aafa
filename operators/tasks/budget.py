"""No more tasks than are paid for."""

from __future__ import annotations

from typing import Annotated, Any

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.context import current
from rxpipe.elements import Batch, Row
from rxpipe.expressions import parse
from rxpipe.expressions.known import KnownFields
from rxpipe.fusion.rows import compile_values
from rxpipe.operator import fields_of, operator
from rxpipe.parameters.types import Expr, Gt
from rxpipe.parameters.units import Money
from rxpipe.tasks.attempt import attempt_of
from rxpipe.tasks.budget import Budget


@operator
def budget(source: Observable[Batch], limit: Annotated[Money, Gt(0)], cost: Expr | None = None) -> Observable[Batch]:
    """Have `tasks` before it in the stream give out no more tasks than the budget allows; all elements pass.

    A call reserves what it will cost, by an estimate of its own or else what tasks have cost on average (of which the
    first is tried alone), and is not made where that, with what was spent and what other calls under way have reserved,
    would pass the limit. Then no more tasks are begun; those that are under way end; and the run says so. It is an
    outcome, not a failure: the other tasks stay pending, for a run with a higher limit. What was spent counts through
    restarts, with all runs on the same store. Only a call that costs more than its estimate can pass the limit, by the
    difference.

    A record whose `cost` cannot be told goes to `errors`. Records that are no tasks pass. Completion and errors pass
    through; nothing is held back.

        source                 -a-b-|
        budget(limit="5 USD")  -a-b-|

    Args:
        limit: What may be spent in all, as `20 USD` or a number of dollars.
        cost: What a record has cost; by default what the calls before said of themselves.

    Example:
        >>> rx.of(Batch([{"price": 0.2}])).pipe(budget("5 USD", cost="price")).run()
        Batch([{'price': 0.2}])
    """
    values = None if cost is None else compile_values([parse(cost)])

    def subscribe(observer: ObserverBase[Batch], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        purse = Budget(context.stream, float(limit))
        context.board[context.name] = purse
        context.gauge("spent", lambda: purse.spent)
        context.gauge("reserved", lambda: purse.reserved)

        def on_next(element: Any) -> None:
            attempt = attempt_of(element.leases) if isinstance(element, Batch) else None
            if values is not None and isinstance(element, Batch):

                def reject(row: Row, error: Exception) -> None:
                    context.reject(error, row, leases=element.leases)

                rows, costs = values(element.rows, reject)
                if attempt is not None:
                    attempt.cost = max(attempt.cost, sum(value for value in costs if isinstance(value, int | float)))
                element = element.replace(rows, element.retracted)
            observer.on_next(element)

        return source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

    return Observable(subscribe)


@fields_of(budget)
def _fields(known: KnownFields, /, cost: str | None, **_: object) -> KnownFields:
    known.check(cost, "cost")
    return known
