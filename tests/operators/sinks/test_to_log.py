"""`to_log`: what is told, at which level, and what does not fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from loguru import logger

from rxpipe.elements import Batch, LineDelta
from rxpipe.errors import ParameterError
from rxpipe.operators.sinks.to_log import to_log
from rxpipe.table import Table
from rxpipe.testing import run_marbles
from tests.operators.sinks.parts import Running


@pytest.fixture
def told() -> Iterator[list[str]]:
    lines: list[str] = []
    number = logger.add(lines.append, format=lambda _: "{level} {message}", level="TRACE")
    yield lines
    logger.remove(number)


@pytest.mark.parametrize("source", ["|", "-a-|", "-a-b|", "#", "-a#", "(ab|)"])
def test_marbles(source: str) -> None:
    assert run_marbles(to_log(), source) == source


def test_pairs(told: list[str]) -> None:
    run = Running(to_log())
    elements: list[Any] = [
        Batch([{"n": 1, "who": "Ann Lee\n", "braces": "{n}"}], [{"n": 0}]),
        Table("t", (), lambda: [{"k": 1}], lambda: 1),
        LineDelta("f", "id", 0, 2, b"\x1b\n"),
        "x",
    ]
    run.push(*elements)
    assert told == [
        'INFO n=1 who="Ann Lee\\n" braces={n}',
        "INFO k=1",
        'INFO path=f line="\\u001b"',
        "INFO value=x",
    ]
    assert run.out == elements


def test_a_template(told: list[str]) -> None:
    run = Running(to_log("{{{user}}} took {seconds * 1000:.0f} ms: {what.text}!", level="critical"))
    run.push(Batch([{"user": "ann", "seconds": 0.25, "what": {"text": "<a>\x07{b}"}}]))
    assert told == ["CRITICAL {ann} took 250 ms: <a>\\x07{b}!"]


def test_a_record_that_does_not_fit_is_rejected(told: list[str]) -> None:
    run = Running(to_log("{n + 1} {n:.1f}"))
    run.push(Batch([{"n": "x"}, {"n": 1}, {"n": None}]))
    assert told == ["INFO 2 1.0"]
    assert [reason.partition(":")[0] for reason in run.reasons] == ["message", "message"]
    run = Running(to_log("{n:.1f}"))
    run.push(Batch([{"n": "x"}, {"n": 2**2000}]))
    assert run.reasons == [
        "message: ValueError: Unknown format code 'f' for object of type 'str'",
        "message: OverflowError: int too large to convert to float",
    ]


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        ("{a", "message: must be a text with expressions in braces; got '{a': expected '}' before end of string"),
        ("{a +}", r"message: .*, in braces"),
        ("{}", r"message: .*, in braces"),
        ("{a!r}", "message: must have an expression and a format in braces; got the conversion '!r'"),
    ],
)
def test_templates_are_refused(message: str, problem: str) -> None:
    with pytest.raises(ParameterError, match=problem):
        Running(to_log(message))
