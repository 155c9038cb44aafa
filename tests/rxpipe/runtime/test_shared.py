"""A stream as its readers hear it."""

from __future__ import annotations

from typing import Any

import pytest
import reactivex as rx
from reactivex.disposable import SerialDisposable

from rxpipe import operators as ops
from rxpipe.elements import Batch
from rxpipe.graph import Graph, stream
from rxpipe.runtime.shared import Shared
from rxpipe.views.code import loops


def heard() -> tuple[list[Any], Any]:
    """A list, and what puts into it whatever it hears."""
    found: list[Any] = []
    return found, (found.append, found.append, lambda: found.append("|"))


def test_every_reader_hears_every_element_and_the_end() -> None:
    shared = Shared()
    shared.on_next(0)
    first, to_first = heard()
    second, to_second = heard()
    shared.subscribe(*to_first)
    shared.on_next(1)
    leaving = shared.subscribe(*to_second)
    shared.on_next(2)
    leaving.dispose()
    shared.on_next(3)
    assert shared.read
    shared.on_completed()
    shared.on_completed()
    late, to_late = heard()
    shared.subscribe(*to_late)
    assert (first, second, late) == ([1, 2, 3, "|"], [2], ["|"])
    assert not shared.read


def test_a_reader_that_leaves_while_an_element_is_told_keeps_no_other_from_it() -> None:
    shared = Shared()
    second, to_second = heard()
    leaving = SerialDisposable()
    leaving.disposable = shared.subscribe(lambda _: leaving.dispose())
    shared.subscribe(*to_second)
    shared.on_next(1)
    assert second == [1]


def summed(readers: int) -> Graph:
    """Records that are summed behind `from:`, by one stream or by several."""
    counted = [stream("kept"), ops.aggregate(by=["level"], total="sum(twice)"), ops.to_callback("builtins:len")]
    rows: list[list[Any]] = [
        [{"level": "a", "n": 1}, {"level": "b", "n": 2}],
        [{"level": "a", "n": "?"}, {"level": "a", "n": 4}],
    ]
    kept = [rx.of(*map(Batch, rows)), ops.where("level != 'b'"), ops.derive(twice="n + n - 0")]
    return Graph("summed", {"kept": kept} | {f"totals{number}": counted for number in range(readers)})


@pytest.mark.parametrize("readers", [1, 2])
def test_one_reader_or_two_give_the_same(readers: int) -> None:
    with summed(readers).run(once=True) as run:
        run.wait()
        rows = [run.rows(f"totals{number}") for number in range(readers)]
        counts = {step.name: (step.records_in, step.records_out, step.errors) for step in run.status().steps}
    assert rows == [[{"level": "a", "total": 10}]] * readers
    assert counts["kept[1] where"] == (4, 3, 0)
    assert counts["totals0[1] aggregate"][0] == 2


def test_one_reader_s_aggregation_is_part_of_the_loop() -> None:
    plan = summed(1).plan()
    assert [loop.steps for loop in loops(plan)] == [("kept[1] where", "kept[2] derive", "totals0[1] aggregate")]
    plan = summed(2).plan()
    assert [loop.steps for loop in loops(plan)] == [("kept[1] where", "kept[2] derive")]
