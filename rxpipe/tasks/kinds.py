"""Why an attempt failed, in the words that a person decides by, and how long to wait before the next one."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Literal, get_args

import msgspec

from rxpipe.faults.transient import status_of, transient

Kind = Literal[
    "network",
    "timeout",
    "rate limit",
    "quota",
    "server",
    "machine",
    "permission",
    "invalid input",
    "interrupted",
    "other",
]
KINDS: tuple[Kind, ...] = get_args(Kind)

_TOO_MANY, _SERVER = 429, 500
_BY_STATUS: Mapping[int, Kind] = {
    401: "permission",
    402: "quota",
    403: "permission",
    407: "permission",
    408: "timeout",
    425: "rate limit",
    _TOO_MANY: "rate limit",
    504: "timeout",
}
_LEAST_TRIES = 20
"""Second and later attempts after failures of a kind, before anything is learned of them."""

_HOPELESS = 0.05
"""The share of them that must succeed."""


class Waits(msgspec.Struct, frozen=True):
    """How often a task is tried that fails for one kind of reason, and how long the waits are.

    Attributes:
        attempts: How often it is tried in all.
        first: Seconds that the first wait lasts at most; each further one up to twice as long.
        longest: Seconds that a wait lasts at most, beside what a server asks for.
    """

    attempts: int
    first: float
    longest: float = 300.0

    def after(self, attempt: int, asked: float = 0.0) -> float:
        """The seconds until the next attempt: what the server asked for, and a random part (full jitter).

        https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter
        """
        longest = min(self.longest, self.first * 2 ** min(attempt - 1, 60))
        return asked + random.uniform(0, longest)  # spreads the attempts


DEFAULT: Mapping[Kind, Waits] = {
    "network": Waits(6, 1.0),
    "timeout": Waits(4, 2.0),
    "rate limit": Waits(10, 5.0),
    "quota": Waits(10, 60.0, 3600.0),
    "server": Waits(5, 2.0),
    "machine": Waits(6, 5.0),
    "interrupted": Waits(4, 0.0),
}
"""Kinds of reasons that pass; after any other a task is not tried again."""


class Policy:
    """When a task is tried again; learns which kinds of failures are worth it.

    Args:
        waits: For each kind of reason that passes.
        outage: Seconds that the service may be down; None for what is usual.
    """

    def __init__(self, waits: Mapping[Kind, Waits] = DEFAULT, outage: float | None = None) -> None:
        self._waits = waits
        self.outage = outage
        self.learned: dict[str, tuple[int, int]] = {}
        """By kind: how many attempts followed such a failure, and how many of them succeeded."""

    def wait(self, kind: Kind, attempt: int, asked: float) -> float | None:
        """The seconds until the next attempt; None where there is none.

        Args:
            kind: Why this one failed.
            attempt: Its number, from 1 on.
            asked: The seconds that the server asked to wait.
        """
        waits = self._waits.get(kind)
        if waits is None or attempt >= waits.attempts or self.hopeless(kind):
            return None
        return waits.after(attempt, asked)

    def hopeless(self, kind: str) -> bool:
        """Whether nearly all attempts after such a failure failed too."""
        tried, succeeded = self.learned.get(kind, (0, 0))
        return tried >= _LEAST_TRIES and succeeded < _HOPELESS * tried

    def learn(self, kind: str, *, succeeded: bool) -> None:
        """Note how an attempt ended that followed a failure of a kind."""
        tried, before = self.learned.get(kind, (0, 0))
        self.learned[kind] = (tried + 1, before + succeeded)


def kind_of(error: BaseException | None) -> Kind:
    """Why a call failed: what the error says of itself by `kind`, its status, or its class."""
    told: Kind | None = getattr(error, "kind", None)
    if told in KINDS:
        return told
    status = status_of(error)
    return _by_class(error) if status is None else kind_of_status(status)


def kind_of_status(status: int) -> Kind:
    """Why a server answered with a status."""
    return _BY_STATUS.get(status, "server" if status >= _SERVER else "invalid input")


def _by_class(error: BaseException | None) -> Kind:
    names = {f"{kind.__module__.partition('.')[0]}:{kind.__name__}" for kind in type(error).__mro__}
    if isinstance(error, TimeoutError) or "httpx:TimeoutException" in names:
        return "timeout"
    if isinstance(error, PermissionError):
        return "permission"
    if isinstance(error, ConnectionError) or names & {"httpx:TransportError", "socket:gaierror"}:
        return "network"
    if isinstance(error, (ValueError, FileNotFoundError, IsADirectoryError)):
        return "invalid input"
    return "machine" if error is not None and transient(error) else "other"
