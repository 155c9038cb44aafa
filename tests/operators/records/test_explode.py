"""`explode`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from reactivex.subject import Subject

from rxpipe.elements import Batch, OriginGone
from rxpipe.errors import ExpressionError, RxpipeError
from rxpipe.fusion.rows import row_struct
from rxpipe.operators.records.explode import explode
from rxpipe.table import Table
from rxpipe.testing import TestContext, run_marbles

ROW = row_struct("Row", {"id": int, "parts": list})
Through = Callable[..., list[Any]]


@pytest.mark.parametrize("make", [lambda **fields: fields, ROW])
@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("index", [None, "number"])
def test_rows(through: Through, make: Callable[..., Any], keep: bool, index: str | None) -> None:
    rows = [make(id=1, parts=["a", {"b": 2}]), make(id=2, parts=[]), make(id=3, parts=None), make(id=4, parts=[None])]
    before = repr(rows)
    expected = []
    for row in Batch(rows).dicts():
        if keep:
            expected.append({**row, "item": None, "number": None})
        expected += [{**row, "item": item, "number": n} for n, item in enumerate(row["parts"] or [], start=1)]
    if index is None:
        for row in expected:
            del row["number"]
    assert through(explode("parts", index=index, keep=keep), rows) == [Batch(expected)]
    assert repr(rows) == before


def test_an_existing_field_is_replaced(through: Through) -> None:
    for make in (dict, ROW):
        found = through(explode("parts", into="parts", index="id"), [make(id=9, parts=["a", "b"])])[0].dicts()
        assert [(row["id"], row["parts"]) for row in found] == [(1, "a"), (2, "b")]
        assert len(found[0]) == 2


def test_types_of_fields_are_kept(through: Through) -> None:
    row = through(explode("parts", index="n"), [ROW(1, ["a"])])[0].rows[0]
    assert {field.name: field.type for field in msgspec.structs.fields(type(row))}["id"] == int | None


def test_rows_of_several_types(through: Through) -> None:
    batch = through(explode("parts"), [ROW(1, ["a"]), {"id": 2, "parts": ("b", "c")}, ROW(3, None)])[0]
    assert [row["item"] for row in batch.dicts()] == ["a", "b", "c"]


def test_errors(through: Through, context: TestContext) -> None:
    batch = through(explode("parts", keep=True), [{"parts": "text"}, {"parts": ["a"]}, {"parts": {"a": 1}}])[0]
    assert [row["item"] for row in batch.dicts()] == [None, "a"]
    assert [error.reason for error in context.errors] == [
        "TypeError: 'parts' must be a list; got str",
        "TypeError: 'parts' must be a list; got dict",
    ]
    assert through(explode("parts[0]"), [{"parts": []}]) == []
    assert context.errors[-1].path == "f"


def test_retractions(through: Through) -> None:
    row = {"id": 1, "parts": ["a", "b"]}
    batch = through(explode("parts"), Batch([], [row]))[0]
    assert batch == Batch([], [{**row, "item": "a"}, {**row, "item": "b"}])


def test_tables_and_other_elements(through: Through, table: Callable[..., Table]) -> None:
    assert through(explode("parts"), table([{"id": 1, "parts": [5]}]))[0].dicts() == [
        {"id": 1, "parts": [5], "item": 5}
    ]
    assert through(explode("parts"), OriginGone("a")) == [OriginGone("a")]


@pytest.mark.parametrize(("into", "index"), [("a b", None), ("item", "item"), ("item", "")])
def test_bad_names(into: str, index: str | None) -> None:
    with pytest.raises(RxpipeError, match="'into' and 'index' must be two names of fields"):
        explode("parts", into=into, index=index)(Subject())


def test_a_field_that_a_struct_lacks(through: Through) -> None:
    with pytest.raises(ExpressionError, match="unknown field 'part', did you mean 'parts'"):
        through(explode("part"), [ROW(1, [])])


@pytest.mark.parametrize("source", ["-----", "--|", "--#"])
def test_marbles(source: str) -> None:
    assert run_marbles(explode("parts"), source) == source.rstrip("-")
