"""A local HTTP server that keeps what it is sent and answers as it is told, to test graphs that send."""

from __future__ import annotations

import atexit
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self


class Answer(NamedTuple):
    """What the server answers; before that it waits for `after`, if there is one."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = {}
    after: threading.Event | None = None


class Received(NamedTuple):
    """A request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:  # a client that goes away
        """Say nothing."""


class Receiver:
    """Listens on a port of this machine until it is closed, or the process ends.

    Args:
        answers: The first answers, one for each request; then 200.
        port: The port; the system chooses one by default.

    Attributes:
        url: Where it listens.
        received: The requests, in the order in which they came.
    """

    def __init__(self, answers: Iterable[Answer] = (), port: int = 0) -> None:
        self.received: list[Received] = []
        self._answers = deque(answers)
        self._server = _Server(("127.0.0.1", port), self._handler())
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="receiver", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    @property
    def bodies(self) -> list[bytes]:
        """The bodies of the requests."""
        return [request.body for request in self.received]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                answer = receiver._take(Received(self.command, self.path, dict(self.headers.items()), body))  # its own
                if answer.after is not None:
                    answer.after.wait()
                self.send_response(answer.status)
                for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body)

            do_GET = do_POST = do_PUT = _answer  # noqa: N815  # named by the protocol

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # named by the base
                """Say nothing."""

        return Handler

    def _take(self, request: Received) -> Answer:
        self.received.append(request)
        return self._answers.popleft() if self._answers else Answer()

    def close(self) -> None:
        """Stop listening."""
        atexit.unregister(self.close)
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
