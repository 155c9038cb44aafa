"""`rename`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from reactivex.subject import Subject

from rxpipe.elements import Batch, OriginGone
from rxpipe.errors import ExpressionError, ParameterError, RxpipeError
from rxpipe.fusion.rows import row_struct
from rxpipe.operators.records.rename import rename
from rxpipe.table import Table
from rxpipe.testing import TestContext, run_marbles

ROW = row_struct("Row", {"a": int, "b": str, "c": int})
Through = Callable[..., list[Any]]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({}, {"a": 1, "b": "x", "c": 3}),
        ({"a": "z"}, {"z": 1, "b": "x", "c": 3}),
        ({"a": "b", "b": "a"}, {"b": 1, "a": "x", "c": 3}),
        ({"a": "c"}, {"c": 1, "b": "x"}),
        ({"a": "b", "b": "c"}, {"b": 1, "c": "x"}),
        ({"b": "b"}, {"a": 1, "b": "x", "c": 3}),
    ],
)
def test_rows(through: Through, names: dict[str, str], expected: dict[str, Any]) -> None:
    for row in ({"a": 1, "b": "x", "c": 3}, ROW(1, "x", 3)):
        before = repr(row)
        (batch,) = through(rename(**names), Batch([row], [row], retractable=True))
        assert (batch.dicts(), batch.dicts(batch.retracted)) == ([expected], [expected])
        assert [*batch.dicts()[0]] == [*expected], "in their places"
        assert repr(row) == before


def test_names_that_expressions_cannot_have(through: Through) -> None:
    rows = [{"a.b": 1, "c d": 2}]
    assert through(rename(**{"a.b": "a b", "c d": "c"}), rows) == [Batch([{"a b": 1, "c": 2}])]


def test_what_is_not_there(through: Through, context: TestContext) -> None:
    assert through(rename(x="y"), [{"a": 1, "y": 2}]) == [Batch([{"a": 1, "y": 2}])]
    with pytest.raises(ExpressionError, match="unknown field 'x'"):
        through(rename(x="y"), [ROW(1, "x", 3)])
    with pytest.raises(RxpipeError, match="a field's name must be a Python name"):
        through(rename(a="a b"), [ROW(1, "x", 3)])
    through(rename(x="y"), [7])
    assert len(context.errors) == 1


def test_two_of_one_name() -> None:
    with pytest.raises(ParameterError, match="each field must get a name of its own; got 'c' twice"):
        rename(a="c", b="c")(Subject())


def test_tables_and_other_elements(through: Through, table: Callable[..., Table]) -> None:
    assert through(rename(a="b"), table([{"a": 1}]))[0].dicts() == [{"b": 1}]
    assert through(rename(a="b"), OriginGone("f")) == [OriginGone("f")]


@pytest.mark.parametrize("source", ["-----", "|", "--|", "--#"])
def test_marbles(source: str) -> None:
    assert run_marbles(rename(a="b"), source) == source.rstrip("-")
