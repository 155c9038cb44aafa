"""`split` and `route`: parts of a stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex.subject import Subject

from rxpipe import operators as ops
from rxpipe.context import entered
from rxpipe.elements import Batch, OriginGone
from rxpipe.errors import ParameterError
from rxpipe.lease import Lease
from rxpipe.testing import TestContext, run_marbles

SPLIT = ops.split(high="n > 10", even="n % 2 == 0")


class Fed:
    """A step fed by hand: what went on, and what went to its outputs."""

    def __init__(self, step: Any) -> None:
        self.context = TestContext()
        self.main: list[Any] = []
        self.ended: list[Any] = []
        self.source: Subject[Any] = Subject()
        with entered(self.context):
            self.source.pipe(step).subscribe(
                self.main.append, self.ended.append, lambda: self.ended.append("completed")
            )

    def give(self, *rows: Any, retracted: Any = (), leases: tuple[Lease, ...] = ()) -> dict[str, list[Any]]:
        self.source.on_next(Batch(list(rows), list(retracted), leases))
        return {"": self.main, **self.context.outputs}


def ns(*numbers: Any) -> list[dict[str, Any]]:
    return [{"n": n} for n in numbers]


@pytest.mark.parametrize(
    ("source", "expected"), [("|", "|"), ("----", ""), ("#", "#"), ("-a-b|", "-a--|"), ("-b#", "--#"), ("-a-a", "-a-a")]
)
def test_marbles(source: str, expected: str) -> None:
    assert run_marbles(SPLIT, source, {"a": Batch(ns(1)), "b": Batch(ns(20))}) == expected


def test_the_first_true_condition_takes_a_record() -> None:
    assert Fed(SPLIT).give(*ns(1, 2, 11, 12, 3)) == {
        "": [Batch(ns(1, 3))], "high": [Batch(ns(11, 12))], "even": [Batch(ns(2))],
    }  # fmt: skip


def test_empty_parts_are_not_emitted() -> None:
    fed = Fed(SPLIT)
    assert fed.give() == {"": [], "high": [], "even": []}
    assert fed.give(*ns(2)) == {"": [], "high": [], "even": [Batch(ns(2))]}


@pytest.mark.parametrize("step", [SPLIT, ops.route("n", to={"one": 1, "two": 2})])
def test_a_record_that_fails_is_rejected_and_its_retraction_ignored(step: Any) -> None:
    fed = Fed(step if step is not SPLIT else ops.split(high="n > 10"))
    bad = {"n": "x"} if step is SPLIT else 7
    fed.give(bad, *ns(5), leases=(Lease(fed.context.flow, 1, "f", 2, 3),))
    fed.give(retracted=[bad])
    assert fed.main == [Batch(ns(5))]
    assert [(error.path, error.start) for error in fed.context.errors] == [("f", 2)]


def test_a_gone_origin_is_told_to_all_and_other_elements_go_on() -> None:
    fed = Fed(SPLIT)
    gone = OriginGone("f")
    fed.source.on_next(gone)
    fed.source.on_next("other")
    assert (fed.main, fed.context.outputs) == ([gone, "other"], {"high": [gone], "even": [gone]})


def test_leases_go_with_every_part() -> None:
    context = TestContext()
    held: list[Batch] = []
    source: Subject[Any] = Subject()
    from rxpipe.outputs import with_outputs

    with entered(context):
        source.pipe(with_outputs(SPLIT, even=held.append)).subscribe(lambda _: None)
    source.on_next(Batch(ns(1, 2), leases=(Lease(context.flow, 1),)))
    assert context.flow.blocks == 1
    held.clear()
    assert context.flow.blocks == 0


@given(st.lists(st.tuples(st.lists(st.integers(-5, 20), max_size=5), st.lists(st.integers(-5, 20), max_size=2))))
def test_each_record_and_retraction_is_in_one_part(batches: list[tuple[list[int], list[int]]]) -> None:
    fed = Fed(SPLIT)
    for rows, retracted in batches:
        fed.give(*ns(*rows), retracted=ns(*retracted))
    parts: dict[str, Callable[[int], object]] = {
        "": lambda n: n <= 10 and n % 2,
        "high": lambda n: n > 10,
        "even": lambda n: n <= 10 and not n % 2,
    }
    for name, holds in parts.items():
        got = {"": fed.main, **fed.context.outputs}[name]
        assert [row for batch in got for row in batch.rows] == ns(*(n for rows, _ in batches for n in rows if holds(n)))
        assert [row for batch in got for row in batch.retracted] == ns(
            *(n for _, retracted in batches for n in retracted if holds(n))
        )


def test_without_conditions() -> None:
    with pytest.raises(ParameterError, match=r"^split: at least one output must be given, as in errors: "):
        Fed(ops.split())


# route


def test_route_by_value() -> None:
    step = ops.route("n", to={"low": [1, 2], "text": "a", "yes": True})
    assert Fed(step).give(*ns(1, 2, 3, "a", True, False, None, 1.5, {"x": 1})) == {
        "": [Batch(ns(3, False, None, 1.5, {"x": 1}))],
        "low": [Batch(ns(1, 2))],
        "text": [Batch(ns("a"))],
        "yes": [Batch(ns(True))],
    }


def test_route_by_names() -> None:
    assert Fed(ops.route("n", to=["a", "b"])).give(*ns("a", "c", "b", "a")) == {
        "": [Batch(ns("c"))], "a": [Batch(ns("a", "a"))], "b": [Batch(ns("b"))],
    }  # fmt: skip


def test_a_list_sends_a_record_to_each_output_once() -> None:
    assert Fed(ops.route("n", to={"a": ["x", "y"], "b": "z"})).give(*ns(["x", "z", "y"], ["q"], [], ["z", ["x"]])) == {
        "": [Batch(ns(["q"], []))], "a": [Batch(ns(["x", "z", "y"]))], "b": [Batch(ns(["x", "z", "y"], ["z", ["x"]]))],
    }  # fmt: skip


def test_route_retracts_where_it_sent() -> None:
    fed = Fed(ops.route("n", to=["a", "b"]))
    assert fed.give(*ns(3), retracted=ns(["a", "b"], 4)) == {
        "": [Batch(ns(3), ns(4))], "a": [Batch([], ns(["a", "b"]))], "b": [Batch([], ns(["a", "b"]))],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("to", "message"),
    [
        ([], "route: to: an output must be named; got none"),
        ({}, "route: to: an output must be named; got none"),
        (["a", "b", "a"], "route: to: each value must belong to one output; got 'a' again for 'a'"),
        ({"a": 1, "b": [2, 1]}, "route: to: each value must belong to one output; got 1 again for 'b'"),
    ],
)
def test_outputs_that_do_not_fit(to: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        Fed(ops.route("n", to=to))
