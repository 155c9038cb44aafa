"""Checkpoints: what is saved is what was done with, and a checkpoint that fails loses nothing."""

from __future__ import annotations

import errno
import gc
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import reactivex as rx
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable
from reactivex import operators as rxo

from rxpipe import operators as ops
from rxpipe.context import Change, current
from rxpipe.elements import Batch
from rxpipe.errors import RunError
from rxpipe.lease import Lease
from rxpipe.runtime.state import StateFile
from rxpipe.testing import VirtualRun
from tests.rxpipe.parts import Blocks, Ledger, graph, later


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state.sqlite"


def ledger_graph(blocks: Blocks, ledger: Ledger, *between: Any) -> Any:
    return graph(blocks.source(), *between, ledger.step)


def test_nothing_lost_nothing_doubled_over_a_crash(state: Path) -> None:
    first = Ledger()
    with VirtualRun(ledger_graph(Blocks(every=0.1), first), state=state) as run:
        run.advance(5.25)
        assert run.status().checkpoints >= 5
    assert len(first.durable) > 50  # more than the last checkpoint says
    second = Ledger(first.durable)
    with VirtualRun(ledger_graph(Blocks(every=0.1), second), state=state) as run:
        run.advance(5)
        run.drain()
    assert second.numbers == list(range(len(second.rows)))
    assert len(second.rows) > 100


@given(
    crashes=st.lists(st.floats(0.0, 4.0), max_size=4),
    period=st.sampled_from([0.05, 0.3]),
    delay=st.sampled_from([0.0, 0.7]),
)
def test_crashes_at_any_time(
    tmp_path_factory: pytest.TempPathFactory, crashes: list[float], period: float, delay: float
) -> None:
    state = tmp_path_factory.mktemp("crash") / "s.sqlite"
    durable: list[Any] = []
    for after in [*crashes, None]:
        ledger = Ledger(durable)
        steps = [later(delay), ops.buffer(count=4, time="300ms")]
        with VirtualRun(ledger_graph(Blocks(count=40, every=period), ledger, *steps), state=state) as run:
            run.advance(3600 if after is None else after)
        durable = ledger.durable
    assert ledger.numbers == list(range(40))


def test_buffers_are_flushed_from_the_source_on(state: Path) -> None:
    """The buffer behind gets what the buffer before it let go of, and must be flushed after it."""
    ledger = Ledger()
    steps = [ops.buffer(count=1000), rxo.map(lambda batch: batch), ops.buffer(count=2000)]
    with VirtualRun(ledger_graph(Blocks(every=0.1), ledger, *steps), state=state) as run:
        run.advance(1.55)
        taken = run.status().checkpoints
        assert taken >= 2
        assert len(ledger.rows) >= 9
        assert run.engine.checkpoints.since is None


def test_what_comes_back_late_is_flushed_too(state: Path) -> None:
    """A step gives its data back after the flush, into a buffer that would hold it for ever."""
    ledger = Ledger()
    steps = [later(0.5), ops.buffer(count=1000)]
    with VirtualRun(
        ledger_graph(Blocks(count=10, every=0.01), ledger, *steps, rxo.concat(rx.never())), state=state
    ) as run:
        run.advance(5)
        assert run.engine.checkpoints.since is None
        assert run.status().checkpoints >= 2
        assert ledger.numbers == list(range(10))


def test_a_checkpoint_that_waits_long_makes_the_run_degraded(state: Path) -> None:
    with VirtualRun(graph(Blocks(nbytes=5).source(), later(60.0)), state=state, settings={"in_flight": 10}) as run:
        run.advance(30)
        degraded = run.status().degraded
        assert degraded is not None
        assert "checkpoint: waits since" in degraded
        run.advance(60)
        assert run.status().checkpoints >= 2


def test_leases_in_a_reference_cycle_are_found(state: Path) -> None:
    def cyclic(source: Observable[Any]) -> Observable[Any]:
        def knot(element: Any) -> int:
            cycle: list[Any] = [element]
            cycle.append(cycle)
            return len(cycle)

        return source.pipe(rxo.map(knot))

    gc.disable()
    try:
        with VirtualRun(graph(Blocks(count=3).source(), cyclic), state=state) as run:
            run.advance(10)
            assert run.engine.state == "done"
    finally:
        gc.enable()


def test_drain_during_a_checkpoint(state: Path) -> None:
    blocks, ledger = Blocks(every=0.01), Ledger()
    with VirtualRun(ledger_graph(blocks, ledger, later(3.0)), state=state) as run:
        run.advance(1.5)
        assert run.engine.checkpoints.since is not None
        assert run.drain().state == "done"
    assert ledger.numbers == list(range(blocks.emitted))
    with VirtualRun(ledger_graph(Blocks(every=0.01), Ledger(ledger.durable), later(3.0)), state=state):
        pass
    assert ledger.numbers == list(range(blocks.emitted))  # its position was saved: nothing was cut off


def test_stop_during_a_checkpoint(state: Path) -> None:
    ledger = Ledger()
    with VirtualRun(ledger_graph(Blocks(every=0.01), ledger, later(3.0)), state=state) as run:
        run.advance(1.5)
        asked = ledger.asked
        assert run.engine.checkpoints.since is not None
        run.engine.stop()
        run.virtual.advance_by(60)
        assert run.engine.state == "stopped"
        assert ledger.asked == asked


def test_checkpoints_go_on_while_paused(state: Path) -> None:
    ledger = Ledger()
    with VirtualRun(ledger_graph(Blocks(every=0.1), ledger), state=state) as run:
        run.advance(0.5)
        run.engine.pause()
        run.advance(3)
        rows = len(ledger.rows)
    reader = StateFile(state)
    assert next(reader.rows("main[1] step"))[2] == bytes([rows])
    reader.close()


def test_an_idle_run_takes_no_checkpoints(state: Path) -> None:
    with VirtualRun(graph(Blocks(count=3).source(), rxo.concat(rx.never())), state=state) as run:
        run.advance(10)
        taken = run.status().checkpoints
        run.advance(1000)
        assert run.status().checkpoints == taken


def test_a_full_disk_at_the_commit_is_gone_over(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, commit = Ledger(), StateFile.commit
    full = True

    def failing(self: StateFile, changes: Any) -> int:
        if full:
            raise sqlite3.OperationalError("database or disk is full")
        return commit(self, changes)

    with VirtualRun(ledger_graph(Blocks(every=0.1), ledger), state=state) as run:
        run.advance(1.5)
        taken = run.status().checkpoints
        monkeypatch.setattr(StateFile, "commit", failing)
        run.advance(10)
        status = run.status()
        assert (status.checkpoints, status.state) == (taken, "running")
        assert status.degraded == "checkpoint: OperationalError: database or disk is full"
        assert len(ledger.rows) > 90
        full = False
        run.advance(1.1)
        assert run.status().degraded is None
        assert run.status().checkpoints > taken
    second = Ledger(ledger.durable)
    with VirtualRun(ledger_graph(Blocks(every=0.1), second), state=state) as run:
        run.advance(5)
    assert second.numbers == list(range(len(second.rows)))


def test_what_a_failed_commit_held_back_is_written_once_there_is_room(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changes told once, in a checkpoint that failed, are not told again; they are kept, and the last value counts."""
    told: Iterator[list[Change]] = iter(
        [[(b"a", "", b"1"), (b"b", "", b"1")], [(b"a", "", b"2")], [(b"b", "", None), (b"c", "", b"3")]]
    )

    def remembering(source: Observable[Any]) -> Observable[Any]:
        current()

        def subscribe(observer: Any, scheduler: Any = None) -> Any:
            current().state("operator", lambda: next(told, []))
            return source.subscribe(observer, scheduler=scheduler)

        return Observable(subscribe)

    commit = StateFile.commit
    fail = [True]

    def failing(self: StateFile, changes: Any) -> int:
        if fail[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        return commit(self, changes)

    monkeypatch.setattr(StateFile, "commit", failing)
    with VirtualRun(graph(rx.never(), remembering), state=state) as run:
        run.advance(1.5)
        fail[0] = False
        run.advance(1)
        assert run.status().checkpoint_rows == 3
        run.advance(5)
    reader = StateFile(state)
    assert list(reader.rows("main[1] remembering")) == [(b"a", "", b"2"), (b"c", "", b"3")]
    reader.close()


def test_a_sink_that_cannot_make_its_data_durable(state: Path) -> None:
    ledger = Ledger()
    with VirtualRun(ledger_graph(Blocks(every=0.1), ledger), state=state) as run:
        run.advance(1.5)
        taken = run.status().checkpoints
        ledger.fail = OSError(errno.EIO, "Input/output error")
        run.advance(3)
        assert run.status().checkpoints == taken
        degraded = run.status().degraded
        assert degraded is not None
        assert "Input/output error" in degraded
        ledger.fail = None
        run.advance(1)
        assert run.status().checkpoints == taken + 1
        assert run.status().degraded is None


def test_a_failed_checkpoint_is_tried_again_though_nothing_flows(state: Path) -> None:
    ledger = Ledger()
    with VirtualRun(ledger_graph(Blocks(count=3), ledger, rxo.concat(rx.never())), state=state) as run:
        ledger.fail = OSError("no")
        run.advance(3)
        ledger.fail = None
        taken = run.status().checkpoints
        run.advance(1)
        assert run.status().checkpoints == taken + 1


def test_a_last_checkpoint_that_fails_fails_the_run(state: Path) -> None:
    ledger = Ledger()
    with VirtualRun(ledger_graph(Blocks(every=0.1), ledger), state=state) as run:
        run.advance(1.5)
        ledger.fail = OSError("No space left")
        with pytest.raises(
            RunError, match="the last checkpoint failed: OSError: No space left; the next run goes on from"
        ):
            run.drain()
        assert run.engine.state == "failed"


def test_a_last_checkpoint_is_tried_more_than_once(state: Path) -> None:
    ledger = Ledger()
    with VirtualRun(ledger_graph(Blocks(every=0.1), ledger), state=state) as run:
        run.advance(1.5)
        ledger.fail = OSError("No space left")
        run.engine.drain()
        run.advance(0.05)
        ledger.fail = None
        run.advance(1)
        assert run.engine.state == "done"


def test_without_a_state_file_sinks_make_their_data_durable_at_the_end() -> None:
    ledger = Ledger()
    with VirtualRun(ledger_graph(Blocks(count=5), ledger)) as run:
        run.advance(1)
        assert run.engine.state == "done"
    assert ledger.asked == 1


def test_a_lease_kept_by_the_last_sink_is_waited_for(state: Path) -> None:
    kept: list[Any] = []
    with VirtualRun(graph(Blocks(count=1).source(), rxo.do_action(kept.append)), state=state) as run:
        run.advance(10)
        assert run.engine.state == "draining"
        assert isinstance(kept[0], Batch)
        assert isinstance(kept[0].leases[0], Lease)
        kept.clear()
        run.advance(1)
        assert run.status().state == "done"
