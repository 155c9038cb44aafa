"""Record-wise steps, fused."""

from __future__ import annotations

from typing import Any

import pytest
from reactivex.subject import Subject

from rxpipe.context import entered
from rxpipe.elements import Batch
from rxpipe.fusion.lift import MOST_REPORTED, Lifted, Make, Stage
from rxpipe.lease import Lease
from rxpipe.runtime.meter import Meter
from rxpipe.table import Table
from rxpipe.testing import TestContext


def always(function: Any) -> Make:
    return lambda _: function


def run(*functions: Any) -> tuple[Subject[Any], list[Any], list[TestContext], list[Meter]]:
    """Functions as fused steps."""
    contexts = [TestContext(name=f"step {number}") for number, _ in enumerate(functions)]
    meters = [Meter() for _ in functions]
    source: Subject[Any] = Subject()
    seen: list[Any] = []
    stages = [
        Stage(always(function), context, meter)
        for function, context, meter in zip(functions, contexts, meters, strict=True)
    ]
    with entered(TestContext()):
        Lifted(source, stages).subscribe(seen.append)
    return source, seen, contexts, meters


def odd_only(rows: list[Any], reject: Any) -> list[Any]:
    for row in rows:
        if row["n"] % 2 == 0:
            reject(row, ValueError("even"))
    return [row for row in rows if row["n"] % 2]


def doubled(rows: list[Any], reject: Any) -> list[Any]:
    return [{"n": row["n"] * 2} for row in rows]


def test_each_step_has_its_own_errors_and_meter() -> None:
    source, seen, contexts, meters = run(odd_only, doubled)
    lease = Lease(contexts[0].flow, 1, "f", 1, 2)
    source.on_next(Batch([{"n": 1}, {"n": 2}], [{"n": 3}, {"n": 4}], (lease,), retractable=True))
    source.on_next(Batch([{"n": 2}]))
    assert seen == [Batch([{"n": 2}], [{"n": 6}])]
    assert (seen[0].leases, seen[0].retractable) == ((lease,), True)
    assert [error.reason for error in contexts[0].errors] == ["ValueError: even"] * 2
    assert contexts[1].errors == []
    assert [(meter.records_in, meter.records_out, meter.blocks_in) for meter in meters] == [(3, 1, 2), (1, 1, 1)]
    del lease
    seen.clear()
    assert contexts[0].flow.blocks == 0


@pytest.mark.parametrize("as_table", [False, True])
def test_a_programming_error_names_its_step(as_table: bool) -> None:
    def broken(rows: list[Any], reject: Any) -> list[Any]:
        raise ZeroDivisionError

    source, seen, _, _ = run(doubled, broken)
    rows = [{"n": 1}]
    with pytest.raises(ZeroDivisionError) as caught:
        if as_table:
            source.on_next(Table("t", (), lambda: rows, lambda: 0))
            seen[0].rows()
        else:
            source.on_next(Batch(rows))
    failure: Any = caught.value
    assert failure.rxpipe_step == "step 1"


def test_failures_of_a_table_are_reported_once_with_a_bound() -> None:
    source, seen, contexts, _ = run(odd_only)
    rows: list[dict[str, Any]] = []
    source.on_next(Table("t", ("id",), lambda: rows, lambda: 0))
    for number in range(MOST_REPORTED + 5):
        rows[:] = [{"id": number, "n": 2}, {"id": number, "n": 4}]
        seen[0].rows()
        seen[0].rows()
    assert len(contexts[0].errors) == MOST_REPORTED + 5
