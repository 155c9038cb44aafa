"""Metrics of records, for Prometheus to scrape or for node exporter to read."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

from annotated_types import MinLen
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable

from rxpipe.context import Context, current
from rxpipe.elements import Row
from rxpipe.errors import ParameterError, ParameterProblem
from rxpipe.log import logger
from rxpipe.operator import fields_of, operator
from rxpipe.operators.sinks._metrics import Metric, Metrics, known_metrics, problems, write_text
from rxpipe.operators.sinks._records import records_of
from rxpipe.operators.sinks._renewed import Renewed
from rxpipe.parameters.types import Ge, Gt
from rxpipe.parameters.units import Duration, seconds
from rxpipe.table import Table

T = TypeVar("T")


@operator
def to_prometheus(
    source: Observable[T],
    metrics: Annotated[dict[str, Metric], MinLen(1)],
    address: str | int | None = None,
    series: Annotated[int, Ge(1)] = 1000,
    path: str | None = None,
    every: Annotated[Duration, Gt(0)] = "15s",
) -> Observable[T]:
    """Measure records and show the metrics to those who scrape them, and pass each element on.

    Metrics are where those of the run are, see `--metrics`; a run without such a place, and Python without a run, serve
    them at `address`. With `path` they are also in a file, for the textfile collector of node exporter: `every` after
    the first element, then at most that often, when something came; and when the stream completes, which waits for it.
    The file is replaced as a whole and stays when the run ends. It is private to the user (0600), or has the mode of
    the one that it replaces: let the collector run as the same user, or make the file beforehand. If it cannot be
    written for a reason that may pass, the log says so, the run is degraded, and it is tried again in its turn, unless
    `on_error` says otherwise. Where none of the three is given nobody sees the metrics, and the log says so.

    Of records a gauge is the last value, a counter the sum since the run began, a histogram the number of values up to
    each bucket. Of a live table all metrics are made anew of its rows each time it comes, so that what is gone from the
    table is gone from the metrics; a table must come alone. A value that is null counts for nothing. A value that is no
    number or cannot be computed, one below 0 for a counter, for a counter or a histogram one that is infinite or NaN,
    one record more than the `series` that a metric may have labels for, and a record that is taken back go to `errors`.
    Completion (without `path`) and an error pass at once, and with them the metrics that are served are gone.

    Args:
        metrics: For each name `type` (`gauge`, `counter`, `histogram`), `value` (an expression; 1 by default), `labels`
            (names of fields), `help`, and `buckets` for a histogram. A counter's name is shown with `_total`.
        address: `:9465`, `9465` or `127.0.0.1:9465`; with port 0 the system chooses one. Without a host, only this
            machine is served.
        series: How many combinations of labels one metric may have.
        path: The file, with its folder, ending in `.prom`, as node exporter reads no other; `~` is the user's home.
        every: How often the file is written.

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
    file = None if path is None else Path(path).expanduser()
    if file is not None and file.suffix != ".prom":
        found.append(ParameterProblem(("path",), f"must end in .prom; got {path!r}"))
    if found:
        raise ParameterError("to_prometheus", found)

    def subscribe(observer: ObserverBase[T], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        made = Metrics(metrics, series)
        served = _serve(context, made, address, shown=file is not None)
        renewed = None
        if file is not None:
            write = partial(write_text, made, file)
            renewed = Renewed(context, scheduler, file, seconds(every), lambda: write)
            served = CompositeDisposable(served, Disposable(renewed.close))

        def on_next(element: T) -> None:
            _measure(context, made, element)
            if renewed is not None:
                renewed.change()
            observer.on_next(element)

        completed = observer.on_completed if renewed is None else partial(renewed.complete, observer.on_completed)
        try:
            upstream = source.subscribe(on_next, observer.on_error, completed, scheduler=scheduler)
        except BaseException:
            served.dispose()
            raise
        return CompositeDisposable(upstream, served)

    return Observable(subscribe)


fields_of(to_prometheus)(known_metrics)


def _measure(context: Context, metrics: Metrics, element: Any) -> None:
    """Measure the records of an element; what cannot be measured is rejected."""
    leases: Any = getattr(element, "leases", ())

    def reject(row: Row, reason: str) -> None:
        context.reject(reason, row, leases=leases)

    taken, rows = records_of(element)
    for row in taken:
        reject(row, "a record taken back cannot be taken out of metrics")
    metrics.measure(rows, reject, anew=isinstance(element, Table))


def _serve(context: Context, metrics: Metrics, address: str | int | None, *, shown: bool) -> DisposableBase:
    """Serve metrics at the run's endpoint, or one of the sink's own."""
    endpoint = context.endpoint()
    if endpoint is not None:
        endpoint.add(metrics)
        return Disposable(lambda: endpoint.remove(metrics))
    if address is None:
        if not shown:
            must = "run with --metrics, or give it an 'address' or a 'path'"
            logger.warning("{}: nobody sees the metrics: {}", context.name, must)
        return Disposable()
    from rxpipe.runtime.metrics import Endpoint  # only where the run has none

    own = Endpoint(address)
    own.add(metrics)
    closing = threading.Thread(target=own.close, name="rxpipe-metrics-close", daemon=True)
    return Disposable(closing.start)
