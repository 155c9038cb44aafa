"""`on_slow` and `conflate`: a reader that holds what it was given, and what becomes of what comes meanwhile."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from loguru import logger
from reactivex import Observable
from reactivex.subject import Subject

from rxpipe.context import entered
from rxpipe.elements import Batch, LineDelta, OriginGone, as_dict
from rxpipe.errors import ParameterError, StateError
from rxpipe.language.config import load_text
from rxpipe.lease import Lease
from rxpipe.operators.flow.conflate import conflate
from rxpipe.operators.flow.map_async import map_async
from rxpipe.operators.flow.on_slow import Policy, on_slow
from rxpipe.operators.sinks.to_callback import to_callback
from rxpipe.table import Table
from rxpipe.testing import TestContext, run_marbles
from tests.rxpipe.parts import Blocks, collect, graph

POLICIES: tuple[Policy, ...] = ("block", "drop_oldest", "drop_newest", "conflate", "spill")


class Slow:
    """The operator in front of a reader that holds all it is given until it is told to let go."""

    def __init__(self, step: Any, context: TestContext | None = None) -> None:
        self.context, self.source = context or TestContext(), Subject[Any]()
        self.held: list[Any] = []
        self.out: list[Any] = []
        self.rows: list[Any] = []
        self.keep = True
        with entered(self.context):
            self.subscription = self.source.pipe(step).subscribe(
                self.read, self.out.append, lambda: self.out.append("|"), scheduler=self.context.virtual
            )

    def read(self, element: Any) -> None:
        self.out += [as_dict(row)["n"] for row in element.rows] if isinstance(element, Batch) else [element]
        self.rows += element.rows if isinstance(element, Batch) else []
        if self.keep:
            self.held.append(element)

    def put(self, *numbers: int, **more: Any) -> None:
        lease = Lease(self.context.flow, 10, "file", numbers[0], numbers[-1])
        rows = [{"n": n, "key": n % 3} for n in numbers]
        self.source.on_next(Batch(rows, leases=(lease,), **more))

    def let_go(self, count: int = 1) -> None:
        """Let go of the oldest elements, and let a turn pass."""
        del self.held[:count]
        self.context.virtual.advance_by(0)

    def catch_up(self) -> None:
        """Hold nothing any more."""
        self.keep = False
        self.let_go(len(self.held))

    def gauge(self, name: str) -> float:
        return self.context.gauges[name]()


@pytest.fixture(autouse=True)
def lines() -> Iterator[list[str]]:
    """What is logged."""
    found: list[str] = []
    number = logger.add(lambda message: found.append(message.record["message"]), level="WARNING")
    yield found
    logger.remove(number)


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


# Spill


def spilling(folder: Path, states: Any = (), disk: Any = "1MB") -> Slow:
    return Slow(on_slow("spill", disk=disk), TestContext(states, folder=folder))


def test_what_is_on_disk_is_done_with_for_its_source(tmp_path: Path) -> None:
    slow = spilling(tmp_path / "spool")
    for n in range(100):
        slow.put(n)
    assert (slow.context.flow.in_flight, slow.gauge("queue_depth")) == (20, 98)
    assert slow.gauge("spilled_bytes") == sum(path.stat().st_size for path in (tmp_path / "spool").iterdir())
    slow.catch_up()
    assert slow.out == list(range(100))
    assert slow.context.flow.blocks == 0


def test_what_is_on_disk_survives_a_restart_and_is_given_once(tmp_path: Path) -> None:
    slow = spilling(tmp_path)
    for n in range(10):
        slow.put(n)
    slow.context.flow.hold()
    slow.catch_up()
    states = slow.context.checkpoint()
    assert slow.out == list(range(2)), "a checkpoint holds it as it holds a source"
    slow.context.flow.release()
    slow.put(10)  # is given again by its source, as all that came after the checkpoint
    slow.context.virtual.advance_by(0)
    assert slow.out == list(range(11))
    slow.subscription.dispose()
    again = spilling(tmp_path, states)
    assert again.gauge("queue_depth") == 8
    again.keep = False
    again.context.virtual.advance_by(0)
    assert again.out == list(range(2, 10))
    again.put(10)
    assert again.out == list(range(2, 11))


def test_a_reset_state_begins_anew(tmp_path: Path) -> None:
    slow = spilling(tmp_path)
    for n in range(10):
        slow.put(n)
    slow.subscription.dispose()
    assert list(tmp_path.iterdir())
    again = spilling(tmp_path)
    assert (again.gauge("queue_depth"), list(tmp_path.iterdir())) == (0, [])


def test_a_run_that_drains_leaves_it_to_the_next(tmp_path: Path) -> None:
    slow = spilling(tmp_path)
    for n in range(10):
        slow.put(n)
    slow.context.drain()
    slow.source.on_completed()
    assert slow.out == [0, 1, "|"]


def test_a_source_that_ends_gets_all_of_it_through(tmp_path: Path) -> None:
    slow = spilling(tmp_path)
    for n in range(10):
        slow.put(n)
    slow.source.on_completed()
    slow.catch_up()
    assert slow.out == [*range(10), "|"]


def test_where_there_is_no_room_the_sources_are_held_and_a_checkpoint_still_comes(tmp_path: Path) -> None:
    slow = spilling(tmp_path, disk=200)
    while slow.context.flow.open:
        slow.put(len(slow.out) + int(slow.gauge("queue_depth")))
    total = len(slow.out) + int(slow.gauge("queue_depth"))
    assert slow.gauge("spilled_bytes") <= 200
    slow.keep = False
    slow.context.flow.hold()
    slow.let_go(2)
    assert slow.context.flow.blocks == 0, "what did not fit was written as soon as there was room"
    assert 2 < len(slow.out) < total
    slow.context.flow.release()
    slow.context.virtual.advance_by(0)
    assert slow.out == list(range(total))


def test_a_full_disk_holds_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str]) -> None:
    slow = spilling(tmp_path)
    for n in range(4):
        slow.put(n)

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    slow.put(4)
    slow.put(5)
    assert not slow.context.flow.open
    assert lines == ["test: cannot write to disk, the sources are held: [Errno 28] No space left on device"]
    monkeypatch.undo()
    slow.let_go()
    assert slow.context.flow.open
    slow.catch_up()
    assert slow.out == list(range(6))


def test_what_comes_back_is_what_went_in(tmp_path: Path) -> None:
    row = msgspec.defstruct("Row", [("n", int), ("tags", list[str])])
    elements: list[Any] = [
        Batch([row(1, ["a"])], leases=()),
        Batch([{"n": 2**70, "tags": ("b",)}]),
        OriginGone("file"),
        LineDelta("file", "f", 3, 5, b"{}\n", None, unfinished=True),
        Batch([{"n": object()}]),
        Batch([{"n": 7}], retractable=True),
    ]
    slow = spilling(tmp_path)
    slow.put(0)
    slow.put(1)
    for element in elements:
        slow.source.on_next(element)
    assert slow.gauge("queue_depth") == 6
    slow.catch_up()
    rows = slow.rows[2:]
    assert rows[:2] == [row(1, ["a"]), {"n": 2**70, "tags": ("b",)}]
    assert type(rows[0]) is row
    gone, lines = slow.out[4:6]
    assert gone == elements[2]
    assert lines._replace(lease=None) == elements[3]
    assert rows[2:] == [elements[4].rows[0], {"n": 7}]


def test_the_state_of_another_folder_is_refused(tmp_path: Path) -> None:
    slow = spilling(tmp_path / "spool")
    for n in range(4):
        slow.put(n)
    slow.context.flow.hold()
    slow.catch_up()
    states = slow.context.checkpoint()
    [error] = spilling(tmp_path / "empty", states).out
    assert isinstance(error, StateError)
    assert str(error).endswith("00000000: must have what was written to it before the restart; got 0 bytes")


def test_without_a_state_file_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    blocks, rows = Blocks(100), list[Any]()

    async def slow(batch: Batch) -> None:
        await asyncio.sleep(0)

    with graph(blocks.source(), on_slow("spill"), to_callback(slow), collect(rows)).run() as run:
        run.wait()
    assert [row["n"] for row in rows] == list(range(100))
    assert list(tmp_path.iterdir()) == []


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
