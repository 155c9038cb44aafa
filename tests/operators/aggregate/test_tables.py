"""Steps that make or read tables: `histogram`, `changes`, `pivot`."""

from __future__ import annotations

import math
import sys
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable

from rxpipe import operators as ops
from rxpipe.elements import Batch, OriginGone
from rxpipe.errors import ParameterError, RxpipeError
from rxpipe.table import Table
from rxpipe.testing import run_marbles


def table(rows: list[Any], *key: str, name: str = "t") -> Table:
    """A table of these rows."""
    return Table(name, key, lambda: rows, lambda: 0)


finite = st.integers(-(10**6), 10**6) | st.floats(-1e12, 1e12) | st.sampled_from([0.1, 0.3, 8, 1000, 1e-9, 0.7, 0])


@given(st.lists(finite), st.sampled_from([0.1, 1.0, 7.0]))
def test_buckets_of_one_width(fed: Any, values: list[float], width: float) -> None:
    rows = histogrammed(fed, values, width=width)
    for row in rows:
        assert row["high"] - row["low"] == pytest.approx(width, rel=1e-2, abs=1e-3)


@given(st.lists(finite), st.sampled_from([1.1, 2.0, 10.0]))
def test_buckets_that_grow(fed: Any, values: list[float], factor: float) -> None:
    for row in histogrammed(fed, values, factor=factor):
        low, high = sorted((abs(row["low"]), abs(row["high"])))
        assert high == pytest.approx(low * factor)


@given(st.lists(finite), st.lists(finite, min_size=1, unique=True).map(sorted))
def test_given_buckets(fed: Any, values: list[float], bounds: list[float]) -> None:
    edges = [None, *map(float, bounds), None]
    if len({*edges}) == len(bounds) + 1:  # not two whole numbers that are one float
        pairs = {*pairwise(edges)}
        assert {(row["low"], row["high"]) for row in histogrammed(fed, values, buckets=bounds)} <= pairs


def histogrammed(fed: Any, values: list[float], **parameters: Any) -> list[dict[str, Any]]:
    """The rows, held against the values."""
    run = fed(ops.histogram("n", **parameters)).feed([{"n": value} for value in [*values, None]])
    rows: list[dict[str, Any]] = run.rows
    assert run.reasons == []
    lows = [-math.inf if row["low"] is None else row["low"] for row in rows]
    assert lows == sorted({*lows})
    for row in rows:
        low = -math.inf if row["low"] is None else row["low"]
        high = math.inf if row["high"] is None else row["high"]
        if "factor" in parameters and high <= 0:
            inside = (
                [value for value in values if low < value <= high]
                if low < high
                else [v for v in values if abs(v) < sys.float_info.min]
            )
        else:
            inside = [value for value in values if low <= value < high]
        assert row["count"] == len(inside) > 0
    assert sum(row["count"] for row in rows) == len(values)
    return rows


def test_a_histogram_by_key_takes_back_and_goes_on(fed: Any) -> None:
    run = fed(ops.histogram("n * 2", buckets=[10], by=["k"]))
    run.feed([{"k": "b", "n": 7}, {"k": "a", "n": 5}, {"k": "b", "n": 1}, {"k": "b", "n": 4}], retractable=True)
    wanted = [("b", None, 10.0, 2), ("b", 10.0, None, 1), ("a", 10.0, None, 1)]
    assert [tuple(row.values()) for row in run.rows] == wanted
    again = run.again()
    assert [tuple(row.values()) for row in again.rows] == wanted
    again.feed(retracted=[{"k": "b", "n": 7}, {"k": "b", "n": 1}])
    assert [tuple(row.values()) for row in again.rows] == [("a", 10.0, None, 1), ("b", None, 10.0, 1)]


def test_what_has_no_bucket_goes_to_errors(fed: Any) -> None:
    for parameters in ({"buckets": [1]}, {"width": 1}, {"factor": 2}):
        run = fed(ops.histogram("n", **parameters)).feed([{"n": n} for n in ("1", math.nan, math.inf, [1], 10**400, 1)])
        assert [row["count"] for row in run.rows] == [1]
        assert len(run.reasons) == 5


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "histogram: one of 'buckets', 'width' and 'factor' must be given; got none"),
        ({"width": 1, "factor": 2}, "must be given; got 'width' and 'factor'"),
        ({"buckets": []}, r"histogram: 'buckets' must be bounds that grow, one at least; got \[\]"),
        ({"buckets": [1, 3, 3]}, "'buckets' must be bounds that grow"),
        ({"width": 1, "by": ["k", "n + low"]}, r"are the bounds of buckets; got the key 'n \+ low' that reads 'low'"),
    ],
)
def test_parameters_of_a_histogram(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(RxpipeError, match=message):
        ops.histogram("n", **parameters)(Observable())
    with pytest.raises(ParameterError, match="factor: must be greater than 1; got 1"):
        ops.histogram("n", factor=1)


keyed = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 3))


def test_nan_that_stays_is_no_change(fed: Any) -> None:
    run = fed(ops.changes())
    for n in (math.nan, float("nan"), 1.0, float("nan")):
        run.source.on_next(table([{"k": "a", "n": n}], "k"))
    assert [len(batch.rows) for batch in run.seen] == [1, 1, 1]


@given(st.lists(keyed, max_size=8), st.booleans(), st.data())
def test_changes_add_up_to_the_table(
    fed: Any, states: list[dict[str, int]], has_key: bool, data: st.DataObject
) -> None:
    """After each time the table came; also over a restart, after which only what changed is emitted."""
    run = fed(ops.changes())
    held: Counter[Any] = Counter()
    for state in states:
        rows = [{"k": key if has_key else "-", "n": value} for key, value in state.items()]
        run.seen.clear()
        run.source.on_next(table(rows, *(["k"] if has_key else [])))
        wanted = Counter((row["k"], row["n"]) for row in rows)
        assert bool(run.seen) == (wanted != held)
        held = read_on(held, run.seen)
        assert held == wanted
        if data.draw(st.booleans()):
            run.seen.clear()  # they hold leases, for which a checkpoint waits
            run = run.again()


def read_on(held: Counter[Any], batches: list[Batch]) -> Counter[Any]:
    """What a reader has behind some batches."""
    for batch in batches:
        assert batch.retractable
        gone, new = (Counter((row["k"], row["n"]) for row in part) for part in (batch.retracted, batch.rows))
        assert not gone & new
        assert gone <= held
        held = held + new - gone
    return held


def test_changes_of_several_tables(fed: Any) -> None:
    run = fed(ops.changes())
    for name, value in (("a", 1), ("b", 1), ("a", 2)):
        run.source.on_next(table([{"n": value}], name=name))
    assert run.seen == [Batch([{"n": 1}]), Batch([{"n": 1}]), Batch([{"n": 2}], [{"n": 1}])]
    assert run.context.flow.blocks == 3, "as long as somebody holds the batches"
    run.seen.clear()
    assert run.context.flow.blocks == 0


def test_an_aggregate_of_changes_is_one_of_the_rows(fed: Any) -> None:
    def step(source: Any) -> Any:
        return source.pipe(
            ops.aggregate(by=["k"], n="sum(n)"), ops.changes(), ops.aggregate(most="max(n)", keys="count()")
        )

    run = fed(step).feed([{"k": "a", "n": 5}, {"k": "b", "n": 3}], retractable=True)
    run.feed([{"k": "b", "n": 4}], [{"k": "a", "n": 5}])
    assert run.rows == [{"most": 7, "keys": 1}]
    assert run.again().feed([{"k": "c", "n": 1}]).rows == [{"most": 7, "keys": 2}]


cells = st.lists(
    st.fixed_dictionaries(
        {"k": st.sampled_from("xy"), "c": st.sampled_from(["a", "b", None, 1, "1"]), "n": st.integers(0, 9)}
    )
)


@given(cells, st.booleans())
def test_pivot(fed: Any, rows: list[dict[str, Any]], by: bool) -> None:
    run = fed(ops.pivot("c", value="sum(n)", by=["k"] if by else None, prefix="of ", fill=-1))
    run.source.on_next(table(rows))
    wanted: dict[Any, dict[str, Any]] = {}
    names = list(dict.fromkeys(f"of {'null' if row['c'] is None else row['c']}" for row in rows))
    for row in rows:
        made = wanted.setdefault(
            row["k"] if by else None, {**({"k": row["k"]} if by else {}), **dict.fromkeys(names, -1)}
        )
        name = f"of {'null' if row['c'] is None else row['c']}"
        made[name] = max(made[name], 0) + row["n"]
    assert run.rows == list(wanted.values())
    assert [list(row) for row in run.rows] == [[*(["k"] if by else []), *names] for _ in run.rows]
    assert run.seen[0].key == (("k",) if by else ())


def test_rows_that_cannot_be_pivoted_are_told_once(fed: Any) -> None:
    rows = [{"k": 1, "c": "k", "n": 1}, {"k": 1, "c": "a", "n": "text"}, {"k": [1], "c": "a", "n": 1}]
    run = fed(ops.pivot("c", value="sum(n)", by=["k"]))
    run.source.on_next(table([*rows, {"k": 1, "c": "a", "n": 2}]))
    for _ in range(2):
        assert run.rows == [{"k": 1, "a": 2}]
    assert len(run.reasons) == 3
    assert "ValueError: the column 'k' would have the name of a key; give a prefix" in run.reasons


@pytest.mark.parametrize("step", [ops.changes(), ops.pivot("c", value="count()")])
@pytest.mark.parametrize("source", ["-----", "|", "--|", "--#", "-a-|"])
def test_marbles(step: Any, source: str) -> None:
    assert run_marbles(step, source, {"a": OriginGone("x")}) == source.rstrip("-")
