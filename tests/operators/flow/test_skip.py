"""`skip`: records left out, those taken back among them, and not again after a restart."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxpipe.elements import LineDelta, OriginGone
from rxpipe.errors import ParameterError
from rxpipe.operators.flow.skip import skip
from rxpipe.testing import MarbleSource, TestContext, record, run_marbles
from tests.operators.flow.driven import Driven


@pytest.mark.parametrize(
    ("count", "source", "expected"),
    [
        (2, "----", ""),
        (2, "--|", "--|"),
        (2, "-a-|", "---|"),
        (2, "-a-b-c-|", "-----c-|"),
        (2, "-(abc)-|", "-c-|"),
        (1, "-a-b-#", "---b-#"),
        (0, "-a-|", "-a-|"),
    ],
)
def test_marbles(count: int, source: str, expected: str) -> None:
    assert run_marbles(skip(count), source) == expected


def test_early_disposal_reaches_the_source() -> None:
    context = TestContext()
    source = MarbleSource("-a-b-c-", scheduler=context.virtual)
    assert len(record(source.pipe(skip(1)), 0.3, context=context)) == 1
    assert source.subscriptions == [(0, 0.3)]


def test_what_is_left_out_lets_go_of_its_lease() -> None:
    driven = Driven(skip(3), 1)
    driven.put(0, {"n": 1}, {"n": 2})
    driven.put(0, {"n": 3}, {"n": 4})
    assert driven.out == [{"n": 4}]
    assert driven.context.flow.blocks == 0


def test_lines_of_a_block_are_counted_and_origins_are_not() -> None:
    driven = Driven(skip(2), 1)
    driven.streams[0].on_next(OriginGone("f"))
    driven.streams[0].on_next(LineDelta("f", "f", 10, 19, b"aa\nb\nccc\n"))
    assert driven.out == [OriginGone("f"), LineDelta("f", "f", 15, 19, b"ccc\n")]


@given(steps=st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.booleans()), max_size=20), count=st.integers(0, 8))
def test_retractions_of_what_was_left_out_are_left_out(steps: list[tuple[int, bool, bool]], count: int) -> None:
    """What a reader holds in the end is what it was given, less what was taken back, whatever was left out."""
    step = skip(count)
    driven = Driven(step, 1)
    given_rows: list[int] = []
    held: list[int] = []
    kept: list[Any] = []
    back: list[Any] = []
    for number, (value, retract, restart) in enumerate(steps):
        if retract and held:
            driven.put(0, retracted=[{"n": held.pop(0)}], retractable=True)
        else:
            row = number * 3 + value
            driven.put(0, {"n": row}, retractable=True)
            given_rows.append(row)
            held.append(row)
        if restart or number == len(steps) - 1:
            again = driven.restarted(step)
            kept += [row["n"] for row in driven.out]
            back += [row["n"] for row in driven.back]
            driven = again
    assert kept == given_rows[count:]
    assert set(back) <= set(kept)
    assert [row for row in kept if row not in back] == [row for row in held if row in kept]


def test_a_count_below_zero_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"count: must be greater than or equal to 0; got -1"):
        skip(-1)
