"""`to_http`: requests to a real server on this machine, in trouble and out of it."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
import reactivex as rx

from rxpipe.elements import Batch, OriginGone
from rxpipe.errors import MissingExtraError, ParameterError
from rxpipe.language.config import load_text
from rxpipe.lease import Lease
from rxpipe.operators.sinks.to_http import to_http
from rxpipe.testing import Answer, Receiver
from tests.operators.sinks.parts import Running

LONGEST = 20
subscribed: list[Running] = []


def sending(step: Any) -> Running:
    """A sink that is unsubscribed when the test is over."""
    subscribed.append(Running(step))
    return subscribed[-1]


@pytest.fixture
def server() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def closing() -> None:
        try:
            await asyncio.wait_for(main(), LONGEST)
        finally:
            while subscribed:
                subscribed.pop().stop()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            await asyncio.gather(*others, return_exceptions=True)

    asyncio.run(closing())


async def until(condition: Callable[[], Any], step: Callable[[], Any] = lambda: None) -> None:
    while not condition():
        step()
        await asyncio.sleep(0.002)


async def answered(running: Running, count: int = 1, advance: float = 0.0) -> None:
    """Wait until so many elements came out, while virtual time goes on by so much at each look."""
    await until(lambda: len(running.out) >= count, lambda: running.context.virtual.advance_by(advance))


def leased(running: Running, *rows: dict[str, Any]) -> Batch:
    return Batch([*rows], leases=(Lease(running.context.flow, 10, "f", 3, 9),))


@pytest.mark.parametrize(
    ("body", "bodies", "kind"),
    [
        ("lines", [b'{"n":0,"_retracted":true}\n{"n":1}\n', b'{"n":2}\n'], "application/x-ndjson"),
        ("array", [b'[{"n":0,"_retracted":true},{"n":1}]', b'[{"n":2}]'], "application/json"),
        ("record", [b'{"n":0,"_retracted":true}', b'{"n":1}', b'{"n":2}'], "application/json"),
    ],
)
def test_bodies(server: Receiver, body: Any, bodies: list[bytes], kind: str) -> None:
    async def main() -> None:
        running = sending(to_http(f"{server.url}/in?a=b", method="PUT", body=body, batch=2, concurrency=1))
        elements: list[Any] = [Batch([{"n": 1}, {"n": object()}, {"n": 2}], [{"n": 0}]), OriginGone("f"), Batch([])]
        running.push(*elements)
        running.complete()
        await answered(running, 3)
        assert (running.out, running.done, running.context.flow.blocks) == (elements, True, 0)
        assert running.reasons == ["cannot be written as JSON: Type is not JSON serializable: object"]

    run(main)
    assert server.bodies == bodies
    assert {(got.method, got.path, got.headers["Content-Type"]) for got in server.received} == {
        ("PUT", "/in?a=b", kind)
    }


def test_headers_and_secrets(server: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENDER_TOKEN", "s3cr3t-token")
    server._answers.append(Answer(400, b"no such token: s3cr3t-token"))
    headers: dict[str, Any] = {"Authorization": {"env": "SENDER_TOKEN"}, "X-Of": "a", "Content-Type": "text/plain"}

    async def main() -> None:
        running = sending(to_http(server.url, headers=headers))
        running.push(Batch([{"n": 1}]))
        await answered(running)
        assert running.reasons == ["status 400 Bad Request: no such token: **********"]

    run(main)
    sent = server.received[0].headers
    assert (sent["Authorization"], sent["X-Of"], sent["Content-Type"]) == ("s3cr3t-token", "a", "text/plain")


def test_a_key_for_each_request(server: Receiver) -> None:
    server._answers += [Answer(500), Answer(), Answer()]

    async def main() -> None:
        running = sending(to_http(server.url, key_header="Idempotency-Key", concurrency=1, batch=1))
        running.push(Batch([{"n": 1}, {"n": 1}]))
        await answered(running, advance=1)

    run(main)
    first, again, other = (got.headers["Idempotency-Key"] for got in server.received)
    assert first == again != other


def test_requests_are_bounded_and_hold_their_leases(server: Receiver) -> None:
    gate = threading.Event()
    server._answers += [Answer(after=gate)] * 6

    async def main() -> None:
        running = sending(to_http(server.url, concurrency=2))
        for n in range(6):
            running.push(leased(running, {"n": n}))
        running.complete()
        await until(lambda: len(server.received) == 2)
        assert (running.context.gauges["calls"](), running.context.gauges["queue_depth"]()) == (2, 4)
        assert (running.out, running.done, running.context.flow.in_flight) == ([], False, 60)
        assert running.context.flow.held
        gate.set()
        await answered(running, 6)
        assert [batch.rows[0]["n"] for batch in running.out] == [*range(6)]
        running.out.clear()
        assert (running.done, running.context.flow.in_flight, running.context.flow.held) == (True, 0, False)

    run(main)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_what_may_pass_is_tried_again(server: Receiver, status: int) -> None:
    server._answers += [Answer(status, b"busy")] * 3

    async def main() -> None:
        running = sending(to_http(server.url))
        running.push(leased(running, {"n": 1}))
        await until(running.context.details["degraded"], lambda: running.context.virtual.advance_by(0))
        assert running.context.details["degraded"]().startswith(f"status {status} ")
        with pytest.raises(AssertionError, match="leases are still held"):
            running.context.checkpoint()
        await answered(running, advance=0.5)
        assert (running.context.details["degraded"](), running.reasons) == (None, [])

    run(main)
    assert server.bodies == [b'{"n":1}\n'] * 4


def test_waits_double(server: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    server._answers += [Answer(500)] * 9
    longest: list[float] = []

    def uniform(low: float, high: float) -> float:
        longest.append(high)
        return high

    monkeypatch.setattr("random.uniform", uniform)

    async def main() -> None:
        running = sending(to_http(server.url))
        running.push(Batch([{"n": 1}]))
        await answered(running, advance=10)

    run(main)
    assert longest == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6])


@pytest.mark.parametrize("date", [False, True])
def test_retry_after(server: Receiver, date: bool) -> None:
    at = format_datetime(datetime.fromtimestamp(120, UTC), usegmt=True) if date else "120"
    server._answers.append(Answer(429, headers={"Retry-After": at}))

    async def main() -> None:
        running = sending(to_http(server.url))
        virtual = running.context.virtual
        running.push(Batch([{"n": 1}]))
        await until(running.context.details["degraded"], lambda: virtual.advance_by(0))
        virtual.advance_to(119.9)
        await asyncio.sleep(0.02)
        assert len(server.received) == 1
        virtual.advance_to(120.6)
        await answered(running)

    run(main)
    assert len(server.received) == 2


@pytest.mark.parametrize("asked", ["soon", "Thu, 01 Jan 1970 00:00:00 GMT", "-5"])
def test_a_retry_after_that_says_nothing(server: Receiver, asked: str) -> None:
    server._answers.append(Answer(503, headers={"Retry-After": asked}))

    async def main() -> None:
        running = sending(to_http(server.url))
        running.push(Batch([{"n": 1}]))
        await answered(running, advance=0.1)
        assert running.context.virtual.time < 10

    run(main)


@pytest.mark.parametrize(("status", "reason"), [(400, "Bad Request"), (404, "Not Found"), (302, "Found")])
def test_what_stays_wrong_goes_to_errors(server: Receiver, status: int, reason: str) -> None:
    server._answers.append(Answer(status, b"<" * 9999, {"Location": server.url}))

    async def main() -> None:
        running = sending(to_http(server.url))
        running.push(leased(running, {"n": 1}, {"n": 2}))
        await answered(running)
        assert running.reasons == [f"status {status} {reason}: {'<' * 500}"] * 2
        assert [(error.path, error.record) for error in running.context.errors] == [
            ("f", "{'n': 1}"),
            ("f", "{'n': 2}"),
        ]
        running.out.clear()
        assert running.context.flow.blocks == 0

    run(main)


def test_a_header_that_cannot_be_sent_goes_to_errors(server: Receiver) -> None:
    async def main() -> None:
        running = sending(to_http(server.url, headers={"X": "a\nb"}))
        running.push(Batch([{"n": 1}]))
        await answered(running)
        assert running.reasons[0].startswith("LocalProtocolError: ")

    run(main)


def test_nobody_listens_and_then_somebody_does() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]

    async def main() -> None:
        running = sending(to_http(f"http://127.0.0.1:{port}"))
        running.push(leased(running, {"n": 1}))
        running.complete()
        await until(running.context.details["degraded"], lambda: running.context.virtual.advance_by(0))
        assert running.context.details["degraded"]().startswith("ConnectError: ")
        assert not running.done
        with Receiver(port=port) as server:
            await answered(running, advance=1)
            assert server.bodies == [b'{"n":1}\n']
        assert (running.done, running.reasons) == (True, [])

    run(main)


def test_a_slow_answer_is_given_up_and_asked_for_again(server: Receiver) -> None:
    never = threading.Event()
    server._answers.append(Answer(after=never))

    async def main() -> None:
        running = sending(to_http(server.url, timeout="50ms"))
        running.push(Batch([{"n": 1}]))
        await until(running.context.details["degraded"], lambda: running.context.virtual.advance_by(0))
        assert running.context.details["degraded"]() == "TimeoutError: must be answered within 0.05 s"
        await answered(running, advance=1)

    run(main)
    never.set()
    assert len(server.received) >= 2  # more where the machine is too busy to answer in time
    assert {*server.bodies} == {b'{"n":1}\n'}


def test_unsubscribing_cancels(server: Receiver) -> None:
    gate = threading.Event()
    server._answers += [Answer(after=gate), Answer(500)]

    async def main() -> None:
        running = sending(to_http(server.url, concurrency=1))
        running.push(leased(running, {"n": 1}), leased(running, {"n": 2}))
        await until(lambda: server.received)
        running.stop()
        await until(lambda: running.context.flow.blocks == 0)
        assert (running.out, running.context.flow.held) == ([], False)

    run(main)
    gate.set()
    assert len(server.received) == 1


def test_an_error_passes_at_once(server: Receiver) -> None:
    async def main() -> None:
        running = sending(to_http(server.url))
        error = ValueError("of the source")
        running.source.on_error(error)
        assert running.failed is error

    run(main)


def test_without_a_loop(server: Receiver) -> None:
    server._answers.append(Answer(500))
    assert rx.of(Batch([{"n": 1}])).pipe(to_http(server.url)).run() == Batch([{"n": 1}])
    assert server.bodies == [b'{"n":1}\n'] * 2


def test_in_a_graph(server: Receiver, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("".join(f'{{"n":{n}}}\n' for n in range(50)))
    graph = load_text(f"""
graph: sender
streams:
  main:
    - watch: {{paths: ["{tmp_path}"], patterns: ["*.jsonl"]}}
    - read_lines
    - parse_json
    - to_http: {{url: "{server.url}", batch: 10, concurrency: 3}}
""")
    with graph.run(once=True) as run:
        run.wait()
    sent = [orjson.loads(line) for body in server.bodies for line in body.splitlines()]
    assert sorted(record["n"] for record in sent) == [*range(50)]


@pytest.mark.parametrize("url", ["localhost:80", "ftp://a/b", "http://", "x"])
def test_an_address_is_refused(url: str) -> None:
    with pytest.raises(ParameterError, match="url: must be an http or https address, as http://host/path; got"):
        to_http(url)(rx.never())


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(
        MissingExtraError, match=r"needs the package 'httpx'; got .*: pip install 'rxpipe-graphs\[http\]'"
    ):
        raise Running(to_http("http://localhost")).failed or AssertionError
