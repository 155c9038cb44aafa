"""`interval`."""

from __future__ import annotations

from typing import Any

import pytest

from rxpipe.errors import ParameterError
from rxpipe.operators.time.interval import interval
from rxpipe.testing import TestContext, parse_marbles, record


def test_counts() -> None:
    assert record(interval("200ms"), 0.7) == parse_marbles("--0-1-2")
    assert record(interval("300ms", first="100ms"), 0.8) == parse_marbles("-0--1--2")
    assert record(interval("300ms", first=0), 0.4) == parse_marbles("0--1")


def test_does_not_drift() -> None:
    events = record(interval("0.1s"), 1000.05)
    assert len(events) == 10_000
    assert events[-1].time == pytest.approx(1000)


def test_a_subscription_counts_for_itself(context: TestContext) -> None:
    ticks = interval("200ms")
    assert record(ticks, 0.5) == record(ticks, 0.5) == parse_marbles("--0-1")
    assert context.virtual.time == 1.0


def test_once() -> None:
    assert record(interval("1h"), context=TestContext(once=True)) == parse_marbles("(0|)")


def test_drain(context: TestContext) -> None:
    context.virtual.schedule_relative(0.3, lambda *_: context.drain())
    assert record(interval("200ms")) == parse_marbles("--0|")


def test_waits_while_the_run_holds(context: TestContext) -> None:
    context.virtual.schedule_relative(0.15, lambda *_: context.flow.hold())
    context.virtual.schedule_relative(0.65, lambda *_: context.flow.release())
    events = record(interval("100ms"), 0.85)
    assert [(event.time, event.value) for event in events] == [(0.1, 0), (0.65, 1), (0.7, 2), (0.8, 3)]


def test_disposal_stops_the_timer(context: TestContext) -> None:
    record(interval("100ms"), 0.25)
    context.virtual.start()
    assert context.virtual.time == pytest.approx(0.3)


@pytest.mark.parametrize("period", [0, "0s"])
def test_a_period_must_be_longer_than_nothing(period: Any) -> None:
    with pytest.raises(ParameterError, match="period: must be greater than 0"):
        interval(period)
