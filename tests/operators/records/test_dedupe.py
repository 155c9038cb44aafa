"""`dedupe`."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex.subject import Subject

from rxpipe.aggregations.packing import pack, pack_key
from rxpipe.context import entered
from rxpipe.elements import Batch, OriginGone, as_dict
from rxpipe.errors import RxpipeError
from rxpipe.fusion.rows import row_struct
from rxpipe.lease import Lease
from rxpipe.operators.aggregate.aggregate import aggregate
from rxpipe.operators.records.dedupe import dedupe
from rxpipe.testing import TestContext, run_marbles

USAGE: dict[str, Any] = {
    "key": "id",
    "keep": "largest",
    "by": ["n", "marked"],
    "ties": "path",
    "rank": "not side",
    "split": "None if side else request",
    "origin": "path",
}
ROW = row_struct(
    "Record", {"path": str, "id": Any, "request": str, "side": bool, "n": int, "marked": bool, "line": int}
)


class Run:
    """One subscription; what its reader ends with."""

    def __init__(self, parameters: dict[str, Any], states: Sequence[Any] = ()) -> None:
        self.context = TestContext(states)
        self.source: Subject[Any] = Subject()
        self.seen: list[Any] = []
        self.counts: Counter[str] = Counter()
        with entered(self.context):
            self.source.pipe(dedupe(**parameters)).subscribe(self.take)

    def take(self, element: Any) -> None:
        self.seen.append(element)
        if isinstance(element, Batch):
            for row in element.retracted:
                self.counts[text(row)] -= 1
            for row in element.rows:
                self.counts[text(row)] += 1
            assert min(self.counts.values(), default=0) >= 0, "retracted what was not there"
            self.counts = +self.counts

    def feed(self, *elements: Any) -> Run:
        for element in elements:
            self.source.on_next(element)
        return self

    def batch(self, *rows: Any, retracted: Sequence[Any] = (), retractable: bool = False) -> Run:
        return self.feed(Batch(list(rows), list(retracted), retractable=retractable))

    @property
    def rows(self) -> list[str]:
        return sorted(self.counts.elements())


def text(row: Any) -> str:
    return repr(as_dict(row))


def rows(*made: Any) -> list[str]:
    return sorted(map(text, made))


@pytest.mark.parametrize("source", ["------", "|", "---|", "#", "---#"])
def test_marbles_without_elements(source: str) -> None:
    assert run_marbles(dedupe("id"), source) == source.rstrip("-")


def test_marbles() -> None:
    values = {"a": {"id": 1, "n": 1}, "b": {"id": 1, "n": 2}, "c": {"id": 2, "n": 1}}
    batches = {name: Batch([row]) for name, row in values.items()}
    batches |= {"x": Batch([values["b"]], [values["a"]])}
    assert run_marbles(dedupe("id"), "-abca|", batches) == "-a-c-|"
    assert run_marbles(dedupe("id", keep="largest", by=["n"]), "-abca|", batches) == "-axc-|"
    assert run_marbles(dedupe("id", keep="last"), "-abc-#", batches) == "-axc-#"


def test_last_of_several_origins_is_the_latest() -> None:
    run = Run({"key": "id", "keep": "last", "origin": "path"})
    first, second, third = ({"id": 1, "path": path, "n": n} for n, path in enumerate("aba"))
    run.batch(first).batch(second).batch(third)
    assert run.rows == rows(third)
    run.feed(OriginGone("a"))
    assert run.rows == rows(second)
    assert run.feed(OriginGone("b")).rows == []


def test_of_equal_ones_the_first_to_arrive() -> None:
    run = Run({"key": "id", "keep": "largest", "by": ["n"], "origin": "path"})
    run.batch({"id": 1, "path": "a", "n": 1}, {"id": 1, "path": "b", "n": 5}, {"id": 1, "path": "a", "n": 5})
    assert run.rows == rows({"id": 1, "path": "b", "n": 5})


def test_rivals_that_follow_each_other_are_refused_one_by_one() -> None:
    run = Run({"key": "id", "keep": "largest", "by": ["n"]})
    run.batch({"id": 1, "n": 0}).batch({"id": 1, "n": "y"}, {"id": 1, "n": 1})
    assert run.rows == rows({"id": 1, "n": 1})
    assert [error.record for error in run.context.errors] == [text({"id": 1, "n": "y"})]
    run.batch({"id": 1, "n": "x"}, {"id": 1, "n": "y"}, {"id": 1, "n": "x"})
    assert run.rows == rows({"id": 1, "n": 1})
    assert len(run.context.errors) == 4


def test_one_that_lost_to_a_rival_that_is_refused_takes_part() -> None:
    run = Run({"key": "id", "keep": "largest", "by": ["n"], "origin": "path"})
    run.batch({"id": 1, "n": 5, "path": "b"})
    run.batch({"id": 1, "n": None, "path": "a"}, {"id": 1, "n": "x", "path": "a"})
    assert len(run.context.errors) == 1
    assert run.feed(OriginGone("b")).rows == rows({"id": 1, "n": None, "path": "a"})


def test_of_those_that_cannot_be_compared_the_first_to_arrive_takes_the_place_of_one_that_goes() -> None:
    run = Run({"key": "id", "keep": "largest", "by": ["n"], "origin": "path", "rank": "r"})
    first = {"id": 1, "n": 1, "path": "a", "r": 0}
    run.batch(first, {"id": 1, "n": 1, "path": "b", "r": 1}, {"id": 1, "n": "x", "path": "c", "r": 0})
    assert run.feed(OriginGone("b")).rows == rows(first)


def test_ties_decide_between_measures_that_are_nan() -> None:
    run = Run({"key": "id", "keep": "largest", "by": ["n"], "ties": "path"})
    run.batch({"id": 1, "n": math.nan, "path": "b"}).batch({"id": 1, "n": math.nan, "path": "a"})
    assert run.rows == rows({"id": 1, "n": math.nan, "path": "a"})


def test_null_measures_are_least() -> None:
    run = Run({"key": "id", "keep": "largest", "by": ["n", "m"]})
    run.batch({"id": 1, "n": 1, "m": 9}, {"id": 1, "n": None, "m": 10}, {"id": 1, "n": 2, "m": None})
    assert run.rows == rows({"id": 1, "n": 2, "m": None})
    run.batch({"id": 1, "n": 2, "m": 0})
    assert run.rows == rows({"id": 1, "n": 2, "m": 0})
    single = Run({"key": "id", "keep": "largest", "by": ["n"]})
    single.batch({"id": 1, "n": None}, {"id": 1, "n": -1}, {"id": 1, "n": None})
    assert single.rows == rows({"id": 1, "n": -1})


@pytest.mark.parametrize("values", [*permutations([math.nan, -1.0, 2.0])])
def test_nan_measures_are_least(values: tuple[float, ...]) -> None:
    single = Run({"key": "id", "keep": "largest", "by": ["n"]})
    single.batch(*({"id": 1, "n": value} for value in values))
    assert single.rows == rows({"id": 1, "n": 2.0})
    several = Run({"key": "id", "keep": "largest", "by": ["n", "m"]})
    several.batch(*({"id": 1, "n": value, "m": 1} for value in values))
    assert several.rows == rows({"id": 1, "n": 2.0, "m": 1})


def test_null_rank_is_lowest_and_null_ties_last() -> None:
    run = Run({"key": "id", "keep": "largest", "by": ["n"], "rank": "r", "ties": "t", "split": "s"})
    low, high = {"id": 1, "n": 9, "r": None, "t": "a"}, {"id": 1, "n": 1, "r": 0, "t": None}
    run.batch(low, high, {"id": 1, "n": 1, "r": 0, "t": "b"})
    assert run.rows == rows({"id": 1, "n": 1, "r": 0, "t": "b"})
    run.batch({"id": 1, "n": 0, "r": 0, "s": "other", "t": "b"})
    assert len(run.rows) == 2


def test_records_without_a_key_all_pass() -> None:
    row = {"id": None, "path": "a"}
    for parameters in ({"key": "id"}, {"key": "id", "keep": "last"}, {"key": "id", "origin": "path"}):
        run = Run(parameters)
        run.batch(row, row).batch(row)
        assert run.rows == rows(row, row, row), parameters
        run.batch(retracted=[row], retractable=True)
        assert run.rows == rows(row, row), parameters
        run.feed(OriginGone("a"), OriginGone("other"))
        assert run.rows == ([] if "origin" in parameters else rows(row, row))
        assert run.seen[-1] == OriginGone("other")


def test_an_element_of_another_type_passes() -> None:
    assert Run({"key": "id"}).feed("other", OriginGone("a")).seen == ["other", OriginGone("a")]


@pytest.mark.parametrize("parameters", [{"key": "id"}, {"key": "id", "keep": "last"}, {"key": "id", "origin": "path"}])
def test_a_bad_key_is_rejected_with_its_lease(parameters: dict[str, Any]) -> None:
    run = Run(parameters)
    run.feed(Batch([{"id": [1]}, {"id": 2}], leases=(Lease(run.context.flow, 1, "file", 3, 9),)))
    assert run.rows == rows({"id": 2})
    assert [error.path for error in run.context.errors] == ["file"]
    assert "a key must be a number, a text or a tuple of them; got [1]" in run.context.errors[0].reason
    run.seen.clear()
    assert run.context.flow.blocks == 0


def test_what_cannot_be_compared_is_rejected() -> None:
    run = Run({"key": "id", "keep": "largest", "by": ["n"], "origin": "path"})
    run.batch({"id": 1, "n": 1, "path": "a"}, {"id": 1, "n": "x", "path": "a"}, {"id": 1, "n": "x", "path": "b"})
    run.batch({"id": 1, "n": 2, "path": "b"})
    assert run.rows == rows({"id": 1, "n": 2, "path": "b"})
    assert len(run.context.errors) == 2
    assert all("TypeError" in error.reason for error in run.context.errors)
    run.feed(OriginGone("b"))
    assert run.rows == rows({"id": 1, "n": 1, "path": "a"})


def test_a_failing_expression_is_rejected_once() -> None:
    run = Run({"key": "id + 1"})
    run.batch({"id": None}, {"id": 1})
    run.batch(retracted=[{"id": None}], retractable=True)
    assert len(run.context.errors) == 1


def test_largest_needs_by() -> None:
    with pytest.raises(RxpipeError, match="keep 'largest' needs 'by', what to compare; got none"):
        dedupe("id", keep="largest")(Subject())


def test_a_retraction_of_a_duplicate_of_plain_first() -> None:
    run = Run({"key": "id"})
    first, second = {"id": 1, "n": 1}, {"id": 1, "n": 2}
    run.batch(first, second, retractable=True)
    assert run.rows == rows(first)
    run.batch(retracted=[second], retractable=True)
    assert run.rows == rows(first)
    run.batch(second, retractable=True).batch(retracted=[first], retractable=True)
    assert run.rows == rows(second)


def test_what_came_before_the_first_retractable_batch_stays() -> None:
    run = Run({"key": "id"})
    first, second = {"id": 1, "n": 1}, {"id": 1, "n": 2}
    run.batch(first).batch(second, retractable=True).batch(retracted=[second], retractable=True)
    assert run.rows == rows(first)


def test_a_worse_one_counts_again_when_the_better_is_retracted() -> None:
    run = Run(USAGE)
    worse = ROW("a", 1, "r", False, 1, False, 1)
    better = ROW("a", 1, "r", False, 2, False, 2)
    run.batch(worse, better, retractable=True).batch(retracted=[better], retractable=True)
    assert run.rows == rows(worse)


def test_batches_say_whether_they_may_be_retracted() -> None:
    for parameters, retractable in (({"key": "id"}, False), ({"key": "id", "rank": "n"}, True), (USAGE, True)):
        seen = Run(parameters).batch({"id": 1, "n": 1, "side": False}).seen
        assert [batch.retractable for batch in seen] == [retractable]


def test_leases_are_not_kept() -> None:
    run = Run(USAGE)
    for n in range(3):
        run.feed(Batch([ROW("a", 1, "r", False, n, False, n)], leases=(Lease(run.context.flow, 1),)))
        run.seen.clear()
        assert run.context.flow.blocks == 0


# In any order, with any origins removed, after any restart


records = st.builds(
    ROW,
    st.sampled_from("abc"),
    st.sampled_from([None, "x", "y", ("x", 1)]),
    st.sampled_from(["r", "s"]),
    st.booleans(),
    st.integers(0, 3),
    st.booleans(),
)


def numbered(row: Any, number: int) -> Any:
    """A record that differs from all others."""
    row.line = number
    return row


@st.composite
def histories(draw: st.DrawFn) -> list[Any]:
    """Records that can be told apart, and origins that go."""
    made: list[Any] = []
    for number in range(draw(st.integers(0, 25))):
        if draw(st.integers(0, 5)) == 0:
            made.append(OriginGone(draw(st.sampled_from("abc"))))
        else:
            made.append(numbered(draw(records), number))
    return made


def reference(history: list[Any]) -> list[str]:
    """What counts, computed from scratch of the records whose origin has not gone since."""
    left: list[Any] = []
    for one in history:
        left = [row for row in left if row.path != one.path] if isinstance(one, OriginGone) else [*left, one]
    found = [row for row in left if row.id is None]
    for key in {row.id for row in left if row.id is not None}:
        rivals = [row for row in left if row.id == key]
        main = [row for row in rivals if not row.side]
        for request in {row.request for row in main} if main else {None}:
            mine = [row for row in main if row.request == request] if main else rivals
            found.append(min(mine, key=lambda row: (-row.n, not row.marked, row.path, left.index(row))))
    return rows(*found)


def elements(history: list[Any], cuts: random.Random) -> list[Any]:
    """The history in batches of random sizes."""
    made: list[Any] = []
    for one in history:
        if isinstance(one, OriginGone):
            made.append(one)
        elif made and isinstance(made[-1], Batch) and cuts.random() < 0.6:
            made[-1].rows.append(one)
        else:
            made.append(Batch([one]))
    return made


@given(histories(), st.randoms(use_true_random=False))
def test_equals_a_computation_from_scratch(history: list[Any], cuts: random.Random) -> None:
    run = Run(USAGE).feed(*elements(history, cuts))
    assert run.rows == reference(history)
    assert run.context.errors == []


@given(st.lists(records, max_size=12), st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(made: list[Any], order: random.Random) -> None:
    """Where ties tells all equal ones apart; here the line does."""
    for number, row in enumerate(made):
        row.line = number
    parameters = USAGE | {"ties": "line"}
    first = Run(parameters).batch(*made)
    shuffled = list(made)
    order.shuffle(shuffled)
    assert Run(parameters).feed(*elements(shuffled, order)).rows == first.rows


@given(histories(), st.lists(st.integers(0, 30), max_size=3), st.sampled_from(["largest", "last", "first"]))
def test_a_restart_makes_no_difference(history: list[Any], stops: list[int], keep: str) -> None:
    parameters = USAGE | {"keep": keep}
    whole = Run(parameters).feed(*(one if isinstance(one, OriginGone) else Batch([one]) for one in history))
    run = Run(parameters)
    for number, one in enumerate(history):
        for _ in range(stops.count(number)):
            states = run.context.checkpoint()
            counts, run = run.counts, Run(parameters, states)
            run.counts = counts
        run.feed(one if isinstance(one, OriginGone) else Batch([one]))
    assert run.rows == whole.rows


@given(
    st.lists(st.sampled_from([None, 1, 1.0, True, 2, ("a", 1), ("a", 1.0), "x", 2**70]), max_size=12),
    st.integers(0, 12),
)
def test_plain_first_remembers_its_keys(keys: list[Any], stop: int) -> None:
    made = [{"id": key, "n": number} for number, key in enumerate(keys)]
    whole = Run({"key": "id"}).batch(*made)
    first = Run({"key": "id"}).batch(*made[:stop])
    second = Run({"key": "id"}, first.context.checkpoint()).batch(*made[stop:])
    assert sorted(first.rows + second.rows) == whole.rows


@st.composite
def retractions(draw: st.DrawFn) -> list[Batch]:
    """Batches of a stream that takes records back that hold."""
    made: list[Batch] = []
    holding: list[Any] = []
    for number in range(draw(st.integers(0, 15))):
        takes = bool(holding) and draw(st.booleans())
        gone = [holding.pop(draw(st.integers(0, len(holding) - 1)))] if takes else []
        row = numbered(draw(records), number)
        holding.append(row)
        made.append(Batch([row], gone, retractable=True))
    return made


@given(retractions(), st.integers(0, 15))
def test_takes_retractions(batches: list[Batch], stop: int) -> None:
    holding: list[Any] = []
    run = Run(USAGE)
    for number, batch in enumerate(batches):
        if number == stop:
            states, counts = run.context.checkpoint(), run.counts
            run = Run(USAGE, states)
            run.counts = counts
        run.feed(batch)
        holding = [row for row in holding if row not in batch.retracted] + batch.rows
    assert run.rows == reference(holding)


@given(histories(), st.randoms(use_true_random=False), st.integers(0, 10))
def test_totals_behind_it(history: list[Any], cuts: random.Random, stop: int) -> None:
    """What is counted behind `dedupe`, across a restart, is what a count of the winners gives."""
    step: dict[str, Any] = {"by": ["path"], "n": "sum(n)", "rows": "count()", "least": "min(line)", "most": "max(n)"}
    states: list[Any] = []
    made = elements(history, cuts)
    for part in (made[:stop], made[stop:]):
        source: Subject[Any] = Subject()
        tables: list[Any] = []
        context = TestContext(states)
        with entered(context):
            source.pipe(dedupe(**USAGE), aggregate(**step)).subscribe(tables.append, scheduler=context.virtual)
            for element in part:
                source.on_next(element)
            context.virtual.start()
            states = context.checkpoint()
    last = {row["path"]: row for row in tables[-1].dicts()} if tables else {}
    winners = [eval(row) for row in reference(history)]  # its own repr
    expected = {
        path: {
            "path": path,
            "n": sum(row["n"] for row in winners if row["path"] == path),
            "rows": sum(row["path"] == path for row in winners),
            "least": min(row["line"] for row in winners if row["path"] == path),
            "most": max(row["n"] for row in winners if row["path"] == path),
        }
        for path in {row["path"] for row in winners}
    }
    assert last == expected


def test_names_of_fields_are_saved_once() -> None:
    made = [ROW("p", number, "r", False, number, False, number) for number in range(3)]
    (state,) = Run(USAGE).batch(*made).context.checkpoint()
    assert sum(value.count(b"request") for value in state.values()) == 1
    again = Run(USAGE, [state])
    again.counts[text(made[1])] = 1
    again.batch({**as_dict(made[1]), "n": 5}, {"id": 7, "n": 1, "path": "p", "other": 1})
    (state,) = again.context.checkpoint()
    assert sum(value.count(b"request") for value in state.values()) == 2  # a dict is saved as it is
    assert again.seen[0].retracted == [as_dict(made[1])]


def test_rows_that_were_saved_with_their_names_are_read() -> None:
    saved = {(pack_key(1), "p"): pack([[0, {"id": 1, "n": 1, "path": "p"}]])}
    run = Run({"key": "id", "keep": "largest", "by": ["n"], "origin": "path"}, [saved])
    run.counts[text({"id": 1, "n": 1, "path": "p"})] = 1
    run.batch({"id": 1, "n": 2, "path": "q"})
    assert [as_dict(row) for row in run.seen[0].retracted] == [{"id": 1, "n": 1, "path": "p"}]
