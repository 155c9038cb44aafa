"""Generated loops over rows: the same as row by row, in order, without touching their input."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxpipe.errors import ExpressionError, RxpipeError, UnitError
from rxpipe.expressions import parse
from rxpipe.fusion.rows import Reject, compile_derive, compile_filter, compile_values, fields_of, row_struct

Line = row_struct("Line", {"model": str, "a": int, "b": float})
Wide = row_struct("Wide", {"model": str, "a": int, "b": float, "more": list})


class Rejected:
    """Remembers what was rejected."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, type[Exception]]] = []

    def __call__(self, row: Any, error: Exception) -> None:
        """Take a row that failed."""
        self.rows.append((row, type(error)))


def none(row: Any, error: Exception) -> None:
    pytest.fail(f"rejected {row!r}: {error!r}")


def plain(rows: list[Any]) -> list[Any]:
    return [row if isinstance(row, dict) else msgspec.structs.asdict(row) for row in rows]


def test_row_struct() -> None:
    assert row_struct("Line", {"model": str, "a": int, "b": float}) is Line
    assert row_struct("Line", {"a": int, "model": str, "b": float}) is not Line
    assert fields_of(Line) == ("model", "a", "b")
    assert fields_of(dict) == ()
    assert Line() == Line(None, None, None)
    assert not gc.is_tracked(Line("a", 1, 2.0))
    assert gc.is_tracked(Wide("a", 1, 2.0, []))
    kinds = row_struct("Kinds", {"a": Any, "b": int | None, "c": Annotated[str, "text"], "d": list[int], "e": Line})
    assert msgspec.json.decode(b'{"a":[1],"d":[2],"e":{"a":1}}', type=kinds) == kinds(
        [1], None, None, [2], Line(None, 1)
    )


@pytest.mark.parametrize("name", ["class", "_a", "a-b", "", "1a"])
def test_names_that_no_field_can_have(name: str) -> None:
    with pytest.raises(RxpipeError, match="a field's name must be a Python name without a leading underscore; got "):
        row_struct("Row", {name: int})
    with pytest.raises(RxpipeError, match="a field's name must be"):
        compile_derive({name: parse("a")})([Line()], none)


@pytest.mark.parametrize("kind", [dict, Line])
def test_filter(kind: Callable[..., Any]) -> None:
    keep = compile_filter(parse("model != 'x' and a > 1"))
    rows = [kind(model="x", a=5), kind(model="y", a=2), kind(model="z", a=1), kind(model="y", a=3)]
    assert keep(rows, none) == [rows[1], rows[3]]
    assert keep([], none) == []
    assert all(kept is row for kept, row in zip(keep(rows, none), [rows[1], rows[3]], strict=True))


def test_filter_rejects_what_fails() -> None:
    keep = compile_filter(parse("6 / a > 1"))
    rows = [Line(a=3), Line(a=0), Line(), Line(a=9), Line(a=2)]
    rejected = Rejected()
    assert keep(rows, rejected) == [rows[0], rows[4]]
    assert rejected.rows == [(rows[1], ZeroDivisionError), (rows[2], TypeError)]


def test_an_error_of_ours_is_rejected_too() -> None:
    rejected = Rejected()
    row = {"t": 1, "step": "1 hour"}
    assert compile_filter(parse("floor_time(t, step)"))([row], rejected) == []
    assert rejected.rows == [(row, UnitError)]


def test_derive_struct() -> None:
    derive = compile_derive(
        {"cost": parse("a * 3e-6 + b * 15e-6"), "a": parse("a + 1"), "double": parse("cost * 2 + a")}
    )
    rows = [Line("x", 1, 2.0), Line("y", 3, 4.0)]
    made = derive(rows, none)
    assert fields_of(type(made[0])) == ("model", "a", "b", "cost", "double")
    assert type(made[0]) is type(derive(rows, none)[0])
    costs = [1 * 3e-6 + 2.0 * 15e-6, 3 * 3e-6 + 4.0 * 15e-6]
    assert [msgspec.structs.astuple(row) for row in made] == [
        ("x", 2, 2.0, costs[0], costs[0] * 2 + 2),
        ("y", 4, 4.0, costs[1], costs[1] * 2 + 4),
    ]
    assert rows == [Line("x", 1, 2.0), Line("y", 3, 4.0)]
    assert not gc.is_tracked(made[0])


def test_derive_dict() -> None:
    derive = compile_derive({"c": parse("a.b"), "d": parse("coalesce(c, 5) + coalesce(a.x, 1)"), "a-b": parse("d")})
    rows: list[dict[str, Any]] = [{"a": {"b": 2, "x": 1}}, {"z": 1}]
    before = copy.deepcopy(rows)
    assert derive(rows, none) == [{**rows[0], "c": 2, "d": 3, "a-b": 3}, {"z": 1, "c": None, "d": 6, "a-b": 6}]
    assert rows == before


@pytest.mark.parametrize("kind", [dict, Line])
def test_select(kind: Callable[..., Any]) -> None:
    select = compile_derive({"b": parse("b"), "twice": parse("a * 2"), "more": parse("twice + b")}, only=True)
    assert plain(select([kind(model="x", a=1, b=0.5)], none)) == [{"b": 0.5, "twice": 2, "more": 2.5}]


def test_select_keeps_declared_types() -> None:
    [made] = compile_derive({"more": parse("more"), "n": parse("len(more)")}, only=True)([Wide(more=[1])], none)
    assert [field.type for field in msgspec.structs.fields(made)] == [list | None, int | float | None]


def test_columns_swap_in_order() -> None:
    swap = compile_derive({"a": parse("b"), "b": parse("a")})
    assert plain(swap([Line("x", 1, 2.0)], none)) == [{"model": "x", "a": 2.0, "b": 2.0}]


def test_names_of_functions_and_of_dict_methods_as_fields() -> None:
    kind = row_struct("Odd", {"len": str, "items": list, "get": int, "lower": str})
    derive = compile_derive({"n": parse("len(len) + len(items) + get"), "low": parse("lower(lower)")})
    assert plain(derive([kind("ab", [1], 4, "X")], none))[0] | {"items": 0} == {
        "len": "ab", "items": 0, "get": 4, "lower": "X", "n": 7, "low": "x",
    }  # fmt: skip
    rows = [kind("ab", [1], 4, "X"), {"items": None}]
    assert compile_filter(parse("items is None"))(rows, none) == [{"items": None}]


def test_values() -> None:
    rows = [Line("x", 1, 2.0), Line("y", 3, 4.0)]
    kept, values = compile_values([parse("a")])(rows, none)
    assert kept is rows
    assert values == [1, 3]
    assert compile_values([parse("a"), parse("a + b")])(rows, none)[1] == [(1, 3.0), (3, 7.0)]
    assert compile_values([parse("a")], tuples=True)(rows, none)[1] == [(1,), (3,)]
    assert compile_values([])(rows, none)[1] == [(), ()]
    assert compile_values([parse("a")])([], none) == ([], [])


def test_values_stay_with_their_rows() -> None:
    rows = [Line(a=1), Line(), Line(a=0), Line(a=2)]
    rejected = Rejected()
    kept, values = compile_values([parse("1 / a"), parse("a")])(rows, rejected)
    assert kept == [rows[0], rows[3]]
    assert values == [(1.0, 1), (0.5, 2)]
    assert rejected.rows == [(rows[1], TypeError), (rows[2], ZeroDivisionError)]


def test_mixed_rows() -> None:
    rows = [Line("x", 1, 2.0), {"model": "y", "a": 2, "extra": 1}, Wide("z", 3, 4.0, [5]), Line("w", 4, 5.0)]
    made = compile_derive({"c": parse("a + 1")})(rows, none)
    assert plain(made) == [
        {"model": "x", "a": 1, "b": 2.0, "c": 2},
        {"model": "y", "a": 2, "extra": 1, "c": 3},
        {"model": "z", "a": 3, "b": 4.0, "more": [5], "c": 4},
        {"model": "w", "a": 4, "b": 5.0, "c": 5},
    ]
    for order in (rows, rows[::-1], rows[1:], rows[2:]):
        assert compile_filter(parse("a > 1"))(order, none) == [row for row in order if row is not rows[0]]
        assert plain(compile_derive({"n": parse("1")}, only=True)(order, none)) == [{"n": 1}] * len(order)


@pytest.mark.parametrize("first", [0, 1])
def test_what_is_no_row_is_rejected(first: int) -> None:
    rows = [5, {"a": 1}, None, "a", [1], {"a": 2}][first:]
    wrong = [(row, TypeError) for row in rows if not isinstance(row, dict)]
    for function, expected in [
        (compile_filter(parse("a > 1")), [{"a": 2}]),
        (compile_derive({"b": parse("a")}), [{"a": 1, "b": 1}, {"a": 2, "b": 2}]),
        (compile_derive({"b": parse("5")}, only=True), [{"b": 5}, {"b": 5}]),
    ]:
        rejected = Rejected()
        assert function(rows, rejected) == expected
        assert rejected.rows == wrong
    rejected = Rejected()
    assert compile_values([parse("a")])(rows, rejected) == ([{"a": 1}, {"a": 2}], [1, 2])
    assert rejected.rows == wrong


@pytest.mark.parametrize(
    "function",
    [compile_filter(parse("nope")), compile_derive({"x": parse("nope")}), compile_values([parse("nope")])],
    ids=["filter", "derive", "values"],
)
def test_an_expression_that_does_not_fit_is_raised(function: Callable[[list[Any], Reject], Any]) -> None:
    with pytest.raises(ExpressionError, match="unknown field 'nope'"):
        function([Line()], none)
    with pytest.raises(ExpressionError, match="unknown field 'nope'"):
        function([{"nope": 1}, Line()], none)


def test_the_reject_callback_may_raise() -> None:
    def stop(_: Any, error: Exception) -> None:
        raise KeyboardInterrupt from error

    with pytest.raises(KeyboardInterrupt):
        compile_filter(parse("a + 1"))([Line()], stop)


values = st.none() | st.integers(-3, 3) | st.floats(-2, 2) | st.sampled_from(["", "x"]) | st.just({"p": 1})
records = st.dictionaries(st.sampled_from(["model", "a", "b"]), values)
mixed = st.lists(
    records
    | records.map(lambda fields: Line(**fields))
    | records.map(lambda fields: Wide(**fields))
    | st.sampled_from([5, None]),
    max_size=6,
)
same = st.one_of(st.lists(records), st.lists(records.map(lambda fields: Line(**fields))))
texts = st.sampled_from(
    ["a", "a + b", "a * b", "a / b", "a > b", "coalesce(a, b, 0)", "model.p", "coalesce(model.p, a.p) + 1",
     "lower(model)",
     "[x for x in [a, b] if x]", "a if b else model", "a ** b", "model in ['x', a]", "not a or b", "'x' in model"]
)  # fmt: skip


def each(text: str, rows: list[Any]) -> tuple[list[Any], list[Any], list[Any]]:
    """The naive loop: rows, values, and what failed."""
    kept, found, failed = [], [], []
    for row in rows:
        try:
            found.append(parse(text).bind(type(row))(row))
            kept.append(row)
        except (TypeError, ValueError, ArithmeticError) as error:
            failed.append((row, type(error)))
    return kept, found, failed


@given(mixed | same, texts)
def test_filter_and_values_agree_with_a_naive_loop(rows: list[Any], text: str) -> None:
    before = copy.deepcopy(rows)
    kept, found, failed = each(text, rows)
    rejected = Rejected()
    assert compile_values([parse(text)])(rows, rejected) == (kept, found)
    assert rejected.rows == failed
    rejected = Rejected()
    expected = [row for row, value in zip(kept, found, strict=True) if value]
    assert compile_filter(parse(text))(rows, rejected) == expected
    assert rejected.rows == failed
    assert rows == before


@given(mixed | same, texts, st.sampled_from(["c", "a"]), st.booleans())
def test_derive_agrees_with_a_naive_loop(rows: list[Any], text: str, name: str, only: bool) -> None:
    before = copy.deepcopy(rows)
    kept, found, failed = each(text, rows)
    columns = {name: parse(text), "later": parse(f"[{name}, model, b]")}
    expected = []
    for row, value in zip(kept, found, strict=True):
        [fields] = plain([row])
        made = {name: value, "later": [value, fields.get("model"), fields.get("b")]}
        expected.append(made if only else fields | made)
    rejected = Rejected()
    made_rows = compile_derive(columns, only=only)(rows, rejected)
    assert plain(made_rows) == expected
    assert [type(row) is dict for row in made_rows] == [type(row) is dict for row in kept]
    assert rejected.rows == failed
    assert rows == before
