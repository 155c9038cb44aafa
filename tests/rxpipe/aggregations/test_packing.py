"""Values in the bytes that a checkpoint keeps."""

from __future__ import annotations

from datetime import UTC, date, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxpipe.aggregations.packing import canonical, pack, pack_key, unpack
from rxpipe.fusion.rows import row_struct


def unfolded(value: Any) -> Any:
    """A time without what tells the two equal hours apart when clocks are set back, which is not kept."""
    return value.replace(fold=0)


zones: Any = st.sampled_from([None, UTC, timezone(timedelta(hours=2)), timezone(timedelta(minutes=-90))])
moments = st.datetimes(timezones=zones).map(unfolded)
decimals = st.decimals(allow_nan=False, allow_infinity=False, min_value=-9, max_value=9, places=2)
texts = st.text(st.characters() | st.characters(categories=["Cs"]), max_size=5)
plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
times = moments | st.dates() | st.times().map(unfolded) | st.timedeltas()
scalars = plain | st.binary(max_size=5) | decimals | st.decimals(allow_nan=False) | times | st.uuids()
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(texts | scalars, inner, max_size=3)
        | st.sets(scalars, max_size=3)
        | st.frozensets(scalars, max_size=3)
    ),
)
keys = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=5)


@given(values)
def test_comes_back_the_same(value: Any) -> None:
    again = unpack(pack(value))
    assert (shown(again), again) == (shown(value), value)


def shown(value: Any) -> str:
    """What tells values of several types apart, whatever the order of sets."""
    if isinstance(value, (set, frozenset)):
        return f"{type(value).__name__}{sorted(map(shown, value))}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}{[*map(shown, value)]}"
    return str([*map(shown, value.items())]) if isinstance(value, dict) else repr(value)


@given(st.frozensets(scalars, max_size=4))
def test_equal_sets_have_equal_bytes(value: frozenset[Any]) -> None:
    assert pack(frozenset(reversed([*value]))) == pack(value)
    assert pack_key(frozenset(reversed([*value]))) == pack_key(value)


class Colour(Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    day: date


def test_what_comes_back_as_something_plain() -> None:
    assert unpack(pack([Point(1, date(2026, 1, 31)), Colour.RED])) == [(1, date(2026, 1, 31)), "red"]


@pytest.mark.parametrize(
    "value",
    [1 + 2j, [object()], {"a": {"b": range(3)}}, {range(3): 1}],
    ids=["complex", "object", "in dicts", "as a key"],
)
def test_what_has_no_form_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"a state cannot keep a value of type (complex|object|range): make"):
        pack(value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x91",
        b"\xc1",
        msgspec.msgpack.encode(msgspec.msgpack.Ext(99, b"x")),
        b"\xd4\x14x",
        b"\xd4\x03\x01",
        b"\x91" * 9999,
    ],
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="must be bytes of a packed value; got others"):
        unpack(data)


@given(keys, keys)
def test_equal_keys_have_equal_bytes(one: Any, other: Any) -> None:
    assert (pack_key(one) == pack_key(other)) is (one == other)
    assert canonical(one) == one


def test_equal_numbers() -> None:
    assert pack_key((1.0, (True, "a"))) == pack_key((1, (1, "a")))
    assert pack_key(0.0) == pack_key(-0.0) == pack_key(False) == pack_key(0) == pack_key(Decimal("-0.00"))
    assert pack_key(Decimal("1.50")) == pack_key(1.5) != pack_key(Decimal("1.51"))
    assert pack_key(Decimal("0.10")) == pack_key(Decimal("0.1")) != pack_key(0.1)
    assert pack_key(Decimal("1E+3")) == pack_key(1000)
    assert pack_key(Decimal("1E+1000000")) != pack_key(Decimal("1E+1000001"))
    assert repr(unpack(pack((2**70, -(2**70), 1.0, True)))) == repr((2**70, -(2**70), 1.0, True))


@given(values, values)
def test_a_struct_is_as_its_dict(one: Any, other: Any) -> None:
    made = row_struct("Row", {"a": Any, "b": Any})(one, other)
    assert pack(made) == pack({"a": one, "b": other})
    assert pack([(made, 1)]) == pack([({"a": one, "b": other}, 1)])


@pytest.mark.parametrize(
    "options", [{"rename": {"a": "x"}}, {"array_like": True}, {"omit_defaults": True}, {"tag": "t"}], ids=str
)
def test_however_a_struct_is_encoded_elsewhere(options: dict[str, Any]) -> None:
    kind = msgspec.defstruct("Row", [("a", int, 0), ("b", str, "")], **options)
    assert unpack(pack([kind(0, "c")])) == [{"a": 0, "b": "c"}]


def test_a_struct_becomes_a_dict_of_its_fields() -> None:
    assert unpack(pack([row_struct("Row", {"a": int, "b": list})(1, [(2,)])])) == [{"a": 1, "b": [(2,)]}]
