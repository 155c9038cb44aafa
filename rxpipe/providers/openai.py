"""Models behind an interface like OpenAI's, over httpx."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, NoReturn

import orjson

from rxpipe.errors import shortened
from rxpipe.extras import extra
from rxpipe.providers.prices import FREE, Price
from rxpipe.providers.provider import CallError, Remaining, Request, Result, Usage
from rxpipe.providers.refusals import SHOWN, message_of, refusal, remaining_of

ADDRESS = "https://api.openai.com/v1"
"""Where OpenAI is."""

_OK = 200
_JSON = {"Content-Type": "application/json"}
_MOST = 64 * 1024
"""Bytes of a refusal that are read."""


class OpenAI:
    """A service like OpenAI's; see `Provider`.

    Args:
        address: Where it is, as `https://host/v1`.
        key: What is sent as the bearer's token, if anything.
        price: What its tokens cost.
        clock: Seconds since the epoch.
        where: Who needs it, for messages.

    Raises:
        MissingExtraError: httpx is not installed.
    """

    def __init__(
        self,
        address: str = ADDRESS,
        key: str | None = None,
        price: Price = FREE,
        clock: Callable[[], float] = time.time,
        where: str = "chat",
    ) -> None:
        self._httpx = extra("httpx", "http", where)
        self._url = f"{address.rstrip('/')}/chat/completions"
        self._price = price
        self._clock = clock
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        limits = self._httpx.Limits(max_connections=None)  # how many calls there are is for others to say
        self._client = self._httpx.AsyncClient(timeout=None, limits=limits, headers=headers)

    async def ask(self, request: Request) -> Result:
        """The whole answer."""
        async with self._answer(request, stream=False) as answer:
            body = await answer.aread()
        found = _object(body)
        choice = _choice(found)
        message = _mapping(choice.get("message"))
        text, refused = message.get("content"), message.get("refusal")
        if not isinstance(text, str):
            _refuse(f"a refusal: {refused}" if refused else found)
        return self._result(text, found, choice.get("finish_reason"), remaining_of(answer.headers, self._clock()))

    async def stream(self, request: Request) -> AsyncGenerator[str | Result, None]:
        """The parts of the answer's text as they come, and at last the answer."""
        parts: list[str] = []
        last: dict[str, Any] = {}
        finish = None
        async with self._answer(request, stream=True) as answer, aclosing(_events(answer)) as events:
            async for data in events:
                found = _object(data)
                if found.get("error"):
                    raise CallError(message_of(data) or shortened(repr(found)), "server", spent=True)
                last |= {name: found[name] for name in ("model", "usage") if found.get(name)}
                choice = _choice(found)
                finish = choice.get("finish_reason") or finish
                text = _mapping(choice.get("delta")).get("content")
                if text and isinstance(text, str):
                    parts.append(text)
                    yield text
        if finish is None:
            msg = f"the answer broke off behind {len(parts)} parts"
            raise CallError(msg, "network", spent=True)
        yield self._result("".join(parts), last, finish, remaining_of(answer.headers, self._clock()))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    @asynccontextmanager
    async def _answer(self, request: Request, *, stream: bool) -> AsyncGenerator[Any]:
        """The answer to a request, once it has begun well; whatever httpx raises is told in one form."""
        body = orjson.dumps(_body(request, stream=stream))
        clock, begun = self._clock, False
        try:
            async with self._client.stream("POST", self._url, content=body, headers=_JSON) as answer:
                begun = True
                if answer.status_code != _OK:
                    body = await _beginning(answer)
                    raise refusal(answer.status_code, answer.headers, body, clock(), answer.reason_phrase)
                yield answer
        except self._httpx.HTTPError as error:
            raise told(self._httpx, error, begun=begun) from None

    def _result(self, text: str, found: dict[str, Any], finish: object, remaining: Remaining | None) -> Result:
        usage = _mapping(found.get("usage"))
        used, made = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
        cached = min(used, _count(_mapping(usage.get("prompt_tokens_details")), "cached_tokens"))
        cost = self._price.of(used, made, cached)
        return Result(text, Usage(used, made, cost), str(found.get("model", "")), str(finish or "stop"), remaining)


def told(httpx: Any, error: Any, *, begun: bool) -> CallError:
    """An error of httpx as one of a call.

    Args:
        httpx: The package.
        error: What it raised.
        begun: Whether the service had begun to answer.
    """
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, (httpx.LocalProtocolError, httpx.UnsupportedProtocol, httpx.InvalidURL)):
        return CallError(text, "invalid input")
    unsent = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout))
    kind: Any = "timeout" if isinstance(error, httpx.TimeoutException) else "network"
    return CallError(text, kind, spent=begun or not unsent)


def _body(request: Request, *, stream: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"model": request.model, "messages": request.messages, **request.options}
    if request.schema is not None:
        schema = {"name": "result", "schema": request.schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return body


async def _beginning(answer: Any) -> bytes:
    """The beginning of a refusal's body."""
    read = bytearray()
    async for chunk in answer.aiter_bytes():
        read += chunk
        if len(read) >= _MOST:
            break
    return bytes(read[:_MOST])


async def _events(answer: Any) -> AsyncGenerator[bytes, None]:
    """The data of server-sent events, up to that which says that it is the last.

    The answer is read to its end all the same: only then can its connection serve the next request.
    """
    data: list[bytes] = []
    done = False
    async with aclosing(_lines(answer)) as lines:
        async for line in lines:
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
            elif not line and data:
                whole, data = b"\n".join(data), []
                done = done or whole == b"[DONE]"
                if not done:
                    yield whole
    if data and not done and data != [b"[DONE]"]:
        yield b"\n".join(data)


async def _lines(answer: Any) -> AsyncGenerator[bytes, None]:
    """The lines of a body; Python's own idea of a line ends at characters that JSON may have within a text."""
    rest = b""
    async for chunk in answer.aiter_bytes():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r")
    if rest:
        yield rest


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = body.decode("utf-8", "replace")
    return found if isinstance(found, dict) else _refuse(found)


def _choice(found: dict[str, Any]) -> dict[str, Any]:
    """The first choice of an answer, or of a part of one; empty where there is none."""
    choices = found.get("choices")
    return _mapping(choices[0]) if choices and isinstance(choices, list) else {}


def _mapping(value: object) -> dict[str, Any]:
    """The value, if it is an object; else an empty one."""
    return value if isinstance(value, dict) else {}


def _refuse(found: object) -> NoReturn:
    shown = (found if isinstance(found, str) else repr(found))[:SHOWN]
    msg = f"the answer must be a chat completion in JSON; got {shown}"
    raise CallError(msg, "server", spent=True)


def _count(usage: dict[str, Any], name: str) -> int:
    found = usage.get(name)
    return found if type(found) is int and found >= 0 else 0
