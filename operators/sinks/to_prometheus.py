"""Metrics of records, for Prometheus to scrape."""

from __future__ import annotations

import threading
from typing import Annotated, Any, TypeVar

from annotated_types import MinLen
from loguru import logger
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable

from rxpipe.context import Context, current
from rxpipe.elements import Row
from rxpipe.errors import ParameterError
from rxpipe.operator import operator
from rxpipe.operators.sinks._metrics import Metric, Metrics, problems
from rxpipe.operators.sinks._records import records_of
from rxpipe.parameters.types import Ge
from rxpipe.table import Table

T = TypeVar("T")


@operator
def to_prometheus(
    source: Observable[T],
    metrics: Annotated[dict[str, Metric], MinLen(1)],
    address: str | int | None = None,
    series: Annotated[int, Ge(1)] = 1000,
) -> Observable[T]:
    """Measure records and show the metrics to those who scrape them, and pass each element on.

    Metrics are where those of the run are, see `--metrics`; a run without such a place, and Python without a run, serve
    them at `address`. Without either nobody sees them, and the log says so.

    Of records a gauge is the last value, a counter the sum since the run began, a histogram the number of values up to
    each bucket. Of a live table all metrics are made anew of its rows each time it comes, so that what is gone from the
    table is gone from the metrics; a table must come alone. A value that is null counts for nothing. A value that is no
    number or cannot be computed, one below 0 for a counter, one record more than the `series` that a metric may have
    labels for, and a record that is taken back go to `errors`. Completion and an error pass at once, and with them the
    metrics are gone.

    Args:
        metrics: For each name `type` (`gauge`, `counter`, `histogram`), `value` (an expression; 1 by default), `labels`
            (names of fields), `help`, and `buckets` for a histogram. A counter's name is shown with `_total`.
        address: `:9465`, `9465` or `127.0.0.1:9465`; with port 0 the system chooses one. Without a host, only this
            machine is served.
        series: How many combinations of labels one metric may have.

    Example:
        >>> made = {"requests": {"type": "counter", "labels": ["status"], "help": "Requests answered."}}
        >>> batch = Batch([{"status": 200}, {"status": 404}, {"status": 200}])
        >>> rx.of(batch).pipe(to_prometheus(made, address=0)).run()
        Batch([{'status': 200}, {'status': 404}, {'status': 200}])

    Then `requests_total{status="200"}` is 2.

    Raises:
        RxpipeError: Another sink of the run has a metric of the same name, or the address is in use.

    Delivery: shown: nothing is kept of it; counters begin at 0 when a run begins, which Prometheus expects.
    """
    found = [*problems(metrics)]
    if found:
        raise ParameterError("to_prometheus", found)  # noqa: EM101  # a name, no message

    def subscribe(observer: ObserverBase[T], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        made = Metrics(metrics, series)
        served = _serve(context, made, address)

        def on_next(element: T) -> None:
            leases: Any = getattr(element, "leases", ())

            def reject(row: Row, reason: str) -> None:
                context.reject(reason, row, leases=leases)

            taken, rows = records_of(element)
            for row in taken:
                reject(row, "a record taken back cannot be taken out of metrics")
            made.measure(rows, reject, anew=isinstance(element, Table))
            observer.on_next(element)

        try:
            upstream = source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)
        except BaseException:
            served.dispose()
            raise
        return CompositeDisposable(upstream, served)

    return Observable(subscribe)


def _serve(context: Context, metrics: Metrics, address: str | int | None) -> DisposableBase:
    """Serve metrics at the run's endpoint, or one of the sink's own."""
    endpoint = context.endpoint()
    if endpoint is not None:
        endpoint.add(metrics)
        return Disposable(lambda: endpoint.remove(metrics))
    if address is None:
        logger.warning("{}: nobody sees the metrics: run with --metrics, or give it an 'address'", context.name)
        return Disposable()
    from rxpipe.runtime.metrics import Endpoint  # noqa: PLC0415  # only where the run has none

    own = Endpoint(address)
    own.add(metrics)
    closing = threading.Thread(target=own.close, name="rxpipe-metrics-close", daemon=True)
    return Disposable(closing.start)
