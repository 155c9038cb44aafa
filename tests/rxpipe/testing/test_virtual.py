"""Virtual time, marble sources, the test context."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest
import reactivex as rx
from reactivex import operators as rxo

from rxpipe.context import current, entered
from rxpipe.elements import Batch
from rxpipe.errors import RxpipeError
from rxpipe.expressions import times
from rxpipe.lease import Lease
from rxpipe.operator import operator_of
from rxpipe.operators.flow.tap import tap
from rxpipe.testing import (
    Diagram,
    MarbleSource,
    TestContext,
    VirtualRun,
    VirtualTimeScheduler,
    check_diagram,
    parse_marbles,
    record,
    run_marbles,
)
from tests.rxpipe.parts import graph


def test_order_and_time() -> None:
    scheduler = VirtualTimeScheduler()
    seen: list[tuple[str, float]] = []
    for name, due in (("b", 0.2), ("a", 0.1), ("c", 0.2)):
        scheduler.schedule_relative(due, lambda *_, name=name: seen.append((name, scheduler.time)))
    scheduler.advance_to(0.1)
    assert seen == [("a", 0.1)]
    scheduler.advance_by(1)
    assert seen == [("a", 0.1), ("b", 0.2), ("c", 0.2)]
    assert scheduler.time == scheduler.clock == 1.1
    assert scheduler.now == datetime(1970, 1, 1, 0, 0, 1, 100_000, tzinfo=UTC)


def test_many_at_once_do_not_move_time() -> None:
    scheduler = VirtualTimeScheduler()
    times = []
    for _ in range(500):
        scheduler.schedule(lambda *_: times.append(scheduler.time))
    scheduler.advance_to(0)
    assert times == [0.0] * 500


def test_cancelled_and_absolute() -> None:
    scheduler = VirtualTimeScheduler()
    seen: list[int] = []
    scheduler.schedule_absolute(1.0, lambda *_: seen.append(1)).dispose()
    scheduler.schedule_absolute(datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC), lambda *_: seen.append(2))
    scheduler.start()
    assert (seen, scheduler.time) == ([2], 2.0)


def test_time_does_not_go_back() -> None:
    scheduler = VirtualTimeScheduler()
    scheduler.advance_to(1)
    with pytest.raises(RxpipeError, match="must not go back"):
        scheduler.advance_to(0.5)


def test_reactivex_operators_run_in_it() -> None:
    assert run_marbles(rxo.delay(0.2), "-a-b|") == "---a-b|"
    assert run_marbles(rxo.debounce(0.2), "-a-b----c-|") == "-----b----(c|)"
    assert run_marbles(lambda a, b: a.pipe(rxo.merge(b)), "-a---|", None, "--b|") == "-ab--|"
    assert format(run_marbles(lambda _: rx.interval(0.2), "-", until=0.7)) == "--0-1-2"


def test_sources_note_subscriptions(context: TestContext) -> None:
    cold = MarbleSource("-a|", scheduler=context.virtual)
    hot = MarbleSource("-a-b-|", scheduler=context.virtual, hot=True)
    context.virtual.advance_to(0.2)
    assert record(cold, 0.1) == parse_marbles("-a")
    assert record(hot) == parse_marbles("b-|")
    assert cold.subscriptions[0] == pytest.approx((0.2, 0.3))
    assert hot.subscriptions[0] == pytest.approx((0.3, 0.5))


def test_checkpoint_flushes_collects_and_restores() -> None:
    context = TestContext()
    held = [Lease(context.flow, 1)]
    with entered(context):
        saved = current().state("operator", lambda: [(b"k", "p", b"1"), (b"k", "q", None)], "numbers")
        with pytest.raises(AssertionError, match="1 leases are still held"):
            context.checkpoint()
        assert context.flow.open
        current().on_flush(held.clear)
        states = context.checkpoint()
    assert states == [{(b"k", "p"): b"1"}]
    assert saved.persistent
    restored = TestContext(states).state("operator", list)
    assert list(restored.items()) == [(b"k", "p", b"1")]
    assert (restored.get(b"k"), restored.keys_of("p"), restored.keys_of("q")) == ({"p": b"1"}, [b"k"], [])


def test_context_collects(context: TestContext) -> None:
    context.reject("bad", {"a": 1}, path="f", start=1, end=2)
    assert (context.errors[0].reason, context.errors[0].path, context.errors[0].time) == ("bad", "f", 0)
    stopped: list[int] = []
    context.on_drain(lambda: stopped.append(1))
    context.on_drain(lambda: stopped.append(2)).dispose()
    context.drain()
    assert stopped == [1]
    assert context.executor().submit(lambda: 3).result() == 3
    with pytest.raises(ZeroDivisionError):
        context.executor().submit(lambda: 1 / 0).result()
    posted: list[int] = []
    context.poster(None)(lambda: posted.append(1))
    assert posted == []
    context.virtual.advance_by(0)
    assert posted == [1]


def test_a_wrong_diagram_is_found() -> None:
    made = operator_of(tap)
    check_diagram(made, Diagram({"source": "-a-|"}, "tap()", "-a-|"))
    with pytest.raises(AssertionError, match=r"must give -a--\|"):
        check_diagram(made, Diagram({"source": "-a-|"}, "tap()", "-a--|"))


def test_batches_have_letters() -> None:
    values = {"a": Batch([{"n": 1}])}
    assert run_marbles(lambda s: s, "-a-b", values, until=1) == "-a-b"


def test_a_run_that_cannot_begin_leaves_the_clock() -> None:
    def fails(_: Any) -> Any:
        msg = "no"
        raise ValueError(msg)

    with pytest.raises(RxpipeError), VirtualRun(graph(rx.of(1), fails)):
        pass
    assert abs(times.now() - time.time()) < 60
