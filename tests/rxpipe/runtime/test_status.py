"""What a run says of itself."""

from __future__ import annotations

import io
from typing import Any

import orjson
import pytest
import reactivex as rx
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable
from reactivex import operators as rxo

from rxpipe import operators
from rxpipe.context import current
from rxpipe.elements import Batch, LineDelta
from rxpipe.errors import RunError
from rxpipe.graph import stream
from rxpipe.runtime.meter import lines_in
from rxpipe.testing import VirtualRun, run_graph
from rxpipe.unread import Unread
from tests.rxpipe.parts import Blocks, Step, graph, rejecting

ops: Any = operators


def as_it_is(element: Any) -> Any:
    return element


def telling(act: Any) -> Step:
    def telling(source: Observable[Any]) -> Observable[Any]:
        def subscribe(observer: Any, scheduler: Any = None) -> Any:
            act(current())
            return source.subscribe(observer, scheduler=scheduler)

        return Observable(subscribe)

    return telling


def test_steps_are_counted() -> None:
    rows = [{"n": n} for n in range(10)]
    lines = LineDelta("p", "f", 0, 4, b"a\nb\n")
    shown = run_graph(
        graph(
            main=[
                rx.of(Batch(rows), Batch(rows[:2])),
                ops.where("n % 2 == 0"),
                ops.derive(m="n * 2"),
                rxo.map(lambda b: b),
            ],
            lines=[rx.of(lines), rxo.map(lambda delta: delta)],
            copy=[stream("main"), ops.aggregate(total="count()"), ops.select(["total"])],
        )
    )
    steps = {step.name: step for step in shown.status.steps}
    assert list(steps) == [
        "main[0] python",
        "main[1] where",
        "main[2] derive",
        "main[3] map",
        "lines[0] python",
        "lines[1] map",
        "copy[1] aggregate",
        "copy[2] select",
    ]
    where = steps["main[1] where"]
    assert (where.records_in, where.records_out, where.blocks, where.mean_batch, where.largest_batch) == (
        12,
        6,
        2,
        6,
        10,
    )
    assert (steps["main[3] map"].records_in, steps["main[3] map"].records_out) == (6, 6)
    assert (steps["lines[1] map"].bytes_in, steps["lines[1] map"].bytes_out) == (4, 4)
    assert (steps["copy[1] aggregate"].records_in, steps["copy[1] aggregate"].records_out) == (6, 2)
    assert steps["copy[2] select"].blocks == 2
    assert sum(step.share for step in shown.status.steps) == pytest.approx(1)
    assert all(step.seconds >= 0 for step in shown.status.steps)
    assert {name: of.records for name, of in shown.status.streams.items()} == {"main": 12, "lines": 2, "copy": 6}
    assert shown.status.records == 14


@given(st.lists(st.binary(max_size=20), max_size=30), st.sampled_from([b"", b"\n"]))
def test_lines_of_a_block_are_counted(lines: list[bytes], end: bytes) -> None:
    data = b"\n".join(lines) + end
    assert lines_in(data) == len(list(io.BytesIO(data)))


def test_lines_of_large_blocks_are_reckoned_from_some_of_them() -> None:
    blocks = [(b"x" * 99 + b"\n") * count for count in range(200, 240)]
    shown = run_graph(graph(lines=[rx.from_iterable(LineDelta("p", "f", 0, 0, b) for b in blocks), rxo.map(as_it_is)]))
    assert shown.status.streams["lines"].records == sum(range(200, 240))


def test_lines_left_unread_are_reckoned_from_the_last_of_them() -> None:
    blocks = [Unread("p", "f", 0, 100 * count, b"x" * 99 + b"\n") for count in range(200, 240)]
    shown = run_graph(graph(lines=[rx.from_iterable(blocks), rxo.map(as_it_is)]))
    assert shown.status.streams["lines"].records == sum(range(200, 240))
    [step] = [step for step in shown.status.steps if step.name == "lines[1] map"]
    assert (step.bytes_in, step.bytes_out) == (100 * sum(range(200, 240)),) * 2


def test_a_step_is_not_charged_for_those_after_it() -> None:
    def work(n: int) -> int:
        return sum(range(200_000))

    shown = run_graph(
        graph(a=[rx.of(*range(10)), rxo.map(lambda n: n)], b=[stream("a"), rxo.map(work), rxo.map(lambda n: n)])
    )
    share = {step.name: step.share for step in shown.status.steps}
    assert share["b[1] map"] > 0.8


def test_timers_are_charged_to_their_step() -> None:
    def work(context: Any) -> None:
        context.scheduler(None).schedule_relative(1.0, lambda *_: sum(range(1_000_000)))

    with VirtualRun(graph(ops.interval("1s"), telling(work))) as run:
        run.advance(3)
        share = {step.name: step.share for step in run.status().steps}
    assert share["main[1] telling"] > 0.5


def test_rates_and_last_update() -> None:
    with VirtualRun(graph(Blocks(every=0.1).source())) as run:
        assert run.status().last_update is None
        run.advance(10)
        status = run.status()
        assert status.streams["main"].records_per_second == pytest.approx(10, rel=0.02)
        assert status.last_update == pytest.approx(10, abs=0.11)
        run.engine.pause()
        run.advance(10)
        assert run.status().last_update == pytest.approx(10, abs=0.11)
        assert run.status().streams["main"].records_per_second == 0
        assert (run.status().started, run.status().now) == (0, 20)


def test_lag_backlog_files_details_gauges() -> None:
    read = [100e6]

    def tell(context: Any) -> None:
        context.gauge("lag_bytes", lambda: 1000e6 - read[0])
        context.gauge("lag_seconds", lambda: 7)
        context.gauge("known_bytes", lambda: 1000e6)
        context.gauge("read_bytes", lambda: read[0])
        context.describe("files", lambda: {"a.log": {"offset": 5}})
        context.describe("watching", lambda: "by polling")

    with VirtualRun(graph(backlog=[rx.never(), telling(tell)])) as run:
        run.advance(0.3)
        backlog = run.status().backlog
        assert backlog is not None
        assert (backlog.bytes_per_second, backlog.eta_seconds) == (0, None), "too early to tell"
        run.advance(0.7)
        status = run.status()
        assert (status.streams["backlog"].lag_bytes, status.streams["backlog"].lag_seconds) == (900e6, 7)
        assert status.backlog is not None
        assert (status.backlog.read_bytes, status.backlog.known_bytes) == (100e6, 1000e6)
        read[0] = 400e6
        run.advance(2)
        backlog = run.status().backlog
        assert backlog is not None
        assert (backlog.bytes_per_second, backlog.eta_seconds) == (150e6, 4)
        read[0] = 1000e6 - 1000
        assert run.status().backlog is None, "less than a block is no backlog"
        assert status.files == {"a.log": {"offset": 5}}
        assert status.details == {"backlog[1] telling.watching": "by polling"}
        assert status.steps[1].gauges["lag_seconds"] == 7


def test_degraded() -> None:
    reason: list[str | None] = [None]
    with VirtualRun(graph(rx.never(), telling(lambda context: context.describe("degraded", lambda: reason[0])))) as run:
        assert run.status().degraded is None
        reason[0] = "cannot write"
        assert run.status().degraded == "main[1] telling: cannot write"


def test_a_figure_that_fails_names_its_step() -> None:
    def tell(context: Any) -> None:
        context.gauge("lag_bytes", lambda: 1 / 0)

    def look(context: Any) -> None:
        context.scheduler(None).schedule_relative(1.0, lambda *_: context.status())

    with (
        pytest.raises(RunError, match=r"^main\[1\] telling: ZeroDivisionError"),
        VirtualRun(graph(rx.never(), telling(tell), rxo.map(str), telling(look))) as run,
    ):
        run.advance(2)


def test_as_data() -> None:
    shown = run_graph(graph(rx.of({"n": 1}), rejecting()))
    data = orjson.loads(orjson.dumps(shown.status.as_dict()))
    assert data["state"] == "done"
    assert data["last_errors"][0]["reason"] == "refused"
    assert data["steps"][1]["errors"] == data["streams"]["main"]["errors"] == data["errors"] == 1
