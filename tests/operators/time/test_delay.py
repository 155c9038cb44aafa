"""`delay`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex.subject import Subject

from rxpipe import operators as ops
from rxpipe.context import entered
from rxpipe.elements import Batch, FileEvent, FileState, LineDelta, OriginGone
from rxpipe.fusion.rows import row_struct
from rxpipe.lease import Lease
from rxpipe.operators.time.delay import delay
from rxpipe.table import Table
from rxpipe.testing import Event, MarbleSource, TestContext, VirtualTimeScheduler, record, run_marbles


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("------", ""),
        ("|", "--|"),
        ("--|", "----|"),
        ("-a|", "---a|"),
        ("-abc-d|", "---abc-d|"),
        ("(ab)-c--|", "--(ab)-c--|"),
        ("#", "#"),
        ("-a--#", "---a#"),
        ("-abc#", "---a#"),
    ],
)
def test_marbles(source: str, expected: str) -> None:
    assert run_marbles(delay("200ms"), source) == expected


def test_early_disposal_lets_go_of_all(context: TestContext) -> None:
    source: Subject[Any] = Subject()
    events: list[Any] = []
    subscription = source.pipe(delay("1s")).subscribe(events.append)
    source.on_next(Batch([{"n": 1}], leases=(Lease(context.flow, 1),)))
    assert (context.flow.blocks, context.gauges["queue_depth"]()) == (1, 1)
    subscription.dispose()
    context.virtual.start()
    assert (events, context.flow.blocks) == ([], 0)


def test_what_is_held_is_in_flight_again_after_a_checkpoint(context: TestContext) -> None:
    source: Subject[Any] = Subject()
    seen: list[Any] = []
    leases: list[Any] = []

    def note(batch: Any) -> None:
        seen.append(batch.dicts())
        leases.extend((made.path, made.start, made.end) for made in batch.leases)

    source.pipe(delay("1s")).subscribe(note)
    source.on_next(Batch([{"n": 1}], leases=(Lease(context.flow, 5, "f", 10, 15),)))
    for _ in range(2):
        context.checkpoint()
        assert (context.flow.blocks, context.flow.in_flight) == (1, 5)
    context.virtual.start()
    assert (seen, leases, context.flow.blocks) == ([[{"n": 1}]], [("f", 10, 15)], 0)


def test_what_comes_due_while_a_checkpoint_waits_is_leased(context: TestContext) -> None:
    source: Subject[Any] = Subject()
    held: list[Any] = []
    source.pipe(delay("1s")).subscribe(held.append)
    source.on_next(Batch([{"n": 1}], leases=(Lease(context.flow, 5),)))
    context.flush()
    assert context.flow.blocks == 0
    context.virtual.start()
    assert (len(held), context.flow.blocks) == (1, 1)


ELEMENTS = [
    Batch([{"n": 2**70, "t": (1, "a")}], [{"n": None}], retractable=True),
    LineDelta("f", "id", 3, 5, b"a\n"),
    FileEvent("rename", "g", None, FileState(1, 2, 3, 4), "f"),
    FileEvent("delete", "g", FileState(1, 2, 3, 4)),
    OriginGone("f"),
    7,
    {"a": ["b"]},
]


def test_what_is_held_outlives_a_restart() -> None:
    context = TestContext()
    source: Subject[Any] = Subject()
    with entered(context):
        source.pipe(delay("10s")).subscribe(lambda _: None)
    for element in ELEMENTS:
        source.on_next(element)
        context.virtual.advance_by(1)
    source.on_next(Table("t", (), list, lambda: 1))
    source.on_next(Batch([row_struct("Row", {"n": int})(5)]))
    states = context.checkpoint()
    scheduler = VirtualTimeScheduler()
    scheduler.advance_to(12.5)
    again = TestContext(states, scheduler=scheduler)
    events = record(Subject().pipe(delay("10s")), context=again)
    assert [event.value for event in events] == [*ELEMENTS, Batch([{"n": 5}])]
    assert [type(event.value) for event in events[:-1]] == [type(element) for element in ELEMENTS]
    assert [round(event.time, 6) for event in events] == [0, 0, 0, 0.5, 1.5, 2.5, 3.5, 4.5]
    assert events[0].value.retractable
    assert again.checkpoint() == [{}]


def test_a_drain_leaves_what_is_held_to_the_next_run(context: TestContext) -> None:
    context.virtual.schedule_relative(0.25, lambda *_: context.drain())
    source = MarbleSource("-ab|", scheduler=context.virtual)
    assert [event.kind for event in record(source.pipe(delay("1s")), 5)] == ["completed"]
    states = context.checkpoint()
    again = TestContext(states)
    assert [event.value for event in record(Subject().pipe(delay("1s")), context=again)] == ["a", "b"]


def test_a_drain_behind_completion(context: TestContext) -> None:
    context.virtual.schedule_relative(0.45, lambda *_: context.drain())
    source = MarbleSource("-ab|", scheduler=context.virtual)
    events = record(source.pipe(delay("1s")), 5)
    assert [(event.time, event.kind) for event in events] == [(0.45, "completed")]


def test_a_drain_without_state() -> None:
    context = Stateless()
    context.virtual.schedule_relative(0.25, lambda *_: context.drain())
    source = MarbleSource("-ab|", scheduler=context.virtual)
    events = record(source.pipe(delay("1s")), 5, context=context)
    assert [(event.time, event.kind) for event in events] == [(0.3, "next"), (0.3, "next"), (0.3, "completed")]


class Stateless(TestContext):
    """A run without a state file."""

    def state(self, *args: Any, **more: Any) -> Any:
        saved = super().state(*args, **more)
        saved.persistent = False
        return saved


@given(
    st.lists(st.integers(0, 40), max_size=25),
    st.integers(0, 12),
    st.lists(st.integers(0, 60), max_size=4),
)
def test_whenever_it_is_interrupted_nothing_is_lost_doubled_or_moved(
    moments: list[int], length: int, cuts: list[int]
) -> None:
    """Runs that follow one another, each from the checkpoint of the one before."""
    moments.sort()
    states: Any = ()
    now = 0.0
    got: list[tuple[float, int]] = []
    for cut in [*sorted(cuts), 100]:
        scheduler = VirtualTimeScheduler()
        scheduler.advance_to(now)
        context = TestContext(states, scheduler=scheduler)
        until = max(now, cut + 0.5)
        events = [
            Event(at - now, "next", Batch([{"n": number}])) for number, at in enumerate(moments) if now <= at < until
        ]
        source = MarbleSource(events, scheduler=scheduler)
        found = record(source.pipe(ops.delay(length)), until - now, context=context)
        got += [(round(now + event.time, 6), event.value.rows[0]["n"]) for event in found]
        states = context.checkpoint()
        now = until
    assert [number for _, number in got] == [*range(len(moments))]
    assert [time for time, _ in got] == [at + length for at in moments]
