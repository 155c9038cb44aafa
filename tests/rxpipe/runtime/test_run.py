"""The life of a run, in a thread and on a loop: nothing is left behind, and whoever waits is told."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import reactivex as rx
from loguru import logger
from reactivex import Observable
from reactivex import operators as rxo

from rxpipe import operators as ops
from rxpipe.context import current
from rxpipe.elements import Batch
from rxpipe.errors import GraphError, RunError, RxpipeError, StateError
from rxpipe.graph import Graph, Param, stream
from rxpipe.runtime.run import Run
from tests.rxpipe.parts import Blocks, Ledger, collect, graph, threads_of_runs, until


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    """A run takes its threads with it."""
    before = threads_of_runs()
    yield
    until(lambda: threads_of_runs() <= before, f"no thread left: {threads_of_runs() - before}")


def raising(*_: Any) -> Any:
    raise ZeroDivisionError("division by zero")


def blocking(source: Observable[Any]) -> Observable[Any]:
    """Emit each element from a thread of the run."""

    def subscribe(observer: Any, scheduler: Any = None) -> Any:
        context = current()
        post = context.poster(scheduler)
        waiting = 0
        completed = False

        def give(element: Any) -> None:
            nonlocal waiting
            waiting -= 1
            observer.on_next((element, threading.current_thread().name))
            if completed and not waiting:
                observer.on_completed()

        def on_next(element: Any) -> None:
            nonlocal waiting
            waiting += 1
            context.executor().submit(lambda: post(lambda: give(element)))

        def on_completed() -> None:
            nonlocal completed
            completed = True
            if not waiting:
                observer.on_completed()

        return source.subscribe(on_next, observer.on_error, on_completed, scheduler=scheduler)

    return Observable(subscribe)


def test_with(tmp_path: Path) -> None:
    blocks, ledger = Blocks(), Ledger()
    with graph(blocks.source(), ledger.step).run(state=tmp_path / "s.sqlite") as run:
        until(lambda: blocks.emitted > 100)
        assert run.status().state == "running"
    assert run.status().state == "done"
    assert ledger.numbers == list(range(blocks.emitted))
    assert run.status().checkpoints > 0


def test_pause_resume_drain() -> None:
    blocks = Blocks()
    with graph(blocks.source()).run() as run:
        until(lambda: blocks.emitted > 10)
        run.pause()
        seen = blocks.emitted
        assert run.status().state == "paused"
        assert run.call(lambda: blocks.emitted) == seen
        run.resume()
        until(lambda: blocks.emitted > seen)
        run.drain()
        assert run.status().state == "done"
        run.drain()


def test_wait_for_the_end() -> None:
    seen: list[int] = []
    with graph(rx.of(1, 2), collect(seen)).run() as run:
        run.wait()
        assert seen == [1, 2]
        run.wait("1s")


def test_waiting_has_an_end() -> None:
    with graph(rx.never()).run() as run:
        with pytest.raises(TimeoutError):
            run.wait("1ms")
        run.stop()
        run.wait()
    assert run.status().state == "stopped"


def test_a_drain_that_takes_too_long_is_a_stop() -> None:
    def endless(source: Observable[Any]) -> Observable[Any]:
        return source.pipe(rxo.concat(rx.never()))

    lines: list[str] = []
    sink = logger.add(lambda line: lines.append(str(line)), format="{message}", level="WARNING")
    with graph(rx.never(), endless).run() as run:
        run.drain("10ms")
        assert run.status().state == "stopped"
    logger.remove(sink)
    assert lines == ["the run did not drain in 10ms: stopped; the next run goes on from the last checkpoint\n"]


def test_duration_and_once() -> None:
    with graph(ops.interval("1ms")).run(duration="20ms") as run:
        run.wait("10s")
        assert run.status().state == "done"
    with graph(ops.interval("1h")).run(once=True) as run:
        run.wait("10s")
        assert run.status().records == 1


def test_a_failure_is_raised_on_leaving() -> None:
    gate = threading.Event()
    started = threading.Event()
    made = graph(
        ops.interval("1ms"),
        rxo.do_action(lambda _: started.set()),
        rxo.filter(lambda _: gate.is_set()),
        rxo.map(raising),
    )
    with pytest.raises(RunError, match=r"^main\[3\] map: ZeroDivisionError: division by zero$") as caught:
        with made.run() as run:
            until(started.is_set)
            gate.set()
            until(lambda: run.status().state == "failed")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_failure_while_waiting_is_raised_there() -> None:
    with (
        pytest.raises(RunError, match="map: ZeroDivisionError"),
        graph(ops.interval("1ms"), rxo.map(raising)).run() as run,
    ):
        run.wait()


def test_a_failure_at_once_is_raised_on_entering(tmp_path: Path) -> None:
    def failing(source: Observable[Any]) -> Observable[Any]:
        return Observable(raising)

    entered = False
    with pytest.raises(RunError, match=r"main\[1\] failing: ZeroDivisionError"):
        with graph(rx.never(), failing).run(state=tmp_path / "s.sqlite"):
            entered = True
    assert not entered


def test_an_exception_in_the_block_stops_the_run() -> None:
    with pytest.raises(KeyError, match="mine"), graph(rx.never()).run() as run:
        raise KeyError("mine")
    assert run.status().state == "stopped"


def test_an_exception_in_the_block_beside_a_failure() -> None:
    lines: list[str] = []
    sink = logger.add(lambda line: lines.append(str(line)), format="{message}", level="ERROR")
    with pytest.raises(KeyError, match="mine"), graph(ops.interval("1ms"), rxo.map(raising)).run() as run:
        with contextlib.suppress(RunError):
            run.wait()
        raise KeyError("mine")
    logger.remove(sink)
    assert lines == ["the run had failed, besides: main[1] map: ZeroDivisionError: division by zero\n"]


def test_what_ends_the_thread_is_told() -> None:
    def leave(_: Any) -> Any:
        raise SystemExit(3)

    with pytest.raises(RunError, match="the run's thread ended: SystemExit: 3"):
        with graph(ops.interval("1ms"), rxo.map(leave)).run() as run:
            run.wait()


def test_blocking_calls_have_threads_that_end() -> None:
    seen: list[Any] = []
    with graph(rx.of(*range(50)), blocking, collect(seen), name="named").run() as run:
        run.wait()
    assert sorted(n for n, _ in seen) == list(range(50))
    assert {thread for _, thread in seen} == {"rxpipe-named"}


def test_stopping_waits_for_blocking_calls_under_way() -> None:
    entered, gate, finished = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        entered.set()
        gate.wait(10)
        finished.set()

    def busy(source: Observable[Any]) -> Observable[Any]:
        def subscribe(observer: Any, scheduler: Any = None) -> Any:
            current().executor().submit(work)
            return source.subscribe(observer, scheduler=scheduler)

        return Observable(subscribe)

    with graph(rx.never(), busy).run() as run:
        until(entered.is_set)
        run.stop()
        assert not finished.is_set()
        gate.set()
    assert finished.is_set()


def test_posting_after_the_end_is_no_error() -> None:
    posts: list[Callable[[Callable[[], None]], None]] = []
    called: list[int] = []

    def posting(source: Observable[Any]) -> Observable[Any]:
        def subscribe(observer: Any, scheduler: Any = None) -> Any:
            posts.append(current().poster(scheduler))
            return source.subscribe(observer, scheduler=scheduler)

        return Observable(subscribe)

    with graph(rx.of(1), posting).run() as run:
        run.wait()
        posts[0](lambda: called.append(1))
    posts[0](lambda: called.append(2))
    assert called == []


def test_methods_from_a_step() -> None:
    """A step may ask its own run, on the run's thread."""
    seen: list[str] = []
    made: list[Run] = []
    ready = threading.Event()

    def ask(n: int) -> int:
        if ready.is_set():
            seen.append(made[0].status().state)
            made[0].stop()
        return n

    with graph(ops.interval("1ms"), rxo.map(ask)).run() as run:
        made.append(run)
        ready.set()
        run.wait()
    assert seen == ["running"]


def test_rows() -> None:
    batches = [Batch([{"level": "a"}, {"level": "b"}]), Batch([{"level": "a"}])]
    streams: dict[str, list[Any]] = {
        "records": [rx.from_iterable(batches)],
        "levels": [stream("records"), ops.aggregate(by=["level"], n="count()")],
    }
    with Graph("g", streams).run() as run:
        run.wait()
        assert sorted(run.rows("levels"), key=str) == [{"level": "a", "n": 2}, {"level": "b", "n": 1}]
        assert run.rows("records") == []
        with pytest.raises(RxpipeError, match="table: must name a stream of the graph; got 'level', did you mean"):
            run.rows("level")


def test_before_and_again() -> None:
    run = graph(rx.of(1)).run()
    for call in (run.status, run.drain, run.stop, run.wait):
        with pytest.raises(RxpipeError, match="the run has not begun"):
            call()
    with run:
        run.wait()
    with pytest.raises(RxpipeError, match="can be entered once"), run:
        pass


def test_a_state_file_in_use(tmp_path: Path) -> None:
    made = graph(rx.never())
    with made.run(state=tmp_path / "s.sqlite"), pytest.raises(StateError, match="in use by another run, process"):
        with made.run(state=tmp_path / "s.sqlite"):
            pass
    with made.run(state=tmp_path / "s.sqlite"):
        pass


def test_the_state_file_of_the_settings(tmp_path: Path) -> None:
    made = Graph("g", {"a": [rx.of(1)]}, settings={"state": str(tmp_path / "s.sqlite")})
    with made.run(state=False) as run:
        run.wait()
    assert not (tmp_path / "s.sqlite").exists()
    with made.run() as run:
        run.wait()
    assert (tmp_path / "s.sqlite").exists()


def test_values_and_settings_with_variables() -> None:
    made = Graph(
        "g",
        {"a": [rx.never()]},
        params={"often": Param("duration", "2s")},
        settings={"checkpoint": "${often}"},
    )
    assert made.start().settings.checkpoint == 2
    assert made.start(values={"often": "5s"}).settings.checkpoint == 5
    assert made.start(settings={"checkpoint": "7s"}).settings.checkpoint == 7


def test_wrong_settings_and_graphs() -> None:
    with pytest.raises(GraphError, match=r"settings: unknown setting 'chekpoint'.*did you mean 'checkpoint'"):
        graph(rx.never()).run(settings={"chekpoint": "1s"})
    with pytest.raises(GraphError, match="the first step must be a source"):
        graph(rxo.map(str)).run()


async def within_a_loop() -> list[int]:
    seen: list[int] = []
    async with graph(rx.of(1, 2, 3), collect(seen)).start() as run:
        await run.wait()
        assert run.status().state == "done"
    return seen


def test_async_with() -> None:
    assert asyncio.run(within_a_loop()) == [1, 2, 3]


def test_a_thread_of_its_own_within_a_running_loop() -> None:
    async def cell() -> str:
        with graph(rx.of(1)).run() as run:
            run.wait()
            return run.status().state

    assert asyncio.run(cell()) == "done"


def test_async_life(tmp_path: Path) -> None:
    async def live() -> None:
        blocks, ledger = Blocks(), Ledger()
        async with graph(blocks.source(), ledger.step).start(state=tmp_path / "s.sqlite") as run:
            while blocks.emitted < 10:
                await asyncio.sleep(0)
            run.pause()
            seen = blocks.emitted
            for _ in range(10):
                await asyncio.sleep(0)
            assert (run.status().state, blocks.emitted) == ("paused", seen)
            run.resume()
            await run.drain("10s")
            assert run.status().state == "done"
            assert ledger.numbers == list(range(blocks.emitted))

    asyncio.run(live())


def test_async_failures(tmp_path: Path) -> None:
    async def waiting() -> None:
        async with graph(ops.interval("1ms"), rxo.map(raising)).start() as run:
            await run.wait()

    async def leaving() -> None:
        async with graph(ops.interval("1ms"), rxo.map(raising)).start(state=tmp_path / "s.sqlite"):
            await asyncio.sleep(0.02)

    async def own() -> None:
        async with graph(blocking_source(), blocking).start():
            raise KeyError("mine")

    async def unentered() -> None:
        await graph(rx.of(1)).start().wait()

    async def twice() -> None:
        run = graph(rx.of(1)).start()
        async with run:
            pass
        async with run:
            pass

    async def cancelled() -> None:
        async with graph(rx.never()).start():
            await asyncio.sleep(60)

    async def cancelling() -> None:
        task = asyncio.create_task(cancelled())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        await task

    for failing, error, message in (
        (waiting, RunError, "map: ZeroDivisionError"),
        (leaving, RunError, "map: ZeroDivisionError"),
        (own, KeyError, "mine"),
        (unentered, RxpipeError, "has not begun"),
        (twice, RxpipeError, "can be entered once"),
        (cancelling, asyncio.CancelledError, None),
    ):
        with pytest.raises(error, match=message):
            asyncio.run(failing())


def blocking_source() -> Observable[int]:
    return rx.of(1, 2, 3)
