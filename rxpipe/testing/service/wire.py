"""HTTP as far as the service speaks it: requests read, answers written, and who is connected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson

LONGEST_HEAD = 64 * 1024
"""Bytes that the head of a request may have."""


class HttpRequest(NamedTuple):
    """A request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class CutError(Exception):
    """The connection is to be cut."""


class Connection(asyncio.StreamReaderProtocol):
    """A connection that tells when the client is gone, which says nothing more before it is answered.

    Args:
        served: Serves it, given also what is set when the client is gone.
    """

    def __init__(self, served: Callable[..., Coroutine[Any, Any, None]]) -> None:
        self._gone = asyncio.Event()
        super().__init__(asyncio.StreamReader(LONGEST_HEAD), lambda *both: served(*both, self._gone))

    def eof_received(self) -> bool:
        """The client says nothing more."""
        self._gone.set()
        return bool(super().eof_received())

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._gone.set()
        super().connection_lost(exc)


async def unless(gone: asyncio.Event, answering: Coroutine[Any, Any, None]) -> bool:
    """Answer, unless the client goes away meanwhile; returns whether it has stayed."""
    work, leaving = asyncio.ensure_future(answering), asyncio.ensure_future(gone.wait())
    try:
        await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
        return work.done()
    finally:
        work.cancel()
        leaving.cancel()
        await asyncio.gather(work, leaving, return_exceptions=True)


async def read(reader: asyncio.StreamReader) -> HttpRequest | None:
    """The next request; None where there is none."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ")
    pairs = (line.partition(":") for line in lines if line)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    return HttpRequest(method, path, headers, await reader.readexactly(int(headers.get("content-length", 0))))


async def send(
    writer: asyncio.StreamWriter,
    status: int,
    body: bytes,
    headers: Mapping[str, str] | None = None,
    most: int | None = None,
) -> None:
    """Write an answer; of its body only the first `most` bytes."""
    fields = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
    writer.write(head(status, fields) + body[:most])
    await writer.drain()


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """The head of an answer."""
    phrase = HTTPStatus(status).phrase if status in {*HTTPStatus} else "Of its own"  # some services have such
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def error_body(status: int, message: str) -> bytes:
    """What the service says of a request that it does not answer."""
    kind = "rate_limit_exceeded" if status == HTTPStatus.TOO_MANY_REQUESTS else "server_error"
    return orjson.dumps({"error": {"message": message, "type": kind, "code": None, "param": None}})
