"""A stand-in for a model: answers the same to the same question, without any network, and says what it is."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import orjson

from rxpipe.providers.prices import FREE, Price, tokens_of
from rxpipe.providers.provider import Request, Result, Usage

NAME = "stand-in"
"""The address, or the model, that means it."""

_SHOWN = 60
_DEEPEST = 8


class StandIn:
    """Answers at once; see `Provider`.

    Args:
        price: What it is to cost, as if it were a model.
    """

    def __init__(self, price: Price = FREE) -> None:
        self._price = price

    async def ask(self, request: Request) -> Result:
        """The whole answer."""
        text = answer_to(request.messages, request.schema)
        used, made = tokens_of(request.messages), tokens_of([{"content": text}])
        return Result(text, Usage(used, made, self._price.of(used, made)), NAME)

    async def stream(self, request: Request) -> AsyncGenerator[str | Result, None]:
        """The answer word by word, and whole."""
        result = await self.ask(request)
        for word in words(result.text):
            yield word
        yield result

    async def close(self) -> None:
        """There is nothing to close."""


def words(text: str) -> list[str]:
    """A text in parts of a word each.

    Example:
        >>> words("so it is")
        ['so ', 'it ', 'is']
    """
    return [part for part in text.replace(" ", " \0").split("\0") if part]


def answer_to(messages: Sequence[Mapping[str, Any]], schema: Mapping[str, Any] | None = None) -> str:
    """The answer to a conversation: what it was asked last, and a digest; or JSON that satisfies a schema.

    Example:
        >>> answer_to([{"role": "user", "content": "Why is the sky blue?"}])
        "I am a stand-in for a model. I was asked: 'Why is the sky blue?' (c1aa9b73)"
        >>> answer_to([], {"type": "object", "properties": {"title": {"type": "string"}}})
        '{"title":"stand-in"}'
    """
    if schema is not None:
        return orjson.dumps(instance(schema, schema)).decode()
    asked = next((text_of(message) for message in reversed(messages) if message.get("role") == "user"), "")
    shown = " ".join(asked.split())
    shown = shown if len(shown) <= _SHOWN else shown[: _SHOWN - 1] + "…"
    digest = hashlib.blake2b(orjson.dumps([dict(message) for message in messages]), digest_size=4).hexdigest()
    return f"I am a {NAME} for a model. I was asked: {shown!r} ({digest})"


def text_of(message: Mapping[str, Any]) -> str:
    """The text of a message."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(part["text"]) for part in parts if part.get("type") == "text")


def instance(schema: Any, root: Mapping[str, Any], depth: int = 0) -> Any:
    """Something plain that satisfies a JSON schema, as far as types, lengths, choices and bounds go."""
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return None
    if isinstance(schema.get("$ref"), str):
        found: Any = root
        for part in schema["$ref"].removeprefix("#").strip("/").split("/"):
            found = found.get(part, {}) if isinstance(found, Mapping) and part else found
        return instance(found, root, depth + 1)
    if "const" in schema:
        return schema["const"]
    choices = schema.get("enum") or schema.get("anyOf") or schema.get("oneOf")
    if choices:
        return choices[0] if "enum" in schema else instance(choices[0], root, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    return _of_kind(kind[0] if isinstance(kind, list) else kind, schema, root, depth)


def _of_kind(kind: str, schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: instance(inner, root, depth + 1) for name, inner in properties.items()}
    if kind == "array":
        return [instance(schema.get("items", {}), root, depth + 1)] * max(1, schema.get("minItems", 1))
    if kind in ("integer", "number"):
        return schema.get("minimum", min(0, schema.get("maximum", 0)))
    if kind == "string":
        return NAME.ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength")]
    return False if kind == "boolean" else None
