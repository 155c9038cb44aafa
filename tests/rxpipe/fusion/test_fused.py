"""Runs of record-wise steps: as one loop and step by step, they give the same."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex.subject import Subject

from rxpipe import operators as ops
from rxpipe.aggregations.aggregation import FUNCTIONS, KINDS
from rxpipe.context import entered
from rxpipe.elements import Batch, Fold
from rxpipe.expressions import parse
from rxpipe.fusion.fused import Run
from rxpipe.fusion.lift import Lifted, Stage
from rxpipe.fusion.loop import compile_loop
from rxpipe.fusion.rows import Fusible, deriving, filtering
from rxpipe.runtime.meter import Meter
from rxpipe.table import Table
from rxpipe.testing import TestContext


class Line(msgspec.Struct):
    a: int | None = None
    b: str | None = None
    items: list[Any] | None = None


enrich: Any = ops.enrich
STEPS: list[Any] = [
    ops.where("a > 1"),
    ops.where("a is not None and a != 3"),
    ops.where("len(b) > 1 or a == 0"),
    ops.derive(c="a * 2", d="c + 1"),
    ops.derive(a="coalesce(a, 7)", b="b + '!'"),
    ops.derive(a="b", b="a"),
    ops.derive(c="split(b, 'y')", d="len(c)", a="d + now() * 0"),
    ops.derive(b="replace(b, 'x', 'yy')", c="upper(b)", n="len(b)"),
    ops.select(["a", "b"], items="items"),
    ops.select(["items"], b="coalesce(b, 'x')", a="6 / a"),
    ops.validate(even="a % 2 == 0", known="b is not None"),
    ops.explode("items", into="item", index="n"),
    ops.explode("items", into="b", keep=True),
    enrich("a", table={"2": {"price": 5}, "4": {"price": 7, "b": "four"}}),
    enrich("b", table={"x": 1}, on="b", prefix="of_"),
    ops.rename(a="b", b="a"),
    ops.rename(items="b"),
    ops.cast(a="number", b="str"),
    ops.cast(otherwise=None, b="int", a="bool"),
    ops.flatten(),
    ops.mask(patterns=["y+", "(f)our"]),
    ops.mask(patterns=["y"], fields=["b"], into="partial"),
]

FOLDED = {
    "n": "count()", "a": "sum(a)", "most": "max(a)", "some": "count(a)", "average": "mean(a)", "spread": "variance(a)",
    "middle": "median(a)", "kinds": "distinct(a)", "about": "approx_distinct(items)", "low": "quantile(a, 0.1)",
    "deviation": "stddev(a)",
}  # fmt: skip
"""Of a list, which has no hash, the number of different values cannot be: records with one go to errors."""

values = st.fixed_dictionaries(
    {
        "a": st.none() | st.integers(-1, 5),
        "b": st.none() | st.sampled_from(["", "x", "yy", "four"]),
        "items": st.none() | st.lists(st.integers(0, 9), max_size=3),
    }
)


class Outcome:
    """What steps make of batches: rows, errors, and counts of each step."""

    def __init__(self, steps: list[Any], *, fuse: bool, tail: Any = None) -> None:
        self.contexts = [TestContext(name=f"step {number}") for number, _ in enumerate(steps)]
        self.meters = [Meter() for _ in steps]
        self.source: Subject[Any] = Subject()
        self.seen: list[Any] = []
        stages = []
        for step, context, meter in zip(steps, self.contexts, self.meters, strict=True):
            [stage] = step(Subject()).stages
            make = stage.make if fuse else alone(stage.make)
            stages.append(Stage(make, context, meter))
        with entered(TestContext()):
            observable: Any = Lifted(self.source, stages)
            if tail is not None:
                observable = tail(observable)
            observable.subscribe(self.seen.append)

    def told(self) -> Any:
        """All of it, to compare."""
        errors = [[(error.step, error.reason, error.record) for error in context.errors] for context in self.contexts]
        counts = [(meter.records_in, meter.records_out, meter.blocks_in, meter.largest_block) for meter in self.meters]
        gone = [element.dicts(element.retracted) for element in self.seen if isinstance(element, Batch)]
        return [element.dicts() for element in self.seen], gone, errors, counts


def alone(make: Any) -> Any:
    def made(context: Any) -> Any:
        step = make(context)
        return step.rows if isinstance(step, Fusible) else step

    return made


def rows_of(made: list[dict[str, Any]], *, structs: bool) -> list[Any]:
    return [Line(**row) for row in made] if structs else [dict(row) for row in made]


@given(
    st.lists(st.sampled_from(STEPS), min_size=1, max_size=6),
    st.lists(st.tuples(st.lists(values, max_size=5), st.just([]) | st.lists(values, max_size=3)), max_size=3),
    st.booleans(),
    st.booleans(),
)
def test_fused_or_not_nothing_differs(
    steps: list[Any], batches: list[tuple[list[Any], list[Any]]], structs: bool, folded: bool
) -> None:
    tail = ops.aggregate(by=["b"], **FOLDED) if folded else None
    fused, single = (Outcome(steps, fuse=fuse, tail=tail) for fuse in (True, False))
    for outcome in (fused, single):
        try:
            for rows, retracted in batches:
                outcome.source.on_next(Batch(rows_of(rows, structs=structs), rows_of(retracted, structs=structs)))
        except Exception as error:  # a step that does not fit the rows
            outcome.seen.append(Table(str(error), (), list, lambda: 0))
    assert fused.told() == single.told()


def refused(row: Any, error: Exception) -> None:
    raise AssertionError((row, error))


@pytest.mark.parametrize("row_type", [dict, Line])
def test_each_step_can_be_in_one_loop(row_type: type) -> None:
    """Where nothing fails, the loop is what gives the result: a failure of its own would go unnoticed."""
    for step in STEPS:
        [stage] = step(Subject()).stages
        made = stage.make(TestContext())
        assert isinstance(made, Fusible), step
        row = Line(2, "x", [1]) if row_type is Line else {"a": 2, "b": "x", "items": [1]}
        loop = compile_loop([made.write], row_type)
        rows, counts = loop.call([row])
        assert rows == made.rows([row], refused)
        assert counts == (len(rows),)


@pytest.mark.parametrize("row_type", [dict, Line])
def test_groups_of_every_function_are_kept_in_the_loop(row_type: type) -> None:
    """Where nothing fails, the loop is what gives the result: a failure of its own would go unnoticed."""
    columns = {name: f"{name}(a, 0.9)" if KINDS[name].argument else f"{name}(a)" for name in FUNCTIONS}
    step = ops.aggregate(by=["b"], **columns)
    seen: list[list[Any]] = []
    for fuse in (True, False):
        outcome = Outcome([ops.derive(c="a")], fuse=fuse, tail=step)
        for start in (0, 3, 5):
            rows = [{"a": start + number, "b": "xy"[number % 2], "items": None} for number in range(4)]
            rows = rows_of(rows, structs=row_type is Line)
            outcome.source.on_next(Batch(rows))
            if fuse:
                seen.append(outcome.seen[-1].dicts())
            else:
                assert outcome.seen[-1].dicts() == seen.pop(0)
    assert isinstance(run_into(step).apply(Batch(rows)), Fold)


def run_into(tail: Any) -> Run:
    """A run of one step that ends in an aggregation."""
    derive: Any = ops.derive(c="a")
    lifted = derive(Subject())
    found: list[Lifted] = []

    class Noting(Lifted):
        def folded(self, tail: Any) -> Lifted:
            found.append(super().folded(tail))
            return found[0]

    with entered(TestContext()):
        Noting(lifted.source, lifted.stages).pipe(tail).subscribe()
        [run] = found[0].runs()[1]
    return run


@pytest.mark.parametrize("row_type", [dict, Line])
def test_what_is_taken_back_goes_through_the_loop(row_type: type, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = Outcome([ops.where("a > 1"), ops.derive(c="a")], fuse=True)
    rows, gone = (rows_of([{"a": 1}, {"a": last}], structs=row_type is Line) for last in (2, 3))
    monkeypatch.setattr(Run, "_one_by_one", None)
    outcome.source.on_next(Batch(rows, gone))
    [batch] = outcome.seen
    assert [row["c"] for row in batch.dicts()] == [2]
    assert [row["c"] for row in batch.dicts(batch.retracted)] == [3]


def test_the_loop_reads_a_field_once_and_builds_no_record_between() -> None:
    steps = [filtering(parse("a > 1")), deriving({"c": parse("a * a")}), deriving({"d": parse("c")}, only=True)]
    source = compile_loop([step.write for step in steps], Line).source
    assert source.count("_r.a") == 1
    assert source.count("_append(") == 1


def test_what_a_filter_leaves_out_is_counted() -> None:
    """Most records come through, as a rule; and what the last one lets through is what was made."""
    steps = [filtering(parse("a > 1")), filtering(parse("a < 9")), deriving({"c": parse("a * 2.5")})]
    loop = compile_loop([step.write for step in steps], Line)
    assert loop.source.count("+= 1; continue") == 1
    assert loop.call([Line(number) for number in range(12)])[1] == (10, 7, 7)
    assert loop.call([]) == ([], (0, 0, 0))


def test_the_result_of_arithmetic_is_not_asked_whether_it_is_null() -> None:
    loop = run_into(ops.aggregate(total="sum(a * 0.5)")).source(Line)
    assert loop is not None
    assert "is not None" not in loop.source


def test_what_depends_on_one_text_is_computed_when_that_changes() -> None:
    derive = deriving({"parts": parse("split(b, '/')"), "n": parse("len(parts)"), "t": parse("len(b) + now()")})
    loop = compile_loop([derive.write], Line)
    texts = ["a/b", "c"]
    rows, _ = loop.call([Line(b=texts[number]) for number in (0, 0, 1, 0)])
    assert [(row.parts, row.n) for row in rows] == [(["a", "b"], 2), (["a", "b"], 2), (["c"], 1), (["a", "b"], 2)]
    assert rows[0].parts is rows[1].parts is not rows[3].parts
    assert loop.source.count(" is not _c") == 2, "and not what depends on the time"
    same = compile_loop([deriving({"n": parse("len(items)"), "m": parse("a + len(b)")}).write], Line).source
    assert " is not _c" not in same, "a list may have changed, and two fields are no one text"


def test_names_of_the_loop_cannot_be_reached() -> None:
    loop = compile_loop([deriving({"c": parse("[_x for _x in items]".replace("_x", "x"))}).write], Line)
    assert "x for x in" in loop.source
    texts = deriving({"c": parse("'\\x000\\x00 _r.a'")})
    assert compile_loop([texts.write], Line).call([Line()])[0][0].c == "\x000\x00 _r.a"
