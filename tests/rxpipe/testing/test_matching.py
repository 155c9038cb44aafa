"""What came compared with what was expected."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxpipe.elements import Batch, ErrorRecord, FileEvent, LineDelta, OriginGone
from rxpipe.table import Table
from rxpipe.testing import Event
from rxpipe.testing.cases import Containing
from rxpipe.testing.matching import alike, first_difference, moments, paired, plain, records_of

values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(values)
def test_a_value_is_like_itself(value: Any) -> None:
    assert alike(value, value)
    assert alike(value, value, part=True)


@given(st.dictionaries(st.text(max_size=3), values, max_size=4), st.text(min_size=4, max_size=5), values)
def test_a_part_is_like_the_whole_only_where_that_is_said(record: dict[str, Any], name: str, value: Any) -> None:
    more = {**record, name: value}
    assert alike(record, more, part=True)
    assert alike([record], [more], part=True)
    assert not alike(record, more)
    assert not alike(more, record)
    assert not alike(more, record, part=True)


@pytest.mark.parametrize(
    ("expected", "got", "same"),
    [
        (1, 1.0, True),
        (0.3, 0.1 + 0.2, True),
        (1, 1.001, False),
        (1, True, False),
        (math.nan, math.nan, True),
        (10**400, 10**400, True),
        (10**400, 1.0, False),
        (10**12, 10**12 + 1, False),
        (0, "0", False),
        ({"a": 1}, [{"a": 1}], True),
        ({"a": 1}, [{"a": 1}, {"a": 1}], False),
        ([1, 2], [2, 1], False),
        (Containing("must be"), "a rate must be above 0", True),
        (Containing("must be"), "a rate has to be above 0", False),
        (None, 0, False),
    ],
)
def test_alike(expected: Any, got: Any, same: bool) -> None:
    assert alike(expected, got) is same


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        (Batch([{"a": 1}], [{"a": 0}]), [{"_retracted": True, "a": 0}, {"a": 1}]),
        (Table("t", (), lambda: [{"t": datetime(2026, 1, 2, tzinfo=UTC)}], lambda: 1), [{"t": "2026-01-02T00:00:00Z"}]),
        (LineDelta("/f/a", "a", 0, 5, b"ab\nc\n"), ["ab", "c"]),
        (
            FileEvent("rename", "/f/b", old_path="/f/a"),
            {"kind": "rename", "path": "${files}/b", "old_path": "${files}/a"},
        ),
        (OriginGone("/f/a"), {"_gone": "${files}/a"}),
        ((1, 2), [1, 2]),
        (3, 3),
    ],
)
def test_elements_as_a_test_writes_them(element: Any, expected: Any) -> None:
    assert plain(element, "/f") == expected


def test_an_error_as_a_test_writes_it() -> None:
    told = plain(ErrorRecord("s[0] where", "no", 1.0, path="/f/a"), "/f")
    assert alike({"step": "s[0] where", "path": "${files}/a", "reason": Containing("n")}, told, part=True)


def test_records_of_elements() -> None:
    events = [
        Event(0, "next", [{"a": 1}, {"a": 2}]),
        Event(1, "next", {"_gone": "x"}),
        Event(2, "next", 3),
        Event(3, "completed"),
    ]
    assert records_of(events) == [{"a": 1}, {"a": 2}, 3]


def test_moments_and_their_first_difference() -> None:
    events = [Event(0.3, "next", 1), Event(0.1 * 3, "next", 2), Event(0.45, "next", 3)]
    found = moments(events, 0.1)
    assert {tick: [event.value for event in group] for tick, group in found.items()} == {3: [1, 2], 4.5: [3]}
    assert first_difference(found, found, alike) is None
    assert first_difference(found, moments(events[:2], 0.1), alike) == 4.5
    assert first_difference(found, moments(events[1:], 0.1), alike) == 3
    swapped = [events[1], events[0], events[2]]
    assert first_difference(found, moments(swapped, 0.1), alike) == 3
    ended = [*events[:2], Event(0.45, "completed")]
    assert first_difference(found, moments(ended, 0.1), alike) == 4.5


@given(st.lists(st.sets(st.integers(0, 4)), max_size=5), st.integers(0, 5))
def test_as_many_as_can_be_are_paired(wanted: list[set[int]], count: int) -> None:
    """However the records that each expected one would take overlap."""
    got = list(range(count))
    pairs = paired(wanted, got, lambda expected, value: value in expected)
    assert len(set(pairs.values())) == len(pairs)
    assert all(got[other] in wanted[index] for index, other in pairs.items())
    assert len(pairs) == most(wanted, set(got))


def most(wanted: list[set[int]], free: set[int]) -> int:
    """Tried out: how many can have one of their own."""
    if not wanted:
        return 0
    first, *rest = wanted
    return max([most(rest, free), *(1 + most(rest, free - {value}) for value in first & free)])
