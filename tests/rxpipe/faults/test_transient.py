"""Which errors may pass."""

from __future__ import annotations

import errno
import gzip
import sqlite3
import urllib.error
from contextlib import closing
from datetime import UTC, datetime
from email.message import Message
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from rxpipe.faults.transient import LONGEST_ASKED, asked_of, seconds_asked, transient


class BusyError(Exception):
    def __init__(self, **told: Any) -> None:
        super().__init__("busy")
        self.__dict__.update(told)


def answered(status: int) -> httpx.HTTPStatusError:
    request = httpx.Request("GET", "http://x")
    return httpx.HTTPStatusError("no", request=request, response=httpx.Response(status, request=request))


@pytest.mark.parametrize(
    "error",
    [
        *(OSError(number, "x") for number in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EACCES, errno.EMFILE)),
        OSError("no number"),
        OSError(errno.EAGAIN, "x"),
        OSError(errno.ESTALE, "x"),
        ConnectionError(),
        ConnectionResetError(),
        TimeoutError(),
        urllib.error.URLError(OSError(errno.ECONNREFUSED, "refused")),
        urllib.error.HTTPError("http://x", 503, "busy", Message(), None),
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("late"),
        *(answered(status) for status in (408, 425, 429, 500, 503, 599)),
        BusyError(status=429),
        BusyError(code=503),
        BusyError(transient=True),
    ],
    ids=repr,
)
def test_what_may_pass(error: Exception) -> None:
    assert transient(error)


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.EBADF, "x"),
        OSError(errno.EINVAL, "x"),
        gzip.BadGzipFile("no number"),
        ValueError(),
        RecursionError(),
        sqlite3.IntegrityError(),
        sqlite3.ProgrammingError(),
        urllib.error.HTTPError("http://x", 404, "", Message(), None),
        httpx.UnsupportedProtocol("ftp"),
        httpx.LocalProtocolError("header"),
        httpx.InvalidURL("x"),
        *(answered(status) for status in (301, 400, 401, 404, 422)),
        BusyError(status="503"),
        BusyError(code=7),
        BusyError(),
        BusyError(transient=False, status=503),
    ],
    ids=repr,
)
def test_what_stays_wrong(error: Exception) -> None:
    assert not transient(error)


def test_a_locked_database(tmp_path: Path) -> None:
    path = tmp_path / "db"
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as one,
        closing(sqlite3.connect(path, timeout=0)) as other,
    ):
        one.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError, match="locked") as locked:
            other.execute("CREATE TABLE t (n)")
        one.execute("ROLLBACK")
        with pytest.raises(sqlite3.OperationalError, match="no such table") as missing:
            other.execute("SELECT * FROM t")
    assert (transient(locked.value), transient(missing.value)) == (True, False)


def test_classes_of_ones_own() -> None:
    assert not transient(KeyError(), also=(ValueError,))
    assert transient(UnicodeDecodeError("utf-8", b"x", 0, 1, "no"), also=(ValueError,))


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("120", 120.0),
        (7, 7.0),
        (2.5, 2.5),
        ("99999", LONGEST_ASKED),
        (-3, 0.0),
        ("-3", 0.0),
        ("soon", 0.0),
        ("", 0.0),
        (None, 0.0),
        (format_datetime(datetime.fromtimestamp(1060, UTC), usegmt=True), 60.0),
        (format_datetime(datetime.fromtimestamp(900, UTC), usegmt=True), 0.0),
        ("²", 0.0),
    ],
)
def test_what_is_asked_for(told: object, seconds: float) -> None:
    assert seconds_asked(told, now=1000.0) == seconds


def test_where_an_error_says_what_it_asks_for() -> None:
    headers = {"Retry-After": "9"}
    assert asked_of(BusyError(retry_after="8"), 0.0) == 8
    assert asked_of(BusyError(response=SimpleNamespace(headers=headers)), 0.0) == 9
    assert asked_of(BusyError(headers=headers), 0.0) == 9
    assert asked_of(BusyError(headers=None), 0.0) == asked_of(ValueError(), 0.0) == 0
