"""What the engine costs: per block and step, per record and fused step, of a lease, a checkpoint, the metrics.

Usage: `engine.py FOLDER RUNS`.
"""

from __future__ import annotations

import asyncio
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import make_events
import msgspec
import reactivex as rx
from reactivex import operators as rxo
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import Disposable

from rxpipe import Batch, Graph, operators
from rxpipe.context import current
from rxpipe.language.config import load
from rxpipe.lease import Flow, Lease
from rxpipe.runtime.asyncrun import AsyncRun
from rxpipe.runtime.logs import configure
from rxpipe.runtime.memory import tune
from rxpipe.runtime.meter import Meter

BLOCKS, ROWS = 5_000, 1_000
STEPS = (1, 2, 5, 10)
GROUPS = (1_000, 10_000, 100_000)
CHECKPOINTS, LEAST_RECORDS = 20, 100_000
EVENTS_MB = 30


class Row(msgspec.Struct, gc=False):
    """A record."""

    key: int
    value: int


def main() -> None:
    """Measure each cost several times in turn and print medians."""
    folder, runs = Path(sys.argv[1]), int(sys.argv[2])
    configure("WARNING", "text")
    tune()
    print(f"\nCost of the engine (median of {runs})")
    blocks(runs)
    records(runs)
    lease(runs)
    checkpoint(folder, runs)
    metrics(folder, runs)


def spent(graph: Graph, **options: Any) -> float:
    """CPU seconds of a run to its end."""

    async def run() -> None:
        async with AsyncRun(graph, once=True, **options) as running:
            await running.wait()

    started = time.process_time()
    asyncio.run(run())
    return time.process_time() - started


def compared(runs: int, calls: dict[int, Callable[[], float]]) -> dict[int, float]:
    """Medians of what several calls give, made in turn after a round to warm up."""
    found: dict[int, list[float]] = {size: [] for size in calls}
    for number in range(runs + 1):
        for size, call in calls.items():
            value = call()
            if number:
                found[size].append(value)
    return {size: statistics.median(values) for size, values in found.items()}


def show(what: str, figure: str) -> None:
    """Print one line."""
    print(f"{what:64}{figure:>16}")


def blocks(runs: int) -> None:
    """Blocks of one record through steps that do nothing."""
    batches = [Batch([Row(1, 1)], row_type=Row) for _ in range(BLOCKS)]

    def through(steps: int) -> float:
        return spent(Graph("blocks", {"s": [rx.from_iterable(batches), *(rxo.map(same) for _ in range(steps))]}))

    found = compared(runs, {steps: partial(through, steps) for steps in (1, 11)})
    show("a block, for each step that does nothing", f"{(found[11] - found[1]) / 10 / BLOCKS * 1e9:,.0f} ns")


def same(element: Any) -> Any:
    """What comes."""
    return element


def records(runs: int) -> None:
    """Blocks of many records through derive and where, in one fused loop."""
    batches = [Batch([Row(n, n) for n in range(ROWS)], row_type=Row) for _ in range(200)]

    def through(steps: int) -> float:
        made = [operators.derive(value="value + 1") if n % 2 else operators.where("value >= 0") for n in range(steps)]
        return spent(Graph("records", {"s": [rx.from_iterable(batches), *made]}))

    found = compared(runs, {steps: partial(through, steps) for steps in (0, *STEPS)})
    for steps in STEPS:
        each = (found[steps] - found[0]) / steps / ROWS / len(batches) * 1e9
        show(f"a record, for each of {steps} fused steps (where, derive, where, …)", f"{each:,.0f} ns")


def lease(runs: int) -> None:
    """Taking and letting go."""
    flow = Flow()

    def taken() -> float:
        started = time.process_time()
        for _ in range(100_000):
            Lease(flow, 1)
        return time.process_time() - started

    show("a lease, taken and let go of", f"{compared(runs, {0: taken})[0] / 100_000 * 1e9:,.0f} ns")


def checkpoint(folder: Path, runs: int) -> None:
    """Checkpoints of many groups at full speed, all of which have changed since the last one."""
    for groups in GROUPS:
        cpu, pauses, gaps = asyncio.run(_checkpoints(folder, groups, CHECKPOINTS * runs))
        show(f"a checkpoint of {groups:,} groups at full speed, all of them changed", f"{cpu * 1000:,.0f} ms CPU")
        show("    the sources are held for, p50 and p99", _percentiles(pauses))
        show("    the longest time between two blocks meanwhile, p50 and p99", _percentiles(gaps))


def _percentiles(values: list[float]) -> str:
    ordered = sorted(values)
    p50, p99 = (ordered[min(len(ordered) - 1, round(len(ordered) * part))] * 1000 for part in (0.5, 0.99))
    return f"{p50:,.1f}, {p99:,.1f} ms"


class _FullSpeed:
    """A source of as many blocks as are taken, whose records are of each group in turn.

    Attributes:
        records: How many records there were.
        gap: The longest time between two blocks since it was set to 0.
    """

    def __init__(self, groups: int) -> None:
        self.records = 0
        self.gap = 0.0
        self._blocks = [
            [Row(n % groups, n) for n in range(start, start + ROWS)] for start in range(0, math.lcm(groups, ROWS), ROWS)
        ]

    def source(self) -> rx.Observable[Batch]:
        """The source."""

        def subscribe(observer: ObserverBase[Batch], scheduler: SchedulerBase | None = None) -> DisposableBase:
            context = current()
            flow, timers = context.flow, context.scheduler(scheduler)
            over = False
            last = time.perf_counter()

            def pump(*_: object) -> None:
                nonlocal last
                if over:
                    return
                if not flow.open:
                    flow.wait(pump)
                    return
                last, before = time.perf_counter(), last
                self.gap = max(self.gap, last - before)
                rows = self._blocks[self.records // ROWS % len(self._blocks)]
                self.records += ROWS
                observer.on_next(Batch(rows, leases=(Lease(flow, ROWS),), row_type=Row))
                timers.schedule(pump)

            def stop() -> None:
                nonlocal over
                over = True

            timers.schedule(pump)
            return Disposable(stop)

        return rx.Observable(subscribe)


async def _checkpoints(folder: Path, groups: int, count: int) -> tuple[float, list[float], list[float]]:
    """CPU seconds of one checkpoint beyond those of the flow, the pauses of all, and the longest gap during each."""
    full = _FullSpeed(groups)
    steps = [full.source(), operators.aggregate(by=["key"], n="count()", total="sum(value)", most="max(value)")]
    pauses, gaps, costs = [], [], []
    with tempfile.TemporaryDirectory(dir=folder) as made:
        state, settings = Path(made, "state.sqlite"), {"checkpoint": "1h"}
        async with AsyncRun(Graph("groups", {"s": steps}), state=state, settings=settings) as run:
            await _taken(run)
            for number in range(count + 1):
                began, records = time.process_time(), full.records
                while full.records < records + max(groups, LEAST_RECORDS):
                    await asyncio.sleep(0)
                each = (time.process_time() - began) / (full.records - records)
                records, full.gap = full.records, 0.0
                cost = await _taken(run)
                if run.status().checkpoint_rows < groups:
                    sys.exit(f"the checkpoint wrote {run.status().checkpoint_rows} rows; {groups} groups had changed")
                if number:  # the first one fills the file
                    costs.append(cost - each * (full.records - records))
                    pauses.append(run.status().checkpoint_pause)
                    gaps.append(full.gap)
    return statistics.median(costs), pauses, gaps


async def _taken(run: AsyncRun) -> float:
    """Take a checkpoint; the CPU seconds until it is committed."""
    done = asyncio.get_running_loop().create_future()
    started = time.process_time()
    run.engine.checkpoints.take(lambda: done.set_result(None))
    await done
    return time.process_time() - started


def metrics(folder: Path, runs: int) -> None:
    """The events job as it is, and with counters that do not count."""
    file = folder / "engine-events.jsonl"
    make_events.make(file, EVENTS_MB * 1_000_000)
    graph = load("events")
    counting = {name: getattr(Meter, name) for name in ("rows", "pass_on")}

    def job(*, counted: bool) -> float:
        for name, method in counting.items():
            setattr(Meter, name, method if counted else _uncounted)
        with tempfile.TemporaryDirectory(dir=folder) as made:
            values = {"paths": [str(file)], "out": str(Path(made, "costs.sqlite"))}
            return spent(graph, values=values, state=Path(made, "state.sqlite"))

    spans: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(runs * 3):
        for counted, span in spans.items():
            span.append(job(counted=counted))
    for name, method in counting.items():
        setattr(Meter, name, method)
    show("metrics, of the events job (best of each)", f"{min(spans[True]) / min(spans[False]) - 1:.1%}")


def _uncounted(*_: object) -> None:
    """Counts nothing."""


if __name__ == "__main__":
    main()
