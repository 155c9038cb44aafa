"""Answers as services like OpenAI's write them, in whatever pieces they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rxpipe.errors import MissingExtraError
from rxpipe.providers.openai import OpenAI
from rxpipe.providers.prices import Price
from rxpipe.providers.provider import CallError, Request, Result, Usage

REQUEST = Request("m", [{"role": "user", "content": "x"}], {"temperature": 0}, {"type": "object"})
USAGE = {"prompt_tokens": 10, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 5}}


class Pieces(httpx.AsyncByteStream):
    """A body that comes in pieces, and may break off."""

    def __init__(self, pieces: list[bytes], broken: bool = False) -> None:
        self.pieces, self.broken = pieces, broken

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece
        if self.broken:
            raise httpx.ReadError("broken")


def answered(body: Any, *, stream: bool = False, asked: list[Any] | None = None, **more: Any) -> Any:
    """What the provider makes of an answer: the result, or all parts of a streamed one."""

    def answer(request: httpx.Request) -> httpx.Response:
        if asked is not None:
            asked.append(orjson.loads(request.content))
        return httpx.Response(more.get("status", 200), stream=body, headers=more.get("headers", {}))

    async def main() -> Any:
        provider = OpenAI("http://service/v1/", "key", Price(1e6, 1e6, 0.5e6), lambda: 0.0)
        await provider._client.aclose()
        provider._client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
        try:
            return [part async for part in provider.stream(REQUEST)] if stream else await provider.ask(REQUEST)
        finally:
            await provider.close()

    return asyncio.run(main())


def whole(message: dict[str, Any] | None, **more: Any) -> Pieces:
    choices = [] if message is None else [{"message": message, "finish_reason": "length"}]
    return Pieces([orjson.dumps({"model": "m-1", "choices": choices, "usage": USAGE, **more})])


def test_a_whole_answer() -> None:
    asked: list[Any] = []
    result = answered(whole({"content": "so"}), asked=asked)
    assert result == Result("so", Usage(10, 4, 5 + 2.5 + 4), "m-1", "length")
    assert asked[0]["temperature"] == 0
    assert asked[0]["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert "stream" not in asked[0]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (whole(None), "must be a chat completion in JSON"),
        (whole({"content": None, "refusal": "I cannot"}), "got a refusal: I cannot"),
        (whole({"content": None}), "must be a chat completion in JSON"),
        (whole({}), "must be a chat completion in JSON"),
        (Pieces([b"<html>"]), "got <html>"),
        (Pieces([b"[1]"]), "got \\[1\\]"),
        (Pieces([b'{"choices"'], broken=True), "ReadError: broken"),
    ],
)
def test_what_is_no_answer(body: Pieces, told: str) -> None:
    with pytest.raises(CallError, match=told) as caught:
        answered(body)
    assert caught.value.spent
    assert caught.value.transient


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": "many", "completion_tokens": -1}])
def test_without_usage(usage: Any) -> None:
    assert answered(whole({"content": ""}, usage=usage)).usage == Usage()


def events(*parts: str, finish: bool = True, done: bool = True) -> bytes:
    chunks: list[Any] = [{"choices": [{"delta": {"role": "assistant", "content": ""}}], "model": "m-1"}]
    chunks += [{"choices": [{"delta": {"content": part}, "finish_reason": None}]} for part in parts]
    chunks += [{"choices": [{"delta": {}, "finish_reason": "stop"}]}, {"choices": [], "usage": USAGE}] if finish else []
    data = [orjson.dumps(chunk) for chunk in chunks] + ([b"[DONE]"] if done else [])
    return b": a comment\n\n" + b"".join(b"data: %b\n\n" % each for each in data)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    at = sorted({place % (len(data) + 1) for place in places})
    return [data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True)]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), max_size=5), st.lists(st.integers(0)))
@example(["é"], [*range(600)])
@example(["a\u2028b\x85c\x1c"], [])
def test_a_streamed_answer_in_whatever_pieces_it_comes(parts: list[str], places: list[int]) -> None:
    *words, last = answered(Pieces(cut(events(*parts), places)), stream=True)
    assert words == parts
    assert last == Result("".join(parts), Usage(10, 4, 11.5), "m-1")


shapes = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "message", "delta", "content", "finish_reason", "usage", "prompt_tokens_details", "error"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=10,
)


@given(shapes, st.booleans())
@example({"choices": [{"message": "x"}], "usage": [1]}, False)
@example({"choices": [{"message": {"content": "x"}}], "usage": [1]}, False)
@example({"choices": [{"delta": {"content": 3}, "finish_reason": 4}], "usage": {"prompt_tokens_details": 1}}, True)
def test_an_answer_of_any_shape_is_read_or_refused(shape: Any, stream: bool) -> None:
    body = orjson.dumps(shape)
    try:
        found = answered(Pieces([b"data: %b\n\n" % body] if stream else [body]), stream=stream)
    except CallError:
        return
    assert isinstance(found[-1] if stream else found, Result)


def test_a_streamed_answer_without_its_last_mark_is_whole() -> None:
    *_, last = answered(Pieces([events("a", "b", done=False)]), stream=True)
    assert last.text == "ab"


@pytest.mark.parametrize(
    ("body", "kind", "told"),
    [
        (Pieces([events("a", "b", finish=False)]), "network", "the answer broke off behind 2 parts"),
        (Pieces([events("a", finish=False, done=False)], broken=True), "network", "ReadError: broken"),
        (Pieces([]), "network", "broke off behind 0 parts"),
        (Pieces([b'data: {"error": {"message": "overloaded"}}\n\n']), "server", "overloaded"),
        (Pieces([b"data: {\n\n"]), "server", "must be a chat completion in JSON"),
    ],
)
def test_a_streamed_answer_that_ends_badly(body: Pieces, kind: str, told: str) -> None:
    with pytest.raises(CallError, match=told) as caught:
        answered(body, stream=True)
    assert (caught.value.kind, caught.value.spent) == (kind, True)


def test_the_beginning_of_a_long_refusal() -> None:
    with pytest.raises(CallError, match=r"^status 400 Bad Request: x{500}$") as caught:
        answered(Pieces([b"x" * 50_000] * 100), status=400)
    assert (caught.value.kind, caught.value.spent) == ("invalid input", False)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(MissingExtraError, match=r"chat: needs the package 'httpx'"):
        OpenAI()
