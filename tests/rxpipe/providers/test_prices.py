"""What calls cost, and what they may cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxpipe.errors import RxpipeError
from rxpipe.providers.prices import Price, estimate, price_of, read_prices, tokens_of
from rxpipe.providers.provider import Request

TABLE = {"small": Price(1.0, 2.0), "small-large": Price(3.0, 4.0)}


@pytest.mark.parametrize(
    ("model", "price"),
    [("small", 1.0), ("small-2026-01-01", 1.0), ("small-large", 3.0), ("small-large-1", 3.0)],
)
def test_the_price_of_a_model(model: str, price: float) -> None:
    assert price_of(model, TABLE).input == price


@pytest.mark.parametrize(("model", "guess"), [("smal", ", did you mean 'small'"), ("smaller", ""), ("x", "")])
def test_a_model_without_a_price(model: str, guess: str) -> None:
    with pytest.raises(RxpipeError, match=f"prices: must have the model '{model}', or '\\*' for all others{guess}"):
        price_of(model, TABLE)
    assert price_of(model, TABLE | {"*": Price(9.0, 9.0)}).input == 9.0


def test_what_the_service_had_kept_is_cheaper() -> None:
    assert Price(1e6, 2e6, 0.5e6).of(10, 3, 4) == 6 + 2 + 6
    assert Price(1e6, 2e6).of(10, 3, 4) == 10 + 6


@pytest.mark.parametrize(
    "text", ["", "[]", '{"m": 3}', '{"m": {"input": 1}}', '{"m": {"input": 1, "output": 2, "cashed": 3}}', "{"]
)
def test_a_table_that_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "prices.json"
    path.write_text(text)
    with pytest.raises(RxpipeError, match=r"prices .*prices.json: must be a JSON object of models"):
        read_prices(path)
    with pytest.raises(RxpipeError, match="must be a JSON object of models"):
        read_prices(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        ({}, 1000),
        ({"max_tokens": 10}, 10),
        ({"max_completion_tokens": 20, "max_tokens": 10}, 20),
        ({"max_tokens": None}, 1000),
    ],
)
def test_an_answer_is_taken_for_as_long_as_it_may_be(options: dict[str, Any], answer: int) -> None:
    assert estimate(Request("m", [], options), Price(0.0, 1e6)) == answer


def test_a_schema_and_files_count() -> None:
    parts = [{"type": "text", "text": "abc"}, {"type": "image_url", "image_url": {"url": "data:"}}]
    assert tokens_of([{"role": "user", "content": parts}]) == 8 + 1 + 1500
    bare = estimate(Request("m", []), Price(1e6, 0.0))
    assert estimate(Request("m", [], schema={"type": "object"}), Price(1e6, 0.0)) == bare + 5


@given(st.lists(st.text(), max_size=5))
def test_more_text_never_costs_less(texts: list[str]) -> None:
    messages = [{"role": "user", "content": text} for text in texts]
    counts = [tokens_of(messages[:number]) for number in range(len(messages) + 1)]
    assert counts == sorted(counts)
    assert counts[-1] >= sum(len(text) for text in texts) / 3
