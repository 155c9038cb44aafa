"""Times in expressions: instants from texts, and local dates fast enough for every record.

A time is a number of seconds since the epoch, an RFC 3339 text or a `datetime`; text and datetime must state a zone.
A zone is an IANA name; 'local' or None is the system's, taken as it was when first used.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from rxpipe.errors import did_you_mean, nearest
from rxpipe.parameters.units import seconds

clock: ContextVar[Callable[[], float]] = ContextVar("clock", default=time.time)
"""The clock of the run, in seconds since the epoch; the engine sets it, the default is the system's."""

_QUARTER = 900
_REMEMBERED = 100_000
_LATELY = 4096
_from_iso = datetime.fromisoformat
_TRIED = datetime(2026, 12, 31, 23, 58, 59, tzinfo=UTC)
"""A time that a format is tried with."""


def now() -> float:
    """The time of the run's clock, in seconds since the epoch."""
    return clock.get()()


def timestamp(time: object, form: str | None = None, zone: str | None = None) -> float:
    """A time as seconds since the epoch; digits beyond the microsecond are cut off.

    Args:
        time: Seconds, a text or a datetime.
        form: How a text is written, see `timestamps_as`; RFC 3339 by default.
        zone: The zone of a text that does not state it.

    Raises:
        ValueError: The text is no RFC 3339 time or not of that form, a text or datetime states no zone, or a number is
            infinite or NaN.
        TypeError: It is neither number, text nor datetime.
    """
    if type(time) is str and form is zone is None:  # most are such texts
        try:
            read = _from_iso(time)
        except ValueError:
            read = _read(time)
        if read.tzinfo is not None:
            return read.timestamp()
    if type(time) is float:
        if not math.isfinite(time):
            msg = f"time must be a finite number of seconds; got {time}"
            raise ValueError(msg)
        return time
    if form is not None or zone is not None:
        return timestamps_as(form, zone)(time)
    moment = _read(time) if isinstance(time, str) else time
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            msg = f"time must state its zone, as in '2026-01-31T12:00:00Z'; got {str(time)!r}"
            raise ValueError(msg)
        return moment.timestamp()
    if isinstance(moment, int | float) and not isinstance(moment, bool):
        return float(moment)
    msg = f"time must be seconds, an RFC 3339 text or a datetime; got {type(time).__name__}"
    raise TypeError(msg)


@lru_cache(maxsize=512)
def timestamps_as(form: str | None = None, zone: str | None = None) -> Callable[[object], float]:
    """A function from a time to seconds since the epoch, where texts are of a form as Python's `strptime` has it.

    Raises:
        ValueError: The form does not tell the day, or nothing or two things tell the zone, or there is no such zone.
    """
    if form is None and zone is None:
        return timestamp
    _check_form(form, zone)
    local = None if zone is None or zone == "local" else _zone(zone)

    @lru_cache(maxsize=_LATELY)
    def read(text: str) -> float:
        try:
            moment = datetime.strptime(text, str(form))  # noqa: DTZ007  # its zone comes next
        except ValueError as error:
            msg = f"time must be written as {form!r}; got {text[:80]!r}"
            raise ValueError(msg) from error
        return (moment if local is None else moment.replace(tzinfo=local)).timestamp()

    return lambda time: read(time) if isinstance(time, str) else timestamp(time)


def _check_form(form: str | None, zone: str | None) -> None:
    """Refuse a form that cannot be read, or does not say when a time is."""
    if not isinstance(form, str):
        msg = f"format must be a text such as '%d/%b/%Y:%H:%M:%S %z'; got {form!r}"
        raise ValueError(msg)  # a value of a graph
    try:
        found = datetime.strptime(_TRIED.strftime(form), form)  # noqa: DTZ007  # only its day is of interest
    except (ValueError, re.error) as error:
        msg = f"format must be one of Python's strptime; got {form!r}: {error}"
        raise ValueError(msg) from error
    if found.date() != _TRIED.date():
        msg = f"format must tell year, month and day; got {form!r}"
        raise ValueError(msg)
    if (found.tzinfo is None) == (zone is None):
        must = "be given where the format has no %z" if zone is None else "be left out where the format has %z"
        msg = f"zone must {must}; got {'none' if zone is None else repr(zone)}"
        raise ValueError(msg)


def date(time: object, zone: str | None = None) -> str:
    """The local date of a time, as 'YYYY-MM-DD'."""
    return dates_in(zone)(time)


@lru_cache(maxsize=512)
def dates_in(zone: str | None = None) -> Callable[[object], str]:
    """A function from a time to its local date in a zone.

    A quarter of an hour of epoch time whose seconds all have one date is looked up by its number. One that holds a
    midnight or a change of the UTC offset (neither need fall on a quarter) is computed exactly every time.

    Raises:
        ValueError: There is no such zone.
    """
    local = _local(zone)
    known: dict[float, str] = {}

    def local_date(time: object) -> str:
        moment = time if type(time) is float else timestamp(time)
        quarter = moment // _QUARTER
        return known.get(quarter) or computed(moment, quarter)

    def computed(moment: float, quarter: float) -> str:
        begin = local(int(quarter) * _QUARTER)
        end = local(int(quarter) * _QUARTER + _QUARTER - 1)
        if begin.date() != end.date() or begin.utcoffset() != end.utcoffset():
            return local(math.floor(moment)).date().isoformat()
        if len(known) >= _REMEMBERED:
            known.clear()
        return known.setdefault(quarter, begin.date().isoformat())

    return local_date


def format_time(time: object, zone: str | None = None) -> str:
    """A time as an RFC 3339 text in milliseconds, with the offset of a zone."""
    return formats_in(zone)(time)


@lru_cache(maxsize=512)
def formats_in(zone: str | None = None) -> Callable[[object], str]:
    """A function from a time to an RFC 3339 text in milliseconds, with the offset of a zone; `Z` is that of UTC."""
    local = _local(zone)
    return lambda time: local(timestamp(time)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def floor_time(time: object, step: str | float) -> float:
    """The last multiple of `step`, a duration, that is not after the time."""
    return floors_to(step)(time)


def ceil_time(time: object, step: str | float) -> float:
    """The first multiple of `step`, a duration, that is not before the time."""
    return ceils_to(step)(time)


@lru_cache(maxsize=512)
def floors_to(step: str | float) -> Callable[[object], float]:
    """A function from a time to the last multiple of `step` that is not after it."""
    period = _period(step)

    def floor(time: object) -> float:
        made = (time if type(time) is float else timestamp(time)) // period * period
        return made if made == made else timestamp(time)  # which says what is wrong with infinity and NaN

    return floor


@lru_cache(maxsize=512)
def ceils_to(step: str | float) -> Callable[[object], float]:
    """A function from a time to the first multiple of `step` that is not before it."""
    period = _period(step)

    def ceil(time: object) -> float:
        made = -(-(time if type(time) is float else timestamp(time)) // period) * period
        return made if made == made else timestamp(time)  # which says what is wrong with infinity and NaN

    return ceil


def _period(step: str | float) -> float:
    period = seconds(step)
    if period == 0:
        msg = f"step must be a duration above 0; got {step!r}"
        raise ValueError(msg)
    return period


def _local(zone: str | None) -> Callable[[float], datetime]:
    """A function from seconds since the epoch to the datetime in a zone."""
    if zone is None or zone == "local":
        return lambda moment: datetime.fromtimestamp(moment, UTC).astimezone()
    info = _zone(zone)
    return lambda moment: datetime.fromtimestamp(moment, info)


def _zone(zone: str) -> ZoneInfo:
    try:
        return ZoneInfo(zone)
    except (OSError, ValueError, KeyError, TypeError) as error:
        guess = did_you_mean(nearest(str(zone), available_timezones()))
        msg = f"zone must be an IANA name such as 'Europe/Berlin', or 'local'; got {zone!r}{guess}"
        raise ValueError(msg) from error


def _read(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        if text[16:19] == ":60":  # a leap second: the clock shows the second before it
            return _read(f"{text[:17]}59{text[19:]}")
        if text != text.upper():
            with suppress(ValueError):
                return _read(text.upper())
        msg = f"time must be an RFC 3339 text such as '2026-01-31T12:00:00Z'; got {text[:80]!r}"
        raise ValueError(msg) from error
