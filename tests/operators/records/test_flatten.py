"""`flatten`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex.subject import Subject

from rxpipe.elements import Batch, OriginGone
from rxpipe.errors import ParameterError
from rxpipe.fusion.rows import row_struct
from rxpipe.operators.records.flatten import flatten
from rxpipe.table import Table
from rxpipe.testing import TestContext, run_marbles

ROW = row_struct("Row", {"id": int, "usage": dict})
Through = Callable[..., list[Any]]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, {"id": 1, "usage_in": 5, "usage_cache_read": 7, "usage_cache_none": {}}),
        ({"separator": "."}, {"id": 1, "usage.in": 5, "usage.cache.read": 7, "usage.cache.none": {}}),
        ({"depth": 1}, {"id": 1, "usage_in": 5, "usage_cache": {"read": 7, "none": {}}}),
    ],
)
def test_rows(through: Through, parameters: dict[str, Any], expected: dict[str, Any]) -> None:
    nested = {"in": 5, "cache": {"read": 7, "none": {}}}
    for row in ({"id": 1, "usage": nested}, ROW(1, nested)):
        (batch,) = through(flatten(**parameters), Batch([row], [row], retractable=True))
        assert (batch.dicts(), batch.dicts(batch.retracted)) == ([expected], [expected])


def test_lists_stay(through: Through) -> None:
    rows = [{"a": [{"b": 1}], "c": {"d": [[]]}}]
    assert through(flatten(), rows) == [Batch([{"a": [{"b": 1}], "c_d": [[]]}])]


def test_two_values_of_one_name(through: Through, context: TestContext) -> None:
    rows = [{"a": {"b": 1}, "a_b": 2}, {"a_b": 2, "a": {"b": 1}}, {"a": {"b": 1}}]
    assert through(flatten(), rows) == [Batch([{"a_b": 1}])]
    reason = "ValueError: each value must have a name of its own; got 'a_b' twice"
    assert [error.reason for error in context.errors] == [reason] * 2


def test_an_object_that_is_very_deep_harms_no_other(through: Through, context: TestContext) -> None:
    deep: dict[str, Any] = {"x": 1}
    for _ in range(5000):
        deep = {"x": deep}
    assert through(flatten(), [deep, {"a": {"b": 1}}]) == [Batch([{"a_b": 1}])]
    assert [error.reason.split(":")[0] for error in context.errors] == ["RecursionError"]


@pytest.mark.parametrize("parameters", [{"separator": ""}, {"depth": 0}])
def test_parameters(parameters: dict[str, Any]) -> None:
    with pytest.raises(ParameterError, match=r"at least one|greater than or equal to 1"):
        flatten(**parameters)(Subject())


def test_tables_and_other_elements(through: Through, table: Callable[..., Table]) -> None:
    assert through(flatten(), table([{"a": {"b": 1}}]))[0].dicts() == [{"a_b": 1}]
    assert through(flatten(), OriginGone("f")) == [OriginGone("f")]


@pytest.mark.parametrize("source", ["-----", "|", "--|", "--#"])
def test_marbles(source: str) -> None:
    assert run_marbles(flatten(), source) == source.rstrip("-")


names = st.text("abc", min_size=1, max_size=2)
objects = st.recursive(
    st.dictionaries(names, st.integers() | st.lists(st.integers())),
    lambda inner: st.dictionaries(names, inner | st.integers()),
)


@given(objects, st.integers(1, 4))
def test_nothing_is_lost(row: dict[str, Any], depth: int) -> None:
    for step in (flatten("."), flatten(".", depth=depth)):
        seen: list[Any] = []
        source: Subject[Any] = Subject()
        source.pipe(step).subscribe(seen.append)
        source.on_next(Batch([row]))
        made: dict[str, Any] = {}
        for name, value in seen[0].rows[0].items():
            inner = made
            *path, last = name.split(".")
            for part in path:
                inner = inner.setdefault(part, {})
            inner[last] = value
        assert made == row
