"""What `to_http` does: requests, several at once, each tried until it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import uuid4

from reactivex.abc import ObserverBase, SchedulerBase

from rxpipe.context import Context
from rxpipe.elements import Row
from rxpipe.extras import extra
from rxpipe.operators.flow._call import AnyFuture, Call, leases_of, running_loop
from rxpipe.operators.flow._calls import Calls
from rxpipe.operators.sinks._records import json_records

SHOWN = 500
"""Bytes of an answer's body that an error shows."""

_OK, _REDIRECT = 200, 300


class Form(NamedTuple):
    """How a request looks.

    Attributes:
        url: Where it goes.
        method: POST or PUT.
        body: `lines`, `array` or `record`.
        batch: The most records of one request.
        headers: Its headers.
        secrets: Values in them that are not shown.
        key_header: The header with a key of its own for each request, if there is one.
        timeout: Seconds until it must be answered.
    """

    url: str
    method: str
    body: str
    batch: int
    headers: Mapping[str, str]
    secrets: list[str]
    key_header: str | None
    timeout: float


class _Request(NamedTuple):
    rows: list[Row]
    body: bytes
    headers: dict[str, str]


class _Answer(NamedTuple):
    status: int
    reason: str
    body: bytes
    retry_after: str


class Requests(Calls):
    """The requests of one subscription.

    Args:
        form: How they look.
        context: The step's context.
        scheduler: The scheduler of the subscription.
        observer: Takes each element when its requests are answered.
        concurrency: How many requests are under way at a time.

    Raises:
        MissingExtraError: httpx is not installed.
    """

    patient = True

    def __init__(
        self,
        form: Form,
        context: Context,
        scheduler: SchedulerBase | None,
        observer: ObserverBase[Any],
        concurrency: int,
    ) -> None:
        super().__init__(context, scheduler, observer, concurrency, None)
        self._httpx = extra("httpx", "http", context.name)
        self._form = form
        self._loop = running_loop()
        self._limits = self._httpx.Limits(max_connections=concurrency)
        self._client = None if self._loop is None else self._made_client()
        self._closing: asyncio.Task[None] | None = None

    def _made_client(self) -> Any:
        return self._httpx.AsyncClient(timeout=None, limits=self._limits)  # each attempt has its own, for all of it

    def _made_of(self, element: Any) -> list[Call]:
        leases = leases_of(element)
        records = json_records(element, lambda reason, row: self._context.reject(reason, row, leases=leases))
        size = 1 if self._form.body == "record" else self._form.batch
        return [Call(element, self._request(records[at : at + size])) for at in range(0, len(records), size)]

    def _request(self, records: list[tuple[Row, bytes]]) -> _Request:
        form = self._form
        lines = [line for _, line in records]
        bare = b",".join(line[:-1] for line in lines)
        body = {"lines": b"".join(lines), "array": b"[%b]" % bare, "record": bare}[form.body]
        kind = "application/x-ndjson" if form.body == "lines" else "application/json"
        headers = {"Content-Type": kind} | dict(form.headers)
        if form.key_header is not None:
            headers[form.key_header] = str(uuid4())
        return _Request([row for row, _ in records], body, headers)

    def _begun(self, call: Call) -> AnyFuture:
        if self._loop is not None:
            return self._loop.create_task(self._attempt(self._client, call.row))
        return self._context.executor().submit(asyncio.run, self._alone(call.row))

    async def _alone(self, request: _Request) -> _Answer:
        """An attempt on a loop of its own, where the dataflow has none."""
        async with self._made_client() as client:
            return await self._attempt(client, request)

    async def _attempt(self, client: Any, request: _Request) -> _Answer:
        form = self._form
        shown = bytearray()
        try:
            async with (
                asyncio.timeout(form.timeout),
                client.stream(form.method, form.url, content=request.body, headers=request.headers) as answer,
            ):
                async for chunk in answer.aiter_bytes():
                    shown += chunk[: SHOWN - len(shown)]
        except TimeoutError:
            msg = f"must be answered within {form.timeout:g} s"
            raise TimeoutError(msg) from None
        return _Answer(answer.status_code, answer.reason_phrase, bytes(shown), answer.headers.get("Retry-After", ""))

    def _told(self, answer: _Answer) -> str:
        body = answer.body.decode("utf-8", "replace").strip()
        for secret in self._form.secrets:
            body = body.replace(secret, "**********")
        return f"status {answer.status} {answer.reason}".strip() + (f": {body}" if body else "")

    def _results(self, call: Call, result: _Answer) -> list[Any]:
        if not _OK <= result.status < _REDIRECT:
            raise _RefusedError(self._told(result), result.status, result.retry_after)
        return []

    def _elements(self, calls: list[Call]) -> list[Any]:
        return [calls[-1].element] if calls[-1].last else []

    def _reject(self, call: Call, error: BaseException) -> None:
        for row in call.row.rows:
            self._context.reject(self._reason(error), row, leases=leases_of(call.element))
        error.__traceback__ = None  # whoever keeps the exception must not keep the records and their leases

    def _reason(self, error: BaseException) -> str:
        return str(error) if isinstance(error, _RefusedError) else super()._reason(error)

    def close(self) -> None:
        """Cancel what is under way, and close the connections."""
        super().close()
        client, self._client = self._client, None
        if client is not None and self._loop is not None and not self._loop.is_closed():
            self._closing = self._loop.create_task(client.aclose())


class _RefusedError(Exception):
    """The server has answered that it does not take it, or not now."""

    def __init__(self, told: str, status: int, retry_after: str) -> None:
        super().__init__(told)
        self.status = status
        self.retry_after = retry_after or None
