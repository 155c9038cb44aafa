"""`on_slow` and `conflate`: a reader that holds what it was given, and what becomes of what comes meanwhile."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable
from reactivex.subject import Subject

from rxpipe.elements import Batch, LineDelta, OriginGone
from rxpipe.errors import ParameterError
from rxpipe.language.config import load_text
from rxpipe.lease import Lease
from rxpipe.operators.flow.conflate import conflate
from rxpipe.operators.flow.map_async import map_async
from rxpipe.operators.flow.on_slow import Policy, on_slow
from rxpipe.operators.sinks.to_callback import to_callback
from rxpipe.table import Table
from rxpipe.testing import run_marbles
from tests.operators.flow.slow import Slow
from tests.rxpipe.parts import Blocks, collect, graph

POLICIES: tuple[Policy, ...] = ("block", "drop_oldest", "drop_newest", "conflate", "spill")


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("source", ["|", "-a-|", "-a-b|", "#", "-a#", "-(ab)-|"])
def test_a_reader_that_keeps_up_gets_everything_at_once(policy: Policy, source: str) -> None:
    def batches(marbles: Observable[Any]) -> Observable[Any]:
        return marbles.pipe(on_slow(policy))

    assert run_marbles(batches, source, {char: Batch([{"value": char}]) for char in "ab"}) == source
    assert run_marbles(batches, source, {"a": 1, "b": 2}) == source


def test_block_holds_the_sources_at_the_limit() -> None:
    slow = Slow(on_slow("block", limit=3))
    for n in range(4):
        slow.put(n)
    assert (slow.out, slow.context.flow.open, slow.gauge("queue_depth")) == ([0, 1], True, 2)
    slow.put(4)
    assert not slow.context.flow.open
    slow.let_go()
    assert (slow.out, slow.context.flow.open) == ([0, 1, 2], True)
    slow.catch_up()
    assert (slow.out, slow.context.flow.blocks, slow.gauge("dropped")) == ([0, 1, 2, 3, 4], 0, 0)


def test_drop_oldest_drops_records_counts_them_and_lets_go_of_their_source(lines: list[str]) -> None:
    slow = Slow(on_slow("drop_oldest", limit=3))
    for numbers in ((0,), (1,), (2, 3), (4, 5)):
        slow.put(*numbers)
    assert (slow.gauge("queue_depth"), slow.gauge("dropped"), slow.context.flow.in_flight) == (3, 1, 40)
    slow.put(6, 7)
    assert (slow.gauge("queue_depth"), slow.gauge("dropped"), slow.context.flow.in_flight) == (3, 3, 40)
    assert slow.context.flow.open
    slow.catch_up()
    assert slow.out == [0, 1, 5, 6, 7]
    assert lines == ["test: the reader is slow: records are dropped, and counted"]


def test_drop_newest_keeps_what_waits() -> None:
    slow = Slow(on_slow("drop_newest", limit=3))
    for numbers in ((0,), (1,), (2, 3), (4, 5), (6,)):
        slow.put(*numbers)
    assert (slow.gauge("dropped"), slow.context.flow.in_flight) == (2, 40)
    slow.catch_up()
    assert slow.out == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("step", [on_slow("conflate", by="key", limit=3), conflate("key", limit=3)])
def test_conflate_keeps_the_latest_of_each_key(step: Any) -> None:
    slow = Slow(step)
    for numbers in ((0,), (1,), (2, 3), (4, 5), (6,)):
        slow.put(*numbers)
    assert (slow.gauge("queue_depth"), slow.gauge("dropped"), slow.context.flow.in_flight) == (3, 2, 40)
    assert not slow.context.flow.open, "three keys wait"
    slow.catch_up()
    assert slow.out == [0, 1, 4, 5, 6]
    assert len(slow.out) == 5
    assert (slow.context.flow.open, slow.context.flow.blocks) == (True, 0)


def test_conflate_without_a_key_keeps_the_latest_of_all() -> None:
    slow = Slow(conflate())
    for n in range(5):
        slow.put(n)
    slow.catch_up()
    assert slow.out == [0, 1, 4]


def test_a_record_whose_key_fails_is_rejected() -> None:
    slow = Slow(conflate("key / 0"))
    for n in range(3):
        slow.put(n)
    slow.source.on_next(Batch([{"n": 9, "key": []}]))
    slow.source.on_completed()
    slow.catch_up()
    assert slow.out == [0, 1, "|"]
    assert [error.reason.partition(":")[0] for error in slow.context.errors] == ["ZeroDivisionError", "TypeError"]
    other = Slow(conflate("key"))
    for key in (0, 1, [2]):
        other.source.on_next(Batch([{"n": 1, "key": key}]))
    [error] = other.context.errors
    assert error.reason == "TypeError: a key must be a number, a text or a tuple of them; got [2]"


def test_of_tables_the_latest_of_each_name_waits() -> None:
    slow = Slow(conflate())
    slow.put(0)
    slow.put(1)
    tables = [Table(name, (), list, lambda: 0) for name in ("a", "b", "a")]
    for table in tables:
        slow.source.on_next(table)
    slow.catch_up()
    assert [element is table for element, table in zip(slow.out[2:], tables[1:], strict=True)] == [True, True]


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest", "conflate"])
def test_what_may_be_taken_back_is_not_dropped(policy: Policy) -> None:
    slow = Slow(on_slow(policy, limit=2))
    gone = OriginGone("file")
    slow.put(0)
    slow.put(1)
    slow.source.on_next(gone)
    for n in (2, 3):
        slow.put(n, retractable=True)
    assert not slow.context.flow.open, "it waits beyond the limit, so the sources are held"
    slow.catch_up()
    assert slow.out == [0, 1, gone, 2, 3]
    assert slow.context.flow.open


def test_blocks_of_lines_are_held_too() -> None:
    slow = Slow(on_slow("block"))
    for n in range(3):
        lease = Lease(slow.context.flow, 10, "file", n, n + 1)
        slow.source.on_next(LineDelta("file", "f", n, n + 1, b"\n", lease))
        del lease
    assert len(slow.out) == 2
    assert (slow.out[0].lease.path, slow.out[0].lease.nbytes, slow.context.flow.in_flight) == ("file", 10, 30)
    slow.out.clear()
    slow.let_go()
    assert (len(slow.out), slow.context.flow.in_flight) == (1, 20)


def test_completion_and_errors_keep_their_place() -> None:
    for error in (None, KeyError(1)):
        slow = Slow(on_slow("block"))
        for n in range(4):
            slow.put(n)
        if error is None:
            slow.source.on_completed()
        else:
            slow.source.on_error(error)
        assert slow.out == [0, 1]
        slow.catch_up()
        assert slow.out[:4] == [0, 1, 2, 3]
        assert slow.out[4] == (error or "|")


def test_an_element_without_leases_holds_a_checkpoint_too() -> None:
    slow = Slow(on_slow("block"))
    for n in range(3):
        slow.source.on_next(Batch([{"n": n}]))
    with pytest.raises(AssertionError, match="1 leases are still held"):
        slow.context.checkpoint()
    slow.catch_up()
    slow.context.checkpoint()


def test_unsubscribing_lets_go() -> None:
    slow = Slow(on_slow("block", limit=1))
    for n in range(4):
        slow.put(n)
    assert not slow.context.flow.open
    slow.subscription.dispose()
    slow.catch_up()
    assert (slow.out, slow.context.flow.blocks, slow.context.flow.open) == ([0, 1], 0, True)


def test_the_key_belongs_to_conflate() -> None:
    with pytest.raises(ParameterError, match=re.escape("by: 'by' is the key of policy 'conflate'; got policy 'block'")):
        on_slow("block", by="key")(Subject[Any]())


@given(
    policy=st.sampled_from(POLICIES),
    limit=st.integers(1, 6),
    steps=st.lists(st.integers(-2, 4), max_size=40),
)
def test_whatever_comes_and_goes_nothing_is_lost_in_silence(policy: Policy, limit: int, steps: list[int]) -> None:
    """A positive step puts that many records, if the sources are not held; others let go of elements."""
    slow = Slow(on_slow(policy, limit=limit, by="key" if policy == "conflate" else None))
    number = 0
    for step in steps:
        if step > 0 and slow.context.flow.open:
            slow.put(*range(number, number + step))
            number += step
        elif step <= 0:
            slow.let_go(1 - step)
        assert len(slow.held) <= 2
        if policy != "spill":
            assert slow.gauge("queue_depth") <= limit + (3 if policy in ("block", "conflate") else 0)
    slow.source.on_completed()
    slow.catch_up()
    assert slow.out.pop() == "|"
    assert len(slow.out) + slow.gauge("dropped") == number
    if policy in ("block", "spill"):
        assert slow.out == list(range(number))
    if policy in ("drop_oldest", "drop_newest"):
        assert slow.out == sorted(set(slow.out))
    if policy == "conflate":
        assert {n % 3: n for n in sorted(slow.out)} == {n % 3: n for n in range(number)}
    assert (slow.context.flow.blocks, slow.context.flow.open) == (0, True)


# In a run, before a sink that takes its time


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("sink", [to_callback, map_async])
def test_in_a_run_before_a_slow_sink(policy: Policy, sink: Any, tmp_path: Path) -> None:
    blocks, rows = Blocks(200), list[Any]()
    ready = asyncio.Event()

    async def slow(element: Any) -> Any:
        if policy in ("block", "spill"):
            await asyncio.sleep(0)
        else:
            await ready.wait()  # until all has come
        return element

    def wake(source: Observable[Any]) -> Observable[Any]:
        def subscribe(observer: Any, scheduler: Any = None) -> Any:
            def completed() -> None:
                ready.set()
                observer.on_completed()

            return source.subscribe(observer.on_next, observer.on_error, completed, scheduler=scheduler)

        return Observable(subscribe)

    step = on_slow(policy, limit=5)
    with graph(blocks.source(), wake, step, sink(slow), collect(rows)).run(state=tmp_path / "state") as run:
        run.wait()
    numbers = [row["n"] for row in rows]
    if policy in ("block", "spill"):
        assert sorted(numbers) == list(range(200))
    else:
        assert 0 < len(rows) < 200
        assert numbers == sorted(set(numbers))
        assert (199 in numbers) == (policy != "drop_newest")
    if policy == "block":
        assert blocks.peak <= 30 * blocks.nbytes


def test_from_yaml() -> None:
    text = """
graph: slow
streams:
  a: [{from: errors}, {on_slow: drop_oldest}]
  b: [{from: errors}, {on_slow: {policy: conflate, by: step, limit: 10}}]
  c: [{from: errors}, {conflate: step}]
  d: [{from: errors}, {on_slow: {policy: spill, disk: 10MB}}]
"""
    made = load_text(text)
    assert made.plan().streams["d"].steps[1].parameters == {"policy": "spill", "disk": 10_000_000}
    assert load_text(made.to_yaml()) == made


@pytest.mark.parametrize("policy", POLICIES)
def test_a_reader_that_waits_for_more_gets_it(policy: Policy) -> None:
    slow = Slow(on_slow(policy, limit=100))
    slow.context.on_flush(slow.held.clear)  # as `buffer` does
    for number in range(4):
        slow.put(number)
    given = len(slow.rows)
    slow.context.virtual.advance_by(0.9)
    assert len(slow.rows) == given < 4
    slow.context.virtual.advance_by(0.2)
    assert len(slow.rows) > given
    slow.subscription.dispose()
    slow.context.virtual.advance_by(60)


@pytest.mark.parametrize("policy", ["block", "drop_oldest", "drop_newest", "conflate"])
def test_at_the_end_a_reader_that_takes_nothing_is_given_all(policy: Policy) -> None:
    slow = Slow(on_slow(policy, limit=100))
    for number in range(4):
        slow.put(number)
    slow.source.on_completed()
    slow.context.virtual.advance_by(1.9)
    assert len(slow.rows) < 4
    slow.context.virtual.advance_by(0.2)
    assert slow.out[-1] == "|"
    assert slow.rows[-1]["n"] == 3
