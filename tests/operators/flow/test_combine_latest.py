"""`combine_latest`: the latest records, or tables, of several streams."""

from __future__ import annotations

from typing import Any

import pytest

from rxpipe import operators as ops
from rxpipe.elements import Batch, OriginGone
from rxpipe.language.config import load_text
from rxpipe.operators.flow.combine_latest import combine_latest
from rxpipe.table import Table
from rxpipe.testing import run_marbles
from tests.operators.flow.driven import Driven, left_early

VALUES = {
    "a": Batch([{"x": 1}]),
    "b": Batch([{"x": 2}]),
    "c": Batch([{"y": 3}]),
    "d": Batch([{"y": 4}]),
    "m": Batch([{"x": 1, "y": 3}]),
    "n": Batch([{"x": 2, "y": 3}]),
    "o": Batch([{"x": 2, "y": 4}]),
}


def combine(one: Any, *others: Any) -> Any:
    return one.pipe(combine_latest(*others))


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        ("----", "----", ""),
        ("-|", "----", "-|"),
        ("----", "-|", "-|"),
        ("-a-|", "----", ""),
        ("-a-|", "--c--|", "--m--|"),
        ("-a-b|", "--c--d|", "--mn-o|"),
        ("-a-#", "--c--|", "--m#"),
        ("-a---", "--#", "--#"),
    ],
)
def test_marbles(one: str, two: str, expected: str) -> None:
    assert run_marbles(combine, one, VALUES, two) == expected


def test_early_disposal_reaches_all_sources() -> None:
    assert left_early(combine) == [[(0, 0.2)], [(0, 0.2)]]


def test_each_record_of_a_batch_is_the_latest_in_its_turn_across_a_restart() -> None:
    driven = Driven(combine, 3)
    driven.put(0, {"id": 1, "x": 1}, {"id": 1, "x": 2})
    driven.put(1, {"id": 2, "y": 1})
    again = driven.restarted(combine)
    again.put(2, {"z": 1}, {"z": 2})
    again.put(0, {"id": 3})
    assert driven.out == []
    assert again.out == [
        {"id": 1, "x": 2, "y": 1, "z": 1},
        {"id": 1, "x": 2, "y": 1, "z": 2},
        {"id": 3, "y": 1, "z": 2},
    ]
    assert again.context.flow.blocks == 0


def test_retracted_records_are_rejected_and_other_elements_pass() -> None:
    driven = Driven(combine)
    driven.put(0, retracted=[{"n": 1}])
    driven.streams[1].on_next(OriginGone("file"))
    assert driven.reasons == ["retracted: what was made of it stays; put this step before the one that retracts"]
    assert driven.out == [OriginGone("file")]


def table(rows: list[dict[str, Any]], *key: str) -> Table:
    return Table("t", key, lambda: rows, lambda: len(rows))


def test_tables_are_put_together_by_key_and_stay_live() -> None:
    driven = Driven(combine)
    calls, errors = [{"model": "s", "calls": 2}], [{"model": "l", "errors": 1}]
    driven.streams[0].on_next(table(calls, "model"))
    assert driven.out == []
    driven.streams[1].on_next(table(errors, "model"))
    (made,) = driven.out
    assert made.key == ("model",)
    assert made.dicts() == [
        {"model": "s", "calls": 2, "errors": None},
        {"model": "l", "calls": None, "errors": 1},
    ]
    before = made.version
    errors.append({"model": "s", "errors": 7})
    assert made.dicts()[0] == {"model": "s", "calls": 2, "errors": 7}
    assert made.version > before
    for number in (0, 1):
        driven.end(number)
    assert driven.out[1:] == ["|"]


def test_tables_without_a_key_are_put_together_row_by_row() -> None:
    driven = Driven(combine)
    driven.streams[0].on_next(table([{"calls": 3}]))
    driven.streams[1].on_next(table([{"errors": 1}]))
    assert driven.out[0].dicts() == [{"calls": 3, "errors": 1}]


def test_records_and_tables_cannot_be_combined() -> None:
    driven = Driven(combine)
    driven.put(0, {"n": 1})
    driven.streams[1].on_next(table([]))
    assert [str(error) for error in driven.out] == [
        "test: the streams must be all of records, or all of tables; got both"
    ]


def test_from_yaml() -> None:
    text = """
graph: share
streams:
  calls: [{from: errors}, {aggregate: {calls: count()}}]
  steps: [{from: errors}, {aggregate: {steps: max(step)}}]
  both: [{combine_latest: [calls, steps]}, {derive: {ratio: steps / calls}}]
"""
    made = load_text(text)
    assert made.plan().streams["both"].steps[0].emits is Table
    assert load_text(made.to_yaml()) == made
    step: Any = ops.combine_latest()
    assert step.operator.name == "combine_latest"
