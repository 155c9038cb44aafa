"""`aggregate`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from itertools import pairwise, permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex.subject import Subject

from rxpipe.context import entered
from rxpipe.elements import Batch, OriginGone
from rxpipe.errors import ExpressionError, ParameterError, RxpipeError
from rxpipe.fusion.rows import row_struct
from rxpipe.lease import Lease
from rxpipe.operators.aggregate.aggregate import aggregate
from rxpipe.testing import TestContext, run_marbles

ALL = {
    "rows": "count()", "values": "count(n)", "total": "sum(n)", "average": "mean(n)",
    "least": "min(n)", "most": "max(n)", "earliest": "first(n)", "latest": "last(n)",
}  # fmt: skip
PLAIN = dict([*ALL.items()][:4])
"""Those that need no object in a group: records are then added and taken back by one loop."""
COLUMNS = st.sampled_from([ALL, PLAIN])
ROW = row_struct("Row", {"k": str, "n": int})


class Run:
    """One subscription."""

    def __init__(self, states: Sequence[Any] = (), **parameters: Any) -> None:
        self.context = TestContext(states)
        self.source: Subject[Any] = Subject()
        self.seen: list[Any] = []
        with entered(self.context):
            self.subscription = self.source.pipe(aggregate(**parameters)).subscribe(
                self.seen.append, scheduler=self.context.virtual
            )
        self.context.virtual.advance_by(0)

    def feed(self, *rows: Any, retracted: Sequence[Any] = (), retractable: bool = False) -> Run:
        lease = Lease(self.context.flow, 1, "file", 2, 5)
        self.source.on_next(Batch(list(rows), list(retracted), (lease,), retractable=retractable))
        return self

    @property
    def rows(self) -> list[dict[str, Any]]:
        return self.seen[-1].dicts() if self.seen else []


def reference(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """All aggregations by `k`, computed of all rows at once."""
    made = []
    for key in dict.fromkeys(row["k"] for row in rows):
        group = [row for row in rows if row["k"] == key]
        values = [row["n"] for row in group if row["n"] is not None]
        made.append({
            "k": key, "rows": len(group), "values": len(values), "total": sum(values),
            "average": sum(values) / len(values) if values else None, "least": min(values, default=None),
            "most": max(values, default=None), "earliest": values[0] if values else None,
            "latest": values[-1] if values else None,
        })  # fmt: skip
    return made


rows_of = st.lists(
    st.fixed_dictionaries(
        {"k": st.sampled_from(["a", "b", "c", 1]), "n": st.none() | st.integers(-5, 5) | st.just(2**70)}
    ),
    max_size=15,
)


@given(rows_of, st.lists(st.integers(0, 15), max_size=4), st.booleans(), COLUMNS)
def test_equals_a_computation_from_scratch(
    rows: list[dict[str, Any]], cuts: list[int], retractable: bool, columns: dict[str, str]
) -> None:
    run = Run(by=["k"], **columns)
    edges = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    for start, end in pairwise(edges):
        run.feed(*rows[start:end], retractable=retractable)
        assert run.rows == [{name: row[name] for name in ["k", *columns]} for row in reference(rows[:end])]
    assert run.context.errors == []


@given(rows_of, st.data(), COLUMNS)
def test_takes_back_across_restarts(rows: list[dict[str, Any]], data: st.DataObject, columns: dict[str, str]) -> None:
    """Rows that are taken back were never there; but of equal values the latest goes, and groups keep their places."""
    compared = [*columns][:6]
    run = Run(by=["k"], **columns)
    holding: list[dict[str, Any]] = []
    for number, row in enumerate(rows):
        row["id"] = number
        takes = bool(holding) and data.draw(st.booleans())
        gone = [holding.pop(data.draw(st.integers(0, len(holding) - 1)))] if takes else []
        run.feed(row, retracted=gone, retractable=True)
        holding.append(row)
        expected = {made["k"]: made for made in reference(holding)}
        for found in run.rows:
            wanted = expected.pop(found["k"])
            assert {key: found[key] for key in compared} == {key: wanted[key] for key in compared}
        assert not expected
        if data.draw(st.integers(0, 4)) == 0:
            before = run.rows
            run = Run(run.context.checkpoint(), by=["k"], **columns)
            assert run.rows == before, "the same rows in the same order"


def test_first_and_last_with_retractions() -> None:
    run = Run(by=["k"], earliest="first(n)", latest="last(n)")
    made = [{"k": "a", "n": n} for n in (1, 2, 3, 2)]
    run.feed(*made, retractable=True)
    run.feed(retracted=[made[0], made[3]])
    assert run.rows == [{"k": "a", "earliest": 2, "latest": 3}]
    run.feed(retracted=[made[2], made[1]])
    assert run.rows == []


@pytest.mark.parametrize("restart", [False, True])
def test_what_came_before_the_first_retractable_batch_stays(restart: bool) -> None:
    run = Run(by=["k"], **ALL).feed({"k": "a", "n": 5}, {"k": "b", "n": 1}).feed({"k": "a", "n": 7})
    run.context.checkpoint()
    run.feed({"k": "a", "n": 1}, {"k": "a", "n": 9}, retractable=True)
    if restart:
        run = Run(run.context.checkpoint(), by=["k"], **ALL)
    expected = reference([{"k": "a", "n": n} for n in (5, 7, 1, 9)] + [{"k": "b", "n": 1}])
    assert run.rows == expected
    run.feed(retracted=[{"k": "a", "n": 1}, {"k": "a", "n": 9}], retractable=True)
    assert run.rows == reference([{"k": "a", "n": n} for n in (5, 7)] + [{"k": "b", "n": 1}])


@pytest.mark.parametrize("restart", [False, True])
def test_nan_among_first_and_last_is_taken_back(restart: bool) -> None:
    columns = {"earliest": "first(n)", "latest": "last(n)"}
    run = Run(**columns).feed({"n": math.nan}, {"n": 2.0}, {"n": math.nan}, retractable=True)
    if restart:
        run = Run(run.context.checkpoint(), **columns)
    run.feed(retracted=[{"n": math.nan}, {"n": math.nan}], retractable=True)
    assert (run.rows, run.context.errors) == ([{"earliest": 2.0, "latest": 2.0}], [])


@pytest.mark.parametrize("values", [*permutations([math.nan, 1.0, 2.0])])
@pytest.mark.parametrize("retractable", [False, True])
def test_nan_is_neither_least_nor_largest(values: tuple[float, ...], retractable: bool) -> None:
    run = Run(least="min(n)", most="max(n)").feed(*({"n": value} for value in values), retractable=retractable)
    assert run.rows == [{"least": 1.0, "most": 2.0}]
    if retractable:
        run.feed({"n": 9.0}, retracted=[{"n": math.nan}, {"n": 1.0}], retractable=True)
        assert run.rows == [{"least": 2.0, "most": 9.0}]
    assert not run.context.errors


def test_a_mean_that_is_too_large_is_infinite() -> None:
    run = Run(by=["k"], average="mean(n)").feed({"k": "a", "n": 2**2000}, {"k": "b", "n": -(2**2000)})
    assert [row["average"] for row in run.rows] == [math.inf, -math.inf]


def test_groups_stay_in_order_of_their_first_record() -> None:
    run = Run(by=["k"], n="count()")
    for batch in (["x", "b"], ["a"], ["b", "x"], ["c", "a"]):
        run.feed(*({"k": key} for key in batch))
    assert [row["k"] for row in run.rows] == ["x", "b", "a", "c"]
    run.feed(retracted=[{"k": "x"}, {"k": "x"}])
    run.feed({"k": "x"})
    assert [row["k"] for row in run.rows] == ["b", "a", "c", "x"]
    assert [row["k"] for row in Run(run.context.checkpoint(), by=["k"], n="count()").rows] == ["b", "a", "c", "x"]


def test_only_changed_groups_are_saved() -> None:
    run = Run(by=["k"], n="count()").feed({"k": "a"}, {"k": "b"})
    (states,) = run.context.checkpoint()
    assert len(states) == 3, "two groups, and the version of the table"
    run.feed({"k": "b"}, retracted=[{"k": "a"}])
    changes = run.context._changes[0]  # what a checkpoint would write
    assert sorted(value is None for _, part, value in changes() if not part) == [False, True]
    assert list(changes()) == []


def test_equal_keys_are_one_group() -> None:
    run = Run(by=["k"], n="count()").feed({"k": 1.0}, {"k": True})
    again = Run(run.context.checkpoint(), by=["k"], n="count()").feed({"k": 1})
    assert repr(again.rows) == "[{'k': 1.0, 'n': 3}]"
    assert len([part for _, part in again.context.checkpoint()[0] if not part]) == 1


def test_values_keep_their_types_across_restarts() -> None:
    rows = [{"k": date(2026, 1, day), "n": Decimal(day) / 4} for day in (1, 2)]
    made = {"total": "sum(n)", "least": "min(n)", "latest": "last(n)", "kinds": "distinct(n)"}
    run = Run(by=["k"], **made).feed(*rows)
    again = Run(run.context.checkpoint(), by=["k"], **made)
    assert repr(again.rows) == repr(run.rows)
    assert repr(again.feed(*rows).rows) == repr(run.feed(*rows).rows)
    assert len(again.rows) == 2


def test_without_a_key() -> None:
    run = Run(n="count()", total="sum(n)")
    assert run.seen == []
    run.feed({"n": 1}, {"n": 2}, retractable=True)
    assert run.rows == [{"n": 2, "total": 3}]
    run.feed(retracted=[{"n": 1}, {"n": 2}])
    assert run.rows == [{"n": 0, "total": 0}]
    assert Run(run.context.checkpoint(), n="count()", total="sum(n)").feed({"n": 5}).rows == [{"n": 1, "total": 5}]


def test_keys_of_several_expressions() -> None:
    run = Run(by=["k", "n // 10"], total="sum(n)")
    run.feed(ROW("a", 5), ROW("a", 15), {"k": "a", "n": 12}, ROW("b", 1))
    assert run.rows == [
        {"k": "a", "n // 10": 0, "total": 5},
        {"k": "a", "n // 10": 1, "total": 27},
        {"k": "b", "n // 10": 0, "total": 1},
    ]


def test_columns_with_odd_names() -> None:
    run = Run(by=["k"], **{'it\'s "n"': "sum(n)", "{n}": "max(n)"})
    assert run.feed({"k": "a", "n": 2}).rows == [{"k": "a", 'it\'s "n"': 2, "{n}": 2}]


@pytest.mark.parametrize("retractable", [False, True])
@pytest.mark.parametrize("columns", [ALL, PLAIN])
def test_a_bad_record_changes_nothing(retractable: bool, columns: dict[str, str]) -> None:
    run = Run(by=["k"], **columns)
    good = [{"k": "a", "n": 1}, {"k": "b", "n": 3}]
    bad = [{"k": [1], "n": 1}, {"k": "a", "n": "x"}, {"k": "a", "n": [1]}, {"k": "new", "n": "x"}]
    run.feed(bad[0], good[0], bad[1], bad[2], good[1], bad[3], retractable=retractable)
    assert run.rows == [{name: row[name] for name in ["k", *columns]} for row in reference(good)]
    assert len(run.context.errors) == 4
    assert {(error.path, error.start) for error in run.context.errors} == {("file", 2)}
    assert "TypeError: unhashable type: 'list'" in run.context.errors[0].reason
    assert str([1]) in (run.context.errors[0].record or "")
    if retractable:
        run.feed(retracted=[*bad, good[1]], retractable=True)
        assert [row["k"] for row in run.rows] == ["a"]
        assert run.rows[0]["total"] == 1
        assert len(run.context.errors) == 4, "a retracted record was refused and counted when it came"


def test_values_of_several_types_in_a_minimum() -> None:
    for retractable in (False, True):
        run = Run(least="min(n)", n="count()").feed({"n": 1}, {"n": "a"}, {"n": 0.5}, retractable=retractable)
        assert run.rows == [{"least": 0.5, "n": 2}]
        run.feed(retracted=[{"n": 0.5}, {"n": "a"}] if retractable else [])
        assert run.rows == [{"least": 1 if retractable else 0.5, "n": 1 if retractable else 2}]


def test_a_retraction_of_what_is_not_there_is_ignored() -> None:
    run = Run(by=["k"], n="count()", most="max(n)").feed({"k": "a", "n": 1}, retractable=True)
    run.feed(retracted=[{"k": "b", "n": 1}, {"k": "a", "n": 7}])
    assert run.rows == [{"k": "a", "n": 1, "most": 1}]


def test_a_batch_takes_back_a_whole_group_and_begins_it_again() -> None:
    """It is then the last, and what else is taken back of it is ignored."""
    run = Run(by=["k"], total="sum(n)").feed({"k": "a", "n": 0.1}, {"k": "b", "n": 2}, retractable=True)
    run.feed({"k": "a", "n": 3}, retracted=[{"k": "a", "n": 0.1}, {"k": "a", "n": 0.1}, {"k": "c", "n": 1}])
    assert run.rows == [{"k": "b", "total": 2}, {"k": "a", "total": 3}]


def test_floats() -> None:
    run = Run(total="sum(n)").feed(*({"n": 0.1} for _ in range(1000)))
    assert math.isclose(run.rows[0]["total"], 100)


def test_an_expression_that_does_not_fit_the_rows() -> None:
    with pytest.raises(ExpressionError, match="unknown field 'm'"):
        Run(total="sum(m)").feed(ROW("a", 1))


def test_names_must_differ() -> None:
    for parameters in ({"by": ["k"], "k": "count()"}, {"by": ["k", "k"]}):
        with pytest.raises(RxpipeError, match="names of keys and columns must differ; got 'k' twice"):
            aggregate(**parameters)(Subject())


@pytest.mark.parametrize(
    ("text", "message", "column"),
    [
        ("tokens", "an aggregation must be one of count", 0),
        ("summ(n)", "unknown aggregation 'summ'.*did you mean 'sum'", 0),
        ("sum()", "'sum' needs an expression, as sum", 4),
        ("sum(n +)", "valid syntax", 7),
        ("sum( lenn(n))", "unknown function 'lenn', did you mean 'len'", 5),
    ],
)
def test_a_bad_aggregation(text: str, message: str, column: int) -> None:
    with pytest.raises(ParameterError, match=message) as caught:
        aggregate(x=text)
    assert caught.value.problems[0].column == column


def test_marbles() -> None:
    batch = Batch([{"k": "a"}])
    assert run_marbles(aggregate(by=["k"]), "------") == ""
    assert run_marbles(aggregate(by=["k"]), "---#") == "---#"
    for source, kinds in (("--|", "--T|"), ("-a-a-|", "-T-T-|"), ("-e-|", "---T|"), ("-g-|", "---T|"), ("-a#", "-T#")):
        source_values = {"a": batch, "e": Batch([]), "g": OriginGone("x")}
        found = run_marbles(lambda given: aggregate(by=["k"])(given).pipe(_named()), source, source_values)
        assert found.replace("(T|)", "T|") == kinds


def _named() -> Any:
    from reactivex import operators as rxo  # for the test above only

    return rxo.map(lambda table: "T")


def test_the_same_table_each_time_without_leases() -> None:
    run = Run(by=["k"], n="count()").feed({"k": "a"}).feed({"k": "b"})
    assert run.seen[0] is run.seen[1]
    assert run.context.flow.blocks == 0
    assert (run.seen[0].key, run.context.gauges["groups"]()) == (("k",), 2)
    version = run.seen[0].version
    run.feed({"k": "a"})
    assert run.seen[0].version > version


def test_unsubscribed_before_what_was_restored_is_emitted() -> None:
    states = Run(by=["k"], n="count()").feed({"k": "a"}).context.checkpoint()
    context, source = TestContext(states), Subject[Any]()
    seen: list[Any] = []
    with entered(context):
        aggregate(by=["k"], n="count()")(source).subscribe(seen.append, scheduler=context.virtual).dispose()
    context.virtual.start()
    assert seen == []
