"""Values in the bytes that a checkpoint keeps."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxpipe.aggregations.packing import canonical, pack, pack_key, unpack
from rxpipe.fusion.rows import row_struct

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
)
keys = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3).map(tuple), max_leaves=5)


@given(values)
def test_comes_back_the_same(value: Any) -> None:
    assert repr(unpack(pack(value))) == repr(value)


@given(keys, keys)
def test_equal_keys_have_equal_bytes(one: Any, other: Any) -> None:
    assert (pack_key(one) == pack_key(other)) is (one == other)
    assert canonical(one) == one


def test_equal_numbers() -> None:
    assert pack_key((1.0, (True, "a"))) == pack_key((1, (1, "a")))
    assert pack_key(0.0) == pack_key(-0.0) == pack_key(False) == pack_key(0)
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
