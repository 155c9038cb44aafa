"""Rates and quotas that hold through restarts, and between those who share them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxpipe.errors import StateError
from rxpipe.tasks.ledger import Ledger, Limit

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC).timestamp()


def granted(ledger: Ledger, now: float, wanted: int, tokens: float = 0.0) -> int:
    return ledger.take(now, [tokens] * wanted).number


@given(
    st.lists(st.tuples(st.floats(0, 3), st.integers(1, 5), st.floats(0, 50)), max_size=60),
    st.integers(1, 6),
    st.integers(20, 120),
)
def test_no_window_ever_has_more(asked: list[tuple[float, int, float]], most: int, tokens: int) -> None:
    ledger = Ledger(None, "service", [Limit(most, 1.0), Limit(tokens, 5.0, "tokens")])
    now, charged = NOON, list[tuple[float, float]]()
    for later, wanted, weight in asked:
        now += later
        got = ledger.take(now, [weight] * wanted)
        charged += [(now, min(weight, tokens))] * got.number
        assert got.number == wanted or got.wait > 0
    for start, _ in charged:
        assert sum(start <= at < start + 1.0 for at, _ in charged) <= most
        assert sum(weight for at, weight in charged if start <= at < start + 5.0) <= tokens + 1e-9
    ledger.close()


@given(st.integers(1, 20), st.integers(1, 50))
def test_asking_again_after_the_wait_gets_something(most: int, wanted: int) -> None:
    ledger = Ledger(None, "service", [Limit(most, 60.0)])
    now, got = NOON, 0
    for _ in range(200):
        found = ledger.take(now, [0.0] * (wanted - got))
        got += found.number
        if got == wanted:
            break
        assert found.wait > 0
        assert f"{most} requests in 60 s" in found.why
        now += found.wait
    assert got == wanted
    ledger.close()


def test_a_restart_and_others_share_what_is_charged(tmp_path: Path) -> None:
    first = Ledger(tmp_path / "l.sqlite", "service", [Limit(5, 60.0)], 8)
    assert granted(first, NOON, 3) == 3
    second = Ledger(tmp_path / "l.sqlite", "service", [Limit(5, 60.0)], 8)
    other = Ledger(tmp_path / "l.sqlite", "other", [Limit(5, 60.0)], 8)
    assert (granted(second, NOON + 1, 3), granted(other, NOON + 1, 9)) == (2, 5)
    for ledger in (first, second, other):
        ledger.close()
    again = Ledger(tmp_path / "l.sqlite", "service", [Limit(5, 60.0)], 8)
    assert granted(again, NOON + 2, 3) == 0
    assert granted(again, NOON + 70, 9) == 3, "the quota of the day"
    again.close()
    assert (tmp_path / "l.sqlite").stat().st_mode & 0o777 == 0o600


def test_the_day_begins_in_its_zone() -> None:
    ledger = Ledger(None, "service", [], 2, "America/Los_Angeles")
    assert granted(ledger, NOON, 5) == 2
    found = ledger.take(NOON + 1, [0.0])
    midnight = datetime(2026, 3, 5, 8, tzinfo=UTC).timestamp()
    assert (found.number, found.why) == (0, "quota of 2 a day")
    assert NOON + 1 + found.wait == midnight
    assert granted(ledger, midnight, 1) == 1
    ledger.close()


def test_what_the_service_asks_for_holds_for_all(tmp_path: Path) -> None:
    first = Ledger(tmp_path / "l.sqlite", "service", [], shared=True)
    second = Ledger(tmp_path / "l.sqlite", "service", [], shared=True)
    first.close_until(NOON + 30, "Retry-After")
    first.close_until(NOON + 10, "an older one")
    found = second.take(NOON, [0.0])
    assert found == (0, 30.0, "Retry-After")
    assert granted(second, NOON + 30, 1) == 1
    first.close()
    second.close()


def test_where_nothing_is_counted_nothing_is_written_but_what_the_service_asks_for(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    ledger = Ledger(path, "service", [])
    assert not ledger.counts
    assert granted(ledger, NOON, 9) == 9
    assert ledger.charges(NOON).held == []
    ledger.close_until(NOON + 30, "Retry-After")
    ledger.close_until(NOON + 10, "an older one")
    ledger.close()
    ledger = Ledger(path, "service", [])
    assert ledger.take(NOON + 1, [0.0]) == (0, 29.0, "Retry-After")
    assert ledger.take(NOON - 999, [0.0]) == (0, 29.0, "Retry-After"), "the clock was set back"
    assert granted(ledger, NOON - 970, 9) == 9
    ledger.close()


def test_a_clock_that_is_set_back_does_not_close_it_for_long() -> None:
    ledger = Ledger(None, "service", [Limit(2, 60.0)])
    assert granted(ledger, NOON, 2) == 2
    back = NOON - 86_400
    assert granted(ledger, back, 1) == 0
    assert granted(ledger, back + 62, 2) == 2
    ledger.close()


@pytest.mark.parametrize("back", [10.0, 3600.0, 86_400.0 * 3])
def test_what_the_service_asked_for_is_not_longer_when_the_clock_is_set_back(back: float) -> None:
    ledger = Ledger(None, "service", [Limit(10, 1.0)])
    assert granted(ledger, NOON, 1) == 1
    ledger.close_until(NOON + 30, "the service asked to wait")
    assert granted(ledger, NOON + 5, 1) == 0, "and what was charged is old by now"
    wait = ledger.take(NOON + 5 - back, [0.0]).wait
    assert 25 - back - 5 <= wait <= 30
    assert granted(ledger, NOON + 5 - back + wait, 1) == 1
    ledger.close()


def test_a_quota_counts_for_its_day_however_the_clock_is_set() -> None:
    ledger = Ledger(None, "service", [], quota=5)
    assert granted(ledger, NOON, 4) == 4
    assert granted(ledger, NOON + 86_400, 2) == 2, "set forward, it is another day"
    assert granted(ledger, NOON + 60, 2) == 1, "set back, what was used of this one is used"
    assert ledger.take(NOON + 60, [0.0]).wait == 12 * 3600 - 60
    ledger.close()


def test_a_record_of_more_tokens_than_allowed_takes_all_of_a_window() -> None:
    ledger = Ledger(None, "service", [Limit(100, 60.0, "tokens")])
    assert granted(ledger, NOON, 1, 500) == 1
    assert granted(ledger, NOON + 30, 1, 1) == 0
    assert granted(ledger, NOON + 62, 1, 1) == 1
    ledger.close()


def test_what_is_no_ledger_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "l.sqlite").write_text("something else, which is long enough to be looked at by anybody who opens it")
    with pytest.raises(StateError, match=r"ledger .*: cannot be used"):
        Ledger(tmp_path / "l.sqlite", "service", [])
