"""Marble text, read and printed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxpipe.testing import Event, MarbleError, docstring_marbles, format_marbles, parse_marbles
from rxpipe.testing.marbles import length


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("---", []),
        ("|", [(0, "completed", None)]),
        ("-a-7|", [(0.1, "next", "a"), (0.3, "next", 7), (0.4, "completed", None)]),
        ("-(ab)c", [(0.1, "next", "a"), (0.1, "next", "b"), (0.2, "next", "c")]),
        ("- a -", [(0.1, "next", "a")]),
        ("a-^b|", [(-0.2, "next", "a"), (0.1, "next", "b"), (0.2, "completed", None)]),
        ("-(a|)", [(0.1, "next", "a"), (0.1, "completed", None)]),
    ],
)
def test_parse(text: str, expected: list[tuple[float, Any, object]]) -> None:
    assert parse_marbles(text) == [Event(*event) for event in expected]


def test_legend_error_and_tick() -> None:
    boom = ValueError("boom")
    assert parse_marbles("a-#", {"a": [1]}, error=boom, tick=1) == [Event(0, "next", [1]), Event(2, "error", boom)]


@pytest.mark.parametrize(
    ("text", "message"),
    [("a?b", r"got '\?' at column 2"), ("(a-b)", "got '-' at column 3"), ("(ab", "must be closed"), (")", r"got '\)'")],
)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(MarbleError, match=message):
        parse_marbles(text)


def test_print_refuses_what_has_no_text() -> None:
    with pytest.raises(MarbleError, match="must lie on ticks"):
        format_marbles([Event(0.15, "next", 1)])
    with pytest.raises(MarbleError, match="must lie on ticks"):
        format_marbles([Event(-0.1, "next", 1)])
    with pytest.raises(MarbleError, match="must have a letter"):
        format_marbles([Event(0.1, "next", [1])])


def test_print_uses_the_legend() -> None:
    assert format_marbles([Event(0.1, "next", [1]), Event(0.1, "next", 1)], {"a": [1], "b": True}) == "-(a1)"


groups = st.text("abc019", min_size=2, max_size=4).map(lambda text: f"({text})")


@given(st.lists(st.one_of(st.sampled_from("--ab07"), groups), max_size=20), st.sampled_from(["|", "#"]))
def test_print_reads_back(parts: list[str], end: str) -> None:
    text = "".join(parts) + end
    assert format_marbles(parse_marbles(text)) == text
    assert length(text) == pytest.approx((len(parts) + 1) * 0.1)


def test_docstring() -> None:
    doc = """Sum up.

    Words first, and a - dash | bar.

        source                -1-2|
        total(start=3)        -4-6|

        left      a-|
        right     -b|
        total()   ab-|
        a: {"level": "INFO"}

        total     -x-
    """
    first, second, third = docstring_marbles(doc, "total")
    assert (first.inputs, first.output, first.arguments()) == ({"source": "-1-2|"}, "-4-6|", ([], {"start": 3}))
    assert (list(second.inputs), second.legend) == (["left", "right"], {"a": {"level": "INFO"}})
    assert third.inputs == {}
    with pytest.raises(MarbleError, match="must be a literal"):
        docstring_marbles("x\n\n    source  -a\n    total(open())  -a", "total")[0].arguments()
