"""Durations, rates and sizes: what is read, what is refused, and that what is written reads back."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from rxpipe.errors import UnitError
from rxpipe.parameters.units import (
    Duration,
    Rate,
    Size,
    format_duration,
    format_rate,
    format_size,
    hertz,
    nbytes,
    seconds,
)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("100ms", 0.1),
        ("100 ms", 0.1),
        (" 10s ", 10.0),
        ("250us", 0.00025),
        ("250µs", 0.00025),
        ("250μs", 0.00025),
        ("5ns", 5e-9),
        ("5m", 300.0),
        ("5min", 300.0),
        ("1h30m", 5400.0),
        ("1h 30min 0.5s", 5400.5),
        ("2d", 172_800.0),
        ("1w", 604_800.0),
        ("1.5h", 5400.0),
        (".5s", 0.5),
        ("1e3s", 1000.0),
        ("12", 12.0),
        ("0s", 0.0),
        (0, 0.0),
        (3, 3.0),
        (0.1, 0.1),
        (timedelta(minutes=1, milliseconds=5), 60.005),
    ],
)
def test_duration(given: Any, expected: float) -> None:
    assert seconds(given) == expected
    assert type(seconds(given)) is float
    assert seconds(seconds(given)) == expected


@pytest.mark.parametrize(
    ("given", "guess"),
    [
        ("100 msec", "100ms"),
        ("100MS", "100ms"),
        ("5 seconds", "5s"),
        ("5 hrs", "5h"),
        ("1hr30mins", "1h30min"),
        ("3 days", "3d"),
        ("3 dd", "3d"),
    ],
)
def test_duration_near_miss(given: str, guess: str) -> None:
    with pytest.raises(UnitError, match=rf"duration must be .*; got '{given}', did you mean '{guess}'\?"):
        seconds(given)


@pytest.mark.parametrize(
    "given",
    ["", " ", "-5s", "-1", "nan", "inf", "1e999", "s", "30m1h", "1h1h", "1m1min", "1h;2m", "x1h2m", "1h2mx", "1h2m;",
     "1..5s",
     "5 xyz", "1h2", "٣s", -1, -0.5, math.nan, math.inf, True, None, [], {}, timedelta(seconds=-1), 10**400, "9" * 50],
)  # fmt: skip
def test_duration_refused(given: Any) -> None:
    with pytest.raises(UnitError, match=r"duration must be seconds or a text such as '100ms'.*; got "):
        seconds(given)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("0.75Hz", 0.75),
        ("2 kHz", 2000.0),
        ("500mHz", 0.5),
        ("60/min", 1.0),
        ("60 / minute", 1.0),
        ("86400/day", 1.0),
        ("1000/day", 1000 / 86_400),
        ("7/h", 7 / 3600),
        ("10/s", 10.0),
        ("5", 5.0),
        (5, 5.0),
        (0.5, 0.5),
    ],
)
def test_rate(given: Any, expected: float) -> None:
    assert hertz(given) == expected
    assert hertz(hertz(given)) == expected


@pytest.mark.parametrize(
    ("given", "guess"),
    [("5hz", "5Hz"), ("5HZ", "5Hz"), ("60/minutes", "60/min"), ("60/mins", "60/min"), ("1/dya", "1/day")],
)
def test_rate_near_miss(given: str, guess: str) -> None:
    with pytest.raises(UnitError, match=rf"rate must be .*; got '{given}', did you mean '{guess}'\?"):
        hertz(given)


@pytest.mark.parametrize("given", [0, "0Hz", "0/min", -1, "-1Hz", "nan", "inf", math.nan, math.inf, "", "1/",
                                   "/s", "1/q",
                                   "1ms", "1/2", True, None, timedelta(seconds=1), "1e999Hz"])  # fmt: skip
def test_rate_refused(given: Any) -> None:
    with pytest.raises(UnitError, match=r"rate must be hertz above 0 .*; got "):
        hertz(given)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("64KB", 64_000),
        ("64KiB", 65_536),
        ("1GB", 10**9),
        ("1 GiB", 2**30),
        ("1.5MB", 1_500_000),
        ("512B", 512),
        ("512", 512),
        ("2TB", 2 * 10**12),
        ("1PiB", 2**50),
        (0, 0),
        (7, 7),
        (7.0, 7),
    ],
)
def test_size(given: Any, expected: int) -> None:
    assert nbytes(given) == expected
    assert type(nbytes(given)) is int
    assert nbytes(nbytes(given)) == expected


@pytest.mark.parametrize(
    ("given", "guess"),
    [("64kb", "64KB"), ("64K", "64KB"), ("1g", "1GB"), ("1mib", "1MiB"), ("5 bytes", "5B"), ("1KBB", "1KB")],
)
def test_size_near_miss(given: str, guess: str) -> None:
    with pytest.raises(UnitError, match=rf"size must be .*; got '{given}', did you mean '{guess}'\?"):
        nbytes(given)


@pytest.mark.parametrize("given", [-1, "-1KB", "1.5B", 0.5, "0.0001KB", "nan", math.nan, math.inf, "", "KB", "1s", True,
                                   None, [1]])  # fmt: skip
def test_size_refused(given: Any) -> None:
    with pytest.raises(UnitError, match=r"size must be a whole number of bytes .*; got "):
        nbytes(given)


def test_long_values_are_shortened_in_errors() -> None:
    with pytest.raises(UnitError, match=r"…$"):
        seconds("x" * 1000)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0s"), (0.1, "100ms"), (0.00025, "250us"), (5e-9, "5ns"), (5400, "1h30m"), (90.5, "1m30.5s"), (604_800, "7d"),
     (1e-10, "1e-10s"), (10, "10s"), (100, "1m40s")],
)  # fmt: skip
def test_format_duration(value: float, text: str) -> None:
    assert format_duration(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.75, "0.75Hz"), (1, "1Hz"), (1 / 60, "1/min"), (1000 / 86_400, "1000/day")]
)
def test_format_rate(value: float, text: str) -> None:
    assert format_rate(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0B"), (64_000, "64KB"), (65_536, "64KiB"), (1_234_567, "1234567B"), (10**9, "1GB")]
)
def test_format_size(value: int, text: str) -> None:
    assert format_size(value) == text


@given(st.floats(min_value=0, allow_nan=False, allow_infinity=False))
def test_durations_round_trip(value: float) -> None:
    assert seconds(format_duration(value)) == value


@given(st.integers(min_value=0, max_value=10**15).map(lambda count: count / 1000))
def test_durations_of_milliseconds_round_trip(value: float) -> None:
    assert seconds(format_duration(value)) == value


@given(st.floats(min_value=0, exclude_min=True, allow_nan=False, allow_infinity=False))
def test_rates_round_trip(value: float) -> None:
    assert hertz(format_rate(value)) == value


@given(st.integers(min_value=1, max_value=10**9), st.sampled_from([1, 60, 3600, 86_400]))
def test_rates_per_period_round_trip(count: int, period: int) -> None:
    assert hertz(format_rate(count / period)) == count / period


@given(st.integers(min_value=0, max_value=10**39))
def test_sizes_round_trip(value: int) -> None:
    assert nbytes(format_size(value)) == value


@given(st.text(max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (seconds, hertz, nbytes):
        try:
            value = read(text)
        except UnitError:
            continue
        assert value >= 0
        assert math.isfinite(value)


def test_as_parameters() -> None:
    assert TypeAdapter[Any](Duration).validate_python("1h") == 3600.0
    assert TypeAdapter[Any](Rate).validate_python("60/min", strict=True) == 1.0
    assert TypeAdapter[Any](Size).validate_python("1KB", strict=True) == 1000
    with pytest.raises(ValidationError, match="did you mean '100ms'"):
        TypeAdapter[Any](Duration).validate_python("100 msec")


def test_schema_of_parameters() -> None:
    schema = TypeAdapter[Any](Duration).json_schema()
    text, number = schema["anyOf"]
    assert number == {"type": "number", "minimum": 0}
    assert re.search(text["pattern"], "1h30m")
    assert not re.search(text["pattern"], "1 hour")
    assert "100ms" in schema["examples"]
    assert TypeAdapter[Any](Size).json_schema()["anyOf"][1]["type"] == "integer"
