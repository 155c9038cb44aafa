"""Aggregations, and the slots that keep all values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxpipe.errors import ExpressionError
from rxpipe.expressions import parse
from rxpipe.expressions.aggregation import FUNCTIONS, parse_aggregation
from rxpipe.expressions.keepers import Extreme, History, load
from rxpipe.expressions.packing import pack, unpack


def test_parse() -> None:
    assert FUNCTIONS == ("count", "sum", "mean", "min", "max", "first", "last")
    assert parse_aggregation("count()").expression is None
    for text in ("sum(a * (b + 1))", " sum ( a * (b + 1) ) "):
        assert parse_aggregation(text).function == "sum"
        assert parse_aggregation(text).expression is not None
    assert parse_aggregation("sum(a)").expression == parse("a")
    with pytest.raises(ExpressionError, match="valid syntax"):
        parse_aggregation("sum(a) + sum(b)")


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.booleans())), st.booleans())
def test_an_extreme_is_that_of_the_values_left(steps: list[tuple[bool, int, bool]], largest: bool) -> None:
    slot, left = Extreme(largest=largest), list[int]()
    for adds, value, restart in steps:
        if adds:
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
            slot = load("max*" if largest else "min*", unpack(pack(slot.dump())))
        assert slot.read() == (max if largest else min)(left, default=None)


def test_a_history_refuses_to_give_back_what_it_has_not() -> None:
    slot = History(first=True)
    slot.add("a")
    with pytest.raises(ValueError, match="'b' is not there"):
        slot.may_retract("b")
    slot.may_retract("a")
    slot.retract("a")
    assert slot.read() is None
