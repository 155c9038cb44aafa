"""`zip`: records side by side, none lost and none paired twice, also across a restart."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxpipe.elements import Batch, OriginGone
from rxpipe.errors import GraphError
from rxpipe.language.config import load_text
from rxpipe.operators.flow.zip import zip as zipped
from rxpipe.testing import run_marbles
from tests.operators.flow.driven import Driven, left_early

VALUES = {
    "a": Batch([{"x": 1}]),
    "b": Batch([{"x": 2}]),
    "c": Batch([{"y": 3}]),
    "d": Batch([{"y": 4}]),
    "m": Batch([{"x": 1, "y": 3}]),
    "n": Batch([{"x": 2, "y": 4}]),
    "w": Batch([{"x": 1}, {"x": 2}]),
}


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        ("----", "----", ""),
        ("----", "-|", "-|"),
        ("-|", "----", "-|"),
        ("-|", "-|", "-|"),
        ("-a--|", "--c-----|", "--m-|"),
        ("-a--|", "------c-|", "------(m|)"),
        ("-a-b-|", "--c-d-|", "--m-n|"),
        ("-w-|", "--c-d-|", "--m-(n|)"),
        ("-a-#", "--c--|", "--m#"),
        ("-a----", "--#", "--#"),
    ],
)
def test_marbles(one: str, two: str, expected: str) -> None:
    assert run_marbles(lambda a, b: a.pipe(zipped(b)), one, VALUES, two) == expected


def test_three_and_one() -> None:
    driven = Driven(lambda a, b, c: a.pipe(zipped(b, c)), 3)
    driven.put(0, {"id": 1, "x": 1})
    driven.put(2, {"z": 3})
    driven.put(1, {"id": 2, "y": 2}, {"id": 3, "y": 4})
    assert driven.out == [{"id": 1, "x": 1, "y": 2, "z": 3}]
    assert run_marbles(zipped(), "-a-b|", VALUES) == "-a-b|"


def test_early_disposal_reaches_all_sources() -> None:
    assert left_early(lambda a, b: a.pipe(zipped(b))) == [[(0, 0.2)], [(0, 0.2)]]


def test_more_than_the_limit_ends_in_an_error() -> None:
    driven = Driven(lambda a, b: a.pipe(zipped(b, limit=2)))
    driven.put(1, {"n": 1}, {"n": 2})
    driven.put(0, {"m": 1})
    driven.put(1, {"n": 3})
    assert (driven.out, driven.gauge("held")) == ([{"m": 1, "n": 1}], 2)
    driven.put(1, {"n": 4})
    must = (
        "test: no more than 2 records may wait for another stream; got more of stream 1, counted from 0: raise 'limit'"
    )
    assert [str(error) for error in driven.out[1:]] == [must]


def test_retracted_records_are_rejected_and_other_elements_pass() -> None:
    driven = Driven(lambda a, b: a.pipe(zipped(b)))
    driven.put(0, {"n": 2}, retracted=[{"n": 1}])
    driven.streams[1].on_next(OriginGone("file"))
    assert driven.reasons == ["retracted: what was made of it stays; put this step before the one that retracts"]
    assert driven.out == [OriginGone("file")]


@given(events=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 3), st.booleans()), max_size=20))
def test_across_restarts_it_gives_what_python_gives(events: list[tuple[int, int, bool]]) -> None:
    def step(one: Any, other: Any) -> Any:
        return one.pipe(zipped(other))

    driven = Driven(step)
    rows: tuple[list[Any], list[Any]] = ([], [])
    out: list[Any] = []
    for side, size, restart in events:
        new = [{"ab"[side]: len(rows[side]) + n} for n in range(size)]
        rows[side].extend(new)
        driven.put(side, *new)
        if restart:
            again = driven.restarted(step)
            out += driven.out
            driven = again
    assert out + driven.out == [{**one, **other} for one, other in zip(*rows, strict=False)]
    assert driven.gauge("held") == abs(len(rows[0]) - len(rows[1]))


def test_from_yaml() -> None:
    text = "graph: g\nstreams:\n  a: [{from: errors}]\n  b: [{from: errors}, {zip: [a]}]\n  c: [{zip: [a, b]}]\n"
    made = load_text(text)
    assert made.plan().streams["c"].steps[0].streams == {"source": "a", "others": ["b"]}
    assert load_text(made.to_yaml()) == made
    with pytest.raises(GraphError, match="unknown parameter 'limt', did you mean 'limit'"):
        load_text(text.replace("{zip: [a]}", "{zip: {others: [a], limt: 3}}")).plan()
