"""What `http` does: a request made of a record by templates, and what its answer stands for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import quote

import orjson

from rxpipe.context import Context
from rxpipe.expressions import parse
from rxpipe.extras import extra
from rxpipe.operators.tasks._asking import Ticket
from rxpipe.operators.tasks._jinja import EXTRA
from rxpipe.operators.tasks._template import Template, template
from rxpipe.providers.openai import told
from rxpipe.providers.provider import CallError
from rxpipe.providers.refusals import SHOWN, refusal, remaining_of

_FREE = ("GET", "HEAD")
_OK, _REDIRECT = 200, 300


class Form(NamedTuple):
    """How requests are made of records, and what is wanted; as the parameters of `http`."""

    url: str
    method: str
    headers: Mapping[str, Any]
    body: str | Mapping[str, Any] | None
    expect: str
    into: str
    paid: bool | None
    largest: int


class Http:
    """What is done with a record; see `Work`.

    Args:
        context: The step.
        form: How requests are made.

    Raises:
        MissingExtraError: httpx is not installed.
    """

    def __init__(self, context: Context, form: Form) -> None:
        self._httpx = extra("httpx", EXTRA, context.name)
        self._context = context
        self._form = form
        self._paid = form.method not in _FREE if form.paid is None else form.paid
        whole = form.url.lstrip().startswith("{{")
        self._url = template(form.url, "url", None if whole else _encoded)
        texts = {name: value for name, value in form.headers.items() if isinstance(value, str)}
        self._headers = {name: template(value, f"headers.{name}") for name, value in texts.items()}
        self._secrets = {name: form.headers[name].get_secret_value() for name in form.headers.keys() - texts.keys()}
        self._body = None if form.body is None else _body(form.body)
        self._expected = parse(form.expect).bind(dict)
        self._client = self._httpx.AsyncClient(timeout=None, limits=self._httpx.Limits(max_connections=None))

    async def do(self, record: dict[str, Any], ticket: Ticket) -> dict[str, Any] | None:
        """The answer to the request that a record makes."""
        url = self._url(record)
        headers = {name: fill(record) for name, fill in self._headers.items()}
        content = b"" if self._body is None else self._body(record)
        plain = [self._form.method, url, headers, content.decode()]
        answer = ticket.recall(plain) if self._paid else None
        if answer is None:
            if not ticket.begin():
                return None
            if isinstance(self._form.body, Mapping):
                headers = {"Content-Type": "application/json"} | headers
            answer = await self._answer(url, headers | self._secrets, content, ticket)
            if self._paid:
                ticket.remember(plain, answer)
        return {self._form.into: answer}

    async def _answer(self, url: str, headers: dict[str, str], content: bytes, ticket: Ticket) -> dict[str, Any]:
        httpx, form = self._httpx, self._form
        begun = False
        try:
            async with self._client.stream(form.method, url, headers=headers, content=content) as answer:
                begun = True
                body = await self._read(answer)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise told(httpx, error, begun=begun) from None
        ticket.hears(remaining_of(answer.headers, self._context.now()))
        text = body.decode(answer.charset_encoding or "utf-8", "replace")
        headers = {name: value for name, value in answer.headers.items() if name != "date"}
        made: dict[str, Any] = {"status": answer.status_code, "headers": headers, "text": text, "json": None}
        with suppress(orjson.JSONDecodeError):
            made["json"] = orjson.loads(body)
        try:
            expected = bool(self._expected(made))
        except Exception as error:  # of whatever kind: the answer has not what is asked of it
            expected, told_of = False, f"{type(error).__name__}: {error}"
        else:
            told_of = f"status {answer.status_code}: {text:.{SHOWN}}"
        if expected:
            return made
        if not _OK <= answer.status_code < _REDIRECT:
            now = self._context.now()
            raise refusal(answer.status_code, answer.headers, body, now, answer.reason_phrase)
        msg = f"the answer must be as expected, {form.expect}; got {told_of}"
        raise CallError(msg, "server", status=answer.status_code)

    async def _read(self, answer: Any) -> bytes:
        body = bytearray()
        async for chunk in answer.aiter_bytes():
            body += chunk
            if len(body) > self._form.largest:
                msg = f"the answer must have {self._form.largest} bytes at most; got more"
                raise CallError(msg, "invalid input", status=answer.status_code)
        return bytes(body)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _encoded(value: object) -> str:
    return quote(str(value), safe="")


def _body(given: str | Mapping[str, Any]) -> Callable[[Mapping[str, Any]], bytes]:
    """A function that makes a body of a record."""
    if isinstance(given, str):
        fill = template(given, "body")
        return lambda record: fill(record).encode()
    filled = _filling(given, "body")
    return lambda record: orjson.dumps(filled(record))


def _filling(value: Any, where: str) -> Callable[[Mapping[str, Any]], Any]:
    """A function that gives the value with its texts filled in."""
    if isinstance(value, str):
        made: Template = template(value, where)
        return made
    if isinstance(value, Mapping):
        inner = {name: _filling(each, f"{where}.{name}") for name, each in value.items()}
        return lambda record: {name: fill(record) for name, fill in inner.items()}
    if isinstance(value, list):
        items = [_filling(each, f"{where}.{number}") for number, each in enumerate(value)]
        return lambda record: [fill(record) for fill in items]
    return lambda _: value
