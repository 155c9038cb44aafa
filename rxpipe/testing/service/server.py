"""The service on a port of this machine: chat completions, whole or streamed, and what it has counted."""

from __future__ import annotations

import asyncio
import atexit
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec
import orjson

from rxpipe.parameters.units import seconds
from rxpipe.providers.prices import TOKENS_OF_AN_ANSWER, tokens_of
from rxpipe.providers.standin import answer_to, text_of, words
from rxpipe.testing.service.behaviour import Behaviour
from rxpipe.testing.service.desk import Desk, Verdict

_LONGEST_HEAD = 64 * 1024
_OK, _NO_CONTENT = 200, 204


class _Request(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class _CutError(Exception):
    """The connection is to be cut."""


class _Connection(asyncio.StreamReaderProtocol):
    """A connection that tells when the client is gone, which says nothing more before it is answered.

    Args:
        served: Serves it, given also what is set when the client is gone.
    """

    def __init__(self, served: Callable[..., Coroutine[Any, Any, None]]) -> None:
        self._gone = asyncio.Event()
        super().__init__(asyncio.StreamReader(_LONGEST_HEAD), lambda *both: served(*both, self._gone))

    def eof_received(self) -> bool:
        """The client says nothing more."""
        self._gone.set()
        return bool(super().eof_received())

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._gone.set()
        super().connection_lost(exc)


async def _unless(gone: asyncio.Event, answering: Coroutine[Any, Any, None]) -> bool:
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


class Server:
    """Speaks HTTP for a desk, on the running loop.

    Args:
        desk: Says what comes of requests.

    Attributes:
        connections: How many connections there ever were.
    """

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self.connections = 0

    async def start(self, port: int) -> int:
        """Listen; returns the port."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Connection(self._connected), "127.0.0.1", port, backlog=1024
        )
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Listen no more, and cut what is connected."""
        if self._server is not None:
            self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        self.desk.journal.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gone: asyncio.Event) -> None:
        self.connections += 1
        task = asyncio.current_task()
        if task is not None:
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
        try:
            while (request := await _read(reader)) is not None:
                if not await _unless(gone, self._answer(request, writer)):
                    break
        except (_CutError, OSError, asyncio.IncompleteReadError, asyncio.CancelledError, ValueError):
            writer.transport.abort()
        finally:
            writer.close()

    async def _answer(self, request: _Request, writer: asyncio.StreamWriter) -> None:
        path = request.path.partition("?")[0].rstrip("/")
        if request.method == "POST" and path.endswith("/chat/completions"):
            await self._chat(request, writer)
        elif request.method == "PUT" and path == "/behaviour":
            changed = msgspec.to_builtins(self.desk.behaviour) | orjson.loads(request.body)
            self.desk.behaviour = msgspec.convert(changed, Behaviour, strict=False)
            await _send(writer, _NO_CONTENT, b"")
        elif request.method == "GET" and path == "/stats":
            await _send(writer, _OK, orjson.dumps(self.stats()))
        elif request.method == "GET" and path == "/stats/keys":
            await _send(writer, _OK, orjson.dumps(self.desk.journal.keys))
        else:
            await _send(writer, 404, _error(404, f"no such address: {request.path}"))

    def stats(self) -> dict[str, Any]:
        """What was counted."""
        desk = self.desk
        here = {"present": desk.present, "most_at_a_time": desk.most, "connections": self.connections}
        return {**desk.journal.stats(), **here}

    async def _chat(self, request: _Request, writer: asyncio.StreamWriter) -> None:
        desk = self.desk
        key = desk.behaviour.key
        if key is not None and request.headers.get("authorization") != f"Bearer {key}":
            await _send(writer, 401, _error(401, "Incorrect API key provided."))
            return
        try:
            asked = orjson.loads(request.body)
            messages = asked["messages"]
            prompt = "\n".join(text_of(message) for message in messages)
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            await _send(writer, 400, _error(400, "The request must be JSON with messages."))
            return
        verdict = await self._verdict(prompt, tokens_of(messages) + asked.get("max_tokens", TOKENS_OF_AN_ANSWER))
        if verdict.status != _OK:
            body = _error(verdict.status, verdict.message)
            await _send(writer, verdict.status, body, verdict.headers)
            return
        text = _text(asked, prompt, verdict)
        usage = (tokens_of(messages), tokens_of([{"content": text}]))
        await (_Streamed if asked.get("stream") else _Whole)(desk, writer, asked, verdict, prompt, text, usage).send()

    async def _verdict(self, prompt: str, tokens: int) -> Verdict:
        made: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        leave = self.desk.ask(prompt, tokens, made.set_result)
        try:
            return await made
        except asyncio.CancelledError:
            leave()
            raise


class _Whole:
    """An answer in one piece."""

    def __init__(
        self,
        desk: Desk,
        writer: asyncio.StreamWriter,
        asked: dict[str, Any],
        verdict: Verdict,
        prompt: str,
        text: str,
        usage: tuple[int, int],
    ) -> None:
        self.desk, self.writer, self.asked, self.verdict = desk, writer, asked, verdict
        self.prompt, self.text, self.usage = prompt, text, usage

    def told(self, kind: str, **choice: Any) -> dict[str, Any]:
        """What all answers and parts of them have in common."""
        made = {"id": "chatcmpl-stand-in", "object": kind, "created": 0, "model": self.asked.get("model", "")}
        return {**made, "choices": [{"index": 0, **choice}]}

    @property
    def counted(self) -> dict[str, int]:
        """The tokens used."""
        used, made = self.usage
        return {"prompt_tokens": used, "completion_tokens": made, "total_tokens": used + made}

    async def send(self) -> None:
        """Send it, or what is wrong of it."""
        message = {"role": "assistant", "content": self.text}
        told = self.told("chat.completion", message=message, finish_reason="stop")
        body = orjson.dumps({**told, "usage": self.counted})
        if self.verdict.fault == "wrong":
            body = body[: len(body) // 2]
        if self.verdict.fault == "cut":
            await _send(self.writer, _OK, body, self.verdict.headers, most=len(body) // 2)
            raise _CutError
        if not self.verdict.fault:
            self.desk.answered(self.prompt, self.usage)
        await _send(self.writer, _OK, body, self.verdict.headers)


class _Streamed(_Whole):
    """An answer as server-sent events, word by word."""

    async def send(self) -> None:
        """Send it, or what is wrong of it."""
        parts, pause = words(self.text), seconds(self.desk.behaviour.word)
        head = {**self.verdict.headers, "Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}
        self.writer.write(_head(_OK, head))
        for number, part in enumerate(parts):
            if self.verdict.fault == "cut" and number >= len(parts) // 2:
                await self.writer.drain()
                raise _CutError
            if pause:
                await asyncio.sleep(pause)
            delta = {"role": "assistant", "content": part}
            self._event(orjson.dumps(self.told("chat.completion.chunk", delta=delta, finish_reason=None)))
            await self.writer.drain()
        if self.verdict.fault == "wrong":
            self._event(b'{"choices": [')
        else:
            self._event(orjson.dumps(self.told("chat.completion.chunk", delta={}, finish_reason="stop")))
            last = self.told("chat.completion.chunk") | {"choices": [], "usage": self.counted}
            self._event(orjson.dumps(last))
            if not self.verdict.fault:
                self.desk.answered(self.prompt, self.usage)
        self._event(b"[DONE]")
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    def _event(self, data: bytes) -> None:
        event = b"data: %b\n\n" % data
        self.writer.write(b"%x\r\n%b\r\n" % (len(event), event))


class Service:
    """The service in a thread of its own, until it is closed or the process ends.

    Args:
        behaviour: How it behaves.
        port: Where it listens; the system chooses by default.
        journal: A file in which it notes what it was asked; what is there counts.

    Attributes:
        url: What `OPENAI_BASE_URL` is to be.
    """

    def __init__(self, behaviour: Behaviour = Behaviour(), port: int = 0, journal: Path | None = None) -> None:  # noqa: B008  # frozen
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="service", daemon=True)
        self._thread.start()
        self._server: Server = self._call(lambda: Server(desk_on_loop(behaviour, journal)))
        self.port = asyncio.run_coroutine_threadsafe(self._server.start(port), self._loop).result()
        self.url = f"http://127.0.0.1:{self.port}/v1"
        atexit.register(self.close)

    @property
    def behaviour(self) -> Behaviour:
        """How it behaves."""
        return self._server.desk.behaviour

    @behaviour.setter
    def behaviour(self, behaviour: Behaviour) -> None:
        self._call(lambda: setattr(self._server.desk, "behaviour", behaviour))

    def stats(self) -> dict[str, Any]:
        """What was counted; see `Journal`."""
        found: dict[str, Any] = self._call(self._server.stats)
        return found

    def keys(self) -> dict[str, dict[str, int]]:
        """What was counted for each prompt."""
        found: dict[str, dict[str, int]] = self._call(
            lambda: {key: dict(counts) for key, counts in self._server.desk.journal.keys.items()}
        )
        return found

    def close(self) -> None:
        """Cut what is connected, and listen no more."""
        atexit.unregister(self.close)
        if self._loop.is_closed():
            return
        asyncio.run_coroutine_threadsafe(self._server.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, function: Callable[[], Any]) -> Any:
        """Call a function in the service's thread."""

        async def called() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(called(), self._loop).result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def desk_on_loop(behaviour: Behaviour, journal: Path | None) -> Desk:
    """A desk whose timers are those of the running loop."""
    loop = asyncio.get_running_loop()
    return Desk(behaviour, time.time, lambda wait, call: loop.call_later(wait, call).cancel, journal)


def _text(asked: dict[str, Any], prompt: str, verdict: Verdict) -> str:
    if verdict.fault == "invalid":
        return '{"not": ["what", "was", "asked", "for"]}'
    form = asked.get("response_format") or {}
    schema = form.get("json_schema", {}).get("schema") if form.get("type") == "json_schema" else None
    return answer_to([{"role": "user", "content": prompt}], schema)


async def _read(reader: asyncio.StreamReader) -> _Request | None:
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
    return _Request(method, path, headers, await reader.readexactly(int(headers.get("content-length", 0))))


async def _send(
    writer: asyncio.StreamWriter,
    status: int,
    body: bytes,
    headers: Mapping[str, str] | None = None,
    most: int | None = None,
) -> None:
    head = {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}
    writer.write(_head(status, head) + body[:most])
    await writer.drain()


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _error(status: int, message: str) -> bytes:
    kind = "rate_limit_exceeded" if status == HTTPStatus.TOO_MANY_REQUESTS else "server_error"
    return orjson.dumps({"error": {"message": message, "type": kind, "code": None, "param": None}})
