"""`to_prometheus`: what is measured, and where it is seen."""

from __future__ import annotations

import math
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loguru import logger
from prometheus_client.parser import text_string_to_metric_families

from rxpipe.elements import Batch
from rxpipe.errors import ParameterError, RunError, RxpipeError
from rxpipe.language.config import load_text
from rxpipe.operators.sinks.to_prometheus import to_prometheus
from rxpipe.runtime.metrics import Endpoint
from rxpipe.table import Table
from rxpipe.testing import TestContext, run_marbles
from tests.operators.sinks.parts import Running
from tests.rxpipe.parts import until


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    """What a run with `--metrics` has."""
    made = Endpoint(":0")
    monkeypatch.setattr(TestContext, "endpoint", lambda self: made)
    yield made
    made.close()


def scrape(url: str) -> dict[str, float]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return samples(answer.read().decode())


def samples(text: str) -> dict[str, float]:
    return {
        sample.name + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.startswith("rxpipe_")
    }


def metrics(**made: Any) -> dict[str, Any]:
    return made


@pytest.mark.parametrize("source", ["|", "-a-|", "-a-b|", "#", "-a#", "(ab|)"])
def test_marbles(source: str, endpoint: Endpoint) -> None:
    step = to_prometheus(metrics(n={"type": "counter"}))
    assert run_marbles(step, source) == source
    assert run_marbles(step, source) == source  # the name is free again


def test_records(endpoint: Endpoint) -> None:
    run = Running(
        to_prometheus(
            metrics(
                latency={
                    "type": "histogram",
                    "value": "ms / 1000",
                    "labels": ["path"],
                    "buckets": [0.1, 1],
                    "help": "S.",
                },
                requests={"type": "counter", "labels": ["path", "odd"]},
                sent_bytes={"type": "counter", "value": "size"},
                last={"type": "gauge", "value": "ms"},
            )
        )
    )
    run.push(Batch([{"path": "/", "ms": 100, "size": 5}, {"path": "/", "ms": 5000, "size": 7}]))
    run.push(Batch([{"path": '"x"', "ms": 500, "size": None}]))
    assert scrape(endpoint.url) == {
        "latency_bucket le=0.1 path=/": 1,
        "latency_bucket le=1.0 path=/": 1,
        "latency_bucket le=+Inf path=/": 2,
        "latency_count path=/": 2,
        "latency_sum path=/": 5.1,
        'latency_bucket le=0.1 path="x"': 0,
        'latency_bucket le=1.0 path="x"': 1,
        'latency_bucket le=+Inf path="x"': 1,
        'latency_count path="x"': 1,
        'latency_sum path="x"': 0.5,
        "requests_total odd= path=/": 2,
        'requests_total odd= path="x"': 1,
        "sent_bytes_total": 12,
        "last": 500,
    }
    run.stop()
    assert scrape(endpoint.url) == {}


def test_a_table_is_as_it_is_now(endpoint: Endpoint) -> None:
    rows = [{"k": "a", "n": 1}, {"k": "b", "n": 2}]
    table = Table("t", ("k",), lambda: rows, lambda: 1)
    run = Running(
        to_prometheus(
            metrics(n={"type": "gauge", "value": "n", "labels": ["k"]}, all={"type": "counter", "value": "n"})
        )
    )
    run.push(table, table)
    assert scrape(endpoint.url) == {"n k=a": 1, "n k=b": 2, "all_total": 3}
    del rows[0]
    run.push(table)
    assert scrape(endpoint.url) == {"n k=b": 2, "all_total": 2}


def test_what_cannot_be_measured_is_rejected(endpoint: Endpoint) -> None:
    run = Running(to_prometheus(metrics(n={"type": "counter", "value": "n", "labels": ["k"]}), series=2))
    rows: list[Any] = [{"n": "x", "k": 1}, {"n": -1, "k": 1}, {"k": 1, "n": 1}, {"k": 2, "n": 1}, {"k": 3, "n": 1}]
    run.push(Batch([*rows, {"k": 1, "n": 1}], [{"n": 1}]))
    assert scrape(endpoint.url) == {"n_total k=1": 2, "n_total k=2": 1}
    assert run.reasons == [
        "a record taken back cannot be taken out of metrics",
        "n: TypeError: must be a number; got 'x'",
        "n: ValueError: a counter must not fall; got -1.0",
        "n: ValueError: there must be at most 2 series ('series'), each with its own labels; got one more",
    ]


def test_numbers_that_would_spoil_all_others_are_rejected(endpoint: Endpoint) -> None:
    kinds = metrics(g={"type": "gauge", "value": "n"}, c={"type": "counter", "value": "n"},
                    h={"type": "histogram", "value": "n", "buckets": [1]})  # fmt: skip
    run = Running(to_prometheus(kinds))
    run.push(Batch([{"n": n} for n in (1, math.nan, math.inf, 2**2000)]))
    assert scrape(endpoint.url) == {
        "g": math.inf, "c_total": 1, "h_bucket le=1.0": 1, "h_bucket le=+Inf": 1, "h_count": 1, "h_sum": 1,
    }  # fmt: skip
    assert run.reasons == [
        "g: OverflowError: int too large to convert to float",
        *(f"c: ValueError: what is added to a counter must be a finite number; got {n}" for n in ("nan", "inf")),
        "c: OverflowError: int too large to convert to float",
        *(f"h: ValueError: what is added to a histogram must be a finite number; got {n}" for n in ("nan", "inf")),
        "h: OverflowError: int too large to convert to float",
    ]


def test_labels_that_cannot_be_told_are_rejected(endpoint: Endpoint) -> None:
    run = Running(to_prometheus(metrics(n={"type": "counter", "labels": ["k"]})))
    run.push(Batch([{"k": "\ud800"}, {"k": "a"}]))
    assert scrape(endpoint.url) == {"n_total k=a": 1}
    assert [reason.partition(" codec")[0] for reason in run.reasons] == ["n: UnicodeEncodeError: 'utf-8'"]


def test_two_sinks_cannot_share_a_name(endpoint: Endpoint) -> None:
    step = to_prometheus(metrics(n={"type": "gauge"}))
    Running(step)
    with pytest.raises(RxpipeError, match="metrics: each must have a name of its own at http"):
        raise Running(step).failed or AssertionError


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({}, "metrics: .*at least 1 item"),
        (
            {"rxpipe_n": {"type": "gauge"}},
            "metrics.rxpipe_n: must be a name .* not begin with 'rxpipe_'; got 'rxpipe_n'",
        ),
        ({"a b": {"type": "gauge"}}, "metrics.a b: must be a name of letters, digits and underscores"),
        ({"n": {"type": "summary"}}, "metrics.n.type: .*gauge"),
        ({"n": {"type": "gauge", "value": "1 +"}}, "metrics.n.value: "),
        ({"n": {"type": "gauge", "labels": ["le"]}}, r"metrics\.n\.labels\.0: must be a name .*; got 'le'"),
        ({"n": {"type": "histogram", "buckets": [1, 1]}}, r"metrics\.n\.buckets: must be numbers that grow; got"),
    ],
)
def test_parameters_are_refused(made: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        Running(to_prometheus(made))


def test_where_nobody_sees_them() -> None:
    lines: list[str] = []
    number = logger.add(lines.append, format=lambda _: "{message}")
    Running(to_prometheus(metrics(n={"type": "gauge"})))
    logger.remove(number)
    assert lines == ["test: nobody sees the metrics: run with --metrics, or give it an 'address' or a 'path'"]


def test_at_an_address_of_its_own() -> None:
    lines: list[str] = []
    number = logger.add(lines.append, format=lambda _: "{message}")
    run = Running(to_prometheus(metrics(n={"type": "gauge"}), address=":0"))
    logger.remove(number)
    url = lines[0].removeprefix("metrics on ")
    run.push(Batch([{}]))
    assert scrape(url) == {"n": 1}
    run.stop()

    def gone() -> bool:
        try:
            scrape(url)
        except (urllib.error.URLError, OSError):
            return True
        return False

    until(gone)
    with pytest.raises(RxpipeError, match="metrics: the address must be HOST:PORT or :PORT; got 'x'"):
        raise Running(to_prometheus(metrics(n={"type": "gauge"}), address="x")).failed or AssertionError


def read(path: Path) -> dict[str, float]:
    return samples(path.read_text())


def test_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "n.prom"
    run = Running(to_prometheus(metrics(n={"type": "counter"}), path=str(path), every="5s"))
    virtual = run.context.virtual
    run.push(Batch([{}]), Batch([{}]))
    virtual.advance_to(4.9)
    assert not path.exists()
    virtual.advance_to(5)
    assert read(path) == {"n_total": 2}
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    path.chmod(0o644)
    run.push(Batch([{}]))
    virtual.advance_to(9.9)
    assert read(path) == {"n_total": 2}
    virtual.advance_to(10)
    assert read(path) == {"n_total": 3}
    assert path.stat().st_mode & 0o777 == 0o644
    run.push(Batch([{}]))
    run.complete()
    virtual.advance_by(0)
    assert (run.done, read(path)) == (True, {"n_total": 4})
    assert [*path.parent.iterdir()] == [path]


def test_a_file_that_cannot_be_written_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "n.prom"
    path.mkdir()
    run = Running(to_prometheus(metrics(n={"type": "counter"}), path=str(path), every="1s"))
    run.push(Batch([{}]))
    run.context.virtual.advance_by(1)
    assert "IsADirectoryError" in run.context.details["degraded"]()
    assert [*tmp_path.iterdir()] == [path]
    path.rmdir()
    run.context.virtual.advance_by(1)
    assert (read(path), run.context.details["degraded"]()) == ({"n_total": 1}, None)


def test_a_file_of_another_name_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"path: must end in \.prom; got 'n.txt'"):
        Running(to_prometheus(metrics(n={"type": "gauge"}), path="n.txt"))


GRAPH = """
graph: measured
streams:
  main:
    - watch: {paths: ["FOLDER"], patterns: ["*.jsonl"]}
    - read_lines
    - parse_json
    - to_prometheus: {metrics: {lines: {type: counter, labels: [k], help: Lines read.}}}
"""


def test_in_a_graph(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"k":"a"}\n{"k":"b"}\n{"k":"a"}\n')
    graph = load_text(GRAPH.replace("FOLDER", str(tmp_path)))
    with graph.run(settings={"metrics": ":0"}) as run:
        url = run.metrics_url
        assert url is not None
        until(lambda: scrape(url) == {"lines_total k=a": 2, "lines_total k=b": 1})


def test_two_in_a_graph_cannot_share_a_name(tmp_path: Path) -> None:
    twice = GRAPH.replace("FOLDER", str(tmp_path)) + "    - to_prometheus: {metrics: {lines: {type: gauge}}}\n"
    with pytest.raises(RunError, match="each must have a name of its own"):
        with load_text(twice).run(settings={"metrics": ":0"}):
            pass
