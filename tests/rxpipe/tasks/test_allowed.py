"""How long what is limited takes at least, against what the ledger grants in virtual time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxpipe.errors import StateError
from rxpipe.tasks.allowed import Limited, limits_of
from rxpipe.tasks.ledger import Ledger, Limit

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC).timestamp()


def last_granted(ledger: Ledger, now: float, count: int, tokens: float = 0.0) -> float:
    """When the last of so many requests is granted that ask as often as they are told to."""
    while True:
        found = ledger.take(now, [tokens] * count)
        count -= found.number
        if not count:
            return now
        now += found.wait


@given(
    st.lists(st.tuples(st.integers(1, 7), st.sampled_from([1.0, 10.0, 60.0])), max_size=3),
    st.none() | st.integers(1, 40),
    st.lists(st.tuples(st.floats(0, 20), st.integers(1, 9)), max_size=8),
    st.integers(0, 60),
)
def test_requests_take_what_is_told(
    rates: list[tuple[int, float]], quota: int | None, before: list[tuple[float, int]], count: int
) -> None:
    limits = [Limit(most, period) for most, period in rates[:1]]  # of several the one may wait for the other
    ledger, now = Ledger(None, "service", limits, quota), NOON
    for later, asked in before:
        now += later
        ledger.take(now, [0.0] * asked)
    limited = Limited("results", "service", False, limits, quota, "UTC", ledger=ledger)
    told = limited.charged(now).least(count, now)
    took = last_granted(ledger, now, count) - now if count else 0.0
    if quota is None or not rates:
        assert told == pytest.approx(took, abs=1e-3)
    assert told <= took + 1e-3
    ledger.close()


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 9), st.integers(1, 40))
def test_of_several_the_slowest_counts(most: int, more: int, before: int, count: int) -> None:
    limits = [Limit(most, 1.0), Limit(more, 7.0)]
    ledger = Ledger(None, "service", limits)
    ledger.take(NOON, [0.0] * before)
    charged = Limited("results", "service", False, limits, None, "UTC", ledger=ledger).charged(NOON + 0.5)
    took = last_granted(ledger, NOON + 0.5, count) - NOON - 0.5
    assert 0.5 * took - 2.0 <= charged.least(count, NOON + 0.5) <= took + 1e-3
    ledger.close()


def test_tokens_are_taken_to_be_as_many_as_before(tmp_path: Path) -> None:
    limits = limits_of([], ["100/min"])
    limited = Limited("results", "service", True, limits, None, "UTC", tmp_path / "ledger.sqlite")
    assert limited.charged(NOON).least(50, NOON) == 0.0, "nothing is known yet"
    ledger = Ledger(limited.path, "service", limits)
    assert ledger.take(NOON, [20.0] * 3).number == 3
    told = limited.charged(NOON + 10).least(12, NOON + 10)
    assert told == pytest.approx(last_granted(ledger, NOON + 10, 12, 20.0) - NOON - 10)
    assert told == pytest.approx(2 * 61.0)
    ledger.close()


def test_what_the_service_asked_for_counts() -> None:
    ledger = Ledger(None, "service", [])
    ledger.close_until(NOON + 30, "busy")
    charged = Limited("results", "service", False, [], None, "UTC", ledger=ledger).charged(NOON)
    assert (charged.least(0, NOON), charged.least(1, NOON)) == (0.0, 30.0)
    ledger.close()


def test_a_file_that_is_no_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"something else" * 100)
    with pytest.raises(StateError, match=r"ledger .*ledger\.sqlite: must be one that can be read; got"):
        Limited("results", "service", True, [], None, "UTC", path).charged(NOON)
