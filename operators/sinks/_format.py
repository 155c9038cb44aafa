"""Values as people read them in a column."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

Format = Literal["int", "si", "usd", "percent", "size", "duration", "time", "date", "text", "bar"]
"""How a value is shown.

`int` 1,234,567; `si` 1.23M; `usd` $1,234.56; `percent` 43% (of 0.43); `size` of bytes; `duration` of seconds, 2h 14m;
`time` 14:32 and `date` 2026-01-31 in the screen's zone; `text`; `bar`, see `to_terminal`.
"""

SUMMED = frozenset({"int", "si", "usd", "size", "duration"})
"""Formats whose values can be added up in a line of totals."""

RIGHT = frozenset({"int", "si", "usd", "percent", "size", "duration", "time"})
"""Formats aligned at the right."""

MISSING = "–"  # a dash
_THOUSAND = 1000


def si(value: float) -> str:
    """A number in three digits: 999, 12.3k, 1.23M."""
    if abs(value) < _THOUSAND:
        return str(value) if isinstance(value, int) else f"{value:.3g}"
    for prefix in "kMGTP":
        value /= _THOUSAND
        if abs(value) < 999.5:  # rounds to three digits
            return f"{value:.{_decimals(abs(value))}f}{prefix}"
    return f"{value:.3g}P"


def _decimals(value: float) -> int:
    return 2 if value < 9.995 else 1 if value < 99.95 else 0  # three digits in all


def duration(seconds: float) -> str:
    """A duration in its two largest units: 45s, 2h 14m, 3d 4h."""
    sign, whole = ("-", -seconds) if seconds < 0 else ("", seconds)
    if whole < 10 and whole != int(whole):  # below ten seconds a tenth tells something
        return f"{sign}{whole:.1f}s"
    total = int(whole)
    parts = [(total // 86400, "d"), (total // 3600 % 24, "h"), (total // 60 % 60, "m"), (total % 60, "s")]
    while len(parts) > 1 and not parts[0][0]:
        del parts[0]
    return sign + " ".join(f"{count}{unit}" for count, unit in parts[:2] if count or unit == parts[0][1])


def bytes_text(size: float) -> str:
    """A size in three digits: 999 B, 12.3 MB."""
    text = si(int(size))
    return f"{text[:-1]} {text[-1].replace('k', 'K')}B" if text[-1].isalpha() else f"{text} B"


def moment(value: Any, zone: ZoneInfo | None) -> datetime | None:
    """A datetime, or seconds since the epoch, in a zone (None: the system's); None for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = datetime.fromtimestamp(value, UTC)
    elif isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo is None else value.astimezone(zone)


def default_format(value: Any) -> Format:
    """The format for a value where none is declared."""
    if isinstance(value, bool):
        return "text"
    if isinstance(value, int | float):
        return "int"
    return "text"


def formatter(kind: Format, unit: str, zone: ZoneInfo | None) -> Callable[[Any], str]:
    """A function from a value to its text; a value that does not fit the format is shown as it is."""
    convert = _CONVERT.get(kind)

    def text(value: Any) -> str:
        if value is None:
            return MISSING
        if kind in ("time", "date"):
            return _clock(kind, value, zone)
        if convert is None or isinstance(value, bool) or not isinstance(value, int | float):
            return clean(_plain(value))
        return convert(value) + unit

    return text


def _clock(kind: Format, value: Any, zone: ZoneInfo | None) -> str:
    if kind == "date" and isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    if kind == "date" and isinstance(value, str) and len(value) == len("2026-01-31"):
        return clean(value)
    found = moment(value, zone)
    if found is None:
        return clean(_plain(value))
    return found.strftime("%H:%M" if kind == "time" else "%Y-%m-%d")


_CONVERT: dict[str, Callable[[float], str]] = {
    "int": lambda value: f"{value:,}" if isinstance(value, int) else f"{value:,.2f}",
    "si": si,
    "usd": lambda value: f"${value:,.2f}" if value >= 0 else f"-${-value:,.2f}",
    "percent": lambda value: f"{value * 100:.0f}%",
    "size": bytes_text,
    "duration": duration,
}


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(_plain(item) for item in value)
    return str(value)


def clean(text: str) -> str:
    """The text without what a terminal would obey: control characters are replaced."""
    return text if text.isprintable() else "".join(char if char.isprintable() else "·" for char in text)
