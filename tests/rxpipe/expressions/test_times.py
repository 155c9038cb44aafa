"""Expressions of times: texts, zones, clocks."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rxpipe.expressions import parse, times


def value(text: str, /, **fields: Any) -> Any:
    """What an expression makes of a dict."""
    return parse(text).bind(dict)(fields)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:01Z", 1.0),
        ("1970-01-01t00:00:01z", 1.0),
        ("1970-01-01 00:00:01Z", 1.0),
        ("1970-01-01T01:00:00.5+01:00", 0.5),
        ("1969-12-31T19:00:00-05:00", 0.0),
        ("1970-01-01T00:00:00.123456789Z", 0.123456),
        ("1970-01-01T00:00:00.1Z", 0.1),
        ("2016-12-31T23:59:60Z", 1_483_228_799.0),
    ],
)
def test_timestamps(text: str, expected: float) -> None:
    assert times.timestamp(text) == expected


@given(st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 28)), st.integers(0, 9), st.integers(-1439, 1439))  # noqa: DTZ001  # it gets a zone below
def test_timestamps_of_texts(moment: datetime, digits: int, offset: int) -> None:
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=offset)))
    fraction = f".{moment.microsecond:06}000"[: digits + 1] if digits else ""
    zone = f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02}:{abs(offset) % 60:02}"
    kept = int(f"{moment.microsecond:06}"[:digits].ljust(6, "0"))
    expected = aware.replace(microsecond=kept).timestamp()
    assert times.timestamp(f"{moment:%Y-%m-%dT%H:%M:%S}".rjust(19, "0") + fraction + zone) == expected


ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Asia/Kolkata", "Australia/Lord_Howe",
         "America/St_Johns", "Africa/Monrovia", "Pacific/Apia", "Pacific/Kwajalein", "Europe/Amsterdam",
         "America/Sao_Paulo",
         "Africa/Casablanca", "Antarctica/Troll", "Asia/Pyongyang", "Europe/Dublin"]  # fmt: skip

seconds_of_time = st.integers(-4_000_000_000, 4_000_000_000) | st.builds(
    lambda day, second: day * 86_400 + second, st.integers(-40_000, 40_000), st.integers(-3700, 3700)
)


@given(seconds_of_time, st.sampled_from(ZONES), st.lists(st.integers(-1800, 1800), max_size=5))
@example(63_593_070, "Africa/Monrovia", [-1, 0, 1, 2670, -2670])  # its offset was -0:44:30 until then
@example(-2_422_054_408, "Europe/Berlin", [-1, 0, 1, 900])  # the end of local mean time
@example(1_325_239_200, "Pacific/Apia", [-1, 0, 1])  # a whole day is left out
@example(1_320_546_660, "America/St_Johns", [-60, -1, 0, 1, 899])  # back one hour at one minute past midnight
def test_dates_agree_with_datetime(moment: int, zone: str, others: list[int]) -> None:
    for near in (moment, *(moment + other for other in others)):
        expected = datetime.fromtimestamp(near, UTC).astimezone(ZoneInfo(zone)).date().isoformat()
        assert times.date(near, zone) == expected
        assert times.date(near + 0.75, zone) == expected
        assert times.date(datetime.fromtimestamp(near, UTC), zone) == expected


def test_dates_at_every_change_of_offset() -> None:
    for zone in ZONES:
        info = ZoneInfo(zone)
        moment, before = -4_000_000_000, None
        while moment < 4_000_000_000:
            offset = datetime.fromtimestamp(moment, info).utcoffset()
            if before is not None and offset != before:
                low, high = moment - 7 * 86_400, moment
                while high - low > 1:
                    middle = (low + high) // 2
                    same = datetime.fromtimestamp(middle, info).utcoffset() == before
                    low, high = (middle, high) if same else (low, middle)
                for near in range(high - 2700, high + 2700, 45):
                    assert times.date(near, zone) == datetime.fromtimestamp(near, info).date().isoformat()
            before = offset
            moment += 7 * 86_400


@pytest.fixture
def new_york() -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "America/New_York"
    time.tzset()
    times.dates_in.cache_clear()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()
    times.dates_in.cache_clear()


def test_times_of_other_forms() -> None:
    nginx = "timestamp(t, '%d/%b/%Y:%H:%M:%S %z')"
    assert value(nginx, t="31/Jan/2026:23:30:00 +0200") == 1769895000.0
    assert value(nginx, t=5.0) == value(nginx, t=5) == 5.0
    assert value("timestamp(t, '%d.%m.%Y %H:%M', 'Europe/Berlin')", t="01.07.2026 12:00") == 1782900000.0
    assert value("timestamp(t, form, zone)", t="20260131", form="%Y%m%d", zone="UTC") == 1769817600.0
    with pytest.raises(ValueError, match=r"^time must be written as '%d/%b/%Y:%H:%M:%S %z'; got '31/01/2026'$"):
        value(nginx, t="31/01/2026")
    with pytest.raises(ValueError, match="such as '2026-01-31T12:00:00Z'; got '31/Jan/2026'"):
        value("timestamp(t)", t="31/Jan/2026")


@pytest.mark.usefixtures("new_york")
def test_the_system_zone() -> None:
    zone = ZoneInfo("America/New_York")
    for moment in range(1_700_000_000, 1_740_000_000, 86_400 // 2 + 17):
        expected = datetime.fromtimestamp(moment, zone).date().isoformat()
        assert times.date(moment) == times.date(moment, "local") == value("date(m)", m=moment) == expected
    assert value("format_time(0)") == "1969-12-31T19:00:00.000-05:00"
    assert value("timestamp('1969-12-31', '%Y-%m-%d', 'local')") == -68_400.0


def test_dates_remember_only_so_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(times, "_REMEMBERED", 3)
    days = [times.date(day * 86_400, "Etc/GMT+1") for day in range(10)]
    assert days == [f"1970-01-{day:02}" if day else "1969-12-31" for day in range(10)]


def test_zone_of_a_field() -> None:
    assert value("date(0, zone)", zone="America/New_York") == "1969-12-31"
    assert value("format_time(0, zone)", zone="Asia/Tokyo") == "1970-01-01T09:00:00.000+09:00"
    assert value("format_time(0, 'UTC')") == "1970-01-01T00:00:00.000Z"


@pytest.mark.parametrize("moment", [math.nan, math.inf, 1e300])
def test_dates_of_what_is_no_time(moment: float) -> None:
    with pytest.raises((ValueError, OverflowError)):
        times.date(moment, "UTC")


def test_the_clock_of_the_run() -> None:
    token = times.clock.set(lambda: 42.0)
    try:
        assert value("now() - 2") == 40.0
    finally:
        times.clock.reset(token)
    assert abs(value("now()") - time.time()) < 5
