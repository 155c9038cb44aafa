"""`tap`, and the functions that a graph names."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import pytest
from loguru import logger

from rxpipe.elements import Batch
from rxpipe.errors import ParameterError, RxpipeError
from rxpipe.lease import Lease
from rxpipe.operators.flow.tap import tap
from rxpipe.parameters.calls import function_named
from rxpipe.testing import Event, MarbleSource, TestContext, record, run_marbles


@pytest.fixture
def logged() -> Iterator[list[str]]:
    lines: list[str] = []
    handler = logger.add(lines.append, level="DEBUG", format="{level} {message}")
    yield lines
    logger.remove(handler)


@pytest.mark.parametrize("source", ["|", "-a-|", "-a-b|", "#", "-a#", "(ab|)"])
def test_changes_nothing(source: str) -> None:
    seen: list[Any] = []
    assert run_marbles(tap(seen.append), source) == source
    assert seen == [char for char in source if char.isalpha()]


def test_never() -> None:
    assert run_marbles(tap(print), "----") == ""


def test_logs(logged: list[str]) -> None:
    run_marbles(tap(), "-a|")
    assert logged == ["DEBUG test: 'a'\n"]


def test_a_function_that_raises_is_reported() -> None:
    context = TestContext()
    source = MarbleSource(
        [Event(0, "next", Batch([{"n": 1}], leases=(Lease(context.flow, 1, "f", 0, 9),))), Event(1, "completed")],
        scheduler=context.virtual,
    )
    events = record(source.pipe(tap(operator.attrgetter("missing"))), context=context)
    assert [event.kind for event in events] == ["next", "completed"]
    assert (context.errors[0].reason, context.errors[0].path, context.errors[0].end) == (
        "AttributeError: 'Batch' object has no attribute 'missing'",
        "f",
        9,
    )


def test_early_disposal() -> None:
    context = TestContext()
    source = MarbleSource("-a-b", scheduler=context.virtual)
    assert len(record(source.pipe(tap(lambda _: None)), 0.2, context=context)) == 1
    assert source.subscriptions == [(0, 0.2)]


def test_named_functions() -> None:
    assert function_named("os.path:join").__name__ == "join"
    assert function_named("collections:Counter.fromkeys").__name__ == "fromkeys"
    assert run_marbles(tap("builtins:len"), "-a|") == "-a|"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("len", "must be written 'module:name'; got 'len'"),
        (":len", "must be written"),
        (
            "no_such_module:x",
            "must be importable; got No module named 'no_such_module'; install it, or name its folder in PYTHONPATH",
        ),
        ("os.path:joim", r"'os.path' must have a function 'joim', did you mean 'join'\?"),
        ("os:name", "must be a function; got 'posix'"),
    ],
)
def test_a_name_that_leads_nowhere(call: str, message: str) -> None:
    with pytest.raises(RxpipeError, match=message):
        run_marbles(tap(call), "|")


def test_a_number_is_no_function() -> None:
    with pytest.raises(ParameterError, match="call: must be"):
        tap(3)  # type: ignore[arg-type]  # that is the point
