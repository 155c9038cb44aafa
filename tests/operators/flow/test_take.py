"""`take`: records, lines and elements counted, cut, and not counted again after a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxpipe.elements import LineDelta, OriginGone
from rxpipe.errors import ParameterError
from rxpipe.lease import Lease
from rxpipe.operators.flow.take import take
from rxpipe.testing import MarbleSource, TestContext, VirtualRun, record, run_marbles
from tests.operators.flow.driven import Driven
from tests.rxpipe.parts import Blocks, Ledger, graph


@pytest.mark.parametrize(
    ("count", "source", "expected"),
    [
        (2, "----", ""),
        (2, "--|", "--|"),
        (2, "-a-|", "-a-|"),
        (2, "-a-b-c-|", "-a-(b|)"),
        (2, "-(abc)-|", "-(ab|)"),
        (2, "-a-#", "-a-#"),
        (2, "-a-b-#", "-a-(b|)"),
        (0, "-a-|", "|"),
        (0, "#", "|"),
    ],
)
def test_marbles(count: int, source: str, expected: str) -> None:
    assert run_marbles(take(count), source) == expected


@pytest.mark.parametrize(("count", "until", "ends"), [(2, None, 0.3), (5, 0.2, 0.2)])
def test_the_source_is_unsubscribed(count: int, until: float | None, ends: float) -> None:
    context = TestContext()
    source = MarbleSource("-a-b-c---", scheduler=context.virtual)
    record(source.pipe(take(count)), until, context=context)
    assert source.subscriptions == [(0, ends)]


def test_a_count_of_none_subscribes_to_nothing() -> None:
    context = TestContext()
    source = MarbleSource("-a-", scheduler=context.virtual)
    record(source.pipe(take(0)), context=context)
    assert source.subscriptions == []


def test_a_batch_is_cut_and_lets_go_of_its_lease() -> None:
    driven = Driven(take(3), 1)
    driven.put(0, {"n": 1}, {"n": 2})
    driven.put(0, {"n": 3}, {"n": 4})
    assert driven.out == [{"n": 1}, {"n": 2}, {"n": 3}, "|"]
    assert driven.context.flow.blocks == 0


def test_retractions_and_origins_pass_and_are_not_counted() -> None:
    driven = Driven(take(2), 1)
    driven.put(0, {"n": 1})
    driven.streams[0].on_next(OriginGone("file"))
    driven.put(0, {"n": 2}, {"n": 3}, retracted=[{"n": 1}])
    assert driven.out == [{"n": 1}, OriginGone("file"), {"n": 2}, "|"]
    assert driven.back == [{"n": 1}]


def test_lines_of_a_block_are_counted() -> None:
    driven = Driven(take(2), 1)
    block = LineDelta("f", "f", 10, 18, b"aa\nb\ncc\n", Lease(driven.context.flow, 8))
    driven.streams[0].on_next(block)
    assert driven.out == [block._replace(end=15, data=b"aa\nb\n"), "|"]


def test_an_unfinished_line_is_one() -> None:
    driven = Driven(take(2), 1)
    driven.streams[0].on_next(LineDelta("f", "f", 0, 3, b"a\nb", unfinished=True))
    assert driven.out == [LineDelta("f", "f", 0, 3, b"a\nb", unfinished=True), "|"]


@given(sizes=st.lists(st.integers(0, 4), max_size=8), count=st.integers(0, 20), restart=st.integers(0, 8))
def test_a_restart_counts_on(sizes: list[int], count: int, restart: int) -> None:
    driven = Driven(take(count), 1)
    out: list[Any] = []
    rows = iter(range(100))
    for number, size in enumerate(sizes):
        if number == restart:
            again = driven.restarted(take(count))
            out += [row for row in driven.out if row != "|"]
            driven = again
        driven.put(0, *({"n": next(rows)} for _ in range(size)))
    out += driven.out
    wanted: list[Any] = [{"n": n} for n in range(min(count, sum(sizes)))]
    assert out == wanted + ["|"] * (sum(sizes) >= count)
    assert driven.context.flow.blocks == 0


def test_a_graph_ends_when_all_are_taken_and_the_next_run_takes_no_more(tmp_path: Path) -> None:
    ledger = Ledger()
    emitted = []
    for _ in range(2):
        ledger = Ledger(ledger.durable)
        blocks = Blocks(every=1.0)
        with VirtualRun(graph(blocks.source(), take(3), ledger.step), state=tmp_path / "s.sqlite") as run:
            run.advance(10)
            assert run.status().state == "done"
        emitted.append(blocks.emitted)
    assert [row["n"] for row in ledger.rows] == [0, 1, 2]
    assert emitted == [3, 0]


def test_a_count_below_zero_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"count: must be greater than or equal to 0; got -1"):
        take(-1)
