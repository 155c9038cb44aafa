"""Which errors may pass, so that another try is worth it: decided here and nowhere else."""

from __future__ import annotations

import errno
import sys
from typing import Any

LONGEST_ASKED = 3600.0
"""The longest wait, in seconds, that a server can ask for."""

STATUSES = frozenset({408, 425, 429})
"""The answers of a server that may pass, beside those of 500 and above."""

_SERVER = 500

_OF_THE_CALL = frozenset(
    {errno.EBADF, errno.EFAULT, errno.EINVAL, errno.ENAMETOOLONG, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTTY}
)
"""What the operating system says of a call that is wrong; all else it says of the world, which changes."""

_SQLITE = ("BUSY", "LOCKED", "FULL", "IOERR", "CANTOPEN", "NOMEM", "PROTOCOL", "READONLY")
"""What SQLite says of a database that is locked, full or out of reach."""

_CLASSES = (
    "httpx:TransportError",
    "requests:ConnectionError",
    "requests:Timeout",
    "aiohttp:ClientConnectionError",
    "urllib3:HTTPError",
)
"""Classes of packages that need not be there; who has not imported one cannot have its errors."""

_LASTING = ("httpx:UnsupportedProtocol", "httpx:LocalProtocolError")


def transient(error: BaseException, also: tuple[type[BaseException], ...] = ()) -> bool:
    """Whether an error may pass by itself.

    An error that says so of itself, by an attribute `transient`, is believed. Those with the status of a server's
    answer (`error.response.status_code`, `error.status` or `error.code`) may pass if it is 408, 425, 429 or 500 and
    above; those of the operating system, unless they say that the call itself was wrong; SQLite's, of a database that
    is locked, full or out of reach; and lost connections and missed deadlines, also those of httpx, requests, aiohttp
    and urllib3.

    Args:
        error: What was raised.
        also: Further classes of which it may be.

    Example:
        >>> transient(ConnectionRefusedError()), transient(OSError(errno.ENOSPC, "full")), transient(ValueError())
        (True, True, False)
    """
    told = getattr(error, "transient", None)
    if isinstance(told, bool):
        return told
    if isinstance(error, also):
        return True
    status = status_of(error)
    return _of_this_process(error) if status is None else status_passes(status)


def _of_this_process(error: BaseException) -> bool:
    """Whether an error may pass that is no server's answer."""
    sqlite3: Any = sys.modules.get("sqlite3")
    if sqlite3 is not None and isinstance(error, sqlite3.Error):
        code: int | None = getattr(error, "sqlite_errorcode", None)
        if code is None:
            return isinstance(error, sqlite3.OperationalError)
        return code & 0xFF in {getattr(sqlite3, f"SQLITE_{name}") for name in _SQLITE}
    if type(error) is OSError or (isinstance(error, OSError) and error.errno is not None):
        return error.errno not in _OF_THE_CALL
    if isinstance(error, (ConnectionError, TimeoutError)) or isinstance(getattr(error, "reason", None), OSError):
        return True
    return _is_one(error, _CLASSES) and not _is_one(error, _LASTING)


def status_passes(status: int) -> bool:
    """Whether a server that answers so may answer otherwise later."""
    return status in STATUSES or status >= _SERVER


def asked_of(error: BaseException, now: float) -> float:
    """The seconds that an error asks to wait, by `retry_after` or its answer's header `Retry-After`; else 0.

    Args:
        error: What was raised.
        now: Seconds since the epoch.
    """
    told = getattr(error, "retry_after", None)
    if told is None:
        carrier = getattr(error, "response", None) or error
        headers: Any = getattr(carrier, "headers", None)
        told = headers.get("Retry-After") if hasattr(headers, "get") else None
    return seconds_asked(told, now)


def seconds_asked(told: object, now: float) -> float:
    """The seconds that a `Retry-After` asks for, a number or a date; an hour at most, 0 if it says nothing."""
    if isinstance(told, int | float):
        return min(max(0.0, float(told)), LONGEST_ASKED)
    if not isinstance(told, str):
        return 0.0
    if told.isdecimal():
        return min(float(told), LONGEST_ASKED)
    from email.utils import parsedate_to_datetime  # only a server that asks so needs it

    try:
        return min(max(0.0, parsedate_to_datetime(told).timestamp() - now), LONGEST_ASKED)
    except (TypeError, ValueError):
        return 0.0


def status_of(error: BaseException | None) -> int | None:
    """The status of a server's answer that an error is about, as the well-known clients tell it."""
    response: Any = getattr(error, "response", None)
    found = [getattr(response, "status_code", None), getattr(error, "status", None), getattr(error, "code", None)]
    return next((value for value in found if type(value) is int and 100 <= value < 600), None)


def _is_one(error: BaseException, names: tuple[str, ...]) -> bool:
    for name in names:
        module, _, kind = name.partition(":")
        found = getattr(sys.modules.get(module), kind, None)
        if isinstance(found, type) and isinstance(error, found):
            return True
    return False
