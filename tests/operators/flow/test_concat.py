"""`concat`: what comes before its turn waits, in order, and across a restart."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxpipe import operators as ops
from rxpipe.elements import Batch, OriginGone
from rxpipe.graph import stream
from rxpipe.operators.flow.concat import concat
from rxpipe.testing import run_graph, run_marbles
from tests.operators.flow.driven import Driven, left_early
from tests.rxpipe.parts import Blocks, graph

VALUES = {letter: Batch([{"value": letter}]) for letter in "abcd"}


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        ("----", "-c-|", ""),
        ("|", "----", ""),
        ("|", "--|", "--|"),
        ("-a-|", "-----c-|", "-a---c-|"),
        ("-a---|", "--c-----|", "-a---c--|"),
        ("-a---|", "--c|", "-a---(c|)"),
        ("-a---#", "--c-|", "-a---#"),
        ("-a----", "--c#", "-a-#"),
        ("(ab|)", "(cd|)", "(abcd|)"),
    ],
)
def test_marbles(one: str, two: str, expected: str) -> None:
    assert run_marbles(lambda a, b: a.pipe(concat(b)), one, VALUES, two) == expected


def test_three_of_which_the_second_is_complete_first() -> None:
    driven = Driven(lambda a, b, c: a.pipe(concat(b, c)), 3)
    driven.put(2, {"n": 3})
    driven.put(1, {"n": 2})
    driven.end(1)
    driven.streams[2].on_next(OriginGone("file"))
    driven.put(2, {"n": 4}, retracted=[{"n": 3}])
    assert (driven.out, driven.gauge("held"), driven.context.flow.blocks) == ([], 3, 0)
    driven.end(0)
    assert (driven.out, driven.back) == ([{"n": 2}, {"n": 3}, OriginGone("file"), {"n": 4}], [{"n": 3}])
    driven.end(2)
    assert driven.out[4:] == ["|"]


def test_early_disposal_reaches_all_sources() -> None:
    assert left_early(lambda a, b: a.pipe(concat(b))) == [[(0, 0.2)], [(0, 0.2)]]


def test_more_than_the_limit_ends_in_an_error() -> None:
    driven = Driven(lambda a, b: a.pipe(concat(b, limit=2)))
    driven.put(1, {"n": 1}, {"n": 2})
    driven.put(1, {"n": 3})
    assert len(driven.out) == 1
    assert "no more than 2 records may wait" in str(driven.out[0])


@given(events=st.lists(st.tuples(st.integers(0, 1), st.integers(1, 3), st.booleans()), max_size=20))
def test_across_restarts_all_come_in_order(events: list[tuple[int, int, bool]]) -> None:
    def step(one: Any, other: Any) -> Any:
        return one.pipe(concat(other))

    driven = Driven(step)
    rows: tuple[list[Any], list[Any]] = ([], [])
    out: list[Any] = []
    for side, size, restart in events:
        new = [{"side": side, "n": len(rows[side]) + n} for n in range(size)]
        rows[side].extend(new)
        driven.put(side, *new)
        if restart:
            again = driven.restarted(step)
            out += driven.out
            driven = again
    driven.end(0)
    driven.end(1)
    assert out + driven.out == [*rows[0], *rows[1], "|"]


def test_in_a_graph_the_second_stream_waits() -> None:
    first, second = Blocks(count=3, every=1.0), Blocks(count=5, every=0.1)
    made = graph(
        first=[first.source(), ops.derive(of="1")],
        second=[second.source(), ops.derive(of="2")],
        main=[stream("first"), ops.concat(stream("second"))],
    )
    rows = [(row["of"], row["n"]) for batch in run_graph(made).values("main") for row in batch.rows]
    assert rows == [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2), (2, 3), (2, 4)]
