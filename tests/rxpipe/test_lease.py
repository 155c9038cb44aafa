"""Leases: what is in flight is known, comes back to 0, and holds the sources back."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex import operators as rxo

from rxpipe import operators
from rxpipe.elements import Batch
from rxpipe.lease import Flow, Lease
from rxpipe.testing import TestContext, VirtualRun, run_graph
from tests.rxpipe.parts import Blocks, Step, graph, later

ops: Any = operators


def test_counts() -> None:
    flow = Flow(limit=100)
    first = Lease(flow, 60)
    second = Lease(flow, 60)
    assert (flow.blocks, flow.in_flight, flow.open) == (2, 120, False)
    batch = Batch([], leases=(first, second)).replace([1])
    del first, second
    assert flow.blocks == 2
    del batch
    assert (flow.blocks, flow.in_flight, flow.open) == (0, 0, True)


def test_holds_add_up() -> None:
    flow = Flow()
    called: list[str] = []
    flow.hold()
    flow.hold()
    flow.wait(lambda: called.append("open"))
    flow.release()
    assert flow.held
    assert called == []
    flow.release()
    assert called == ["open"]
    assert not flow.held


def test_idle_is_told_once_and_at_once_where_nothing_is_leased() -> None:
    flow = Flow()
    called: list[int] = []
    flow.when_idle(lambda: called.append(1))
    lease = Lease(flow, 1)
    flow.when_idle(lambda: called.append(2))
    assert called == [1]
    del lease
    assert called == [1, 2]


def test_waiters_are_not_called_where_the_lease_ends_but_in_a_turn_of_their_own() -> None:
    turns: list[Callable[[], None]] = []
    called: list[str] = []
    flow = Flow(limit=1, later=turns.append)
    lease: Lease | None = Lease(flow, 1)
    flow.wait(lambda: called.append("open"))
    flow.when_idle(lambda: called.append("idle"))
    lease = None
    assert called == []
    assert len(turns) == 1
    turns.pop()()
    assert called == ["idle", "open"]
    assert lease is None


def test_a_waiter_that_fills_the_flow_leaves_the_others_waiting() -> None:
    turns: list[Callable[[], None]] = []
    leases: list[Lease] = []
    flow = Flow(limit=1, later=turns.append)
    leases.append(Lease(flow, 1))
    for _ in range(3):
        flow.wait(lambda: leases.append(Lease(flow, 1)))
    for _ in range(3):
        leases.clear()
        turns.pop()()
        assert len(leases) == 1
    leases.clear()
    assert turns == []


def test_what_became_untrue_before_the_turn_is_not_told() -> None:
    turns: list[Callable[[], None]] = []
    called: list[str] = []
    flow = Flow(later=turns.append)
    lease: Lease | None = Lease(flow, 1)
    flow.when_idle(lambda: called.append("idle"))
    lease = None
    lease = Lease(flow, 1)
    turns.pop()()
    assert called == []
    lease = None
    turns.pop()()
    assert called == ["idle"]
    assert lease is None


def test_a_lease_dropped_on_another_thread_is_counted_on_the_dataflow_thread() -> None:
    posted: list[Callable[[], None]] = []
    flow = Flow(post=posted.append)
    held = [Lease(flow, 5)]
    thread = threading.Thread(target=held.clear)
    thread.start()
    thread.join()
    assert flow.blocks == 1
    posted.pop()()
    assert (flow.blocks, flow.in_flight) == (0, 0)


def test_a_lease_is_posted_once_where_each_call_gets_a_thread_of_its_own() -> None:
    """As with the `NewThreadScheduler` of reactivex, which `.run()` uses: there is no thread to come back to."""
    posted: list[Callable[[], None]] = []
    flow = Flow(post=posted.append)
    held = [Lease(flow, 5)]
    posted.append(held.clear)
    for _ in range(2):
        thread = threading.Thread(target=posted.pop())
        thread.start()
        thread.join()
    assert posted == []
    assert (flow.blocks, flow.in_flight) == (0, 0)


def test_a_closed_flow_calls_nobody() -> None:
    called: list[str] = []
    flow = Flow()
    lease: Lease | None = Lease(flow, 1)
    flow.when_idle(lambda: called.append("idle"))
    flow.close()
    lease = None
    assert called == []
    assert lease is None


@pytest.mark.parametrize("limit", [1, 5_000, 50_000])
def test_backpressure(limit: int) -> None:
    blocks = Blocks(count=200, nbytes=1000)
    shown = run_graph(graph(blocks.source(), later(0.5)), settings={"in_flight": limit})
    assert blocks.emitted == 200
    assert blocks.peak < limit + 1000
    assert shown.status.in_flight == 0


def test_backpressure_holds_a_source_as_long_as_a_sink_holds_leases() -> None:
    blocks = Blocks(nbytes=1000)
    kept: list[Any] = []
    with VirtualRun(graph(blocks.source(), rxo.do_action(kept.append)), settings={"in_flight": 10_000}) as run:
        run.advance("1h")
        assert blocks.emitted == 10
        del kept[:3]
        run.advance("1s")
        assert blocks.emitted == 13


STEPS: dict[str, Callable[[], Step]] = {
    "where": lambda: ops.where("n % 2 == 0"),
    "derive": lambda: ops.derive(double="n * 2"),
    "failing": lambda: ops.derive(bad="1 / (n % 3)"),
    "select": lambda: ops.select(["n"]),
    "buffer": lambda: ops.buffer(count=3, time="1s"),
    "buffer_count": lambda: ops.buffer(count=7),
    "dedupe": lambda: ops.dedupe("n"),
    "tap": lambda: ops.tap(lambda _: None),
    "later": lambda: later(0.3),
    "map": lambda: rxo.map(lambda batch: batch),
    "filter": lambda: rxo.filter(lambda batch: len(batch) > 0),
    "delay": lambda: rxo.delay(0.2),
    "of_type": lambda: ops.of_type("Batch"),
    "merge": ops.merge,
}


@given(
    st.lists(st.sampled_from(sorted(STEPS)), max_size=6),
    st.integers(0, 40),
    st.sampled_from([0.0, 0.05]),
    st.booleans(),
)
def test_everything_leased_comes_back(names: list[str], count: int, every: float, table: bool) -> None:
    steps: list[Any] = [Blocks(count=count, every=every).source(), *(STEPS[name]() for name in names)]
    if table:
        steps += [ops.aggregate(total="count()"), ops.throttle("1Hz")]
    with VirtualRun(graph(*steps)) as run:
        run.advance(3)
        run.engine.checkpoints.take()
        run.advance(3)
        assert run.engine.checkpoints.since is None
        assert run.engine.flow.blocks == 0 or run.engine.state == "running"
        if not run.engine.over():
            run.drain()
        assert (run.engine.flow.blocks, run.engine.flow.in_flight) == (0, 0)
    gc.collect()


def test_an_error_that_is_kept_holds_nothing_of_what_it_came_from(context: TestContext) -> None:
    def handle(batch: Batch) -> None:
        try:
            try:
                raise KeyError(batch.rows[0]["n"])
            except KeyError as error:
                raise ValueError("no") from error
        except ValueError as error:
            kept.append(error)
            context.reject(error, leases=batch.leases)

    kept: list[BaseException] = []
    gc.disable()
    try:
        handle(Batch([{"n": 1}], leases=(Lease(context.flow, 10),)))
        assert context.flow.blocks == 0
    finally:
        gc.enable()
    assert [str(error) for error in (kept[0], kept[0].__cause__)] == ["no", "1"]
