"""Why attempts fail, and when they are tried again."""

from __future__ import annotations

import errno
import socket
import sqlite3
from typing import Any

import httpx
import pytest

from rxpipe.tasks.kinds import DEFAULT, KINDS, Policy, Waits, kind_of


def answered(status: int) -> Exception:
    request = httpx.Request("GET", "http://service")
    return httpx.HTTPStatusError("no", request=request, response=httpx.Response(status, request=request))


class ToldError(Exception):
    """Says of itself what it is."""

    def __init__(self, **about: Any) -> None:
        self.__dict__.update(about)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (answered(429), "rate limit"),
        (answered(503), "server"),
        (answered(504), "timeout"),
        (answered(401), "permission"),
        (answered(404), "invalid input"),
        (answered(402), "quota"),
        (httpx.ConnectError("no"), "network"),
        (httpx.ReadTimeout("late"), "timeout"),
        (ConnectionResetError(), "network"),
        (socket.gaierror(), "network"),
        (TimeoutError(), "timeout"),
        (PermissionError(), "permission"),
        (FileNotFoundError(), "invalid input"),
        (ValueError(), "invalid input"),
        (OSError(errno.ENOSPC, "No space left on device"), "machine"),
        (sqlite3.OperationalError("database is locked"), "machine"),
        (ZeroDivisionError(), "other"),
        (ToldError(kind="quota"), "quota"),
        (ToldError(kind="nonsense"), "other"),
        (ToldError(status=500), "server"),
        (None, "other"),
    ],
)
def test_kinds(error: BaseException | None, kind: str) -> None:
    assert kind_of(error) == kind


@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_pass_is_not_tried_again(kind: Any) -> None:
    wait = Policy().wait(kind, 1, 0.0)
    assert (wait is None) == (kind in {"permission", "invalid input", "other"})


def test_waits_are_random_double_up_to_a_limit_and_come_on_top_of_what_is_asked() -> None:
    waits = Waits(9, 1.0, 10.0)
    for attempt in range(1, 9):
        found = [waits.after(attempt, 3.0) for _ in range(400)]
        longest = min(10.0, 2.0 ** (attempt - 1))
        assert all(3.0 <= wait <= 3.0 + longest for wait in found)
        assert max(found) > 3.0 + 0.9 * longest
        assert min(found) < 3.0 + 0.1 * longest
    assert waits.after(5000) <= 10.0


def test_attempts_are_bounded_by_kind() -> None:
    policy = Policy()
    assert policy.wait("server", DEFAULT["server"].attempts - 1, 0.0) is not None
    assert policy.wait("server", DEFAULT["server"].attempts, 0.0) is None


def test_what_hardly_ever_passes_is_given_up_at_once() -> None:
    policy = Policy()
    for _ in range(19):
        policy.learn("server", succeeded=False)
    assert policy.wait("server", 1, 0.0) is not None
    policy.learn("server", succeeded=False)
    assert policy.wait("server", 1, 0.0) is None
    assert policy.wait("network", 1, 0.0) is not None
    for _ in range(2):
        policy.learn("server", succeeded=True)
    assert policy.wait("server", 1, 0.0) is not None
