"""`map_async`: bounded calls, in order or not, whose errors and lateness concern one record."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable
from reactivex import operators as rxo
from reactivex.subject import Subject

from rxpipe.context import entered
from rxpipe.elements import Batch, OriginGone
from rxpipe.errors import RunError, RxpipeError
from rxpipe.language.config import load_text
from rxpipe.lease import Lease
from rxpipe.operators.flow.map_async import map_async
from rxpipe.testing import TestContext, run_marbles
from tests.rxpipe.parts import Blocks, collect, graph


class Threads(Executor):
    """Keeps each call until it is told to end it."""

    def __init__(self) -> None:
        self.open: dict[int, tuple[Future[Any], Any]] = {}
        self.most = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()  # as a thread does: it cannot be cancelled any more
        self.open[args[-1]["n"]] = (future, lambda: fn(*args, **kwargs))
        self.most = max(self.most, len(self.open))
        return future

    def end(self, n: int) -> None:
        future, call = self.open.pop(n)
        try:
            future.set_result(call())
        except Exception as error:  # a future carries whatever was raised
            future.set_exception(error)


class Setup:
    """The operator on a subject, with calls that end when told."""

    def __init__(self, function: Any = dict, **parameters: Any) -> None:
        self.context, self.threads, self.source = TestContext(), Threads(), Subject[Any]()
        self.context.executor = lambda: self.threads
        self.out: list[Any] = []
        self.batches: list[int] = []
        with entered(self.context):
            step = map_async(function, **parameters)
            self.subscription = self.source.pipe(step).subscribe(
                self.note, self.out.append, lambda: self.out.append("|"), scheduler=self.context.virtual
            )

    def note(self, element: Any) -> None:
        if isinstance(element, Batch):
            self.batches.append(len(element))
            self.out += [row["n"] for row in element.rows] + [-row["n"] for row in element.retracted]
        else:
            self.out.append(element)

    def put(self, *numbers: int, **more: Any) -> None:
        lease = Lease(self.context.flow, 10, "file", numbers[0], numbers[-1])
        self.source.on_next(Batch([{"n": n} for n in numbers], leases=(lease,), **more))

    def end(self, *numbers: int) -> None:
        for n in numbers:
            self.threads.end(n)
        self.context.virtual.advance_by(0)

    @property
    def reasons(self) -> list[str]:
        return [error.reason for error in self.context.errors]


@pytest.mark.parametrize("source", ["|", "-a-|", "-a-b|", "#", "-a#", "-(ab)-|"])
@pytest.mark.parametrize("ordered", [False, True])
def test_marbles(source: str, ordered: bool) -> None:
    def batches(marbles: Observable[Any]) -> Observable[Any]:
        return marbles.pipe(map_async(dict, ordered=ordered))

    values = {char: Batch([{"value": char}]) for char in "ab"}
    assert run_marbles(batches, source, values) == source


def test_results_come_as_they_are_ready() -> None:
    setup = Setup(concurrency=3)
    setup.put(1, 2)
    setup.put(3)
    setup.end(3)
    assert setup.out == [3]
    setup.end(2, 1)
    assert setup.out == [3, 2, 1]
    assert setup.context.flow.blocks == 0


def test_ordered_results_wait_for_those_before() -> None:
    setup = Setup(concurrency=3, ordered=True)
    setup.put(1, 2)
    setup.put(3)
    setup.source.on_completed()
    setup.end(3)
    setup.end(2)
    assert (setup.out, setup.context.flow.in_flight) == ([], 20)
    setup.end(1)
    assert setup.out == [1, 2, 3, "|"]
    assert setup.context.flow.blocks == 0


def test_the_results_of_a_batch_that_are_ready_together_travel_together() -> None:
    setup = Setup(ordered=True)
    setup.put(1, 2, 3)
    setup.put(4)
    setup.end(2, 3, 1, 4)
    assert setup.batches == [3, 1]


def test_other_elements_and_retractions_keep_their_place() -> None:
    setup = Setup(concurrency=4)
    gone = OriginGone("file")
    setup.put(1)
    setup.source.on_next(gone)
    setup.source.on_next(Batch([{"n": 3}], [{"n": 2}], retractable=True))
    setup.end(3, 2)
    assert setup.out == []
    setup.end(1)
    assert setup.out == [1, gone, 3, -2]


def test_what_a_function_may_make_of_a_record() -> None:
    def make(record: dict[str, Any]) -> Any:
        return {1: None, 2: [{"n": 20}, {"n": 21}], 3: {"n": 30}, 4: 7}[record["n"]]

    setup = Setup(make, ordered=True)
    setup.put(1, 2, 3, 4)
    setup.end(1, 2, 3, 4)
    assert setup.out == [20, 21, 30]
    assert setup.reasons == ["TypeError: the function must return a dict, a list of dicts or None; got int"]


def test_an_error_concerns_one_record() -> None:
    def fail(record: dict[str, Any]) -> Any:
        if record["n"] == 2:
            raise ValueError("no 2")
        return record

    setup = Setup(fail, ordered=True)
    setup.put(1, 2, 3)
    setup.source.on_completed()
    setup.end(1, 2, 3)
    assert setup.out == [1, 3, "|"]
    [error] = setup.context.errors
    assert (error.reason, error.path, error.start, error.end) == ("ValueError: no 2", "file", 1, 3)
    assert setup.context.flow.blocks == 0


def test_a_late_call_is_rejected_and_keeps_its_place_until_it_returns() -> None:
    setup = Setup(concurrency=1, timeout="2s")
    setup.put(1)
    setup.put(2)
    setup.context.virtual.advance_by(1.9)
    assert setup.reasons == []
    setup.context.virtual.advance_by(0.2)
    assert setup.reasons == ["TimeoutError: must be done within 2 s"]
    assert (list(setup.threads.open), setup.context.flow.in_flight) == ([1], 10)
    setup.end(1)
    assert list(setup.threads.open) == [2]
    setup.end(2)
    assert (setup.out, len(setup.reasons), setup.context.flow.blocks) == ([2], 1, 0)
    setup.context.virtual.advance_by(10)
    assert len(setup.reasons) == 1


def test_the_sources_are_held_while_as_many_blocks_wait_as_calls_may_run() -> None:
    setup = Setup(concurrency=2)
    for n in (1, 2, 3):
        setup.put(n)
    assert setup.context.flow.open
    setup.put(4)
    assert not setup.context.flow.open
    setup.end(1)
    assert setup.context.flow.open
    setup.put(5)
    assert not setup.context.flow.open
    setup.subscription.dispose()
    assert setup.context.flow.open
    assert setup.context.flow.blocks == 0


def test_an_element_without_leases_holds_a_checkpoint_too() -> None:
    setup = Setup()
    setup.source.on_next(Batch([{"n": 1}]))
    with pytest.raises(AssertionError, match="1 leases are still held"):
        setup.context.checkpoint()
    setup.end(1)
    setup.context.checkpoint()


def test_results_that_wait_for_an_earlier_one_are_bounded() -> None:
    setup = Setup(concurrency=2, ordered=True)
    for n in range(20):
        if setup.context.flow.open:
            setup.put(n)
        for running in list(setup.threads.open):
            if running:
                setup.end(running)
    assert (setup.out, setup.context.flow.blocks) == ([], 6)
    setup.end(0)
    assert setup.out[:4] == [0, 1, 2, 3]


@given(
    blocks=st.lists(st.integers(1, 4), max_size=12),
    concurrency=st.integers(1, 4),
    ordered=st.booleans(),
    data=st.data(),
)
def test_whatever_ends_when_nothing_grows_and_nothing_is_lost(
    blocks: list[int], concurrency: int, ordered: bool, data: st.DataObject
) -> None:
    """A source that respects the gate, as all do; calls that end, fail or come late in any order."""

    def fail(record: dict[str, Any]) -> Any:
        if record["n"] % 7 == 3:
            raise ValueError(record["n"])
        return record

    setup = Setup(fail, concurrency=concurrency, ordered=ordered, timeout="10s")
    flow, threads = setup.context.flow, setup.threads
    number, late = 0, set()
    waiting = list(blocks)
    while waiting or threads.open:
        if waiting and flow.open and (not threads.open or data.draw(st.booleans(), "emit")):
            size = waiting.pop(0)
            setup.put(*range(number, number + size))
            number += size
        else:
            n = data.draw(st.sampled_from(sorted(threads.open)), "ends")
            if data.draw(st.integers(0, 5), "late") == 0:
                late |= set(threads.open)
                setup.context.virtual.advance_by(10)
            setup.end(n)
        assert setup.context.gauges["queue_depth"]() <= concurrency
        assert flow.blocks <= 3 * concurrency + 1, "what runs, is done, or waits; and the one that holds a checkpoint"
    setup.source.on_completed()
    bad = {n for n in range(number) if n % 7 == 3} | late
    assert setup.out.pop() == "|"
    if ordered:
        assert setup.out == [n for n in range(number) if n not in bad]
    assert sorted(setup.out) == [n for n in range(number) if n not in bad]
    assert len(setup.reasons) == len(bad)
    assert (threads.most <= concurrency, flow.blocks, flow.open) == (True, 0, True)


# Coroutines


async def settle(context: TestContext) -> None:
    for _ in range(10):
        await asyncio.sleep(0)
        context.virtual.advance_by(0)


def test_coroutines_run_together_and_are_cancelled() -> None:
    async def main() -> None:
        log: list[str] = []
        gates = {n: asyncio.Event() for n in range(1, 5)}

        async def wait(record: dict[str, Any]) -> Any:
            try:
                await gates[record["n"]].wait()
            except asyncio.CancelledError:
                log.append(f"cancelled {record['n']}")
                raise
            return record

        setup = Setup(wait, concurrency=3, timeout="5s")
        setup.put(1, 2, 3, 4)
        await settle(setup.context)
        setup.context.virtual.advance_by(1)
        gates[2].set()
        await settle(setup.context)
        assert setup.out == [2]
        setup.context.virtual.advance_by(4)
        await settle(setup.context)
        assert (log, setup.reasons) == (
            ["cancelled 1", "cancelled 3"],
            ["TimeoutError: must be done within 5 s"] * 2,
        )
        setup.subscription.dispose()
        await settle(setup.context)
        assert log[2:] == ["cancelled 4"]
        assert setup.context.flow.blocks == 0

    asyncio.run(main())


def test_in_a_run_the_source_waits_and_all_comes_through() -> None:
    blocks, rows, active, most = Blocks(300), list[Any](), 0, 0

    async def slow(record: dict[str, Any]) -> Any:
        nonlocal active, most
        active += 1
        most = max(most, active)
        for _ in range(20):  # turns of the loop, in which the source could go on
            await asyncio.sleep(0)
        active -= 1
        return {"n": record["n"] + 1000}

    with graph(blocks.source(), map_async(slow, concurrency=3), collect(rows)).run() as run:
        run.wait()
    assert sorted(row["n"] for row in rows) == list(range(1000, 1300))
    assert most == 3
    assert blocks.peak <= 2 * 3 * blocks.nbytes


def test_a_plain_function_runs_in_the_threads_of_the_run() -> None:
    rows: list[Any] = []

    def named(record: dict[str, Any]) -> Any:
        return {**record, "thread": threading.current_thread().name}

    with graph(Blocks(20).source(), map_async(named, ordered=True), collect(rows)).run() as run:
        run.wait()
    assert [row["n"] for row in rows] == list(range(20))
    assert all(row["thread"].startswith("rxpipe-test") for row in rows)


def test_an_error_behind_it_fails_the_run() -> None:
    def broken(source: Observable[Any]) -> Observable[Any]:
        return source.pipe(rxo.map(lambda _: 1 // 0))

    async def same(record: dict[str, Any]) -> Any:
        return record

    with pytest.raises(RunError, match=re.escape("main[2] broken: ZeroDivisionError")):
        with graph(Blocks(2).source(), map_async(same), broken).run() as run:
            run.wait()


def test_from_yaml() -> None:
    step = "{map_async: {function: 'builtins:dict', concurrency: 2, ordered: true, timeout: 3s}}"
    made = load_text(f"graph: calls\nstreams:\n  main: [{{from: errors}}, {step}]\n")
    assert made.plan().streams["main"].steps[1].parameters["concurrency"] == 2
    assert load_text(made.to_yaml()) == made


def test_there_must_be_such_a_function() -> None:
    with pytest.raises(RxpipeError, match=re.escape("must have a function 'dixt', did you mean 'dict'?")):
        map_async("builtins:dixt")(Subject[Any]())
