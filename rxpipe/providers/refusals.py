"""What a service's headers say is left, and what its refusals mean: wait a little, wait for tomorrow, or never.

Read are the headers and bodies of OpenAI and what is compatible with it, of Anthropic and Google, and the general
`Retry-After` and `RateLimit-*`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import orjson

from rxpipe.expressions.times import timestamp
from rxpipe.faults.transient import seconds_asked
from rxpipe.parameters.units import seconds
from rxpipe.providers.provider import CallError, Remaining
from rxpipe.tasks.kinds import Kind, kind_of_status

SHOWN = 500
"""Characters of a refusal's body that an error shows."""

_TOO_MANY = 429
_EPOCH = 1e9
"""A reset that is larger is a moment, not a number of seconds."""

_REQUESTS = ("x-ratelimit-remaining-requests", "anthropic-ratelimit-requests-remaining")
_ANY = ("x-ratelimit-remaining", "ratelimit-remaining")
_TOKENS = ("x-ratelimit-remaining-tokens", "anthropic-ratelimit-tokens-remaining")
_RESETS_OF_REQUESTS = ("x-ratelimit-reset-requests", "anthropic-ratelimit-requests-reset")
_RESETS = ("x-ratelimit-reset", "ratelimit-reset")
_RESETS_OF_TOKENS = ("x-ratelimit-reset-tokens", "anthropic-ratelimit-tokens-reset")

_DAY = re.compile(r"per[\s_-]*day|\b[rt]pd\b|\bdaily\b", re.IGNORECASE)
_NEVER = re.compile(r"\blimit:?\s*0(?![\d.])", re.IGNORECASE)
_TOO_LARGE = re.compile(r"request too large|limit:?\s*(\d+),\s*(?:used:?\s*\d+,\s*)?requested:?\s*(\d+)", re.IGNORECASE)
_AGAIN = re.compile(r"(?:try again|retry) in ((?:[\d.]+\s*(?:ms|s|m|h|d)\s*)+)", re.IGNORECASE)
_GOOGLE = ("RESOURCE_EXHAUSTED", "googleapis.com")


def remaining_of(headers: Mapping[str, str], now: float) -> Remaining | None:
    """What the headers of an answer say is left; None if nothing.

    Example:
        >>> remaining_of({"x-ratelimit-remaining-requests": "9", "x-ratelimit-reset-requests": "1m30s"}, 1000.0)
        Remaining(requests=9, tokens=None, reset=1090.0)
    """
    requests = _whole(headers, (*_REQUESTS, *_ANY))
    tokens = _whole(headers, _TOKENS)
    counters = [
        (requests, _moment(headers, (*_RESETS_OF_REQUESTS, *_RESETS), now)),
        (tokens, _moment(headers, _RESETS_OF_TOKENS, now)),
    ]
    told = [(left, reset) for left, reset in counters if reset is not None]
    resets = [reset for left, reset in told if left == 0] or [reset for _, reset in told]
    if requests is None and tokens is None and not resets:
        return None
    return Remaining(requests, tokens, max(resets, default=None))


def refusal(status: int, headers: Mapping[str, str], body: bytes, now: float, reason: str = "") -> CallError:
    """The error that an answer stands for.

    A 429 is a rate limit, to be waited for as it says. It is a used-up quota where it speaks of a day, or of money:
    that of a day until it says, else until the next midnight, for Google in its zone, for others in UTC. It is
    permanent where the limit is zero, or smaller than what was asked for.

    Args:
        status: Its status.
        headers: Its headers, by names in lower case or regardless of case.
        body: Its body.
        now: Seconds since the epoch.
        reason: The words behind the status.
    """
    text = body.decode("utf-8", "replace").strip()
    told = f"status {status} {reason}".strip() + (f": {message_of(body) or text:.{SHOWN}}" if text else "")
    remaining = remaining_of(headers, now)
    asked = _asked(headers, text, now)
    given: dict[str, Any] = {"status": status, "remaining": remaining, "retry_after": asked}
    if status != _TOO_MANY:
        return CallError(told, kind_of_status(status), **given)
    quotas = _quotas(body)
    if _NEVER.search(text) or any(quota.limit == 0 for quota in quotas):
        return CallError(told, "permission", **given)
    if "insufficient_quota" in text or "billing" in text.lower():
        return CallError(told, "quota", **given)
    if _DAY.search(text) or any(_DAY.search(quota.name) for quota in quotas):
        google = any(mark in text for mark in _GOOGLE)
        reset = remaining.reset if remaining is not None and 0 in (remaining.requests, remaining.tokens) else None
        until = reset or (now + asked if asked and not google else midnight(now, _PACIFIC if google else UTC))
        given |= {"retry_after": until - now, "until": until}
        return CallError(told, "quota", **given)
    kind: Kind = "invalid input" if _too_large(text) else "rate limit"
    return CallError(told, kind, **given)


def message_of(body: bytes) -> str:
    """What a refusal's body says to people; empty if it has another form."""
    for error in _errors(body):
        if isinstance(error.get("message"), str):
            return str(error["message"])
    return ""


def midnight(now: float, zone: tzinfo) -> float:
    """The next midnight of a zone, in seconds since the epoch.

    Example:
        >>> midnight(0.0, UTC)
        86400.0
    """
    day = datetime.fromtimestamp(now, zone).date() + timedelta(days=1)
    return datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()


_PACIFIC = ZoneInfo("America/Los_Angeles")


class _Quota(NamedTuple):
    """A quota that a refusal names: its name, and its size if it is told."""

    name: str
    limit: float | None


def _errors(body: bytes) -> Iterable[dict[str, Any]]:
    """The errors that a body holds; Google's are in a list where others have an object."""
    with suppress(orjson.JSONDecodeError):
        found: Any = orjson.loads(body)
        for each in found if isinstance(found, list) else [found]:
            error = each.get("error", each) if isinstance(each, dict) else None
            if isinstance(error, str):
                yield {"message": error}
            elif isinstance(error, dict):
                yield error


def _quotas(body: bytes) -> list[_Quota]:
    """The quotas that Google's details of a refusal name."""
    found: list[_Quota] = []
    for error in _errors(body):
        details = error.get("details")
        for detail in details if isinstance(details, list) else []:
            violations = detail.get("violations") if isinstance(detail, dict) else None
            for one in violations if isinstance(violations, list) else []:
                if isinstance(one, dict):
                    value = one.get("quotaValue")
                    found.append(_Quota(str(one.get("quotaId", "")), _number(value)))
    return found


def _asked(headers: Mapping[str, str], text: str, now: float) -> float | None:
    """The seconds that an answer asks to wait: in a header, else in its words."""
    exact = _number(headers.get("retry-after-ms"))
    if exact is not None:
        return max(0.0, exact / 1000)
    after = headers.get("retry-after")
    if after is not None:
        return _number(after) or seconds_asked(after, now)
    found = _AGAIN.search(text)
    if found is not None:
        with suppress(ValueError):
            return seconds(found[1].replace(" ", ""))
    return None


def _too_large(text: str) -> bool:
    """Whether a refusal says that more was asked for than there ever is."""
    found = _TOO_LARGE.search(text)
    return found is not None and (found[1] is None or int(found[2]) > int(found[1]))


def _whole(headers: Mapping[str, str], names: Iterable[str]) -> int | None:
    found = [value for name in names if (value := _number(headers.get(name))) is not None]
    return int(min(found)) if found else None


def _moment(headers: Mapping[str, str], names: Iterable[str], now: float) -> float | None:
    """The latest moment that some headers tell, as seconds from now, a duration, seconds since the epoch, or a date."""
    found: list[float] = []
    for text in filter(None, map(headers.get, names)):
        number = _number(text)
        with suppress(ValueError):
            if number is None:
                number = timestamp(text) if "T" in text else seconds(text)
            found.append(number if number > _EPOCH else now + number)
    return max(found, default=None)


def _number(value: object) -> float | None:
    """A number that is not negative, or a text of one."""
    try:
        number = float(value) if isinstance(value, str | int | float) else -1.0
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None
