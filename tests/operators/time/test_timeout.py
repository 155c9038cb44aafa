"""`timeout`."""

from __future__ import annotations

from typing import Any

import pytest
from reactivex.subject import Subject

from rxpipe.errors import ParameterError
from rxpipe.operators.time.timeout import timeout
from rxpipe.testing import MarbleSource, TestContext, parse_marbles, record, run_marbles


@pytest.mark.parametrize(
    ("source", "completing", "told"),
    [
        ("-------", "--|", [0.2]),
        ("|", "|", []),
        ("-|", "-|", []),
        ("-a|", "-a|", []),
        ("-a-b|", "-a-b|", []),
        ("-abcdef|", "-abcdef|", []),
        ("-a---b|", "-a-|", [0.3]),
        ("-a----b----|", "-a-|", [0.3, 0.8]),
        ("---a|", "--|", [0.2]),
        ("#", "#", []),
        ("-a#", "-a#", []),
        ("-a---#", "-a-|", [0.3]),
    ],
)
def test_marbles(source: str, completing: str, told: list[float]) -> None:
    context, other = TestContext(), TestContext()
    assert run_marbles(timeout("200ms"), source, context=context) == source.rstrip("-")
    assert [round(error.time, 6) for error in context.errors] == told
    assert {error.reason for error in context.errors} <= {"no element came for 200ms"}
    assert run_marbles(timeout("200ms", complete=True), source, context=other) == completing
    assert [round(error.time, 6) for error in other.errors] == told[:1]


def test_the_first_may_take_longer_or_less() -> None:
    for first, told in (("500ms", [0.6]), ("100ms", [0.1, 0.6])):
        context = TestContext()
        assert run_marbles(timeout("200ms", first=first), "----a---b|", context=context) == "----a---b|"
        assert [round(error.time, 6) for error in context.errors] == told


def test_time_in_which_the_run_holds_the_sources_back_does_not_count(context: TestContext) -> None:
    context.virtual.schedule_relative(0.15, lambda *_: context.flow.hold())
    context.virtual.schedule_relative(0.65, lambda *_: context.flow.release())
    source: Subject[Any] = Subject()
    assert record(source.pipe(timeout("200ms")), 0.8) == []
    assert context.errors == []
    assert record(source.pipe(timeout("200ms")), 0.3) == []
    assert [round(error.time, 6) for error in context.errors] == [1.0]


def test_an_element_that_comes_while_the_run_holds_counts(context: TestContext) -> None:
    context.virtual.schedule_relative(0.15, lambda *_: context.flow.hold())
    context.virtual.schedule_relative(0.65, lambda *_: context.flow.release())
    source = MarbleSource("------a-------", scheduler=context.virtual)
    assert record(source.pipe(timeout("200ms")), 1) == parse_marbles("------a")
    assert [round(error.time, 6) for error in context.errors] == [0.8]


@pytest.mark.parametrize("complete", [False, True])
def test_the_timer_ends_with_the_subscription(complete: bool) -> None:
    context = TestContext()
    source = MarbleSource("-a-b------", scheduler=context.virtual)
    assert record(source.pipe(timeout("200ms", complete=complete)), 0.35, context=context) == parse_marbles("-a-b")
    assert source.subscriptions == [(0, 0.35)]
    context.virtual.start()
    assert context.errors == []


def test_completing_unsubscribes() -> None:
    context = TestContext()
    source = MarbleSource("-a--------", scheduler=context.virtual)
    record(source.pipe(timeout("200ms", complete=True)), 2, context=context)
    assert [(began, round(ended or 0, 6)) for began, ended in source.subscriptions] == [(0, 0.3)]


@pytest.mark.parametrize("parameters", [{"quiet": 0}, {"quiet": 1, "first": 0}])
def test_parameters(parameters: dict[str, Any]) -> None:
    with pytest.raises(ParameterError, match="must be greater than 0"):
        timeout(**parameters)
