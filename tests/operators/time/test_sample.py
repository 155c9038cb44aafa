"""`sample`."""

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
from rxpipe.operators.time.sample import sample
from rxpipe.table import Table
from rxpipe.testing import Event, MarbleSource, TestContext, parse_marbles, record, run_marbles


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("------", ""),
        ("|", "|"),
        ("--|", "--|"),
        ("-a----|", "---a--|"),
        ("-ab---|", "---b--|"),
        ("-ab-cd-----|", "---b--d----|"),
        ("-a|", "--(a|)"),
        ("a-----b-|", "---a----(b|)"),
        ("#", "#"),
        ("-a#", "--#"),
        ("-a--b#", "---a-#"),
    ],
)
def test_marbles(source: str, expected: str) -> None:
    assert run_marbles(sample("300ms"), source) == expected


def test_by_key_and_rate() -> None:
    values = {"a": {"k": 1, "v": 1}, "b": {"k": 2, "v": 2}, "c": {"k": 1, "v": 3}, "d": {"x": 1}, "e": {"k": {}}}
    context = TestContext()
    assert run_marbles(sample(rate="2Hz", by="k"), "-abcde--|", values, context=context) == "-----(cb)--|"
    assert [error.reason for error in context.errors] == ["KeyError: 'k'", "TypeError: unhashable type: 'dict'"]


def test_tables_are_sampled_each_for_itself() -> None:
    values = {name: Table(name, (), list, lambda: 1) for name in "ab"}
    context = TestContext()
    source = MarbleSource("(abab)--|", values, scheduler=context.virtual)
    events = record(source.pipe(sample("100ms")), context=context)
    assert [(event.time, event.value.name) for event in events[:-1]] == [(0.1, "a"), (0.1, "b")]


def test_records_are_merged_and_what_cannot_be_passes() -> None:
    values = {
        "a": Batch([{"n": 1}]),
        "b": Batch([{"n": 3}], [{"n": 1}]),
        "x": Batch([{"n": 3}]),
        "d": FileEvent("delete", "f"),
        "m": FileEvent("modify", "f"),
        "l": LineDelta("f", "f", 0, 1, b"\n"),
        "g": OriginGone("f"),
    }
    assert run_marbles(sample("500ms"), "-ab------|", values) == "-----x---|"
    assert run_marbles(sample("500ms"), "-mmdm----|", values) == "---mdm---|"
    assert run_marbles(sample("500ms"), "-ll------|", values) == "--l--l---|"
    assert run_marbles(sample("500ms"), "-ag------|", values) == "--(ag)------|"


def test_a_checkpoint_gets_what_is_leased(context: TestContext) -> None:
    source: Subject[Any] = Subject()
    seen: list[int] = []
    subscription = source.pipe(sample("1s")).subscribe(lambda element: seen.append(len(element)))
    source.on_next(Batch([{"n": 1}], leases=(Lease(context.flow, 1),)))
    source.on_next(Batch([{"n": 2}], leases=(Lease(context.flow, 1),)))
    assert (seen, context.flow.blocks, context.gauges["queue_depth"]()) == ([], 2, 1)
    context.checkpoint()
    assert (seen, context.flow.blocks) == ([2], 0)
    source.on_next(Batch([{"n": 3}], leases=(Lease(context.flow, 1),)))
    subscription.dispose()
    assert (seen, context.flow.blocks) == ([2], 0)


def test_early_disposal() -> None:
    context = TestContext()
    source = MarbleSource("-ab-------", scheduler=context.virtual)
    assert record(source.pipe(sample("300ms")), 0.35, context=context) == parse_marbles("---b")
    assert source.subscriptions == [(0, 0.35)]
    assert record(source.pipe(sample("300ms")), 0.25, context=context) == []
    context.virtual.start()
    assert context.virtual.time == pytest.approx(0.65)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "one of 'period' and 'rate' must be given; got none"),
        ({"period": 1, "rate": "1Hz"}, "one of 'period' and 'rate' must be given; got both"),
        ({"period": 0}, "period: must be greater than 0"),
        ({"rate": 0}, "rate must be hertz above 0"),
    ],
)
def test_parameters(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        sample(**parameters)(Subject())


@given(st.lists(st.integers(0, 60), min_size=1, max_size=40), st.integers(1, 9))
def test_each_tick_has_the_latest(moments: list[int], period: int) -> None:
    """Elements come between the tenths, ticks are on them."""
    moments.sort()
    context = TestContext()
    events = [Event(at / 10 + 0.05, "next", number) for number, at in enumerate(moments)]
    source = MarbleSource(events, scheduler=context.virtual)
    got = record(source.pipe(sample(period / 10)), context=context)
    latest: dict[int, int] = {}
    for number, at in enumerate(moments):
        latest[(at // period + 1) * period] = number
    assert [(round(event.time * 10, 6), event.value) for event in got] == [*latest.items()]
    assert all(after.time - before.time > period / 10 - 1e-6 for before, after in pairwise(got))
