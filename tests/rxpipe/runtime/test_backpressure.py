"""A sink slower than its sources: memory stays flat, timers are on time, readers wait, no queue outgrows its bound."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import assume, example, given, note
from hypothesis import strategies as st
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable

import rxpipe
from rxpipe import Batch, LineDelta, operators, stream
from rxpipe.context import current
from rxpipe.language.edges import emitted, fits
from rxpipe.lease import Lease
from rxpipe.operator import Step
from rxpipe.registry import registry
from rxpipe.testing import VirtualRun
from rxpipe.testing.samples import example_parameters
from tests.rxpipe.parts import graph

ops: Any = operators
MB = 1 << 20
DAY = 24 * 3600.0
ALLOWED = 64 * MB
"""How much more memory a run under load may take than one with nothing to do."""

BLOCK = 12 * 1024


class Backlog:
    """A source that makes blocks of lines as fast as it may: as many bytes as wanted, none of which are anywhere.

    Attributes:
        emitted: Bytes so far.
        peak: The most bytes that were in flight.
    """

    def __init__(self, total: int, block: int = BLOCK) -> None:
        self.total = total
        self.emitted = self.peak = self.blocks = 0
        line = b'{"n": %d, "text": "' + b"x" * 90 + b'"}\n'
        self._line, self._lines = line, max(1, block // 110)

    def source(self) -> Observable[LineDelta]:
        def subscribe(observer: ObserverBase[LineDelta], scheduler: SchedulerBase | None = None) -> DisposableBase:
            context = current()
            flow, timers = context.flow, context.scheduler(scheduler)
            done = False

            def pump(*_: object) -> None:
                if done:
                    return
                if self.emitted >= self.total:
                    return  # and nothing more comes
                if not flow.open:
                    flow.wait(pump)
                else:
                    data = b"".join([self._line % n for n in range(self.blocks, self.blocks + self._lines)])
                    start, self.emitted = self.emitted, self.emitted + len(data)
                    self.blocks += 1
                    delta = LineDelta(
                        "p", "f", start, self.emitted, data, Lease(flow, len(data), "p", start, self.emitted)
                    )
                    del data
                    self.peak = max(self.peak, flow.in_flight)
                    observer.on_next(delta)
                    del delta
                    timers.schedule(pump)

            def stop() -> None:
                nonlocal done
                if not done:
                    done = True
                    observer.on_completed()

            timers.schedule(pump)
            return CompositeDisposable(context.on_drain(stop), Disposable(stop))

        return Observable(subscribe)


class Slow:
    """A sink that takes its time for each element, one after the other."""

    def __init__(self, seconds: float = 0.1) -> None:
        self.seconds = seconds
        self.waiting: deque[Any] = deque()
        self.taken = 0
        self.most = 0

    def __call__(self, source: Observable[Any]) -> Observable[Any]:
        def subscribe(observer: ObserverBase[Any], scheduler: SchedulerBase | None = None) -> DisposableBase:
            timers = current().scheduler(scheduler)
            completed = False

            def on_next(element: Any) -> None:
                self.waiting.append(element)
                self.most = max(self.most, len(self.waiting))
                if len(self.waiting) == 1:
                    timers.schedule_relative(self.seconds, done)

            def done(*_: object) -> None:
                self.taken += 1
                observer.on_next(self.waiting.popleft())
                if self.waiting:
                    timers.schedule_relative(self.seconds, done)
                elif completed:
                    observer.on_completed()

            def on_completed() -> None:
                nonlocal completed
                completed = True
                if not self.waiting:
                    observer.on_completed()

            return source.subscribe(on_next, observer.on_error, on_completed, scheduler=scheduler)

        return Observable(subscribe)


def resident() -> int:
    """The most memory that the process has had, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024


def every_second(late: list[float]) -> Any:
    """A step that changes nothing, and notes how late its timer is."""

    def step(source: Observable[Any]) -> Observable[Any]:
        def subscribe(observer: ObserverBase[Any], scheduler: SchedulerBase | None = None) -> DisposableBase:
            context = current()
            timers = context.scheduler(scheduler)
            began = context.now()

            def tick(*_: object) -> None:
                late.append(context.now() - began - len(late) - 1)
                timers.schedule_relative(1.0, tick)

            timers.schedule_relative(1.0, tick)
            return source.subscribe(observer, scheduler=scheduler)

        return Observable(subscribe)

    return step


def load(total: int, seconds: float) -> dict[str, float]:
    """Run a backlog against a slow sink for some virtual time, in this process; tell what it took."""
    backlog, sink = Backlog(total), Slow()
    late: list[float] = []
    steps = [ops.parse_json(), ops.where("n >= 0"), ops.derive(m="n + 1"), every_second(late), sink]
    made = graph(backlog.source(), *steps)
    began = time.process_time()
    with VirtualRun(made, settings={"in_flight": "16MB"}, watch=lambda *_: None) as run:
        run.advance(seconds)
        blocks = run.engine.flow.in_flight
    return {
        "resident": resident(),
        "emitted": backlog.emitted,
        "taken": sink.taken,
        "peak": backlog.peak,
        "left": blocks,
        "ticks": len(late),
        "late": max(late, default=0.0),
        "cpu": time.process_time() - began,
    }


def apart(total: int, seconds: float) -> dict[str, float]:
    """The same in a process of its own, whose memory is its own."""
    module = "tests.rxpipe.runtime.test_backpressure"
    program = f"import json; from {module} import load; print(json.dumps(load({total}, {seconds})))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(rxpipe.__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("total", "seconds"),
    [(10 << 30, 600.0), pytest.param(10 << 30, DAY, marks=pytest.mark.nightly)],
    ids=["ten minutes", "a day"],
)
def test_memory_stays_flat_and_timers_are_on_time(total: int, seconds: float) -> None:
    idle, loaded = apart(0, seconds), apart(total, seconds)
    assert loaded["taken"] == pytest.approx(seconds * 10, abs=2)  # it was at work all the time
    assert loaded["emitted"] > 16 * MB
    assert loaded["peak"] <= 16 * MB + BLOCK
    assert loaded["resident"] - idle["resident"] < ALLOWED
    assert loaded["ticks"] == idle["ticks"] == seconds
    assert loaded["late"] == pytest.approx(0, abs=1e-6)


def test_a_file_reader_waits(tmp_path: Path) -> None:
    path, limit = tmp_path / "big.jsonl", 1 * MB
    line = b'{"n": 1, "text": "' + b"x" * 100 + b'"}\n'
    path.write_bytes(line * (16 * MB // len(line)))
    size, sink = path.stat().st_size, Slow(1.0)
    ahead: list[float] = []
    made = rxpipe.Graph("wait", {"main": [ops.watch([str(path)]), ops.read_lines(), ops.parse_json(), sink]})
    with VirtualRun(made, once=True, settings={"in_flight": "1MB"}, watch=lambda *_: None) as run:
        block = 0.0
        while not run.engine.over():
            run.advance(0.5)
            read = sum(step.bytes_out for step in run.status().steps if step.name.endswith("read_lines"))
            block = block or read / max(1, sink.most)
            ahead.append(run.engine.flow.in_flight)
            assert len(sink.waiting) * 1024 <= 2 * limit
    assert max(ahead) <= limit + 512 * 1024
    assert sorted(ahead)[len(ahead) // 2] > limit / 2  # it reads on as soon as it may
    assert (read, sink.waiting) == (size, deque())


BLOCKS: dict[str, tuple[bytes, Callable[[str, Any], list[Any]]]] = {
    "lines": (
        b'{"n": 1, "text": "' + b"x" * 100 + b'"}\n',
        lambda path, noting: [ops.watch([path]), ops.read_lines(), noting, ops.parse_json()],
    ),
    "csv": (
        b"1," + b"x" * 100 + b"\n",
        lambda path, noting: [ops.read_csv(path, columns=["n", "text"]), noting, ops.where("text != 'y' and n != '2'")],
    ),
}


@pytest.mark.parametrize("kind", BLOCKS)
def test_a_timer_is_late_by_no_more_than_one_block(kind: str, tmp_path: Path) -> None:
    path, (line, steps) = tmp_path / "big", BLOCKS[kind]
    path.write_bytes(line * 250_000)
    begun: list[float] = []
    worst: list[int] = []

    def noting(source: Observable[Any]) -> Observable[Any]:
        from reactivex import operators as rxo

        return source.pipe(rxo.do_action(lambda _: begun.append(time.monotonic())))

    async def main() -> None:
        loop = asyncio.get_running_loop()
        made = rxpipe.Graph("late", {"main": steps(str(path), noting)})

        def tick(due: float) -> None:
            now = time.monotonic()
            worst.append(sum(due < at < now for at in begun[-100:]))
            begun[:] = begun[-100:]
            loop.call_at(loop.time() + 0.002, tick, time.monotonic() + 0.002)

        async with made.start(once=True) as run:
            tick(time.monotonic())
            await run.wait()

    asyncio.run(main())
    assert len(worst) > 20
    assert max(worst) <= 1  # one whose turn had come when the loop looked at its timers


OWN: dict[str, Callable[[], Any]] = {
    "map_async": lambda: ops.map_async(same, concurrency=3),
    "tap": lambda: ops.tap(same),
    "buffer of bytes": lambda: ops.buffer(bytes="3KB"),
    "block": lambda: ops.on_slow("block", limit=4),
    "retry": lambda: rxpipe.on_error(ops.where("1 / (n % 5) > 0"), "retry"),
    "skip errors": lambda: rxpipe.on_error(ops.derive(q="1 / (n % 5)"), "skip"),
    "to_callback": lambda: ops.to_callback(same),
    "tasks": lambda: ops.tasks(key="n", ahead=10),
    "slow": lambda: Slow(0.05),
}
"""Steps beside those that the registry has, or with other parameters than their example."""

ROW = {"a": 1, "b": 2, "host": "h", "level": "INFO", "model": "small", "tokens": 9, "parts": [1, 2], "failed": False}
MOST_PARTS = 2


def same(record: Any) -> Any:
    return record


def taking_batches() -> list[str]:
    """The operators of the registry that take batches and emit some, and need nothing else."""
    found = []
    for name in registry.names():
        operator = registry.get(name)
        if operator is None or operator.is_source or operator.family == "sinks":
            continue
        bindings: dict[Any, Any] = {}
        needed = [other for other in operator.inputs[1:] if other != operator.variadic_input]
        required = [
            other for other in needed if operator.signature.parameters[other].default is inspect.Parameter.empty
        ]
        if not required and fits(Batch, operator.accepts(operator.inputs[0]), bindings):
            found += [name] if fits(emitted(operator.emits, bindings), Batch) else []
    return found


def step_of(name: str) -> Any:
    if name in OWN:
        return OWN[name]()
    operator = registry.get(name)
    assert operator is not None
    return Step(operator, example_parameters(operator))


APART = {"chat", "http", "shell", "to_progress", "report"}
"""Steps that ask others, whose time is not virtual (`map_async` has the same queues), and that need a step `tasks`."""

NAMES = [*OWN, *(name for name in taking_batches() if name not in OWN and name not in APART)]


class Rows:
    """A source of batches of some records each, whose leases are of as many bytes as it is told."""

    each = 3

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self.emitted = self.peak = 0

    def source(self) -> Observable[Batch]:
        def subscribe(observer: ObserverBase[Batch], scheduler: SchedulerBase | None = None) -> DisposableBase:
            context = current()
            flow, timers = context.flow, context.scheduler(scheduler)
            done = False

            def pump(*_: object) -> None:
                if done:
                    return
                if not flow.open:
                    flow.wait(pump)
                    return
                numbers = [self.emitted * self.each + at for at in range(self.each)]
                rows = [{"n": n, "id": n, "ms": n % 7, "ts": context.now(), "bytes": n, **ROW} for n in numbers]
                self.emitted += 1
                batch = Batch(rows, leases=(Lease(flow, self.nbytes, "o", self.emitted, self.emitted + 1),))
                self.peak = max(self.peak, flow.in_flight)
                observer.on_next(batch)
                del batch
                timers.schedule_relative(0.005, pump)

            def stop() -> None:
                nonlocal done
                if not done:
                    done = True
                    observer.on_completed()

            timers.schedule(pump)
            return CompositeDisposable(context.on_drain(stop), Disposable(stop))

        return Observable(subscribe)


@given(
    steps=st.lists(st.sampled_from(NAMES), max_size=6),
    second=st.lists(st.sampled_from(NAMES), max_size=3),
    nbytes=st.sampled_from([100, 1000, 5000]),
)
@example([], ["on_slow", "buffer of bytes"], 100)
@example([], ["limit", "buffer of bytes"], 100)
@example([], ["tasks", "buffer"], 100)
def test_no_queue_outgrows_its_bound(steps: list[str], second: list[str], nbytes: int) -> None:
    limit = 20_000
    rows, sink, other = Rows(nbytes), Slow(0.2), Slow(0.1)
    made = graph(
        main=[rows.source(), *map(step_of, steps)],
        slow=[stream("main"), *map(step_of, second), sink],
        less=[stream("main"), other],
    )
    assume(not rxpipe.problems(made))  # such as a field that an earlier step leaves out
    most = (limit // nbytes + 1) * Rows.each * MOST_PARTS ** [*steps, *second].count("explode")
    with (
        TemporaryDirectory() as name,
        contextlib.chdir(name),  # `tasks` makes its store there; one of another example would say what is done already
        VirtualRun(made, settings={"in_flight": f"{limit}B"}, watch=lambda *_: None) as run,
    ):
        for _ in range(30):
            run.advance(0.5)
            flow = run.engine.flow
            note(f"{flow.in_flight} bytes, {flow.blocks} blocks, {rows.emitted} emitted")
            assert flow.in_flight <= limit + nbytes
            assert flow.blocks <= limit // nbytes + 1 + len(run.engine.contexts)
            depths = {step.name: step.gauges.get("queue_depth", 0) for step in run.status().steps}
            assert max(depths.values()) <= most, depths
            assert max(len(sink.waiting), len(other.waiting)) <= most
        assert rows.peak <= limit + nbytes
        run.drain()
        assert run.engine.flow.blocks == 0
