"""`window` in a graph: late records as a stream, restarts, replays, figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import reactivex as rx

from rxpipe import operators as ops
from rxpipe.elements import Batch
from rxpipe.graph import stream
from rxpipe.language.check import plan
from rxpipe.language.config import load_text
from rxpipe.testing import VirtualRun, run_graph
from rxpipe.views.show import show
from tests.rxpipe.parts import Blocks, Ledger, collect, graph, later

EVERY = 0.1
STEP = ops.window(size="7s", time="n", lateness="2s", count="count()", total="sum(n)")


def expected(count: int) -> list[dict[str, Any]]:
    return [
        {"start": s, "end": s + 7, "count": len(ns), "total": sum(ns)}
        for s in range(0, count, 7)
        for ns in [range(s, min(s + 7, count))]
    ]


def test_late_records_are_a_stream() -> None:
    made = graph(
        main=[rx.of(*(Batch([{"n": n}]) for n in (1, 5, 30, 2, 31))), STEP],
        late=[stream("main.late")],
    )
    shown = run_graph(made)
    assert shown.values("late") == [Batch([{"n": 2}])]
    assert [row["count"] for batch in shown.values("main") for row in batch.rows] == [2, 2]
    assert shown.status.steps[1].gauges == {"late_records": 1, "watermark": 35, "windows": 0, "groups": 0}


@pytest.mark.parametrize("stops", [[0.35, 2.05, 4.6], [1.0, 1.0, 1.0, 1.0]])
@pytest.mark.parametrize("drain", [True, False])
def test_runs_that_are_stopped_or_killed_give_what_one_run_gives(
    tmp_path: Path, stops: list[float], drain: bool
) -> None:
    ledger = Ledger()
    for stop in [*stops, None]:
        ledger = Ledger(ledger.durable)
        made = graph(Blocks(count=100, every=EVERY).source(), STEP, later(0.4), ops.buffer(count=3), ledger.step)
        with VirtualRun(made, state=tmp_path / "s.sqlite") as run:
            run.advance(60 if stop is None else stop)
            if stop is not None and drain:
                run.drain()
    assert ledger.rows == expected(100)


def test_a_run_without_state_emits_all_when_it_is_stopped() -> None:
    seen: list[Any] = []
    blocks = Blocks(every=EVERY)
    with VirtualRun(graph(blocks.source(), STEP, collect(seen))) as run:
        run.advance(5)
        run.drain()
    assert seen == expected(blocks.emitted)


def test_old_data_gives_what_it_gave_live() -> None:
    """One by one over time, or all at once: the data's time counts."""
    live, replay = [
        run_graph(graph(Blocks(count=50, every=every).source(), *between, STEP)).values("main")
        for every, between in ((1.0, []), (0.0, [ops.buffer(count=50)]))
    ]
    assert [row for batch in live for row in batch.rows] == [row for batch in replay for row in batch.rows]
    assert len(live) > len(replay)


def test_a_timer_that_closes_a_window_holds_the_checkpoint(tmp_path: Path) -> None:
    """Rows that a timer emitted are not lost, whatever is between the window and the sink."""
    durable: list[Any] = []
    for until in (3.2, 30):  # the window closes at 2, a checkpoint is due at 3, the row is at the sink at 3.5
        ledger = Ledger(durable)
        by_arrival = ops.window(size="2s", count="count()")
        made = graph(Blocks(every=10.0).source(), by_arrival, later(1.5), ledger.step)
        with VirtualRun(made, state=tmp_path / "s.sqlite") as run:
            run.advance(until)
        durable = ledger.durable
    # the checkpoint at 3 waited in vain, so the next run, whose clock begins anew, goes on with the open window
    assert ledger.rows[0] == {"start": 0, "end": 2, "count": 2}


YAML = """\
graph: minutes
streams:
  minutes:
    - watch: {paths: ["."], patterns: ["*.jsonl"]}
    - read_lines
    - parse_json: {fields: {ts: float, service: str, ms: float}}
    - split: {broken: ms < 0}
    - window: {size: 1m, time: ts, lateness: 10s, by: [service], calls: count(), slowest: max(ms)}
    - to_stdout
  odd:
    - merge: [minutes.broken, minutes.late]
    - to_jsonl: odd.jsonl
"""


def test_in_yaml() -> None:
    text = show(plan(load_text(YAML)))
    assert "├─ .broken read by odd\n└─ .late read by odd" in text
