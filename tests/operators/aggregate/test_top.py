"""`top`."""

from __future__ import annotations

import math
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex.subject import Subject

from rxpipe.context import entered
from rxpipe.elements import OriginGone
from rxpipe.errors import ParameterError
from rxpipe.operators.aggregate.top import top
from rxpipe.table import Table
from rxpipe.testing import TestContext, run_marbles


def topped(
    rows: list[dict[str, Any]], *args: Any, context: TestContext | None = None, **kwargs: Any
) -> list[dict[str, Any]]:
    """What is left of a table."""
    seen: list[Any] = []
    source: Subject[Any] = Subject()
    with entered(context or TestContext()):
        source.pipe(top(*args, **kwargs)).subscribe(seen.append)
    source.on_next(Table("t", (), lambda: rows, lambda: 0))
    return list(seen[0].dicts())


@given(st.lists(st.none() | st.integers(0, 4), max_size=10), st.integers(1, 12), st.booleans())
def test_order(values: list[int | None], count: int, least: bool) -> None:
    rows = [{"id": number, "n": value} for number, value in enumerate(values)]
    sign = 1 if least else -1
    expected = sorted(rows, key=lambda row: (row["n"] is None, sign * (row["n"] or 0), row["id"]))
    assert topped(rows, count, "n", least=least) == expected[:count]


def test_values_of_several_types() -> None:
    rows = [{"n": value} for value in ("b", 2, "a", 1.5, None)]
    assert [row["n"] for row in topped(rows, 5, "n", least=True)] == [1.5, 2, "a", "b", None]


@pytest.mark.parametrize("values", [*permutations([math.nan, 1.0, 2.0, None, 3.0])])
def test_nan_comes_last_and_leaves_the_others_in_order(values: tuple[float | None, ...]) -> None:
    rows = [{"n": value} for value in values]
    assert [row["n"] for row in topped(rows, 3, "n")] == [3.0, 2.0, 1.0]
    assert [row["n"] for row in topped(rows, 3, "n", least=True)] == [1.0, 2.0, 3.0]


def test_a_failing_row_is_rejected_once() -> None:
    context = TestContext()
    assert topped([{"n": "x"}, {"n": 1}], 5, "n + 1", context=context) == [{"n": 1}]
    assert len(context.errors) == 1


def test_parameters() -> None:
    with pytest.raises(ParameterError, match="count: must be greater than or equal to 1; got 0"):
        top(0, "n")


@pytest.mark.parametrize("source", ["-----", "|", "--|", "--#"])
def test_marbles(source: str) -> None:
    assert run_marbles(top(1, "n"), source) == source.rstrip("-")
    assert run_marbles(top(1, "n"), "-a-|", {"a": OriginGone("x")}) == "-a-|"
