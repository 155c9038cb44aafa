"""The JSON document and the reading of rows behind it."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from pydantic import TypeAdapter, ValidationError

from rxpipe.expressions.rowview import arranged, reader
from rxpipe.views.document import Part, build_document, undeclared

DAYS = [{"date": "2026-01-02", "cost": 3}, {"date": "2026-01-01", "cost": None}, {"date": "2026-01-03", "cost": 1}]
BY_MODEL = [
    {"date": "2026-01-02", "model": "b", "cost": 1},
    {"date": "2026-01-02", "model": "a", "cost": 2},
    {"date": "2026-01-03", "model": "a", "cost": 1},
]
PART = TypeAdapter(Part)
TABLES: dict[str, Any] = {"days": DAYS, "by_model": BY_MODEL}


def built(**part: Any) -> Any:
    return build_document({"x": PART.validate_python(part)}, TABLES)["x"]


def test_rows() -> None:
    assert built(table="days") == DAYS
    assert built(table="days", columns=["cost"], where="cost", sort="-cost", limit=1) == [{"cost": 3}]
    assert built(table="days", columns={"day": "date", "twice": "cost * 2"}, sort=["date"]) == [
        {"day": "2026-01-01", "twice": None},
        {"day": "2026-01-02", "twice": 6},
        {"day": "2026-01-03", "twice": 2},
    ]
    assert built(table="none") == []


def test_first() -> None:
    assert built(table="days", form="first", columns=["cost"], sort="cost") == {"cost": 1}
    assert built(table="days", form="first", columns=["cost"], where="date == '2026-01-01'") == {"cost": 0}
    assert built(table="none", form="first", columns={"a": "b"}, default=None) == {"a": None}
    nest = {"models": {"table": "by_model", "on": ["date"], "columns": ["model"]}}
    assert built(table="none", form="first", columns=["date"], nest=nest) == {"date": 0, "models": []}


def test_list_and_value() -> None:
    assert built(table="by_model", form="list", column="model", sort="model") == ["a", "a", "b"]
    assert built(table="by_model", form="value", column="cost + 1") == 2
    assert built(table="none", form="value", column="n") == 0
    assert built(table="none", form="list", column="n") == []


def test_nest() -> None:
    nest = {"models": {"table": "by_model", "on": ["date"], "columns": ["model", "cost"], "sort": "model"}}
    assert built(table="days", columns=["date"], sort="date", nest=nest) == [
        {"date": "2026-01-01", "models": []},
        {"date": "2026-01-02", "models": [{"model": "a", "cost": 2}, {"model": "b", "cost": 1}]},
        {"date": "2026-01-03", "models": [{"model": "a", "cost": 1}]},
    ]


def test_undeclared() -> None:
    class Row(msgspec.Struct):
        n: int

    assert undeclared({"b": [Row(1)], "a": []}) == {"a": [], "b": [{"n": 1}]}


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"table": "t", "form": "value"}, "form 'value' needs 'column'"),
        ({"table": "t", "form": "first"}, "form 'first' needs 'columns'"),
        ({"table": "t", "nest": {"x": {"table": "u"}}}, "on\n  Field required"),
        ({"table": "t", "colums": []}, "Unexpected keyword argument"),
        ({"table": "t", "where": "a ="}, "where"),
    ],
)
def test_refused_parts(part: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PART.validate_python(part)


def test_readers() -> None:
    class Row(msgspec.Struct):
        a: int
        b: int = msgspec.field(name="class", default=2)

    assert [reader("a")(Row(1)), reader("class")(Row(1)), reader("c")(Row(1)), reader("a + 1")(Row(1))] == [
        1,
        2,
        None,
        2,
    ]
    assert [reader("x")({"x": 1}), reader("y")({"x": 1}), reader("x / y")({"x": 1, "y": 0})] == [1, None, None]
    assert reader("date(time)")({"date(time)": "2026-01-01"}) == "2026-01-01"


def test_order() -> None:
    rows = [{"k": 2, "i": 0}, {"k": None, "i": 1}, {"k": 1, "i": 2}, {"k": 2, "i": 3}]
    assert [row["i"] for row in arranged(rows, sort="k")] == [2, 0, 3, 1]
    assert [row["i"] for row in arranged(rows, sort="-k")] == [0, 3, 2, 1]
    assert [row["i"] for row in arranged(rows, sort=["k", "-i"])] == [2, 3, 0, 1]
    assert [row["k"] for row in arranged([{"k": "a"}, {"k": 1}], sort="k")] == [1, "a"]
    assert [row["i"] for row in arranged(rows, where="k > 1")] == [0, 3]
    mixed = [{"k": value} for value in (1.0, math.nan, 3.0, None, 2.0)]
    assert [row["k"] for row in arranged(mixed, sort="-k")][:3] == [3.0, 2.0, 1.0]
