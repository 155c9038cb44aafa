"""`sequence`: numbers and gaps."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex.subject import Subject

from rxpipe import operators as ops
from rxpipe.context import entered
from rxpipe.elements import Batch
from rxpipe.errors import RxpipeError
from rxpipe.fusion.rows import row_struct
from rxpipe.lease import Lease
from rxpipe.testing import TestContext


class Fed:
    """A step fed by hand."""

    def __init__(self, step: Any, states: Any = ()) -> None:
        self.step = step
        self.context = TestContext(states)
        self.batches: list[Batch] = []
        self.source: Subject[Any] = Subject()
        with entered(self.context):
            self.source.pipe(step).subscribe(self.batches.append)

    def give(self, *rows: Any, **more: Any) -> Fed:
        self.source.on_next(Batch(list(rows), **more))
        return self

    def again(self) -> Fed:
        """Take a checkpoint, and go on from it in another run."""
        return Fed(self.step, self.context.checkpoint())

    @property
    def numbers(self) -> list[int]:
        return [row["sequence"] for batch in self.batches for row in batch.dicts()]

    @property
    def gaps(self) -> list[Any]:
        return [row for batch in self.context.outputs["gaps"] for row in batch.rows]


def test_numbers_by_key_go_on_after_a_restart() -> None:
    fed = Fed(ops.sequence(by=["k"])).give({"k": "a"}, {"k": "b"}, {"k": "a"})
    assert fed.numbers == [1, 1, 2]
    again = fed.again().give({"k": "b"}, {"k": "a"}, {"k": None})
    assert again.numbers == [2, 3, 1]
    assert again.context.gauges["keys"]() == 3


def test_structs_and_fields_that_are_there() -> None:
    row = row_struct("Row", {"k": str, "sequence": int, "n": int})
    fed = Fed(ops.sequence()).give(row("a", 77, 5), {"sequence": 77})
    assert [made.dicts() for made in fed.batches] == [[{"k": "a", "n": 5, "sequence": 1}, {"sequence": 2}]]


def test_gaps() -> None:
    fed = Fed(ops.sequence(by=["k"], of="n", into=None))
    rows = [{"k": "a", "n": n} for n in (5, 6, 9, 7, 9, 10, 12)]
    fed.give(*rows, {"k": "b", "n": 3})
    assert fed.batches == [Batch([*rows, {"k": "b", "n": 3}])]
    assert fed.gaps == [
        {"k": "a", "after": 6, "before": 9, "missing": 2},
        {"k": "a", "after": 10, "before": 12, "missing": 1},
    ]
    assert {name: read() for name, read in fed.context.gauges.items()} == {"keys": 2, "missing": 3, "out_of_order": 2}
    assert fed.again().give({"k": "b", "n": 5}).gaps == [{"k": "b", "after": 3, "before": 5, "missing": 1}]


def test_a_gap_holds_the_leases_of_the_record_before_which_it_is() -> None:
    fed = Fed(ops.sequence(of="n"))
    held: list[int] = []
    from rxpipe.outputs import with_outputs

    with_gaps = Fed(with_outputs(ops.sequence(of="n"), gaps=lambda batch: held.append(len(batch.leases))))
    with_gaps.give({"n": 1}, {"n": 4}, leases=(Lease(fed.context.flow, 1),))
    assert held == [1]


@pytest.mark.parametrize("bad", [{"n": 1.5}, {"n": True}, {"n": None}, {"n": "2"}, {"n": 2, "k": [1]}, 7])
def test_what_cannot_be_numbered_is_rejected(bad: Any) -> None:
    fed = Fed(ops.sequence(by=["k"], of="n")).give({"n": 1}, bad, {"n": 2})
    assert fed.numbers == [1, 2]
    assert len(fed.context.errors) == 1


def test_what_is_no_record() -> None:
    fed = Fed(ops.sequence()).give(7, {"n": 1}).give(retracted=[7])
    assert fed.batches == [Batch([{"n": 1, "sequence": 1}])]
    assert len(fed.context.errors) == 1


def test_all_rejected() -> None:
    assert Fed(ops.sequence(of="n")).give({"n": "x"}).batches == []


def test_a_retraction_has_the_number_of_its_record() -> None:
    fed = Fed(ops.sequence()).give({"n": 1}, {"n": 2}, {"n": 1}, retractable=True).again()
    fed.give({"n": 3}, retracted=[{"n": 1}], retractable=True).give(retracted=[{"n": 1}, {"n": 1}])
    assert fed.batches == [
        Batch([{"n": 3, "sequence": 4}], [{"n": 1, "sequence": 3}]),
        Batch([], [{"n": 1, "sequence": 1}]),
    ]
    assert [error.reason for error in fed.context.errors] == [
        "LookupError: it is retracted, and no record like it was given sequence"
    ]
    last = fed.again().give(retracted=[{"n": 2}, {"n": 3}])
    assert last.batches == [Batch([], [{"n": 2, "sequence": 2}, {"n": 3, "sequence": 4}])]
    assert [part for rows in last.context.checkpoint() for _, part in rows] == [""]


def test_without_numbers_retractions_pass() -> None:
    fed = Fed(ops.sequence(into=None, of="n")).give({"n": 1}, retracted=[{"n": 7}])
    assert fed.batches == [Batch([{"n": 1}], [{"n": 7}])]


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(-5, 30)), max_size=30),
    st.lists(st.integers(0, 30), max_size=4),
)
def test_however_it_is_cut(pairs: list[tuple[str, int]], cuts: list[int]) -> None:
    fed = Fed(ops.sequence(by=["k"], of="n"))
    numbers: list[int] = []
    gaps: list[Any] = []
    for at, (key, number) in enumerate(pairs):
        if at in cuts:
            numbers, gaps, fed = numbers + fed.numbers, gaps + fed.gaps, fed.again()
        fed.give({"k": key, "n": number})
    seen: Counter[str] = Counter()
    expected_gaps = []
    for at, (key, number) in enumerate(pairs):
        before = [n for k, n in pairs[:at] if k == key]
        seen[key] += 1
        assert (numbers + fed.numbers)[at] == seen[key]
        if before and number > max(before) + 1:
            missing = number - max(before) - 1
            expected_gaps.append({"k": key, "after": max(before), "before": number, "missing": missing})
    assert gaps + fed.gaps == expected_gaps


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"into": None}, "sequence: 'into' or 'of' must be given: else there is nothing to do"),
        ({"by": ["after"]}, "sequence: a record of a gap has a field 'after' of its own; got a key of that name"),
    ],
)
def test_parameters_that_do_not_fit(parameters: Any, message: str) -> None:
    with pytest.raises(RxpipeError, match=f"^{message}$"):
        Fed(ops.sequence(**parameters))
