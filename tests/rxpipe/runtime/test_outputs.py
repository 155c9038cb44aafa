"""Outputs of steps in a run: who hears what, order, completion, checkpoints, errors, figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import reactivex as rx
from reactivex import Observable
from reactivex import operators as rxo
from reactivex.disposable import Disposable

from rxpipe import operators as ops
from rxpipe.elements import Batch
from rxpipe.graph import stream
from rxpipe.lease import Lease
from rxpipe.runtime.metrics import _families
from rxpipe.testing import VirtualRun, run_graph
from tests.rxpipe.parts import Blocks, Ledger, collect, graph, later, rejecting


def rows(*numbers: int) -> Observable[Batch]:
    return rx.of(Batch([{"n": n} for n in numbers]))


def test_an_output_is_read_by_streams_and_does_not_pass_later_steps() -> None:
    shown = run_graph(
        graph(
            main=[rows(1, 2, 3, 4), ops.split(even="n % 2 == 0"), ops.derive(m="n * 10")],
            even=[stream("main.even"), ops.derive(m="-n")],
            all=[stream("main"), ops.merge(stream("main.even"), stream("even"))],
        )
    )
    assert shown.values("main") == [Batch([{"n": 1, "m": 10}, {"n": 3, "m": 30}])]
    assert shown.values("main.even") == [Batch([{"n": 2}, {"n": 4}])]
    assert shown.values("even") == [Batch([{"n": 2, "m": -2}, {"n": 4, "m": -4}])]
    assert len(shown.values("all")) == 3
    assert shown.status.state == "done"


def test_the_step_starts_when_all_readers_are_there() -> None:
    """A source that emits in its subscription reaches every reader of every output."""
    subscriptions: list[int] = []

    def subscribe(observer: Any, scheduler: Any = None) -> Any:
        subscriptions.append(1)
        observer.on_next(Batch([{"n": 1}, {"n": 2}]))
        observer.on_completed()
        return Disposable()

    shown = run_graph(
        graph(
            a=[stream("parts.even")],
            b=[stream("parts.even"), ops.merge(stream("a"))],
            parts=[Observable(subscribe), ops.split(even="n % 2 == 0")],
            c=[stream("parts.even"), ops.merge(stream("parts"))],
        )
    )
    assert subscriptions == [1]
    assert [len(shown.values(name)) for name in ("a", "b", "c")] == [1, 2, 2]


def test_what_nobody_reads_is_counted() -> None:
    with VirtualRun(graph(rows(1, 2, 4), ops.split(even="n % 2 == 0"))) as run:
        run.advance(1)
        status = run.status()
    step = status.steps[1]
    assert step.gauges == {"even_records": 2.0}
    assert (step.records_in, step.records_out) == (3, 3)
    names = {sample.name: sample.value for family in _families(status) for sample in family.samples}
    assert names["rxpipe_step_even_records"] == 2


@pytest.mark.parametrize("end", ["complete", "taken"])
def test_outputs_end_with_their_step(end: str) -> None:
    """Completed, or unsubscribed by a later step: either way those who read an output are told."""
    source = Blocks(count=5, every=0.1)
    after = [rxo.take(1)] if end == "taken" else []
    made = graph(
        main=[source.source(), ops.split(even="n % 2 == 0"), *after],
        even=[stream("main.even"), ops.buffer(count=100)],
    )
    shown = run_graph(made)
    assert shown.status.state == "done"
    assert [len(batch) for batch in shown.values("even")] == [1 if end == "taken" else 3]


def test_a_run_that_is_stopped_tells_nobody() -> None:
    made = graph(
        main=[Blocks(every=0.1).source(), ops.split(even="n % 2 == 0")],
        even=[stream("main.even"), ops.buffer(count=100)],
    )
    with VirtualRun(made) as run:
        run.advance(1)
        run.engine.stop()
        assert run.events["even"] == []


def test_drain() -> None:
    seen: list[Any] = []
    blocks = Blocks(every=0.1)
    made = graph(
        main=[blocks.source(), ops.split(even="n % 2 == 0"), collect(seen)],
        even=[stream("main.even"), later(1.0), ops.buffer(count=1000), collect(seen)],
    )
    with VirtualRun(made) as run:
        run.advance(5)
        status = run.drain()
    assert (status.state, status.in_flight) == ("done", 0)
    assert sorted(row["n"] for row in seen) == list(range(blocks.emitted))


def test_backpressure_and_leases() -> None:
    blocks = Blocks(nbytes=10)
    made = graph(
        main=[blocks.source(), ops.split(even="n % 2 == 0")],
        even=[stream("main.even"), later(1000.0)],
    )
    with VirtualRun(made, settings={"in_flight": 100}) as run:
        run.advance(10)
        assert blocks.peak <= 100
        assert run.engine.flow.blocks == 10
        assert 18 <= blocks.emitted <= 22


def test_nothing_lost_nothing_doubled_over_a_crash(tmp_path: Path) -> None:
    """Readers of outputs are flushed behind the step, whatever they buffer."""
    odd, even = Ledger(), Ledger()
    for attempt in range(3):
        odd, even = Ledger(odd.durable), Ledger(even.durable)
        made = graph(
            after=[stream("even"), ops.buffer(count=7), even.step],
            main=[Blocks(count=100, every=0.1).source(), ops.buffer(count=3), ops.split(even="n % 2 == 0"), odd.step],
            even=[stream("main.even"), ops.buffer(count=5, time="10s")],
        )
        with VirtualRun(made, state=tmp_path / "s.sqlite") as run:
            run.advance(2.55 if attempt < 2 else 20)
            assert run.status().checkpoints > 1
    assert odd.numbers == list(range(1, 100, 2))
    assert even.numbers == list(range(0, 100, 2))


def test_an_output_of_those_who_read_errors_is_not_sent_round() -> None:
    """A stream that reads an output of one that reads `errors` handles errors, too."""
    seen: list[Any] = []
    run_graph(
        graph(
            main=[rows(1), rejecting()],
            bad=[stream("errors"), ops.split(mine="step != ''")],
            worse=[stream("bad.mine"), collect(seen), rejecting("again")],
        )
    )
    assert [error.reason for error in seen] == ["refused"]


def test_the_time_of_a_reader_is_not_the_steps() -> None:
    made = graph(
        main=[rows(*range(10)), ops.split(even="n % 2 == 0")],
        even=[stream("main.even"), busy],
    )
    shown = run_graph(made)
    seconds = {step.name: step.seconds for step in shown.status.steps}
    assert seconds["even[1] busy"] > 5 * seconds["main[1] split"]


def busy(source: Observable[Any]) -> Observable[Any]:
    return source.pipe(rxo.map(lambda batch: sorted(range(500_000), key=lambda n: -n) and batch))


def test_a_python_step_with_readers_of_its_own() -> None:
    """What a step of a graph reads by itself is nobody else's."""
    from rxpipe.outputs import with_outputs

    heard: list[Any] = []
    shown = run_graph(graph(rows(1, 2), with_outputs(ops.split(even="n % 2 == 0"), even=heard.append)))
    assert heard == [Batch([{"n": 2}])]
    assert shown.values("main") == [Batch([{"n": 1}])]


def test_leases_of_a_batch_are_held_until_all_parts_are_done() -> None:
    held: list[Any] = []
    made = graph(
        main=[Blocks(count=1).source(), ops.split(even="n % 2 == 0")],
        even=[stream("main.even"), later(60.0, held)],
    )
    with VirtualRun(made) as run:
        run.advance(1)
        assert run.engine.flow.blocks == 1
        assert isinstance(held[0].leases[0], Lease)
        run.drain()
        assert run.engine.flow.blocks == 0
