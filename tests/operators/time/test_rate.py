"""`rate`."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex.subject import Subject

from rxpipe.elements import Batch, FileEvent, LineDelta, OriginGone
from rxpipe.errors import ParameterError
from rxpipe.lease import Lease
from rxpipe.operators.time.rate import rate
from rxpipe.table import Table
from rxpipe.testing import Event, MarbleSource, TestContext, parse_marbles, record, run_marbles

TABLES = {name: Table(name, (), list, lambda: 1) for name in "ab"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("------", ""),
        ("|", "|"),
        ("--|", "--|"),
        ("-a|", "-a|"),
        ("-a-b------------|", "-a---------b----|"),
        ("-a(bc)----------|", "-a----c------|"),
        ("-a(bcdefghi)----|", "-a-i---|"),
        ("-a----------b---|", "-a----------b---|"),
        ("-ab|", "-a-(b|)"),
        ("-ab#", "-a-#"),
        ("#", "#"),
    ],
)
def test_marbles(source: str, expected: str) -> None:
    assert run_marbles(rate(least="1Hz", most="5Hz"), source) == expected


def test_the_more_changes_the_sooner() -> None:
    """At a steady rate of changes refreshes come at the geometric mean of that and `least`."""
    for changes, wanted in ((4, 2.0), (16, 4.0), (64, 8.0), (400, 10.0)):
        context = TestContext()
        events = [Event(number / changes, "next", number) for number in range(changes * 20)]
        source = MarbleSource(events, scheduler=context.virtual)
        got = record(source.pipe(rate(least="1Hz", most="10Hz")), context=context)
        assert len(got) / 20 == pytest.approx(wanted, rel=0.15)


def test_all_keys_go_in_one_refresh() -> None:
    values = {"a": {"k": 1, "v": 1}, "b": {"k": 2, "v": 2}, "c": {"k": 1, "v": 3}, "d": {"x": 1}}
    context = TestContext()
    assert run_marbles(rate("1Hz", "5Hz", by="k"), "-abd--c---|", values, context=context) == "-a----(bc)---|"
    assert [error.reason for error in context.errors] == ["KeyError: 'k'"]


def test_a_table_is_shown_again_though_nothing_changes() -> None:
    assert run_marbles(rate("2Hz", "5Hz"), "-a-------------|", TABLES) == "-a----a----a---|"
    context = TestContext()
    source = MarbleSource("-ab-----------|", TABLES, scheduler=context.virtual)
    events = record(source.pipe(rate("2Hz", "5Hz")), context=context)
    assert [(round(event.time, 5), event.value.name) for event in events[:-1]] == [
        *[(0.1, "a"), (0.6, "b"), (0.6, "a")],
        *[(1.1, "b"), (1.1, "a")],
    ]


def test_records_count_each_and_are_merged() -> None:
    values = {
        "a": Batch([{"n": 1}]),
        "b": Batch([{"n": 2}]),
        "l": Batch([{"n": 3}, {"n": 4}], [{"n": 1}, {"n": 2}]),
        "x": Batch([{"n": 3}, {"n": 4}], [{"n": 1}]),
        "d": FileEvent("delete", "f"),
        "m": FileEvent("modify", "f"),
        "t": LineDelta("f", "f", 0, 1, b"\n"),
        "g": OriginGone("f"),
    }
    assert run_marbles(rate("1Hz", "10Hz"), "-abl-----|", values) == "-a-x-----|"
    assert run_marbles(rate("1Hz", "10Hz"), "-mmd------------|", values) == "-m-m--d---------|"
    assert run_marbles(rate("1Hz", "10Hz"), "-ttg------|", values) == "-t-(tg)------|"


def test_a_checkpoint_gets_what_is_leased(context: TestContext) -> None:
    source: Subject[Any] = Subject()
    seen: list[int] = []
    subscription = source.pipe(rate("1Hz", "2Hz")).subscribe(lambda element: seen.append(len(element)))

    def emit() -> None:
        source.on_next(Batch([{"n": 1}], leases=(Lease(context.flow, 1),)))

    emit()
    emit()
    assert (seen, context.flow.blocks) == ([1], 1)
    context.checkpoint()
    assert (seen, context.flow.blocks) == ([1, 1], 0)
    emit()
    subscription.dispose()
    assert (seen, context.flow.blocks) == ([1, 1], 0)


def test_early_disposal_ends_the_showing_again() -> None:
    context = TestContext()
    source = MarbleSource("-a--------", TABLES, scheduler=context.virtual)
    assert record(source.pipe(rate("2Hz", "5Hz")), 0.7, context=context) == parse_marbles("-a----a", TABLES)
    assert source.subscriptions == [(0, 0.7)]
    context.virtual.start()
    assert context.virtual.time < 2


@pytest.mark.parametrize(
    ("least", "most", "message"),
    [
        ("2Hz", "1Hz", "most: must not be below 'least'"),
        (0, 1, "rate must be hertz above 0"),
        (1, "often", "rate must be hertz above 0"),
    ],
)
def test_parameters(least: Any, most: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        rate(least, most)(Subject())


@given(st.lists(st.integers(0, 60), min_size=1, max_size=60), st.integers(1, 5), st.integers(1, 6))
def test_neither_bound_is_broken_and_the_last_is_never_lost(moments: list[int], fast: int, factor: int) -> None:
    moments.sort()
    slow = fast * factor
    context = TestContext()
    events = [Event(at / 10, "next", number) for number, at in enumerate(moments)]
    source = MarbleSource(events, scheduler=context.virtual)
    got = record(source.pipe(rate(least=10 / slow, most=10 / fast)), context=context)
    assert (got[0].time, got[0].value, got[-1].value) == (moments[0] / 10, 0, len(moments) - 1)
    for before, after in pairwise(got):
        assert after.time - before.time >= fast / 10 - 1e-5
        first_held = moments[before.value + 1] / 10
        assert after.time <= max(first_held, before.time + slow / 10) + 1e-5
        assert after.value == max(at for at, moment in enumerate(moments) if moment / 10 <= after.time + 1e-6) or (
            moments[after.value + 1] / 10 == pytest.approx(after.time)
        )


@given(st.lists(st.tuples(st.integers(0, 60), st.sampled_from("ab")), min_size=1, max_size=30), st.integers(1, 4))
def test_a_table_is_never_older_than_the_slow_period(moments: list[tuple[int, str]], fast: int) -> None:
    context = TestContext()
    events = [Event(at / 10, "next", TABLES[name]) for at, name in sorted(moments)]
    source = MarbleSource(events, scheduler=context.virtual)
    got = record(source.pipe(rate(least=1, most=10 / fast)), 15, context=context)
    refreshes = sorted({event.time for event in got})
    assert all(after - before >= fast / 10 - 1e-5 for before, after in pairwise(refreshes))
    for name in {name for _, name in moments}:
        times = [event.time for event in got if event.value.name == name]
        first = min(at for at, own in moments if own == name) / 10
        assert times[0] <= first + 1 + 1e-5
        assert all(after - before <= 1 + fast / 10 + 1e-5 for before, after in pairwise([*times, 15.0]))
