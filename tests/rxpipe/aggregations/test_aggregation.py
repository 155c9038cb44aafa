"""Aggregations, and the slots that keep all values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxpipe.aggregations.aggregation import FUNCTIONS, parse_aggregation
from rxpipe.aggregations.keepers import KEEPERS, Extreme, History
from rxpipe.aggregations.packing import pack, unpack
from rxpipe.errors import ExpressionError
from rxpipe.expressions import parse


def test_parse() -> None:
    assert FUNCTIONS[:7] == ("count", "sum", "mean", "min", "max", "first", "last")
    assert parse_aggregation("count()").expression is None
    for text in ("sum(a * (b + 1))", " sum ( a * (b + 1) ) "):
        assert parse_aggregation(text).function == "sum"
        assert parse_aggregation(text).expression is not None
    assert parse_aggregation("sum(a)").expression == parse("a")
    with pytest.raises(ExpressionError, match="valid syntax"):
        parse_aggregation("sum(a) + sum(b)")


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("count", r"got 'count', did you mean 'count\(\)'\?"),
        ("quantile", r"got 'quantile', did you mean 'quantile\(x, q\)'\?"),
        ("quantile(n", r"got 'quantile\(n'; in YAML a comma ends what is not quoted within {} and \[\]"),
    ],
)
def test_what_is_no_call_is_told_with_what_it_should_be(text: str, end: str) -> None:
    with pytest.raises(ExpressionError, match=f"an aggregation must be one of .*; {end}$"):
        parse_aggregation(text)


def test_a_function_of_an_expression_and_a_number() -> None:
    made = parse_aggregation("quantile( get(a, 'x', 0) , 0.99 )")
    assert (made.expression, made.argument) == (parse(" get(a, 'x', 0) "), 0.99)
    assert parse_aggregation("quantile(n, 1)").argument == 1.0
    assert parse_aggregation("median(n)").argument is None


@pytest.mark.parametrize(
    ("text", "message", "column"),
    [
        ("quantile(n)", "'quantile' needs an expression and a fraction from 0 to 1, as .*; got 'n' alone", 9),
        ("quantile(n, 99)", "a fraction from 0 to 1, as .*; got '99'", 12),
        ("quantile(n, nan)", "a fraction from 0 to 1, as .*; got 'nan'", 12),
        ("quantile(n,  q )", "a fraction from 0 to 1, as .*; got 'q'", 13),
        ("quantile(n + , 0.5)", "valid syntax", 13),
        ("quantile(lenn(n), 0.5)", "unknown function 'lenn', did you mean 'len'", 9),
        ("quantile()", r"'quantile' needs an expression, as quantile\(tokens, 0.99\)", 9),
    ],
)
def test_a_bad_argument(text: str, message: str, column: int) -> None:
    with pytest.raises(ExpressionError, match=message) as caught:
        parse_aggregation(text)
    assert caught.value.column == column


def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rxpipe.aggregations.aggregation.find_spec", lambda _: None)
    how = r"approx_distinct\(…\) needs the package 'datasketches': pip install 'rxpipe-graphs\[sketches\]'"
    with pytest.raises(ExpressionError, match=how):
        parse_aggregation.__wrapped__("approx_distinct(n)")


@given(
    st.lists(st.tuples(st.sampled_from(["add", "take", "retract"]), st.integers(0, 5), st.booleans())), st.booleans()
)
def test_an_extreme_is_that_of_the_values_left(steps: list[tuple[str, int, bool]], largest: bool) -> None:
    slot, left = Extreme(largest=largest), list[int]()
    for what, value, restart in steps:
        if what == "take":
            values = [value, 5 - value, value]
            slot.may_take(values)
            slot.take(values)
            left += values
        elif what == "add":
            slot.may_add(value)
            slot.add(value)
            left.append(value)
        elif value in left:
            slot.may_retract(value)
            slot.retract(value)
            left.remove(value)
        else:
            with pytest.raises(KeyError):
                slot.may_retract(value)
        if restart:
            slot = KEEPERS["max*" if largest else "min*"]().restored(unpack(pack(slot.dump())))
        assert slot.read() == (max if largest else min)(left, default=None)


@pytest.mark.parametrize("values", [[1, 2.0], ["a"], [float("nan")], [float("inf"), float("-inf")], [True, False]])
@pytest.mark.parametrize("present", [[], [3], [3.0]])
def test_an_extreme_takes_only_numbers_of_one_type_at_once(values: list[object], present: list[object]) -> None:
    slot = Extreme(largest=True)
    for value in present:
        slot.add(value)
    with pytest.raises(TypeError, match="one by one"):
        slot.may_take(values)
    assert slot.read() == (present or [None])[0]


def test_an_extreme_that_cannot_be_counted_stays() -> None:
    slot = Extreme(largest=True).begun([2])
    with pytest.raises(TypeError, match="unhashable"):
        slot.may_add([3])
    slot = Extreme(largest=True).restored(unpack(pack(slot.dump())))
    assert slot.read() == [2]


def test_a_history_refuses_to_give_back_what_it_has_not() -> None:
    slot = History(first=True)
    slot.add("a")
    with pytest.raises(ValueError, match="'b' is not there"):
        slot.may_retract("b")
    slot.may_retract("a")
    slot.retract("a")
    assert slot.read() is None
