"""Steps that add columns by the records before: `moving_average`, `delta`, `per_second`, `anomaly`."""

from __future__ import annotations

import math
import statistics
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxpipe import operators as ops
from rxpipe.elements import Batch, OriginGone
from rxpipe.errors import ParameterError, RxpipeError
from rxpipe.fusion.rows import row_struct
from rxpipe.testing import run_marbles

STEPS: dict[str, Any] = {
    "moving_average": ops.moving_average("n", count=2, by=["k"]),
    "of a time": ops.moving_average("n", within="10s", by=["k"], time="t"),
    "delta": ops.delta("n", by=["k"]),
    "per_second": ops.per_second("n", by=["k"], time="t"),
    "anomaly": ops.anomaly("n", count=5, at_least=3, by=["k"]),
    "anomaly of a time": ops.anomaly("n", within="10s", at_least=3, by=["k"], time="t"),
}

numbers = st.integers(-100, 100) | st.floats(-1e9, 1e9)
records = st.lists(
    st.fixed_dictionaries({"k": st.sampled_from("ab"), "n": st.none() | numbers, "t": st.integers(0, 40)}), max_size=20
)


def in_runs(fed: Any, step: Any, rows: list[Any], data: st.DataObject) -> list[Any]:
    """What comes of records in batches of any size, with restarts between some."""
    run = fed(step)
    made = []
    at = 0
    while at < len(rows):
        size = data.draw(st.integers(1, 5))
        run.feed(rows[at : at + size])
        made += run.rows
        at += size
        if data.draw(st.booleans()):
            run = run.again()
    return made


@given(records, st.integers(1, 4), st.booleans(), st.data())
def test_moving_average_of_so_many(fed: Any, rows: list[Any], count: int, partial: bool, data: st.DataObject) -> None:
    step = ops.moving_average("n", count=count, by=["k"], into="m", partial=partial)
    found = in_runs(fed, step, rows, data)
    for number, made in enumerate(found):
        assert {name: made[name] for name in "knt"} == rows[number]
        known = [row["n"] for row in rows[: number + 1] if row["k"] == made["k"] and row["n"] is not None]
        enough = made["n"] is not None and (partial or len(known) >= count)
        assert made["m"] == (mean(known[-count:]) if enough else None)
    assert len(found) == len(rows)


@given(records, st.data())
def test_moving_average_of_a_time(fed: Any, rows: list[Any], data: st.DataObject) -> None:
    found = in_runs(fed, ops.moving_average("n", within="10s", by=["k"], time="t"), rows, data)
    for number, made in enumerate(found):
        mine = [row for row in rows[: number + 1] if row["k"] == made["k"] and row["n"] is not None]
        latest = max((row["t"] for row in mine), default=0)
        assert made["average"] == (
            None if made["n"] is None else mean([row["n"] for row in mine if row["t"] > latest - 10])
        )


def mean(values: list[float]) -> float:
    return float(sum(map(Fraction, values)) / len(values))


def test_a_mean_does_not_drift(fed: Any) -> None:
    run = fed(ops.moving_average("n", count=2))
    run.feed([{"n": n} for n in (1e16, 1.0, -1e16, 3.0, 0.1, 0.2)])
    assert [row["average"] for row in run.rows][-2:] == [1.55, 0.15000000000000002]


def test_by_arrival(fed: Any) -> None:
    average = fed(ops.moving_average("n", within="10s"), now=100.0)
    rate = fed(ops.per_second("n"), now=100.0)
    for run in (average, rate):
        run.feed([{"n": 2}, {"n": 4}])
        run.context.virtual.advance_by(4)
        run.feed([{"n": 12}])
    assert average.rows == [{"n": 12, "average": 6.0}]
    assert rate.rows == [{"n": 12, "per_second": 2.5}], "from the first of those that came together"
    average.context.virtual.advance_by(6)
    assert average.feed([{"n": 0}]).rows == [{"n": 0, "average": 6.0}]


@given(records, st.booleans(), st.data())
def test_delta(fed: Any, rows: list[Any], counter: bool, data: st.DataObject) -> None:
    before: dict[str, Any] = {}
    for made in in_runs(fed, ops.delta("n", by=["k"], counter=counter), rows, data):
        key, value = made["k"], made["n"]
        if value is None or key not in before:
            assert made["delta"] is None
        else:
            reset = counter and value < before[key]
            assert made["delta"] == (value if reset else value - before[key])
        if value is not None:
            before[key] = value


@given(records, st.data())
def test_per_second(fed: Any, rows: list[Any], data: st.DataObject) -> None:
    before: dict[str, Any] = {}
    for made in in_runs(fed, ops.per_second("n", by=["k"], time="t"), rows, data):
        key, value, time = made["k"], made["n"], made["t"]
        then = before.get(key)
        if value is None or then is None or time <= then[1]:
            assert made["per_second"] is None
        else:
            growth = value if value < then[0] else value - then[0]
            assert made["per_second"] == growth / (time - then[1])
        if value is not None and (then is None or time > then[1]):
            before[key] = value, time


@given(records, st.sampled_from([3, 6, None]), st.data())
def test_anomaly(fed: Any, rows: list[Any], count: int | None, data: st.DataObject) -> None:
    which: dict[str, Any] = {"within": "10s", "time": "t"} if count is None else {"count": count}
    found = in_runs(fed, ops.anomaly("n", at_least=3, threshold=2, by=["k"], **which), rows, data)
    for number, made in enumerate(found):
        mine = [row for row in rows[:number] if row["k"] == made["k"] and row["n"] is not None]
        latest = max((row["t"] for row in [*mine, made]), default=0)
        recent = mine[-count:] if count else [row for row in mine if row["t"] > latest - 10]
        known = [row["n"] for row in recent]
        if made["n"] is None:
            assert (made["score"], made["anomaly"]) == (None, None)
        elif len(known) < 3:
            assert (made["score"], made["anomaly"]) == (None, False)
        else:
            middle = statistics.median(known)
            distances = [abs(value - middle) for value in known]
            spread = 1.482602 * statistics.median(distances) or 1.253314 * statistics.mean(distances)
            if spread:
                score = (made["n"] - middle) / spread
                assert made["score"] == pytest.approx(score)
                assert made["anomaly"] == (abs(made["score"]) > 2)
            else:
                assert (made["score"], made["anomaly"]) == (None, made["n"] != middle)


def test_one_outlier_does_not_hide_the_next(fed: Any) -> None:
    run = fed(ops.anomaly("n", count=20)).feed([{"n": 10 + number % 3} for number in range(10)])
    assert {(row["score"], row["anomaly"]) for row in run.rows} == {(None, False)}
    run.feed([{"n": n} for n in (1000, 11, 1000, -500)])
    assert [row["anomaly"] for row in run.rows] == [True, False, True, True]


@pytest.mark.parametrize("name", STEPS)
def test_a_retracted_record_goes_on_with_what_it_was_given(fed: Any, name: str) -> None:
    rows = [{"k": "a", "n": n, "t": t} for t, n in enumerate((4, 4, 9, 4, 30))]
    run = fed(STEPS[name]).feed(rows, retractable=True)
    added = run.rows
    run.feed(retracted=[rows[4], rows[1]])
    [batch] = run.seen[1:]
    assert batch == Batch([], [added[4], added[1]])
    run = run.again().feed(retracted=[rows[0], {"k": "a", "n": 77, "t": 0}])
    assert run.seen[-1] == Batch([], [added[0]])
    assert [reason.split(" was given ")[0] for reason in run.reasons] == [
        "LookupError: it is retracted, and no record like it"
    ]


@pytest.mark.parametrize("name", STEPS)
def test_what_fails_goes_to_errors_and_counts_for_nothing(fed: Any, name: str) -> None:
    good = [{"k": "a", "n": n, "t": t} for t, n in enumerate((4, 5, 9, 4))]
    bad = [{"k": "a", "n": "text", "t": 2}, {"k": ["a"], "n": 1, "t": 2}, {"k": "a", "n": [2], "t": 2}]
    wanted = fed(STEPS[name]).feed(good).rows
    run = fed(STEPS[name]).feed([*good[:2], *bad, *good[2:]])
    assert run.rows == wanted
    assert [reason.split(":")[0] for reason in run.reasons] == ["TypeError"] * 3
    assert run.context.gauges["keys"]() == 1


@pytest.mark.parametrize("name", STEPS)
def test_what_is_no_finite_number_goes_to_errors(fed: Any, name: str) -> None:
    run = fed(STEPS[name]).feed([{"k": "a", "n": n, "t": 1} for n in (math.nan, math.inf, -math.inf)])
    assert len(run.reasons) == 3
    assert run.seen == []


@pytest.mark.parametrize("name", ["of a time", "per_second", "anomaly of a time"])
def test_what_has_no_finite_time_goes_to_errors(fed: Any, name: str) -> None:
    run = fed(STEPS[name]).feed([{"k": "a", "n": 1, "t": t} for t in (math.nan, math.inf, -math.inf)])
    assert run.reasons == [
        f"ValueError: time must be a finite number of seconds; got {t}" for t in ("nan", "inf", "-inf")
    ]
    assert run.seen == []


def test_structs_get_wider(fed: Any) -> None:
    row = row_struct("Row", {"n": int, "delta": str})
    run = fed(ops.delta("n")).feed([row(1, "x"), row(4, "y")])
    assert run.rows == [{"n": 1, "delta": None}, {"n": 4, "delta": 3}]


def test_only_changed_keys_are_saved(fed: Any) -> None:
    run = fed(ops.delta("n", by=["k"])).feed([{"k": "a", "n": 1}, {"k": "b", "n": 1}])
    assert len(run.context.checkpoint()[0]) == 2
    run.feed([{"k": "b", "n": 3}])
    changes = run.context._changes[0]
    assert len(list(changes())) == 1
    assert list(changes()) == []


@pytest.mark.parametrize(
    ("operator", "parameters", "message"),
    [
        ("moving_average", {}, "moving_average: one of 'count' and 'within' must be given; got none"),
        ("moving_average", {"count": 1, "within": "1s"}, "must be given; got both"),
        ("moving_average", {"count": 1, "time": "t"}, "moving_average: 'time' goes with 'within'"),
        ("anomaly", {}, "anomaly: one of 'count' and 'within' must be given; got none"),
        ("anomaly", {"count": 5}, r"anomaly: 'at_least' must be at most 'count' \(5\); got 10"),
    ],
)
def test_parameters_that_do_not_go_together(operator: str, parameters: dict[str, Any], message: str) -> None:
    step = getattr(ops, operator)("n", **parameters)
    with pytest.raises(RxpipeError, match=message):
        step(None)


def test_parameters_out_of_range() -> None:
    with pytest.raises(ParameterError, match="count: must be greater than or equal to 1; got 0"):
        ops.moving_average("n", count=0)
    with pytest.raises(ParameterError, match="threshold: must be greater than 0; got 0"):
        ops.anomaly("n", count=10, threshold=0)


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("source", ["-----", "|", "--|", "--#", "-a-|", "-e-|"])
def test_marbles(name: str, source: str) -> None:
    found = run_marbles(STEPS[name], source, {"a": OriginGone("x"), "e": Batch([])})
    assert found == source.replace("e", "-").rstrip("-")
