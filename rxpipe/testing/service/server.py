"""The service on a port of this machine: what it is asked, and what it has counted."""

from __future__ import annotations

import asyncio
import atexit
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import msgspec
import orjson

from rxpipe.providers.prices import TOKENS_OF_AN_ANSWER, tokens_of
from rxpipe.providers.standin import text_of
from rxpipe.testing.service.answers import Streamed, Whole, text_of_answer
from rxpipe.testing.service.behaviour import Behaviour
from rxpipe.testing.service.desk import Desk, Verdict
from rxpipe.testing.service.wire import Connection, CutError, HttpRequest, error_body, read, send, unless

_OK, _NO_CONTENT = 200, 204


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
            lambda: Connection(self._connected), "127.0.0.1", port, backlog=1024
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
            while (request := await read(reader)) is not None:
                if not await unless(gone, self._answer(request, writer)):
                    break
        except (CutError, OSError, asyncio.IncompleteReadError, asyncio.CancelledError, ValueError):
            writer.transport.abort()
        finally:
            writer.close()

    async def _answer(self, request: HttpRequest, writer: asyncio.StreamWriter) -> None:
        path = request.path.partition("?")[0].rstrip("/")
        if request.method == "POST" and path.endswith("/chat/completions"):
            await self._chat(request, writer)
        elif request.method == "PUT" and path == "/behaviour":
            changed = msgspec.to_builtins(self.desk.behaviour) | orjson.loads(request.body)
            self.desk.behaviour = msgspec.convert(changed, Behaviour, strict=False)
            await send(writer, _NO_CONTENT, b"")
        elif request.method == "GET" and path == "/stats":
            await send(writer, _OK, orjson.dumps(self.stats()))
        elif request.method == "GET" and path == "/stats/keys":
            await send(writer, _OK, orjson.dumps(self.desk.journal.keys))
        else:
            await send(writer, 404, error_body(404, f"no such address: {request.path}"))

    def stats(self) -> dict[str, Any]:
        """What was counted."""
        desk = self.desk
        here = {"present": desk.present, "most_at_a_time": desk.most, "connections": self.connections}
        return {**desk.journal.stats(), **here}

    async def _chat(self, request: HttpRequest, writer: asyncio.StreamWriter) -> None:
        desk = self.desk
        key = desk.behaviour.key
        if key is not None and request.headers.get("authorization") != f"Bearer {key}":
            await send(writer, 401, error_body(401, "Incorrect API key provided."))
            return
        try:
            asked = orjson.loads(request.body)
            messages = asked["messages"]
            prompt = "\n".join(text_of(message) for message in messages)
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            await send(writer, 400, error_body(400, "The request must be JSON with messages."))
            return
        verdict = await self._verdict(prompt, tokens_of(messages) + asked.get("max_tokens", TOKENS_OF_AN_ANSWER))
        if verdict.status != _OK:
            body = error_body(verdict.status, verdict.message)
            await send(writer, verdict.status, body, verdict.headers)
            return
        text = text_of_answer(asked, prompt, verdict)
        usage = (tokens_of(messages), tokens_of([{"content": text}]))
        await (Streamed if asked.get("stream") else Whole)(desk, writer, asked, verdict, prompt, text, usage).send()

    async def _verdict(self, prompt: str, tokens: int) -> Verdict:
        made: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        leave = self.desk.ask(prompt, tokens, made.set_result)
        try:
            return await made
        except asyncio.CancelledError:
            leave()
            raise


class Service:
    """The service in a thread of its own, until it is closed or the process ends.

    Args:
        behaviour: How it behaves.
        port: Where it listens; the system chooses by default.
        journal: A file in which it notes what it was asked; what is there counts.

    Attributes:
        url: What `OPENAI_BASE_URL` is to be.
    """

    def __init__(self, behaviour: Behaviour | None = None, port: int = 0, journal: Path | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="service", daemon=True)
        self._thread.start()
        self._server: Server = self._call(lambda: Server(desk_on_loop(behaviour or Behaviour(), journal)))
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
