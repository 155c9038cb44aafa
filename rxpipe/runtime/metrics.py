"""Prometheus metrics of a run, read from its status when somebody scrapes.

Names follow the conventions of Prometheus: `rxpipe_`, what it is, the unit in base units, `_total` for what only grows.
Rates are left to the one who asks: `rate(rxpipe_stream_records_total[1m])`.
"""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, Future
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from rxpipe.errors import RxpipeError
from rxpipe.log import logger

if TYPE_CHECKING:
    from rxpipe.runtime.engine import Engine
    from rxpipe.runtime.status import RunStatus, StepStatus

LONGEST_SCRAPE = 5.0
"""Seconds in which the dataflow must answer."""

_STEP_COUNTERS = {
    "received_records": ("records_in", "Records that flowed into a step."),
    "sent_records": ("records_out", "Records that flowed out of a step."),
    "received_bytes": ("bytes_in", "Bytes of blocks that flowed into a step."),
    "sent_bytes": ("bytes_out", "Bytes of blocks that flowed out of a step."),
    "blocks": ("blocks", "Elements (blocks, batches, events) that a step handled."),
    "errors": ("errors", "Records that a step could not handle."),
    "busy_seconds": ("seconds", "Time that a step used, without that of the steps after it."),
}
_STEP_GAUGES = {
    "mean_batch_records": ("mean_batch", "Mean records of the batches that a step handled."),
    "largest_batch_records": ("largest_batch", "Records of the largest batch that a step handled."),
}
_STREAM_GAUGES = {
    "lag_bytes": "Bytes that a stream's sources have yet to read.",
    "lag_seconds": "Age of the oldest byte that a stream's sources have yet to read.",
}
_CHECKPOINT_GAUGES = {
    "seconds": ("checkpoint_seconds", "How long the last checkpoint took."),
    "interval_seconds": ("checkpoint_interval", "Time between the last two checkpoints."),
    "rows": ("checkpoint_rows", "State rows that the last checkpoint wrote."),
    "bytes": ("checkpoint_bytes", "Bytes of the state rows that the last checkpoint wrote."),
}


class Endpoint:
    """Serves metrics over HTTP.

    Args:
        address: As for `Exporter`.

    Attributes:
        url: Where they are.

    Raises:
        RxpipeError: The address cannot be read or is in use.
    """

    def __init__(self, address: str | int) -> None:
        self._registry = CollectorRegistry()
        host, _, port = str(address).rpartition(":")
        host = host.strip("[]") or "127.0.0.1"
        try:
            self._server, self._thread = start_http_server(int(port), host, registry=self._registry)
        except (ValueError, OverflowError) as error:
            msg = f"metrics: the address must be HOST:PORT or :PORT; got {address!r}"
            raise RxpipeError(msg) from error
        except OSError as error:
            msg = f"metrics: cannot listen on {address!r}: {error.strerror or error}; choose another port"
            raise RxpipeError(msg) from error
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self._server.server_port}/metrics"
        logger.info("metrics on {}", self.url)

    def add(self, collector: Collector) -> None:
        """Serve what a collector gives, too.

        Raises:
            RxpipeError: Another one gives a metric of the same name.
        """
        try:
            self._registry.register(collector)
        except ValueError as error:
            msg = f"metrics: each must have a name of its own at {self.url}; got one twice: {error}"
            raise RxpipeError(msg) from error

    def remove(self, collector: Collector) -> None:
        """Serve it no more."""
        self._registry.unregister(collector)

    def close(self) -> None:
        """Stop serving; waits for the server's thread, so not on the dataflow thread."""
        with contextlib.suppress(OSError):  # a system that does not know this of a socket that listens
            self._server.socket.shutdown(socket.SHUT_RDWR)  # or its thread looks half a second later
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Exporter(Collector):
    """Serves the metrics of one run over HTTP.

    Args:
        engine: The run.
        address: `:9464`, `9464` or `127.0.0.1:9464`; with port 0 the system chooses one. Without a host, only this
            machine is served.

    Attributes:
        url: Where the metrics are.

    Raises:
        RxpipeError: The address cannot be read or is in use.
    """

    def __init__(self, engine: Engine, address: str | int) -> None:
        self._engine = engine
        self._asked: set[Future[RunStatus]] = set()
        self._closed = False
        self._endpoint = Endpoint(address)
        self._endpoint.add(self)
        self.url = self._endpoint.url
        engine.endpoint = self._endpoint

    def close(self) -> None:
        """Stop serving; waits for a scrape that is under way, so not on the dataflow thread."""
        self._closed = True
        for asked in list(self._asked):
            asked.cancel()
        self._endpoint.close()

    def _status(self) -> RunStatus | None:
        """The status, read on the thread of the dataflow; None when the run is over or too busy to answer."""
        result: Future[RunStatus] = Future()

        def read() -> None:
            if not result.set_running_or_notify_cancel():
                return
            try:
                result.set_result(self._engine.status())
            except Exception as error:  # raised again in the scraper's thread
                result.set_exception(error)

        self._asked.add(result)
        try:
            self._engine.post(read)
            return None if self._closed else result.result(timeout=LONGEST_SCRAPE)
        except (CancelledError, TimeoutError, RuntimeError) as error:
            logger.debug("metrics: no answer from the run: {}", type(error).__name__)
            return None
        finally:
            self._asked.discard(result)

    def describe(self) -> Iterator[Any]:
        """Nothing in advance: the steps are known when a run exists."""
        return iter(())

    def collect(self) -> Iterator[Any]:
        """All metrics as they are now."""
        status = self._status()
        if status is not None:
            yield from _families(status)


def _families(status: RunStatus) -> Iterator[Any]:
    graph = status.graph
    for name, (attribute, text) in _STEP_COUNTERS.items():
        steps = [((step.name,), getattr(step, attribute)) for step in status.steps]
        yield _family(CounterMetricFamily, f"rxpipe_step_{name}", text, graph, ("step",), steps)
    for name, (attribute, text) in _STEP_GAUGES.items():
        steps = [((step.name,), getattr(step, attribute)) for step in status.steps]
        yield _family(GaugeMetricFamily, f"rxpipe_step_{name}", text, graph, ("step",), steps)
    yield from _told(status.steps, graph)
    records = [((name,), stream.records) for name, stream in status.streams.items()]
    yield _family(CounterMetricFamily, "rxpipe_stream_records", "Records of a stream.", graph, ("stream",), records)
    for name, text in _STREAM_GAUGES.items():
        values = [((stream,), getattr(of, name)) for stream, of in status.streams.items()]
        yield _family(GaugeMetricFamily, f"rxpipe_stream_{name}", text, graph, ("stream",), values)
    for kind, name, text, value in (
        (CounterMetricFamily, "errors", "Records, lines and files that could not be handled.", status.errors),
        (CounterMetricFamily, "checkpoints", "Checkpoints taken.", status.checkpoints),
        (GaugeMetricFamily, "in_flight_bytes", "Bytes read but not yet done with.", status.in_flight),
        *(
            (GaugeMetricFamily, f"checkpoint_{name}", text, getattr(status, attribute))
            for name, (attribute, text) in _CHECKPOINT_GAUGES.items()
        ),
        (
            GaugeMetricFamily,
            "checkpoint_time_seconds",
            "When the last checkpoint was taken, since the epoch.",
            status.checkpoint_time or 0,
        ),
        (GaugeMetricFamily, "state_bytes", "The size of the state file.", status.state_bytes),
        (GaugeMetricFamily, "degraded", "1 while the run is degraded.", status.degraded is not None),
        (GaugeMetricFamily, "start_time_seconds", "When the run began, since the epoch.", status.started),
        (
            GaugeMetricFamily,
            "last_update_time_seconds",
            "When data last flowed, since the epoch.",
            status.last_update or 0,
        ),
    ):
        yield _family(kind, f"rxpipe_{name}", text, graph, (), [((), float(value))])
    yield _pauses(status)


def _pauses(status: RunStatus) -> Any:
    """How long checkpoints held the sources, as a histogram."""
    made = HistogramMetricFamily(
        "rxpipe_checkpoint_pause_seconds", "How long checkpoints held the sources.", labels=["graph"]
    )
    buckets = zip(status.checkpoint_pauses, accumulate(status.checkpoint_pauses.values()), strict=True)
    made.add_metric([status.graph], [*buckets], status.checkpoint_paused)
    return made


def _told(steps: Iterable[StepStatus], graph: str) -> Iterator[Any]:
    """The figures that steps tell of themselves, a family for each name."""
    by_name: dict[str, list[tuple[tuple[str, ...], float]]] = {}
    for step in steps:
        for name, value in step.gauges.items():
            by_name.setdefault(re.sub(r"\W", "_", name), []).append(((step.name,), value))
    for name, values in by_name.items():
        taken = name in _STEP_COUNTERS or name in _STEP_GAUGES
        full = f"rxpipe_step_{name}{'_now' if taken else ''}"
        yield _family(GaugeMetricFamily, full, f"What a step tells of itself: {name}.", graph, ("step",), values)


def _family(
    kind: type[Any],
    name: str,
    text: str,
    graph: str,
    labels: tuple[str, ...],
    values: Iterable[tuple[tuple[str, ...], float]],
) -> Any:
    made = kind(name, text, labels=["graph", *labels])
    for label, value in values:
        made.add_metric([graph, *label], value)
    return made
