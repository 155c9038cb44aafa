"""Metrics as declared, and what was measured of each: a value for each combination of labels."""

from __future__ import annotations

import math
import re
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from rxpipe.elements import Row
from rxpipe.errors import ParameterProblem
from rxpipe.expressions import parse
from rxpipe.expressions.known import KnownFields
from rxpipe.expressions.rowview import reader
from rxpipe.fusion.rows import compile_values
from rxpipe.parameters.types import KNOWN_NAMES_ONLY, Expr
from rxpipe.private import make_folder, replacing

Labels = tuple[str, ...]
Reject = Callable[[Row, Exception], None]
BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


@dataclass
class Metric:
    """One metric.

    Attributes:
        type: `gauge`: the last value; `counter`: the sum of the values; `histogram`: how many were at most each bucket.
        value: What is measured of a record; 1 by default, so that a counter counts records.
        labels: Fields whose values tell one series of the metric from another.
        help: What the metric is.
        buckets: The upper bounds of a histogram's buckets, without the last one, which has none.
    """

    __pydantic_config__ = KNOWN_NAMES_ONLY

    type: Literal["gauge", "counter", "histogram"]
    value: Expr = "1"
    labels: list[str] = field(default_factory=list)
    help: str = ""
    buckets: list[float] = field(default_factory=lambda: [*BUCKETS])


def problems(metrics: dict[str, Metric]) -> Iterator[ParameterProblem]:
    """What Prometheus would not take of metrics, each with its place in them."""
    for name, metric in metrics.items():
        if not _NAME.fullmatch(name) or name.startswith(("rxpipe_", "__")):
            must = "must be a name of letters, digits and underscores that does not begin with 'rxpipe_'"
            yield ParameterProblem(("metrics", name), f"{must}; got {name!r}", on_name=True)
        for at, label in enumerate(metric.labels):
            if not _NAME.fullmatch(label) or label.startswith("__") or label == "le":
                must = "must be a name of letters, digits and underscores, and not 'le'"
                yield ParameterProblem(("metrics", name, "labels", at), f"{must}; got {label!r}")
        if not metric.buckets or any(low >= high for low, high in pairwise(metric.buckets)):
            message = f"must be numbers that grow; got {metric.buckets}"
            yield ParameterProblem(("metrics", name, "buckets"), message)


def known_metrics(known: KnownFields, /, metrics: dict[str, Metric], **_: object) -> KnownFields:
    """Check what metrics read of records, for `fields_of`."""
    for name, metric in metrics.items():
        known.check(metric.value, "metrics", name, "value")
        for at, label in enumerate(metric.labels):
            known.column(label, "metrics", name, "labels", at)
    return known


class Measured:
    """One metric's series.

    Args:
        name: The metric's name.
        metric: What it is.
        most: How many series there may be.
    """

    def __init__(self, name: str, metric: Metric, most: int) -> None:
        self.name = name
        self._metric = metric
        self._most = most
        self._values = compile_values([parse(metric.value)])
        self._labels = [reader(label) for label in metric.labels]
        self._series: dict[Labels, Any] = {}

    def clear(self) -> None:
        """Forget all series."""
        self._series.clear()

    def measure(self, rows: list[Row], reject: Reject) -> None:
        """Measure records; null is no value."""
        for row, value in zip(*self._values(rows, reject), strict=True):
            if value is None:
                continue
            try:
                self._add(self._labels_of(row), _number(value))
            except (TypeError, ValueError, OverflowError) as error:
                reject(row, error)

    def _labels_of(self, row: Row) -> Labels:
        labels = tuple("" if (value := read(row)) is None else str(value) for read in self._labels)
        if labels not in self._series and len(self._series) >= self._most:
            msg = f"there must be at most {self._most:,} series ('series'), each with its own labels; got one more"
            raise ValueError(msg)
        if labels not in self._series:
            "".join(labels).encode()  # raises where a text is none that can be told
        return labels

    def _add(self, labels: Labels, value: float) -> None:
        kind = self._metric.type
        if kind == "gauge":
            self._series[labels] = value
        elif not math.isfinite(value):
            msg = f"what is added to a {kind} must be a finite number; got {value}"
            raise ValueError(msg)
        elif kind == "counter":
            if value < 0:
                msg = f"a counter must not fall; got {value}"
                raise ValueError(msg)
            self._series[labels] = self._series.get(labels, 0) + value
        else:
            bounds = self._metric.buckets
            counts, _ = self._series.setdefault(labels, ([0] * (len(bounds) + 1), 0.0))
            counts[bisect_left(bounds, value)] += 1
            self._series[labels] = counts, self._series[labels][1] + value

    def family(self) -> Any:
        """The metric as Prometheus has it."""
        metric = self._metric
        if metric.type != "histogram":
            kind = GaugeMetricFamily if metric.type == "gauge" else CounterMetricFamily
            made: Any = kind(self.name, metric.help, labels=metric.labels)
            for labels, value in self._series.items():
                made.add_metric(labels, value)
            return made
        made = HistogramMetricFamily(self.name, metric.help, labels=metric.labels)
        for labels, (counts, total) in self._series.items():
            summed = 0
            buckets = []
            for bound, count in zip([*map(str, metric.buckets), "+Inf"], counts, strict=True):
                summed += count
                buckets.append((bound, summed))
            made.add_metric(labels, buckets, total)
        return made


class Metrics(Collector):
    """All metrics of one sink: measured on the thread of the dataflow, read by those that scrape.

    Args:
        metrics: What they are, by name.
        most: How many series each may have.
    """

    def __init__(self, metrics: dict[str, Metric], most: int) -> None:
        self._all = [Measured(name, metric, most) for name, metric in metrics.items()]
        self._lock = threading.Lock()

    def measure(self, rows: list[Row], reject: Callable[[Row, str], None], *, anew: bool) -> None:
        """Measure records; `anew`: they are all that there is."""
        with self._lock:
            for measured in self._all:
                if anew:
                    measured.clear()
                measured.measure(rows, partial(_told, reject, measured.name))

    def describe(self) -> Iterator[Any]:
        """What they are called, so that no two sinks give the same."""
        return self.collect()

    def collect(self) -> Iterator[Any]:
        """All metrics as they are now."""
        with self._lock:
            yield from [measured.family() for measured in self._all]


def write_text(metrics: Metrics, path: Path) -> None:
    """Write metrics to a file, in place of the one that was there; to be called on any thread.

    Raises:
        OSError: It cannot be written.
    """
    registry = CollectorRegistry()
    registry.register(metrics)
    text = generate_latest(registry)
    make_folder(path.parent)
    with replacing(path) as file:
        file.write(text)


def _told(reject: Callable[[Row, str], None], name: str, row: Row, error: Exception) -> None:
    reject(row, f"{name}: {type(error).__name__}: {error}")


def _number(value: Any) -> float:
    if isinstance(value, int | float):
        return float(value)
    msg = f"must be a number; got {value!r:.80}"
    raise TypeError(msg)
