"""`throttle`."""

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
from rxpipe.operators.time.throttle import throttle
from rxpipe.table import Table
from rxpipe.testing import Event, MarbleSource, TestContext, parse_marbles, record, run_marbles


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("------", ""),
        ("|", "|"),
        ("--|", "--|"),
        ("-a|", "-a|"),
        ("-a---|", "-a---|"),
        ("-ab---|", "-a-b--|"),
        ("-abc--|", "-a-c--|"),
        ("-abcdef---|", "-a-c-e-f--|"),
        ("-ab|", "-a-(b|)"),
        ("-abc|", "-a-c|"),
        ("(ab|)", "(ab|)"),
        ("-a-----b|", "-a-----b|"),
        ("#", "#"),
        ("-a#", "-a#"),
        ("-a-bc#", "-a-b-#"),
    ],
)
def test_marbles(source: str, expected: str) -> None:
    assert run_marbles(throttle("5Hz"), source) == expected


def test_by_key() -> None:
    values = {"a": {"k": 1, "v": 1}, "b": {"k": 2, "v": 2}, "c": {"k": 1, "v": 3}, "d": {"x": 1}, "e": {"k": {}}}
    context = TestContext()
    assert run_marbles(throttle("5Hz", by="k"), "-abcde|", values, context=context) == "-abc--|"
    assert [error.reason for error in context.errors] == ["KeyError: 'k'", "TypeError: unhashable type: 'dict'"]


def test_tables_have_their_own_period() -> None:
    values = {name: Table(name, (), list, lambda: 1) for name in "ab"}
    seen: list[str] = []
    context = TestContext()
    source = MarbleSource("(abab)--|", values, scheduler=context.virtual)
    events = record(source.pipe(throttle("5Hz")), context=context)
    seen = [event.value.name for event in events[:-1]]
    assert (seen, [event.time for event in events]) == (["a", "b", "a", "b"], [0, 0, 0.2, 0.2, 0.3])


def test_batches_are_merged_not_replaced() -> None:
    values = {
        "a": Batch([{"n": 1}]),
        "b": Batch([{"n": 2}]),
        "c": Batch([{"n": 3}], [{"n": 2}]),
        "d": Batch([], [{"n": 1}]),
        "x": Batch([{"n": 3}], [{"n": 1}]),
    }
    assert run_marbles(throttle("2Hz"), "-abcd---|", values) == "-a----x-|"


def test_what_cannot_be_merged_passes_above_the_rate() -> None:
    deleted, modified = FileEvent("delete", "f"), FileEvent("modify", "f")
    values = {
        "d": deleted,
        "m": modified,
        "l": LineDelta("f", "f", 0, 1, b"\n"),
        "g": OriginGone("f"),
        "b": Batch([{}]),
    }
    assert run_marbles(throttle("2Hz"), "-mmdmm---|", values) == "-m-md-m--|"
    assert run_marbles(throttle("2Hz"), "-mdm-----|", values) == "-m-d--m--|"
    assert run_marbles(throttle("2Hz"), "-lll-----|", values) == "-l-l--l--|"
    assert run_marbles(throttle("2Hz"), "-bbg-----|", values) == "-b-(bg)-----|"


def test_flush_and_letting_go(context: TestContext) -> None:
    source: Subject[Any] = Subject()
    seen: list[int] = []
    subscription = source.pipe(throttle("1Hz")).subscribe(lambda element: seen.append(len(element)))

    def emit() -> None:
        source.on_next(Batch([{"n": 1}], leases=(Lease(context.flow, 1),)))

    emit()
    assert context.flow.blocks == 0
    emit()
    emit()
    assert (seen, context.flow.blocks, context.gauges["queue_depth"]()) == ([1], 2, 1)
    context.checkpoint()
    assert (seen, context.flow.blocks) == ([1, 2], 0)
    emit()
    subscription.dispose()
    assert (seen, context.flow.blocks) == ([1, 2], 0)


def test_early_disposal() -> None:
    context = TestContext()
    source = MarbleSource("-ab-------", scheduler=context.virtual)
    assert record(source.pipe(throttle("1Hz")), 0.3, context=context) == parse_marbles("-a")
    assert source.subscriptions == [(0, 0.3)]


@pytest.mark.parametrize("rate", [0, "0Hz", "often", -1])
def test_a_rate_must_be_one(rate: Any) -> None:
    with pytest.raises(ParameterError, match="rate must be hertz above 0"):
        throttle(rate)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=40), st.integers(1, 9))
def test_rate_and_last_value(moments: list[int], period: int) -> None:
    moments.sort()
    context = TestContext()
    events = [Event(at / 10, "next", number) for number, at in enumerate(moments)]
    source = MarbleSource(events, scheduler=context.virtual)
    got = record(source.pipe(throttle(10 / period)), context=context)
    times = [event.time for event in got]
    assert (got[0].time, got[0].value, got[-1].value) == (moments[0] / 10, 0, len(moments) - 1)
    assert got[-1].time <= (moments[-1] + period) / 10 + 1e-6
    assert all(after - before >= period / 10 - 1e-5 for before, after in pairwise(times))
    for event in got[1:]:
        before = sum(at / 10 < event.time - 1e-6 for at in moments)  # what comes at that very time may be held or not
        assert before - 1 <= event.value <= sum(at / 10 <= event.time + 1e-6 for at in moments) - 1


def test_files_have_their_own_key() -> None:
    values = {name: FileEvent("modify", name) for name in "fg"}
    assert run_marbles(throttle("5Hz"), "-fgfg----|", values) == "-fgfg----|"
