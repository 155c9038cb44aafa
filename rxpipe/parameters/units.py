"""Durations, rates and sizes as people write them: `100ms`, `1h30m`, `0.75Hz`, `60/min`, `64KB`.

Duration: seconds, a `timedelta`, or numbers with units, largest first: w, d, h, m (min), s, ms, us (µs), ns.
Rate: a number of hertz, above 0; `0.75Hz` (mHz, Hz, kHz, MHz); or a number per unit of time: `60/min`, `1000/day`.
Size: a whole number of bytes, or a number with a unit: B; KB, MB, GB, TB, PB are powers of 1000, KiB to PiB of 1024.
A text without a unit is read as the bare number. Each formatter writes a text that reads back as the very same value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, NoReturn

from rxpipe.errors import UnitError, did_you_mean, nearest, shortened
from rxpipe.parameters.plain import Reading

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core import CoreSchema

_NUMBER = r"((?:[0-9]{1,40}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,3})?)"
_QUANTITY = re.compile(rf"\s*{_NUMBER}\s*([A-Za-zµμ]*)\s*")
_PER = re.compile(rf"\s*{_NUMBER}\s*/\s*([A-Za-z]+)\s*")

_MONEY = re.compile(rf"\s*(?:\$\s*{_NUMBER}|{_NUMBER}(?:\s*USD)?)\s*")

_DURATIONS = {
    "w": Fraction(604_800),
    "d": Fraction(86_400),
    "h": Fraction(3600),
    "min": Fraction(60),
    "m": Fraction(60),
    "s": Fraction(1),
    "ms": Fraction(1, 10**3),
    "us": Fraction(1, 10**6),
    "µs": Fraction(1, 10**6),
    "μs": Fraction(1, 10**6),
    "ns": Fraction(1, 10**9),
}
_RATES = {"mHz": Fraction(1, 1000), "Hz": Fraction(1), "kHz": Fraction(1000), "MHz": Fraction(10**6)}
_PERIODS = _DURATIONS | {
    "second": Fraction(1),
    "sec": Fraction(1),
    "minute": Fraction(60),
    "hour": Fraction(3600),
    "day": Fraction(86_400),
    "week": Fraction(604_800),
}
_SIZES = {"B": Fraction(1)} | {
    prefix + suffix: Fraction(base**power)
    for power, prefix in enumerate("KMGTP", 1)
    for suffix, base in (("B", 1000), ("iB", 1024))
}

_LONGEST = 1000
"""Characters of a text that can be a quantity."""

_WRITTEN_OUT = 10**15
"""Numbers from here on are written with an exponent."""

_OTHER_SPELLINGS = {
    **dict.fromkeys(("msec", "msecs", "millis", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("usec", "usecs", "micros", "microsecond", "microseconds"), "us"),
    **dict.fromkeys(("nsec", "nanos", "nanosecond", "nanoseconds"), "ns"),
    **dict.fromkeys(("sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("mins", "minute", "minutes"), "min"),
    **dict.fromkeys(("hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("day", "days"), "d"),
    **dict.fromkeys(("week", "weeks"), "w"),
    **dict.fromkeys(("byte", "bytes"), "B"),
    **{letter: f"{letter.upper()}B" for letter in "kgtp"},
}

_DURATION_MUST = "duration must be seconds or a text such as '100ms', '10s' or '1h30m', not negative"
_RATE_MUST = "rate must be hertz above 0 or a text such as '0.75Hz', '60/min' or '1000/day'"
_PER_MUST = "allowance must be a number above 0 per unit of time, such as '60/min' or '1000/day'"
_MONEY_MUST = "money must be US dollars, not negative: a number or a text such as '20 USD' or '$0.50'"
_SIZE_MUST = "size must be a whole number of bytes or a text such as '512B', '64KB' or '1GiB', not negative"


def seconds(duration: str | float | timedelta) -> float:
    """A duration in seconds; what is a number already stays as it is.

    Raises:
        UnitError: It is no duration, is negative, or is not finite.

    Example:
        >>> seconds("1h30m")
        5400.0
    """
    if isinstance(duration, timedelta):
        return _finite(duration.total_seconds(), duration, _DURATION_MUST)
    if isinstance(duration, str):
        return _finite(_duration(duration), duration, _DURATION_MUST)
    return _finite(duration, duration, _DURATION_MUST)


def hertz(rate: str | float) -> float:
    """A rate in events per second; what is a number already stays as it is.

    Raises:
        UnitError: It is no rate, is not above zero, or is not finite.

    Example:
        >>> hertz("60/min")
        1.0
    """
    value: object = rate
    if isinstance(rate, str):
        per = _PER.fullmatch(rate)
        if per is None:
            value = _quantity(rate, _RATES, _RATE_MUST)
        elif per[2] in _PERIODS:
            value = Fraction(per[1]) / _PERIODS[per[2]]
        else:
            _refuse(rate, _RATE_MUST, f"{per[1]}/{_unit_guess(per[2], _PERIODS)}")
    found = _finite(value, rate, _RATE_MUST)
    if found == 0:
        _refuse(rate, _RATE_MUST)
    return found


class Per(NamedTuple):
    """So many, in a period of so many seconds."""

    number: float
    period: float


def per(allowance: str | tuple[float, float]) -> Per:
    """So many in a period: unlike a rate, it tells in how long a time they may come.

    Raises:
        UnitError: It is no number per unit of time.

    Example:
        >>> per("60/min")
        Per(number=60.0, period=60.0)
    """
    if isinstance(allowance, tuple):
        return Per(*allowance)
    found = _PER.fullmatch(allowance) if isinstance(allowance, str) else None
    if found is None:
        _refuse(allowance, _PER_MUST)
    if found[2] not in _PERIODS:
        _refuse(allowance, _PER_MUST, f"{found[1]}/{_unit_guess(found[2], _PERIODS)}")
    number = _finite(Fraction(found[1]), allowance, _PER_MUST)
    if number == 0:
        _refuse(allowance, _PER_MUST)
    return Per(float(number), float(_PERIODS[found[2]]))


def dollars(money: str | float) -> float:
    """An amount in US dollars; what is a number already stays as it is.

    Raises:
        UnitError: It is no amount of dollars, or is negative.

    Example:
        >>> dollars("20 USD"), dollars("$0.50")
        (20.0, 0.5)
    """
    if not isinstance(money, str):
        return _finite(money, money, _MONEY_MUST)
    found = _MONEY.fullmatch(money)
    if found is None:
        _refuse(money, _MONEY_MUST)
    return _finite(Fraction(found[1] or found[2]), money, _MONEY_MUST)


def nbytes(size: str | float) -> int:
    """A size in bytes; what is a number already stays as it is.

    Raises:
        UnitError: It is no size, is negative, or is not a whole number of bytes.

    Example:
        >>> nbytes("64KB"), nbytes("64KiB")
        (64000, 65536)
    """
    value = _quantity(size, _SIZES, _SIZE_MUST) if isinstance(size, str) else size
    if type(value) is not int:
        _finite(value, size, _SIZE_MUST)
    if value < 0 or value != int(value):
        _refuse(size, _SIZE_MUST)
    return int(value)


def format_duration(duration: float) -> str:
    """Write seconds as a duration, such as `1h30m` or `250ms`; `seconds` reads it back unchanged."""
    value = Decimal(repr(seconds(duration)))
    if value == 0:
        return "0s"
    if value < 1:
        for unit, factor in (("ms", 10**3), ("us", 10**6), ("ns", 10**9)):
            if (value * factor) % 1 == 0:
                return f"{int(value * factor)}{unit}"
        return f"{float(value)!r}s"
    if value >= _WRITTEN_OUT:
        return f"{float(value)!r}s"
    parts = []
    for unit in ("d", "h", "m"):
        count, value = divmod(value, int(_DURATIONS[unit]))
        if count:
            parts.append(f"{int(count)}{unit}")
    if value:
        parts.append(f"{_plain(value)}s")
    return "".join(parts)


def format_rate(rate: float) -> str:
    """Write hertz as a rate, such as `0.75Hz` or, where that is long, `1/min`; `hertz` reads it back unchanged."""
    value = hertz(rate)
    text = f"{int(value)}Hz" if value == int(value) and value < _WRITTEN_OUT else f"{value!r}Hz"
    if len(text) > len("0.125Hz") and value < _WRITTEN_OUT:
        for unit, period in (("min", 60), ("h", 3600), ("day", 86_400)):
            count = round(value * period)
            if count and count / period == value:
                return f"{count}/{unit}"
    return text


def format_size(size: float) -> str:
    """Write bytes as a size, such as `64KB` or `1MiB`, whichever is shortest; `nbytes` reads it back unchanged."""
    value = nbytes(size)
    texts = [f"{value // int(factor)}{unit}" for unit, factor in _SIZES.items() if value % factor == 0]
    return min(texts, key=len) if value else "0B"


class _Quantity(Reading):
    """Tells how a quantity is read, and an editor how it is written."""

    def __init__(self, read: Callable[[Any], Any], must: str, examples: tuple[str, ...], pattern: str) -> None:
        self._read = read
        self.must = must
        self.examples = examples
        self.pattern = pattern

    def read(self, value: Any) -> Any:
        return self._read(value)

    def __get_pydantic_core_schema__(self, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        number = {"type": "integer" if self._read is nbytes else "number", "minimum": 0}
        text = {"type": "string", "pattern": self.pattern}
        kinds = [text] if self._read is per else [text, number]
        return {"anyOf": kinds, "description": self.must, "examples": list(self.examples)}


_WRITTEN_NUMBER = r"([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?"


def _pattern(units: Iterable[str], *, many: bool = False, per: Iterable[str] = ()) -> str:
    """A pattern for editors: looser than what reads the text, in the regular expressions of JSON Schema."""
    unit = rf"\s*({'|'.join(units)})"
    quantity = rf"({_WRITTEN_NUMBER}({unit})?\s*)"
    if many:
        quantity = rf"({quantity}|({_WRITTEN_NUMBER}{unit}\s*)+)"
    if per:
        quantity = rf"({quantity}|{_WRITTEN_NUMBER}\s*/\s*({'|'.join(per)})\s*)"
    return rf"^\s*{quantity}$"


Duration = Annotated[
    str | float | timedelta,
    _Quantity(seconds, _DURATION_MUST, ("100ms", "10s", "1h30m"), _pattern(_DURATIONS, many=True)),
]
"""A length of time; as a parameter it arrives in seconds."""

Rate = Annotated[
    str | float, _Quantity(hertz, _RATE_MUST, ("0.75Hz", "60/min", "1000/day"), _pattern(_RATES, per=_PERIODS))
]
"""How often; as a parameter it arrives in hertz."""

Allowance = Annotated[
    str | tuple[float, float],
    _Quantity(per, _PER_MUST, ("60/min", "1000/day"), rf"^\s*{_WRITTEN_NUMBER}\s*/\s*({'|'.join(_PERIODS)})\s*$"),
]
"""So many in a period; as a parameter it arrives as a `Per`."""

Money = Annotated[
    str | float,
    _Quantity(
        dollars, _MONEY_MUST, ("20 USD", "$0.50"), rf"^\s*(\$\s*{_WRITTEN_NUMBER}|{_WRITTEN_NUMBER}(\s*USD)?)\s*$"
    ),
]
"""An amount of money; as a parameter it arrives in US dollars."""

Size = Annotated[str | int, _Quantity(nbytes, _SIZE_MUST, ("512B", "64KB", "1GiB"), _pattern(_SIZES))]
"""An amount of data; as a parameter it arrives in bytes."""


def _duration(text: str) -> Fraction:
    """The sum of the parts of a duration; their units must come largest first."""
    total, place, above = Fraction(0), 0, Fraction(10**9)
    parts = [*_QUANTITY.finditer(text[:_LONGEST])]
    if len(parts) <= 1:  # a plain quantity, whose unit may be missing
        return _quantity(text, _DURATIONS, _DURATION_MUST)
    guess = ""
    for part in parts:
        unit = part[2] if part[2] in _DURATIONS else _unit_guess(part[2], _DURATIONS)
        guess += f"{part[1]}{unit}"
        factor = _DURATIONS.get(unit)
        if part.start() != place or factor is None or factor >= above:
            _refuse(text, _DURATION_MUST)
        total, place, above = total + Fraction(part[1]) * factor, part.end(), factor
    if place != len(text):
        _refuse(text, _DURATION_MUST)
    if any(part[2] not in _DURATIONS for part in parts):
        _refuse(text, _DURATION_MUST, guess)
    return total


def _quantity(text: str, units: Mapping[str, Fraction], must: str) -> Fraction:
    """A number with a unit, or the bare number."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        _refuse(text, must)
    if match[2] and match[2] not in units:
        guess = _unit_guess(match[2], units)
        _refuse(text, must, f"{match[1]}{guess}" if guess else None)
    return Fraction(match[1]) * units.get(match[2], 1)


def _finite(value: object, given: object, must: str) -> float:
    """The value as a finite float that is not negative."""
    if isinstance(value, bool) or not isinstance(value, int | float | Fraction):
        _refuse(given, must)
    try:
        number = float(value)
    except OverflowError:
        _refuse(given, must)
    if not math.isfinite(number) or number < 0:
        _refuse(given, must)
    return number


def _unit_guess(unit: str, units: Mapping[str, Fraction]) -> str:
    """The unit that was meant, or the empty string."""
    other = _OTHER_SPELLINGS.get(unit.lower(), "")
    if other in units:
        return other
    by_case = {name.lower(): name for name in units}
    return by_case.get(unit.lower()) or nearest(unit, units) or ""


def _refuse(given: object, must: str, guess: str | None = None) -> NoReturn:
    msg = f"{must}; got {shortened(repr(given))}{did_you_mean(guess)}"
    raise UnitError(msg)


def _plain(value: Decimal) -> str:
    """A decimal without exponent and without zeros at its end."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
