"""`http`: requests by template, on real sockets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from rxpipe.errors import ParameterError
from rxpipe.language.config import load_text
from rxpipe.operators.tasks.http import http
from rxpipe.tasks.kinds import kind_of
from rxpipe.testing import Answer, Receiver
from tests.operators.tasks.asked import Asked, gone, run


@pytest.fixture
def server() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


def outcome_of(step: Any, row: dict[str, Any], paid: Any = None) -> Asked:
    """What became of the task of one record."""
    made: list[Asked] = []

    async def main() -> None:
        asked = Asked(step, paid)
        made.append(asked)
        asked.task(row)
        await asked.until(lambda: asked.outcomes)
        asked.subscription.dispose()

    run(main)
    return made[0]


def test_a_request_by_templates(server: Receiver) -> None:
    server._answers.append(Answer(201, b'{"id": 7}', {"Content-Type": "application/json", "X-Of": "b"}))
    headers: dict[str, str | SecretStr] = {"X-For": "{{n}}", "Authorization": SecretStr("s3cret")}
    body = {"name": "{{who}}", "tags": ["{{n + 1}}", 5, None]}
    url = f"{server.url}/a/{{{{who}}}}?q={{{{n}}}}"
    asked = outcome_of(http(url, "POST", headers=headers, body=body), {"who": "Ann & Bo/é", "n": 1})
    [row] = asked.out
    answer = row["answer"]
    assert (answer["status"], answer["json"], answer["text"]) == (201, {"id": 7}, '{"id": 7}')
    assert answer["headers"]["x-of"] == "b"
    [got] = server.received
    assert (got.method, got.path) == ("POST", "/a/Ann%20%26%20Bo%2F%C3%A9?q=1")
    assert got.headers["X-For"] == "1"
    assert (got.headers["Authorization"], got.headers["Content-Type"]) == ("s3cret", "application/json")
    assert got.body == '{"name":"Ann & Bo/é","tags":["2",5,null]}'.encode()


def test_an_address_of_its_own(server: Receiver) -> None:
    asked = outcome_of(http("{{url}}?x=1"), {"url": f"{server.url}/a/b"})
    assert (len(asked.out), server.received[0].path) == (1, "/a/b?x=1")


@pytest.mark.parametrize(
    ("answer", "expect", "kind", "told"),
    [
        (Answer(503, b"busy"), "200 <= status < 300", "server", "status 503 Service Unavailable: busy"),
        (Answer(404), "200 <= status < 300", "invalid input", "status 404 Not Found"),
        (
            Answer(429, headers={"Retry-After": "9"}),
            "200 <= status < 300",
            "rate limit",
            "status 429 Too Many Requests",
        ),
        (
            Answer(200, b'{"state": "new"}'),
            "json.state == 'done'",
            "server",
            "must be as expected, json.state == 'done'",
        ),
        (Answer(200, b"<"), "json.state == 'done'", "server", "must be as expected, json.state == 'done'; got "),
        (Answer(200, b"x" * 2000), "status == 200", "invalid input", "must have 1000 bytes at most"),
    ],
)
def test_what_is_not_as_expected(server: Receiver, answer: Answer, expect: str, kind: str, told: str) -> None:
    server._answers.append(answer)
    asked = outcome_of(http(server.url, expect=expect, largest=1000), {})
    [outcome] = asked.outcomes
    assert outcome.failure is not None
    assert told in outcome.failure.reason
    assert kind_of(outcome.cause) == kind
    assert getattr(outcome.cause, "retry_after", None) == (9.0 if answer.status == 429 else None)


def test_another_status_may_be_what_is_wanted(server: Receiver) -> None:
    server._answers.append(Answer(404))
    asked = outcome_of(http(server.url, expect="status in [200, 404]"), {})
    assert asked.out[0]["answer"]["status"] == 404


@pytest.mark.parametrize("url", ["nowhere", "http://127.0.0.1:9", "{{missing}}"])
def test_a_request_that_cannot_be_made(url: str) -> None:
    [outcome] = outcome_of(http(url), {}).outcomes
    assert kind_of(outcome.cause) == ("network" if url.endswith(":9") else "invalid input")


@pytest.mark.parametrize(
    ("method", "paid", "times"), [("GET", None, 2), ("GET", True, 1), ("POST", None, 1), ("POST", False, 2)]
)
def test_what_is_paid_is_not_asked_again(server: Receiver, method: Any, paid: bool | None, times: int) -> None:
    def step(key: str) -> Any:
        return http(server.url, method, headers={"Key": SecretStr(key)}, paid=paid)

    first = outcome_of(step("one"), {"n": 1})
    second = outcome_of(step("two"), {"n": 1}, first.remembered())
    assert second.out == first.out
    assert len(server.received) == times


def test_unsubscribing_cancels(server: Receiver) -> None:
    gate = threading.Event()
    server._answers.append(Answer(after=gate))

    async def main() -> None:
        asked = Asked(http(server.url))
        asked.task({})
        await asked.until(lambda: server.received)
        asked.subscription.dispose()
        await gone()
        assert [outcome.until for outcome in asked.outcomes] == [0.0]

    try:
        run(main)
    finally:
        gate.set()


def test_from_yaml() -> None:
    step = "{http: {url: 'http://x/{{step}}', method: POST, body: {a: '{{step}}'}, headers: {k: {env: HOME}}}}"
    made = load_text(f"graph: g\nstreams:\n  main: [{{from: errors}}, {step}]\n")
    assert load_text(made.to_yaml()) == made


def test_a_template_is_refused() -> None:
    with pytest.raises(ParameterError, match="must be a template: line 1"):
        http("http://x/{{")
