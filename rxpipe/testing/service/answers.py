"""Chat completions: whole or streamed, and what is wrong with them."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from rxpipe.parameters.units import seconds
from rxpipe.providers.standin import answer_to, words
from rxpipe.testing.service.desk import Desk, Verdict
from rxpipe.testing.service.wire import CutError, head, send

_OK = 200


class Whole:
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
            await send(self.writer, _OK, body, self.verdict.headers, most=len(body) // 2)
            raise CutError
        if not self.verdict.fault:
            self.desk.answered(self.prompt, self.usage)
        await send(self.writer, _OK, body, self.verdict.headers)


class Streamed(Whole):
    """An answer as server-sent events, word by word."""

    async def send(self) -> None:
        """Send it, or what is wrong of it."""
        parts, pause = words(self.text), seconds(self.desk.behaviour.word)
        fields = {**self.verdict.headers, "Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}
        self.writer.write(head(_OK, fields))
        for number, part in enumerate(parts):
            if self.verdict.fault == "cut" and number >= len(parts) // 2:
                await self.writer.drain()
                raise CutError
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


def text_of_answer(asked: dict[str, Any], prompt: str, verdict: Verdict) -> str:
    """What the answer to a request says."""
    if verdict.fault == "invalid":
        return '{"not": ["what", "was", "asked", "for"]}'
    form = asked.get("response_format") or {}
    schema = form.get("json_schema", {}).get("schema") if form.get("type") == "json_schema" else None
    return answer_to([{"role": "user", "content": prompt}], schema)
