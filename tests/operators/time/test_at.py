"""`at`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxpipe.errors import ParameterError
from rxpipe.operators.time.at import at
from rxpipe.testing import Event, TestContext, VirtualTimeScheduler, parse_marbles, record


class SetClock(TestContext):
    """A context whose clock can be set."""

    shift = 0.0

    def now(self) -> float:
        return super().now() + self.shift

    def set_by(self, seconds: float, when: float) -> None:
        def change(*_: object) -> None:
            self.shift += seconds

        self.virtual.schedule_absolute(when, change)


def starting(moment: datetime) -> TestContext:
    scheduler = VirtualTimeScheduler()
    scheduler.advance_to(moment.timestamp())
    return TestContext(scheduler=scheduler)


def values(events: list[Event]) -> list[float]:
    return [event.value for event in events]


def test_every_second() -> None:
    events = record(at("* * * * * *"), 3.5)
    assert [(event.time, event.value) for event in events] == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_times_in_a_zone() -> None:
    zone = ZoneInfo("Europe/Berlin")
    context = starting(datetime(2026, 1, 30, 12, tzinfo=zone))
    found = values(record(at("0 3 * * MON-FRI", zone="Europe/Berlin"), 5 * 86400, context=context))
    assert [datetime.fromtimestamp(time, zone) for time in found] == [
        datetime(2026, 2, day, 3, tzinfo=zone) for day in (2, 3, 4)
    ]


@pytest.mark.parametrize(
    ("day", "cron", "hours"),
    [
        (datetime(2026, 3, 29, tzinfo=UTC), "30 2 * * *", ["03:00+02:00"]),
        (datetime(2026, 10, 25, tzinfo=UTC), "30 2 * * *", ["02:30+02:00"]),
        (
            datetime(2026, 10, 25, tzinfo=UTC),
            "30 * * * *",
            ["02:30+02:00", "02:30+01:00", "03:30+01:00", "04:30+01:00"],
        ),
    ],
)
def test_where_clocks_are_changed(day: datetime, cron: str, hours: list[str]) -> None:
    found = values(record(at(cron, zone="Europe/Berlin"), 4 * 3600, context=starting(day)))
    zone = ZoneInfo("Europe/Berlin")
    assert [datetime.fromtimestamp(time, zone).isoformat()[11:16] for time in found] == [hour[:5] for hour in hours]
    assert [datetime.fromtimestamp(time, zone).isoformat()[19:] for time in found] == [hour[5:] for hour in hours]


def test_started_in_the_hour_that_comes_twice_nothing_comes_that_has_passed() -> None:
    zone = ZoneInfo("America/New_York")
    start = datetime(2024, 11, 3, 1, 14, 45, fold=1, tzinfo=zone)
    found = values(record(at("15 1-3 * * *", zone="America/New_York"), 9000, context=starting(start)))
    assert found == [datetime(2024, 11, 3, hour, 15, tzinfo=zone).timestamp() for hour in (2, 3)]


def test_what_passes_while_the_run_holds_comes_once(context: TestContext) -> None:
    context.virtual.schedule_relative(1.5, lambda *_: context.flow.hold())
    context.virtual.schedule_relative(4.2, lambda *_: context.flow.release())
    events = record(at("* * * * * *"), 5.5)
    assert [(event.time, event.value) for event in events] == [(1, 1.0), (4.2, 4.0), (5, 5.0)]


def test_a_clock_that_goes_ahead() -> None:
    """As after sleep: the last time that passed comes, once, within a minute."""
    context = SetClock()
    context.set_by(3600, 630)
    events = record(at("*/5 * * * *"), 1000, context=context)
    assert [event.value for event in events] == [300, 600, 4200, 4500]
    assert 630 <= events[2].time <= 690


def test_a_clock_that_jumps_far_ahead() -> None:
    """As from 1970 to the present: no time is spent on those between."""
    context = SetClock()
    context.set_by(50 * 365 * 86400, 630)
    assert len(record(at("* * * * * *"), 632.5, context=context)) == 632


def test_a_clock_that_is_set_back_a_little_repeats_nothing() -> None:
    context = SetClock()
    context.set_by(-3600, 630)
    assert values(record(at("*/5 * * * *"), 630 + 3600 + 300, context=context)) == [300, 600, 900]


def test_a_clock_that_is_set_back_far_was_wrong() -> None:
    context = SetClock(scheduler=starting(datetime(2030, 1, 1, tzinfo=UTC)).virtual)
    began = context.now()
    context.set_by(-86400, began + 630)
    found = values(record(at("*/5 * * * *"), 1300, context=context))
    assert found == [began + 300, began + 600, began + 900 - 86400, began + 1200 - 86400]


def test_once_and_drain(context: TestContext) -> None:
    assert record(at("0 0 1 1 *"), context=TestContext(once=True)) == [
        Event(0.0, "next", 0.0),
        Event(0.0, "completed"),
    ]
    context.virtual.schedule_relative(1.3, lambda *_: context.drain())
    assert record(at("* * * * * *"), 5) == parse_marbles("----------a--|", {"a": 1.0})


def test_disposal_stops_the_timer(context: TestContext) -> None:
    record(at("0 0 1 1 *"), 100)
    context.virtual.start()
    assert context.virtual.time <= 160


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"cron": "0 3 * *"}, r"cron: must be a cron expression such as '0 3 \* \* \*'.*: wrong number of fields"),
        ({"cron": "61 3 * * *"}, "bad minute"),
        ({"cron": "0 0 31 2 *"}, "got '0 0 31 2 .*bad day-of-month"),
        ({"cron": "0 3 * * *", "zone": "Europe/Berln"}, "zone: must be an IANA name .* did you mean 'Europe/Berlin'"),
    ],
)
def test_parameters(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        at(**parameters)


fields = st.one_of(st.just("*"), st.integers(0, 59).map(str), st.integers(1, 30).map("*/{}".format))


@given(fields, st.one_of(st.just("*"), st.integers(0, 23).map(str)), st.integers(0, 10**9))
def test_as_by_looking_at_each_minute(minute: str, hour: str, start: int) -> None:
    zone = ZoneInfo("Asia/Kathmandu")  # 5:45 ahead, and never changes
    start -= start % 60
    scheduler = VirtualTimeScheduler()
    scheduler.advance_to(start)
    cron = f"{minute} {hour} * * *"
    found = values(record(at(cron, zone="Asia/Kathmandu"), 86400, context=TestContext(scheduler=scheduler)))
    wanted = []
    for at_minute in range(1, 1441):
        moment = datetime.fromtimestamp(start, zone) + timedelta(minutes=at_minute)
        step = int(minute[2:]) if minute.startswith("*/") else 1
        fits = moment.minute % step == 0 if minute.startswith("*") else moment.minute == int(minute)
        if fits and hour in ("*", str(moment.hour)):
            wanted.append(moment.timestamp())
    assert found == wanted
