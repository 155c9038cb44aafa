"""What calls cost, by a table of prices, and what they may cost before they are made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import orjson

from rxpipe.errors import RxpipeError, did_you_mean, nearest
from rxpipe.providers.provider import Request

BYTES_OF_A_TOKEN = 3
"""Of text in UTF-8; English has more like four, so that an estimate is more than is used, as a rule."""

TOKENS_OF_A_MESSAGE = 8
"""What each message takes beside its text."""

TOKENS_OF_A_FILE = 1500
"""What an attached image or document is taken for, of whatever size; services count them each in its own way."""

TOKENS_OF_AN_ANSWER = 1000
"""What an answer is taken for where the request does not limit it."""

_MILLION = 1e6


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a million tokens cost.

    Attributes:
        input: Those of the request.
        output: Those of the answer.
        cached: Those of the request that the service has kept from earlier ones; by default as any others.
    """

    input: float
    output: float
    cached: float | None = None

    def of(self, input_tokens: int, output_tokens: int, cached: int = 0) -> float:
        """What an answer costs."""
        kept = self.input if self.cached is None else self.cached
        return ((input_tokens - cached) * self.input + cached * kept + output_tokens * self.output) / _MILLION


FREE = Price(0.0, 0.0)
"""What costs nothing, or nobody knows."""


def read_prices(path: Path) -> dict[str, Price]:
    """A table of prices: a JSON object of models, each with what a million tokens of `input` and of `output` cost.

    Raises:
        RxpipeError: It cannot be read, or has another form.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Price])
    except (OSError, msgspec.MsgspecError) as error:
        msg = f"prices {path}: must be a JSON object of models with 'input' and 'output' for a million tokens: {error}"
        raise RxpipeError(msg) from error


def price_of(model: str, table: Mapping[str, Price]) -> Price:
    """The price of a model: under its name, else under the longest name that it goes on from behind a `-`.

    Raises:
        RxpipeError: There is none.

    Example:
        >>> price_of("small-2026-01-01", {"small": Price(0.5, 2.0), "*": Price(9.0, 9.0)}).output
        2.0
    """
    if model in table:
        return table[model]
    names = [name for name in table if model.startswith(f"{name}-")]
    if not names and "*" not in table:
        msg = f"prices: must have the model {model!r}, or '*' for all others{did_you_mean(nearest(model, table))}"
        raise RxpipeError(msg)
    return table[max(names, key=len, default="*")]


def tokens_of(messages: Iterable[Mapping[str, Any]]) -> int:
    """About how many tokens messages have: one for three bytes of text, and some for each message and file."""
    return sum(TOKENS_OF_A_MESSAGE + _tokens(message.get("content")) for message in messages)


def estimate(request: Request, price: Price) -> float:
    """What a call may cost: its text by `tokens_of`, and an answer as long as it may be, else of 1,000 tokens.

    Example:
        >>> estimate(Request("small", [{"role": "user", "content": "x" * 300}], {"max_tokens": 50}), Price(1e4, 2e4))
        2.08
    """
    longest = request.options.get("max_completion_tokens", request.options.get("max_tokens", TOKENS_OF_AN_ANSWER))
    schema = 0 if request.schema is None else len(orjson.dumps(request.schema)) // BYTES_OF_A_TOKEN
    return price.of(tokens_of(request.messages) + schema, longest if type(longest) is int else TOKENS_OF_AN_ANSWER)


def _tokens(content: object) -> int:
    if isinstance(content, str):
        return -(-len(content.encode("utf-8", "replace")) // BYTES_OF_A_TOKEN)
    parts = content if isinstance(content, list) else []
    return sum(_tokens(part.get("text")) if part.get("type") == "text" else TOKENS_OF_A_FILE for part in parts)
