"""Prometheus metrics over HTTP."""

from __future__ import annotations

import re
import socket
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import reactivex as rx
from prometheus_client.parser import text_string_to_metric_families
from reactivex import Observable

from rxpipe.context import current
from rxpipe.errors import RxpipeError
from rxpipe.graph import Graph
from rxpipe.runtime.metrics import Endpoint
from rxpipe.runtime.run import Run
from tests.rxpipe.parts import Blocks, graph, rejecting, until


def scrape(url: str) -> dict[tuple[str, ...], float]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    return {
        (sample.name, *(value for label, value in sample.labels.items() if label != "graph")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def url(run: Run) -> str:
    assert run.metrics_url is not None
    return run.metrics_url


def telling(source: Observable[Any]) -> Observable[Any]:
    def subscribe(observer: Any, scheduler: Any = None) -> Any:
        context = current()
        context.gauge("queue_depth", lambda: 3)
        context.gauge("errors", lambda: 9)
        context.gauge("odd-name", lambda: 1)
        return source.subscribe(observer, scheduler=scheduler)

    return Observable(subscribe)


def test_scrape() -> None:
    blocks = Blocks(count=7)
    made = graph(main=[blocks.source(), telling, rejecting()], idle=[rx.never()])
    with made.run(settings={"metrics": ":0"}) as run:
        until(lambda: run.status().errors == 7)
        found = scrape(url(run))
    assert found["rxpipe_step_received_records_total", "main[1] telling"] == 7
    assert found["rxpipe_step_sent_records_total", "main[0] python"] == 7
    assert found["rxpipe_step_errors_total", "main[2] rejecting"] == 7
    assert found["rxpipe_step_queue_depth", "main[1] telling"] == 3
    assert found["rxpipe_step_errors_now", "main[1] telling"] == 9
    assert found["rxpipe_step_odd_name", "main[1] telling"] == 1
    assert found["rxpipe_stream_records_total", "main"] == 7
    assert found["rxpipe_stream_lag_bytes", "main"] == 0
    assert found["rxpipe_errors_total",] == 7
    assert found["rxpipe_in_flight_bytes",] == 0
    assert found["rxpipe_degraded",] == 0
    names = {name for name, *_ in found}
    assert all(re.fullmatch(r"rxpipe_[a-z]+(_[a-z]+)*", name) for name in names)
    assert all(not name.endswith("_total") or "second" not in name or name.endswith("_seconds_total") for name in names)


def test_the_port_is_free_again_and_may_be_in_use() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RxpipeError, match=rf"metrics: cannot listen on ':{port}': .*in use; choose another port"):
            with graph(rx.never()).run(settings={"metrics": f":{port}"}):
                pass
    with graph(rx.never()).run(settings={"metrics": f"127.0.0.1:{port}"}) as run:
        assert url(run) == f"http://127.0.0.1:{port}/metrics"
        assert scrape(url(run))["rxpipe_errors_total",] == 0
    assert run.metrics_url is None


def test_serving_ends_at_once() -> None:
    """Each thread looks twice a second whether it is to end: it is woken."""
    served = [Endpoint("127.0.0.1:0") for _ in range(8)]
    began = time.monotonic()
    for endpoint in served:
        endpoint.close()
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("address", ["nonsense", "localhost:", ":70000", "host:port"])
def test_wrong_addresses(address: str, tmp_path: Path) -> None:
    with pytest.raises(
        RxpipeError, match=re.escape(f"metrics: the address must be HOST:PORT or :PORT; got {address!r}")
    ):
        with graph(rx.never()).run(settings={"metrics": address}, state=tmp_path / "s.sqlite"):
            pass
    with graph(rx.never()).run(state=tmp_path / "s.sqlite"):  # the state file was let go of
        pass


def test_a_busy_run_is_waited_for_and_one_that_ends_lets_go() -> None:
    """A scrape that waits for the dataflow thread does not keep the run from ending."""
    busy, gate = threading.Event(), threading.Event()

    def block(_: Any) -> None:
        busy.set()
        gate.wait(10)

    def blocking(source: Observable[Any]) -> Observable[Any]:
        def subscribe(observer: Any, scheduler: Any = None) -> Any:
            current().scheduler(scheduler).schedule_relative(0.001, lambda *_: block(None))
            return source.subscribe(observer, scheduler=scheduler)

        return Observable(subscribe)

    found: list[Any] = []
    with graph(rx.never(), blocking).run(settings={"metrics": ":0"}) as run:
        address = url(run)
        until(busy.is_set)
        scraper = threading.Thread(target=lambda: found.append(scrape(address)))
        scraper.start()
        gate.set()
        scraper.join()
    assert found[0]["rxpipe_errors_total",] == 0


def test_secrets_are_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    from rxpipe.graph import Param

    made = Graph(
        "g", {"main": [Blocks(every=0.001).source(), rejecting("no")]}, params={"key": Param("secret", required=True)}
    )
    with made.run(values={"key": "hunter2hunter2"}, settings={"metrics": ":0"}) as run:
        with urllib.request.urlopen(url(run), timeout=10) as answer:
            assert "hunter2" not in answer.read().decode()
        assert "hunter2" not in repr(run.status())


def test_checkpoints_are_told_of(tmp_path: Path) -> None:
    made = graph(main=[Blocks(count=3, every=0.05).source()], idle=[rx.never()])
    state = tmp_path / "state.db"
    with made.run(settings={"metrics": ":0", "checkpoint": "20ms"}, state=state) as run:
        until(lambda: run.status().checkpoint_interval > 0)
        status, found = run.status(), scrape(url(run))
        assert found["rxpipe_checkpoint_interval_seconds",] > 0
        assert status.started <= (status.checkpoint_time or 0) <= found["rxpipe_checkpoint_time_seconds",]
        assert found["rxpipe_checkpoints_total",] >= 1
        assert 0 <= found["rxpipe_checkpoint_seconds",] < 10
        assert 0 < status.state_bytes <= found["rxpipe_state_bytes",]
    assert run.status().state_bytes == state.stat().st_size


def test_a_run_without_state_tells_of_none() -> None:
    made = graph(main=[Blocks(count=1).source()], idle=[rx.never()])
    with made.run(settings={"metrics": ":0"}) as run:
        status, found = run.status(), scrape(url(run))
    assert (status.checkpoint_interval, status.checkpoint_time, status.state_bytes) == (0, None, 0)
    assert found["rxpipe_checkpoint_interval_seconds",] == found["rxpipe_state_bytes",] == 0
