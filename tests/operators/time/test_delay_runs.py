"""`delay` in a run: stopped, killed, and with little in flight."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rxpipe import operators as ops
from rxpipe.testing import VirtualRun
from tests.rxpipe.parts import Blocks, Ledger, collect, graph, later

EVERY = 0.1


@pytest.mark.parametrize("stops", [[0.35, 2.05, 4.6], [1.0, 1.0, 1.0, 1.0]])
@pytest.mark.parametrize("drain", [True, False])
def test_runs_that_are_stopped_or_killed_give_what_one_run_gives(
    tmp_path: Path, stops: list[float], drain: bool
) -> None:
    ledger = Ledger()
    for stop in [*stops, None]:
        ledger = Ledger(ledger.durable)
        made = graph(Blocks(count=100, every=EVERY).source(), ops.delay("2.5s"), later(0.4), ledger.step)
        with VirtualRun(made, state=tmp_path / "s.sqlite") as run:
            run.advance(60 if stop is None else stop)
            if stop is not None and drain:
                run.drain()
    assert [row["n"] for row in ledger.rows] == [*range(100)]


def test_a_checkpoint_does_not_wait_for_what_is_held(tmp_path: Path) -> None:
    made = graph(Blocks(every=1.0).source(), ops.delay("1h"), Ledger().step)
    with VirtualRun(made, state=tmp_path / "s.sqlite") as run:
        run.advance(60)
        assert run.status().checkpoints > 50


def test_a_run_without_state_emits_all_when_it_is_stopped() -> None:
    seen: list[Any] = []
    blocks = Blocks(every=EVERY)
    with VirtualRun(graph(blocks.source(), ops.delay("1h"), collect(seen))) as run:
        run.advance(5)
        run.drain()
    assert [row["n"] for row in seen] == [*range(blocks.emitted)]
    assert blocks.emitted > 10
