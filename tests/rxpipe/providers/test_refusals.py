"""What headers say is left, and what refusals mean: as the services are known to write them."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxpipe.providers.provider import Remaining
from rxpipe.providers.refusals import midnight, refusal, remaining_of
from rxpipe.tasks.kinds import KINDS

NOW = datetime(2026, 3, 1, 20, 0, tzinfo=UTC).timestamp()
MIDNIGHT = datetime(2026, 3, 2, tzinfo=UTC).timestamp()
PACIFIC_MIDNIGHT = datetime(2026, 3, 2, 8, tzinfo=UTC).timestamp()


def openai(message: str, code: str = "rate_limit_exceeded") -> bytes:
    return orjson.dumps({"error": {"message": message, "type": "requests", "code": code}})


def google(quota: str, value: str, told: str = "") -> bytes:
    violation = {"quotaMetric": "generativelanguage.googleapis.com/x", "quotaId": quota, "quotaValue": value}
    details = [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "38s"},
    ]
    message = f"You exceeded your current quota. {told}\nPlease retry in 38.5s."
    return orjson.dumps(
        [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": message, "details": details}}]
    )


MINUTE = "Rate limit reached for m on requests per min (RPM): Limit 3, Used 3, Requested 1. Please try again in 20s."
DAY = "Rate limit reached for m on requests per day (RPD): Limit 200, Used 200, Requested 1."


@pytest.mark.parametrize(
    ("body", "headers", "kind", "wait", "until"),
    [
        (openai(MINUTE), {}, "rate limit", 20.0, None),
        (openai(MINUTE), {"retry-after": "7"}, "rate limit", 7.0, None),
        (openai(MINUTE), {"retry-after": "7", "retry-after-ms": "6500"}, "rate limit", 6.5, None),
        (b"slow down", {}, "rate limit", None, None),
        (
            b"",
            {"retry-after": format_datetime(datetime.fromtimestamp(NOW + 90, UTC), usegmt=True)},
            "rate limit",
            90,
            None,
        ),
        (openai(DAY + " Please try again in 7m12s."), {}, "quota", 432.0, NOW + 432),
        (openai(DAY), {}, "quota", MIDNIGHT - NOW, MIDNIGHT),
        (
            openai(DAY),
            {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "2h"},
            "quota",
            7200,
            NOW + 7200,
        ),
        (openai("You exceeded your current quota", "insufficient_quota"), {}, "quota", None, None),
        (
            openai("Request too large for m on tokens per min (TPM): Limit 10, Requested 12."),
            {},
            "invalid input",
            None,
            None,
        ),
        (openai("on tokens per min (TPM): Limit 10, Used 3, Requested 12."), {}, "invalid input", None, None),
        (openai("on tokens per min (TPM): Limit 10, Used 9, Requested 2."), {}, "rate limit", None, None),
        (openai("on requests per day (RPD): Limit 0, Used 0, Requested 1."), {}, "permission", None, None),
        (google("GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "15"), {}, "rate limit", 38.5, None),
        (
            google("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "50"),
            {},
            "quota",
            PACIFIC_MIDNIGHT - NOW,
            PACIFIC_MIDNIGHT,
        ),
        (google("GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "0", "limit: 0"), {}, "permission", 38.5, None),
    ],
)
def test_a_429(body: bytes, headers: dict[str, str], kind: str, wait: float | None, until: float | None) -> None:
    error = refusal(429, headers, body, NOW, "Too Many Requests")
    assert (error.kind, error.until) == (kind, until)
    assert error.retry_after == (None if wait is None else pytest.approx(wait))
    assert error.transient == (kind in {"rate limit", "quota"})


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid input"),
        (401, "permission"),
        (402, "quota"),
        (404, "invalid input"),
        (408, "timeout"),
        (500, "server"),
        (503, "server"),
        (504, "timeout"),
        (529, "server"),
    ],
)
def test_other_statuses(status: int, kind: str) -> None:
    error = refusal(status, {"retry-after": "3"}, openai("so it is"), NOW, "Reason")
    assert (error.kind, error.status, error.retry_after) == (kind, status, 3.0)
    assert str(error) == f"status {status} Reason: so it is"


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({}, None),
        ({"x-ratelimit-remaining-requests": "9"}, Remaining(9, None, None)),
        ({"x-ratelimit-remaining-requests": "many"}, None),
        (
            {
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "250ms",
                "x-ratelimit-reset-requests": "1h",
            }
            | {"x-ratelimit-remaining-requests": "5"},
            Remaining(5, 0, NOW + 0.25),
        ),
        (
            {
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": "2026-03-01T20:01:00Z",
            },
            Remaining(0, None, NOW + 60),
        ),
        ({"ratelimit-remaining": "4", "ratelimit-reset": "30"}, Remaining(4, None, NOW + 30)),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(NOW + 99)}, Remaining(0, None, NOW + 99)),
    ],
)
def test_what_is_left(headers: dict[str, str], told: Remaining | None) -> None:
    assert remaining_of(headers, NOW) == told


def _dumped(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except (TypeError, ValueError):  # an integer that JSON here has not
        return b"null"


names = st.sampled_from(
    ["retry-after", "retry-after-ms", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests", "ratelimit-reset"]
)
json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["error", "message", "details", "violations", "quotaId", "quotaValue"]), inner, max_size=3
    ),
    max_leaves=12,
)  # fmt: skip


@given(
    status=st.integers(400, 599),
    headers=st.dictionaries(names, st.text(max_size=12) | st.integers().map(str)),
    body=json.map(_dumped) | st.binary(max_size=40),
)
def test_whatever_a_server_says_is_read(status: int, headers: dict[str, str], body: bytes) -> None:
    error = refusal(status, headers, body, NOW)
    assert error.kind in KINDS
    assert error.retry_after is None or error.retry_after >= 0
    assert len(str(error)) < 1000


def test_the_next_midnight_is_ahead_where_clocks_change() -> None:
    from zoneinfo import ZoneInfo

    for hours in range(0, 24 * 400, 7):
        now = NOW + hours * 3600
        assert 0 < midnight(now, ZoneInfo("America/Los_Angeles")) - now <= 25 * 3600
