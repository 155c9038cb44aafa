"""Checkpoints: what is saved is what was done with, and a checkpoint that fails loses nothing."""

from __future__ import annotations

import errno
import gc
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import pytest
import reactivex as rx
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable
from reactivex import operators as rxo

from rxpipe import operators as ops
from rxpipe.context import Change, Cut, current
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


class Slow(Executor):
    """Makes each call some virtual seconds after it was asked for."""

    def __init__(self, run: VirtualRun, seconds: float) -> None:
        self._run, self._seconds = run, seconds

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Schedule a call."""
        future: Future[Any] = Future()

        def call(*_: object) -> None:
            future.set_running_or_notify_cancel()
            try:
                future.set_result(fn(*args, **kwargs))
            except Exception as error:  # a future carries whatever was raised
                future.set_exception(error)

        self._run.virtual.schedule_relative(self._seconds, call)
        return future


def slow(run: VirtualRun, seconds: float) -> VirtualRun:
    """The run, whose checkpoints take so long to write."""
    run.engine.threads.given = Slow(run, seconds)  # a run in virtual time has no threads
    return run


@given(
    crashes=st.lists(st.floats(0.0, 4.0), max_size=4),
    period=st.sampled_from([0.05, 0.3]),
    writing=st.sampled_from([0.01, 0.4, 1.7]),
)
def test_crashes_while_a_checkpoint_is_written(
    tmp_path_factory: pytest.TempPathFactory, crashes: list[float], period: float, writing: float
) -> None:
    """What is saved is of one moment, however much has flowed since: sinks, offsets and groups agree."""
    state = tmp_path_factory.mktemp("crash") / "s.sqlite"
    durable: list[Any] = []
    for after in [*crashes, None]:
        ledger = Ledger(durable)
        groups = ops.aggregate(by=["k"], total="sum(n)", different="distinct(n)", most="max(n)")
        steps = [ledger.step, ops.derive(k="n % 3"), ops.dedupe("n"), groups]
        with slow(VirtualRun(graph(Blocks(count=40, every=period).source(), *steps), state=state), writing) as run:
            run.advance(3600 if after is None else after)
            rows = run.engine.tables["main"].rows() if "main" in run.engine.tables else []
        durable = ledger.durable
    assert ledger.numbers == list(range(40))
    assert sorted(rows, key=lambda row: row["k"]) == [
        {"k": k, "total": sum(range(k, 40, 3)), "different": len(range(k, 40, 3)), "most": max(range(k, 40, 3))}
        for k in range(3)
    ]


def test_the_flow_goes_on_while_a_checkpoint_is_written(state: Path) -> None:
    blocks, ledger = Blocks(every=0.1), Ledger()
    with slow(VirtualRun(ledger_graph(blocks, ledger), state=state), 30.0) as run:
        run.advance(1.05)
        taken, emitted = run.status().checkpoints, blocks.emitted
        run.advance(25)
        status = run.status()
        assert status.checkpoints == taken == 1  # the first is waited for, before anything flows
        assert blocks.emitted > emitted + 200
        assert status.degraded is None
        run.advance(10)
        status = run.status()
        assert status.checkpoints == taken + 1
        assert (status.checkpoint_pause, status.checkpoint_seconds) == (0.0, 30.0)
        assert sum(status.checkpoint_pauses.values()) == 3  # the one under way has let go of the sources
        assert status.checkpoint_rows == 2
        assert status.checkpoint_bytes == len(b"10") + len(b"position") + len(b"\x0a")


def test_what_is_asked_for_while_one_is_written_is_the_next_one(state: Path) -> None:
    ledger, done = Ledger(), []
    with slow(VirtualRun(ledger_graph(Blocks(every=0.1), ledger), state=state), 2.0) as run:
        run.advance(1.55)
        run.engine.checkpoints.take(lambda: done.append((run.status().checkpoints, len(ledger.rows))))
        rows = len(ledger.rows)
        run.advance(1)
        assert done == []
        run.advance(4)
        assert [taken for taken, _ in done] == [3]
        assert done[0][1] >= rows
    reader = StateFile(state)
    assert next(reader.rows("main[1] step"))[2][-1] >= rows  # what came behind the one under way is in it
    reader.close()


def test_a_drain_while_a_checkpoint_is_written(state: Path) -> None:
    blocks, ledger = Blocks(every=0.1), Ledger()
    with slow(VirtualRun(ledger_graph(blocks, ledger), state=state), 3.0) as run:
        run.advance(1.55)
        assert run.drain().state == "done"
    reader = StateFile(state)
    assert next(reader.rows("main[1] step"))[2] == bytes([blocks.emitted])
    reader.close()


def test_groups_that_could_not_be_saved_are_saved_by_the_next(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are told again, though none of them has changed since."""
    commit = StateFile.commit
    fail = [False]

    def failing(self: StateFile, changes: Any) -> int:
        if fail[0]:
            self.write(changes)
            raise sqlite3.OperationalError("disk I/O error")
        return commit(self, changes)

    monkeypatch.setattr(StateFile, "commit", failing)
    steps = [ops.dedupe("n"), ops.aggregate(by=["n"], count="count()", d="distinct(n)"), rxo.concat(rx.never())]
    with VirtualRun(graph(Blocks(count=3).source(), *steps), state=state) as run:
        run.advance(0.5)
        fail[0] = True
        run.advance(2)
        fail[0] = False
        run.advance(1)
        assert run.status().checkpoint_rows == 1 + 3 + 3 + 1  # offset, keys, groups, version of their table
    reader = StateFile(state)
    assert [len(list(reader.rows(f"main[{number}] {step}"))) for number, step in ((1, "dedupe"), (2, "aggregate"))] == [
        3,
        3 + 1,
    ]
    reader.close()


def test_a_run_that_ends_while_a_checkpoint_is_written_leaves_the_one_before(state: Path) -> None:
    ledger = Ledger()
    with slow(VirtualRun(ledger_graph(Blocks(every=0.1), ledger), state=state), 5.0) as run:
        run.advance(8)
        assert run.status().checkpoints == 2
        run.engine.stop()
        run.virtual.advance_by(60)
    second = Ledger(ledger.durable)
    with VirtualRun(ledger_graph(Blocks(every=0.1), second), state=state) as run:
        assert second.numbers == list(range(10))
        run.advance(5)
    assert second.numbers == list(range(len(second.rows)))


def test_a_step_that_fails_while_it_is_packed_is_named(state: Path) -> None:
    def rows() -> Iterator[Change]:
        yield b"a", "", b"1"
        msg = "cannot be packed"
        raise ValueError(msg)

    told = iter([Cut(())])

    def failing(source: Observable[Any]) -> Observable[Any]:
        def subscribe(observer: Any, scheduler: Any = None) -> Any:
            current().state("operator", lambda: next(told, Cut(rows())))
            return source.subscribe(observer, scheduler=scheduler)

        return Observable(subscribe)

    with (
        VirtualRun(graph(Blocks(every=0.1).source(), failing), state=state) as run,
        pytest.raises(RunError, match=r"main\[1\] failing: ValueError: cannot be packed"),
    ):
        run.advance(2)


def test_sinks_data_is_durable_before_the_rows_that_speak_of_it(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []
    write, commit = StateFile.write, StateFile.commit

    def sink(source: Observable[Any]) -> Observable[Any]:
        def subscribe(observer: Any, scheduler: Any = None) -> Any:
            made = Cut(
                ((b"%d" % n, "", b"") for n in range(100_000)),
                sync=lambda: happened.append("sync"),
                saved=lambda: happened.append("saved"),
            )
            current().state("sink", lambda: made)
            return source.subscribe(observer, scheduler=scheduler)

        return Observable(subscribe)

    def noted(name: str, method: Any) -> Any:
        def call(self: StateFile, changes: Any) -> int:
            happened.append(name)
            return int(method(self, changes))

        return call

    monkeypatch.setattr(StateFile, "write", noted("write", write))
    monkeypatch.setattr(StateFile, "commit", noted("commit", commit))
    with VirtualRun(graph(rx.never(), sink), state=state):
        pass
    assert (happened[0], happened[-2:]) == ("sync", ["commit", "saved"])
    assert set(happened[1:-2]) == {"write"}


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
