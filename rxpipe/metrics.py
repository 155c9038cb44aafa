"""Prometheus metrics of a run, read from its status when somebody scrapes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from loguru import logger

from rxpipe.errors import RxpipeError

try:
    from prometheus_client import CollectorRegistry, start_http_server
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
    from prometheus_client.registry import Collector
except ImportError as error:  # a build of rxpipe without its dependencies
    from rxpipe.errors import MissingExtraError

    message = "metrics need prometheus-client: pip install prometheus-client"
    raise MissingExtraError(message) from error

if TYPE_CHECKING:
    from rxpipe.engine import Engine
    from rxpipe.status import RunStatus

_STEP_COUNTERS = {
    "records_in": "Records that flowed into a step.",
    "records_out": "Records that flowed out of a step.",
    "bytes_in": "Bytes that flowed into a step.",
    "bytes_out": "Bytes that flowed out of a step.",
    "blocks": "Elements (blocks, batches, events) that a step handled.",
    "errors": "Records that a step could not handle.",
    "seconds": "Time that a step used, without that of the steps after it.",
}
_STREAM_GAUGES = {
    "records_per_second": "Records of a stream per second.",
    "lag_bytes": "Bytes that a stream's sources have yet to read.",
    "lag_seconds": "Age of the oldest byte that a stream's sources have yet to read.",
}


class Exporter(Collector):
    """Serves the metrics of one run over HTTP.

    Args:
        engine: The run.
        address: `:9464`, `9464` or `127.0.0.1:9464`.

    Raises:
        RxpipeError: The address cannot be read or is in use.
    """

    def __init__(self, engine: Engine, address: str) -> None:
        self._engine = engine
        self._registry = CollectorRegistry()
        self._registry.register(self)
        host, _, port = address.rpartition(":")
        try:
            self._server, self._thread = start_http_server(int(port), host or "127.0.0.1", registry=self._registry)
        except ValueError as error:
            msg = f"metrics: the address must be HOST:PORT or :PORT; got {address!r}"
            raise RxpipeError(msg) from error
        except OSError as error:
            msg = f"metrics: cannot listen on {address!r}: {error.strerror or error}"
            raise RxpipeError(msg) from error
        logger.info("metrics on http://{}:{}/metrics", host or "127.0.0.1", port)

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def _status(self) -> RunStatus:
        """The status, read on the thread of the dataflow."""
        result: Future[RunStatus] = Future()

        def read() -> None:
            try:
                result.set_result(self._engine.status())
            except Exception as error:  # noqa: BLE001  # raised again in the scraper's thread
                result.set_exception(error)

        self._engine.post(read)
        return result.result(timeout=5)

    def describe(self) -> Iterator[Any]:
        """Nothing in advance: the steps are known when a run exists."""
        return iter(())

    def collect(self) -> Iterator[Any]:
        """All metrics as they are now."""
        status = self._status()
        graph = status.graph
        for name, text in _STEP_COUNTERS.items():
            family = CounterMetricFamily(f"rxpipe_step_{name}", text, labels=["graph", "step"])
            for step in status.steps:
                family.add_metric([graph, step.name], getattr(step, name))
            yield family
        batches = GaugeMetricFamily("rxpipe_step_mean_batch", "Mean records of a step's batches.", labels=["graph", "step"])
        gauges = GaugeMetricFamily("rxpipe_step_gauge", "Figures that a step tells of itself.", labels=["graph", "step", "name"])
        for step in status.steps:
            batches.add_metric([graph, step.name], step.mean_batch)
            for name, value in step.gauges.items():
                gauges.add_metric([graph, step.name, name], value)
        yield batches
        yield gauges
        for name, text in _STREAM_GAUGES.items():
            family = GaugeMetricFamily(f"rxpipe_stream_{name}", text, labels=["graph", "stream"])
            for stream, of in status.streams.items():
                family.add_metric([graph, stream], getattr(of, name))
            yield family
        for name, text, value in (
            ("rxpipe_errors", "Records, lines and files that could not be handled.", status.errors),
            ("rxpipe_checkpoints", "Checkpoints taken.", status.checkpoints),
        ):
            counter = CounterMetricFamily(name, text, labels=["graph"])
            counter.add_metric([graph], value)
            yield counter
        for name, text, value in (
            ("rxpipe_in_flight_bytes", "Bytes read but not yet done with.", status.in_flight),
            ("rxpipe_checkpoint_seconds", "How long the last checkpoint held the sources.", status.checkpoint_seconds),
            ("rxpipe_checkpoint_rows", "State rows that the last checkpoint wrote.", status.checkpoint_rows),
            ("rxpipe_degraded", "1 while the run is degraded.", float(status.degraded is not None)),
        ):
            gauge = GaugeMetricFamily(name, text, labels=["graph"])
            gauge.add_metric([graph], value)
            yield gauge
