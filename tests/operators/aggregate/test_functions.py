"""Aggregations whose slots are objects or sketches: distinct, quantile, variance; with whatever is taken back."""

from __future__ import annotations

import math
import pickle
import random
import statistics
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxpipe import operators as ops
from rxpipe.aggregations.keepers import KEEPERS
from rxpipe.aggregations.moments import Moments
from rxpipe.aggregations.packing import pack, unpack
from rxpipe.aggregations.sketches import ACCURACY, Sketch

ALL: dict[str, Any] = {
    "different": "distinct(n)", "about": "approx_distinct(n)", "spread": "variance(n)", "deviation": "stddev(n)",
    "middle": "median(n)", "low": "quantile(n, 0.1)", "most": "quantile(n, 1)",
}  # fmt: skip


def check(found: dict[str, Any], values: Sequence[float]) -> None:
    """Hold a row of `ALL` against the values it is of."""
    known = sorted(value for value in values if value is not None)
    assert found["different"] == len({*known})
    assert found["about"] == len({*known}), "exact as long as there are few"
    wanted = statistics.variance(known) if len(known) > 1 else None
    near(found["spread"], wanted, rel=1e-6, abs=1e-9)
    near(found["deviation"], None if wanted is None else math.sqrt(wanted), rel=1e-6, abs=1e-4)
    for name, fraction in (("middle", 0.5), ("low", 0.1), ("most", 1)):
        exact = known[int(fraction * (len(known) - 1))] if known else None
        near(found[name], exact, rel=ACCURACY * 1.000001)


def near(found: Any, wanted: float | None, **how: Any) -> None:
    assert found == (None if wanted is None else pytest.approx(wanted, **how))


numbers = st.none() | st.integers(-5, 5) | st.floats(-1e6, 1e6, width=32) | st.sampled_from([1e9, 1e9 + 1, 1, 1.0])


@given(st.lists(st.tuples(st.sampled_from("ab"), numbers), max_size=20), st.integers(0, 20), st.data())
def test_equals_a_computation_from_scratch(
    fed: Any, made: list[tuple[str, Any]], begin: int, data: st.DataObject
) -> None:
    """From batch `begin` on records may be retracted; those before it stay, and restarts change nothing."""
    run = fed(ops.aggregate(by=["k"], **ALL))
    left: list[dict[str, Any]] = []
    before: list[dict[str, Any]] = []
    for number, (key, value) in enumerate(made):
        row = {"k": key, "n": value}
        takes = bool(left) and data.draw(st.booleans())
        taken = [left.pop(data.draw(st.integers(0, len(left) - 1)))] if takes else []
        run.feed([row], taken, retractable=number >= begin)
        (left if number >= begin else before).append(row)
        if data.draw(st.integers(0, 3)) == 0:
            seen = run.rows
            run = run.again()
            assert run.rows == seen
        for found in run.rows:
            check(found, [row["n"] for row in before + left if row["k"] == found["k"]])
    assert run.context.errors == []


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=64).filter(lambda n: abs(n) < 1e150)), st.data())
def test_moments_are_exact(values: list[float], data: st.DataObject) -> None:
    """Whatever was added and taken back, however large, leaves nothing behind."""
    moments, left = Moments(), list[float]()
    for value in values:
        moments.add(value)
        left.append(value)
        if data.draw(st.booleans()):
            gone = left.pop(data.draw(st.integers(0, len(left) - 1)))
            moments.may_retract(gone)
            moments.retract(gone)
    again = Moments().restored(unpack(pack(moments.dump())))
    joined = Moments()
    for value in left:
        joined = joined.joined(alone(value))
    for made in (moments, again, joined):
        assert made.read() == (statistics.variance(left) if len(left) > 1 else None)
        assert made.mean() == (float(statistics.mean(left)) if left else None)


def alone(value: float) -> Moments:
    made = Moments()
    made.add(value)
    return made


def test_the_spread_of_large_numbers_that_are_near_each_other(fed: Any) -> None:
    values = [1e9 + number for number in (4, 7, 13, 16)]
    run = fed(ops.aggregate(spread="variance(n)"))
    run.feed([{"n": value} for value in values])
    assert run.rows == [{"spread": 30.0}]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1), st.floats(0, 1))
def test_a_quantile_is_near(values: list[float], fraction: float) -> None:
    values = [0.0 if abs(value) < 1e-300 else value for value in values]  # below, floats have fewer digits than that
    sketch = Sketch()
    for value in values:
        sketch.add(value)
    exact = sorted(values)[math.floor(fraction * (len(values) - 1))]
    found = sketch.read(fraction)
    assert found is not None
    assert abs(found - exact) <= abs(exact) * ACCURACY * 1.000001


@pytest.mark.parametrize("kind", ["distinct", "approx_distinct", "quantile", "distinct*", "approx_distinct*"])
def test_joined_is_one_of_all(kind: str) -> None:
    random.seed(1)
    values = [random.choice([1, 2.5, 7, 1e6]) for _ in range(50)]
    parts, whole = [KEEPERS[kind]() for _ in range(2)], KEEPERS[kind]()
    for number, value in enumerate(values):
        whole.add(value)
        parts[number % 2].add(value)
    joined = KEEPERS[kind]().restored(unpack(pack(parts[0].joined(parts[1]).dump())))
    arguments = (0.7,) if kind == "quantile" else ()
    assert joined.read(*arguments) == whole.read(*arguments)
    sent = pickle.loads(pickle.dumps(parts[1]))
    assert parts[0].joined(sent).read(*arguments) == whole.read(*arguments), "from another process"
    assert parts[0].read(*arguments) == KEEPERS[kind]().joined(parts[0]).read(*arguments), "it is a copy"


def test_sessions_that_are_joined(fed: Any) -> None:
    run = fed(ops.window(gap="10s", time="t", lateness="1h", **ALL))
    rows = [{"t": time, "n": time * 1.5} for time in (0, 16, 8, 40)]  # the third makes one session of two
    run.feed(rows)
    run.source.on_completed()
    first, second = run.rows
    check(first, [0, 24, 12])
    check(second, [60])


def test_many_different_values(fed: Any) -> None:
    run = fed(ops.aggregate(about="approx_distinct(n)", exact="distinct(n)"))
    run.feed([{"n": f"user {number % 50_000}"} for number in range(100_000)])
    run = run.again()
    run.feed([{"n": number} for number in range(50_000)])
    [row] = run.rows
    assert row["exact"] == 100_000
    assert row["about"] == pytest.approx(100_000, rel=0.05)
    run.feed([{"n": "new"}, {"n": "other"}], retractable=True).feed(retracted=[{"n": "new"}])
    assert run.rows[0]["exact"] == 100_001
    assert run.rows[0]["about"] == pytest.approx(100_001, rel=0.05), "what was there before stays"


def test_equal_values_are_one(fed: Any) -> None:
    run = fed(ops.aggregate(about="approx_distinct(n)", exact="distinct(n)"))
    values = [1, 1.0, True, "1", "", (1, 2), (1.0, 2), 2**70, 2.0**70, -1, None, 0.5, math.inf]
    run.feed([{"n": value} for value in values])
    assert run.rows == [{"about": 8, "exact": 8}]


@pytest.mark.parametrize("retractable", [False, True])
@pytest.mark.parametrize("function", [*ALL.values()])
def test_a_value_that_does_not_fit_goes_to_errors_and_changes_nothing(
    fed: Any, function: str, retractable: bool
) -> None:
    bad: Any = [1] if "distinct" in function else "text"
    step = ops.aggregate(by=["k"], x=function, total="sum(m)")
    run = fed(step).feed([{"k": 1, "n": 1, "m": 1}, {"k": 1, "n": 2, "m": 1}], retractable=retractable)
    before = run.rows
    rows = [{"k": 1, "n": bad, "m": 1}, {"k": 1, "n": 3, "m": "text"}]
    run.feed(rows, retractable=retractable)
    assert run.rows == before
    assert [error.reason.split(":")[0] for error in run.context.errors] == ["TypeError", "TypeError"]
    if retractable:
        assert run.feed(retracted=rows).rows == before


def test_a_text_that_is_half_a_surrogate_pair_counts_as_one(fed: Any) -> None:
    run = fed(ops.aggregate(middle="median(n)", about="approx_distinct(s)", rows="count()"))
    for s, count in (("a", 2), ("\ud800", 3), ("\ud801", 1), ("a", 4)):
        run.feed([{"n": count, "s": s}] * count)
    assert run.context.errors == []
    (row,) = run.rows
    assert (row["about"], row["rows"]) == (3, 10)
    near(row["middle"], 3, rel=ACCURACY * 1.000001)


def test_no_number(fed: Any) -> None:
    run = fed(ops.aggregate(x="median(n)")).feed([{"n": math.nan}, {"n": math.inf}, {"n": -math.inf}, {"n": 10**400}])
    assert len(run.context.errors) == 4
    assert run.seen == []
    run = fed(ops.aggregate(x="variance(n)")).feed([{"n": math.nan}, {"n": math.inf}], retractable=True)
    assert len(run.context.errors) == 2
    run = fed(ops.aggregate(x="variance(n)")).feed([{"n": math.inf}, {"n": 1}])
    assert math.isnan(run.rows[0]["x"])
    run.feed([{"n": 1}, {"n": 3}], retractable=True)
    assert run.rows == [{"x": 2.0}]
    assert run.feed([{"n": 1e200}], retractable=True).rows == [{"x": math.inf}]
