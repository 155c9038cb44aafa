"""`with_latest`: records with what another stream said last, whole or by key."""

from __future__ import annotations

from typing import Any

import pytest

from rxpipe.elements import Batch, OriginGone
from rxpipe.errors import GraphError
from rxpipe.language.config import load_text
from rxpipe.operators.flow.with_latest import with_latest
from rxpipe.table import Table
from rxpipe.testing import run_marbles
from tests.operators.flow.driven import Driven, left_early

VALUES = {
    "a": Batch([{"x": 1}]),
    "b": Batch([{"x": 2}]),
    "c": Batch([{"y": 3}]),
    "d": Batch([{"y": 4}]),
    "m": Batch([{"x": 1, "y": 3}]),
    "o": Batch([{"x": 2, "y": 4}]),
}


def latest(**parameters: Any) -> Any:
    return lambda one, other: one.pipe(with_latest(other, **parameters))


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        ("----", "----", ""),
        ("-|", "----", "-|"),
        ("----", "-|", ""),
        ("-a-|", "----", "---|"),
        ("-a-a-|", "--c|", "---m-|"),
        ("--a-b-|", "-c-d---", "--m-o-|"),
        ("--a-#", "-c---", "--m-#"),
        ("--a---", "-c-#", "--m#"),
    ],
)
def test_marbles(one: str, two: str, expected: str) -> None:
    assert run_marbles(latest(), one, VALUES, two) == expected


def test_early_disposal_reaches_both_sources() -> None:
    assert left_early(latest()) == [[(0, 0.2)], [(0, 0.2)]]


def test_by_key_across_a_restart() -> None:
    step = latest(on="model", prefix="its_")
    driven = Driven(step)
    driven.put(1, {"model": "s", "price": 1}, {"model": "l", "price": 9}, {"model": "s", "price": 2}, {"price": 5})
    again = driven.restarted(step)
    again.put(0, {"model": "s", "n": 1}, {"model": "x", "n": 2}, {"model": None, "n": 3})
    assert again.out == [{"model": "s", "n": 1, "its_model": "s", "its_price": 2}]
    assert (again.gauge("unmatched"), again.gauge("held"), again.context.flow.blocks) == (2, 2, 0)


def test_left_keeps_all() -> None:
    driven = Driven(latest(on="id", kind="left"))
    driven.put(0, {"id": 1})
    driven.put(1, {"id": 2, "y": 2})
    driven.put(0, {"id": 1})
    assert driven.out == [{"id": 1}, {"id": 1, "y": None}]


def test_more_keys_than_the_limit_forget_the_oldest() -> None:
    step = latest(on="id", limit=2)
    driven = Driven(step)
    driven.put(1, {"id": 1, "y": 1}, {"id": 2, "y": 2}, {"id": 1, "y": 3})
    driven = driven.restarted(step)
    driven.put(1, {"id": 3, "y": 4})
    driven = driven.restarted(step)
    driven.put(0, {"id": 1}, {"id": 2}, {"id": 3})
    assert driven.out == [{"id": 1, "y": 3}, {"id": 3, "y": 4}]


def test_a_table_stands_for_its_rows_as_they_are() -> None:
    driven = Driven(latest(on="id"))
    rows = [{"id": 1, "y": 1}]
    version = 1
    driven.streams[1].on_next(Table("t", ("id",), lambda: rows, lambda: version))
    driven.put(0, {"id": 1})
    rows[0] = {"id": 1, "y": 2}
    version = 2
    driven.put(0, {"id": 1})
    assert driven.out == [{"id": 1, "y": 1}, {"id": 1, "y": 2}]


def test_what_cannot_be_looked_up_is_rejected() -> None:
    driven = Driven(latest(on="id + 1"))
    driven.put(1, {"id": "a"}, retracted=[{"id": 1}])
    driven.put(0, {"id": None}, retracted=[{"id": 1}])
    gone = "retracted: what was made of it stays; put this step before the one that retracts"
    assert driven.reasons[::2] == [gone, gone]
    assert all(reason.startswith("TypeError") for reason in driven.reasons[1::2])
    lists = Driven(latest(on="id"))
    lists.put(0, {"id": [1]})
    assert lists.reasons == ["TypeError: a key must be a number or a text; got [1]"]


def test_other_elements_of_this_stream_pass() -> None:
    driven = Driven(latest())
    for stream, name in enumerate("ab"):
        driven.streams[stream].on_next(OriginGone(name))
    assert driven.out == [OriginGone("a")]


def test_from_yaml() -> None:
    text = """
graph: g
streams:
  seen: [{from: errors}, {aggregate: {by: [step], n: count()}}]
  main: [{from: errors}, {with_latest: {other: seen, on: step, kind: left, prefix: all_}}]
"""
    made = load_text(text)
    assert made.plan().streams["main"].steps[1].streams == {"other": "seen"}
    assert load_text(made.to_yaml()) == made
    with pytest.raises(GraphError, match="parameter 'other' is missing: the name of a stream"):
        load_text(text.replace("other: seen, ", "")).plan()
