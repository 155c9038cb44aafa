"""The engine under virtual time: the order of subscription, the end of a run, its failures, draining, `errors`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import reactivex as rx
from loguru import logger
from reactivex import Observable
from reactivex import operators as rxo
from reactivex.disposable import Disposable
from reactivex.subject import Subject

from rxpipe import operators as ops
from rxpipe.context import current
from rxpipe.elements import Batch
from rxpipe.errors import Place, RunError
from rxpipe.fusion.lift import lift
from rxpipe.graph import Graph, Places, StepSpec, as_spec, stream
from rxpipe.testing import VirtualRun, VirtualTimeScheduler, run_graph
from tests.rxpipe.parts import Blocks, Step, collect, graph, later, rejecting


def test_a_graph_runs_and_ends() -> None:
    shown = run_graph(graph(rx.of(1, 2, 3), rxo.map(lambda n: n * 10)))
    assert shown.values("main") == [10, 20, 30]
    assert shown.status.state == "done"


def test_ten_hours_in_milliseconds() -> None:
    started = time.process_time()
    shown = run_graph(graph(ops.interval("1s"), rxo.filter(lambda n: n % 3600 == 0)), until="10h")
    assert len(shown.values("main")) == 10
    assert time.process_time() - started < 10


def test_a_shared_stream_has_one_subscription_and_all_readers_see_all_of_it() -> None:
    subscriptions: list[int] = []

    def subscribe(observer: Any, scheduler: Any = None) -> Any:
        subscriptions.append(1)
        for n in range(3):
            observer.on_next(n)
        observer.on_completed()
        return Disposable()

    shown = run_graph(
        graph(
            c=[stream("b")],
            a=[Observable(subscribe)],
            b=[stream("a"), rxo.map(lambda n: -n)],
            d=[stream("a"), ops.merge(stream("b"), stream("c"))],
        )
    )
    assert subscriptions == [1]
    assert shown.values("c") == [0, -1, -2]
    assert sorted(shown.values("d")) == [-2, -2, -1, -1, 0, 0, 0, 1, 2]


def test_streams_that_complete_at_once_end_the_run_once() -> None:
    shown = run_graph(graph(a=[rx.empty()], b=[stream("a")], c=[rx.of(1)]))
    assert shown.status.state == "done"


def test_steps_that_are_subscribed_again_and_again_are_noted_once() -> None:
    steps: list[Any] = [ops.where("n > 1"), ops.derive(d="n")]
    inner: Any = rxo.flat_map(lambda batch: rx.of(batch).pipe(*steps))
    with VirtualRun(graph(rx.of(*[Batch([{"n": n}]) for n in range(100)]), inner)) as run:
        run.advance("1s")
        assert len(run.events["main"]) == 98
        assert len(run.engine.runs) <= 2


def raising(error: Exception) -> Callable[..., Any]:
    def raise_it(*_: Any) -> Any:
        raise error

    return raise_it


def in_on_next(source: Observable[Any]) -> Observable[Any]:
    def subscribe(observer: Any, scheduler: Any = None) -> Any:
        return source.subscribe(raising(KeyError("k")), observer.on_error, observer.on_completed, scheduler=scheduler)

    return Observable(subscribe)


def in_on_completed(source: Observable[Any]) -> Observable[Any]:
    def subscribe(observer: Any, scheduler: Any = None) -> Any:
        return source.subscribe(observer.on_next, observer.on_error, raising(KeyError("k")), scheduler=scheduler)

    return Observable(subscribe)


def in_subscribe(source: Observable[Any]) -> Observable[Any]:
    return Observable(raising(KeyError("k")))


def when_applied(source: Observable[Any]) -> Observable[Any]:
    raise KeyError("k")


def _with(act: Callable[[Any], Any]) -> Step:
    def step(source: Observable[Any]) -> Observable[Any]:
        def subscribe(observer: Any, scheduler: Any = None) -> Any:
            act(scheduler)
            return source.subscribe(observer, scheduler=scheduler)

        return Observable(subscribe)

    return step


def in_a_timer(source: Observable[Any]) -> Observable[Any]:
    return _with(lambda s: current().scheduler(s).schedule_relative(1.0, raising(KeyError("k"))))(source)


def in_a_timer_of_rx(source: Observable[Any]) -> Observable[Any]:
    return _with(lambda s: s.schedule_relative(1.0, raising(KeyError("k"))))(source)


def in_a_posted_call(source: Observable[Any]) -> Observable[Any]:
    return _with(lambda s: current().poster(s)(raising(KeyError("k"))))(source)


def in_a_flush(source: Observable[Any]) -> Observable[Any]:
    return _with(lambda s: current().on_flush(raising(KeyError("k"))))(source)


def in_a_stop(source: Observable[Any]) -> Observable[Any]:
    return _with(lambda s: current().on_drain(raising(KeyError("k"))))(source)


def by_failing(source: Observable[Any]) -> Observable[Any]:
    return _with(lambda s: current().fail(KeyError("k")))(source)


def by_an_error(source: Observable[Any]) -> Observable[Any]:
    return rx.throw(KeyError("k"))


def in_its_changes(source: Observable[Any]) -> Observable[Any]:
    return _with(lambda s: current().state("operator", raising(KeyError("k"))))(source)


def when_made(source: Observable[Any]) -> Observable[Any]:
    """A record-wise step, which is fused with its neighbours, fails when it is subscribed."""
    return lift(source, raising(KeyError("k")))


FAILING = [
    in_on_next,
    when_made,
    in_on_completed,
    in_subscribe,
    when_applied,
    in_a_timer,
    in_a_timer_of_rx,
    in_a_posted_call,
    in_a_flush,
    in_a_stop,
    by_failing,
    by_an_error,
    in_its_changes,
]


@pytest.mark.parametrize("failing", FAILING)
def test_a_programming_error_names_step_and_place(failing: Step, tmp_path: Any) -> None:
    ticks: list[int] = []
    place = Place("graph.yaml", 7, 9)
    spec = as_spec(failing)
    placed = StepSpec(spec.operator, spec.parameters, Places({(): place}), spec.function)
    made = graph(
        source=[ops.interval("400ms"), rxo.take(5)],
        main=[stream("source"), rxo.map(lambda n: n), placed, ops.where("True"), rxo.map(lambda n: n)],
        other=[ops.interval("100ms"), rxo.do_action(ticks.append)],
    )
    run = VirtualRun(made, state=tmp_path / "s.sqlite")
    with (
        pytest.raises(RunError, match=rf"^graph.yaml:7:9: main\[2\] {failing.__name__}: KeyError: 'k'$") as caught,
        run,
    ):
        run.advance(2.5)
        run.drain()
    assert isinstance(caught.value.__cause__, KeyError)
    assert run.engine.state == "failed"
    assert run.engine.status().state == "failed"
    before = len(ticks)
    run.virtual.advance_by(10)
    assert len(ticks) == before
    again = VirtualRun(graph(rx.of(1)), state=tmp_path / "s.sqlite")  # the state file was let go of
    again.engine.stop()


def test_an_error_within_the_source_names_the_source() -> None:
    with pytest.raises(RunError, match=r"^main\[0\] python: ValueError: no$"):
        run_graph(graph(rx.throw(ValueError("no")), rxo.map(lambda n: n)))


def test_an_error_downstream_of_a_synchronous_source_names_the_step_that_raised() -> None:
    with pytest.raises(RunError, match=r"^b\[1\] in_on_next: KeyError"):
        run_graph(graph(a=[rx.of(1)], b=[stream("a"), in_on_next]))


def test_what_fails_after_the_end_changes_nothing() -> None:
    with VirtualRun(graph(rx.of(1))) as run:
        run.drain()
        run.engine.fail(ValueError("late"))
        run.engine.stop()
        assert (run.engine.state, run.engine.failure) == ("done", None)


def test_drain_stops_sources_and_flushes() -> None:
    seen: list[Any] = []
    blocks = Blocks(every=0.1)
    with VirtualRun(graph(blocks.source(), later(1.0), ops.buffer(count=1000), collect(seen))) as run:
        run.advance(5)
        assert seen == []
        status = run.drain()
    assert status.state == "done"
    assert [row["n"] for row in seen] == list(range(blocks.emitted))
    assert status.in_flight == 0


def test_drain_ends_a_source_that_knows_nothing_of_it() -> None:
    disposed: list[int] = []
    endless: Observable[Any] = Observable(lambda *_: Disposable(lambda: disposed.append(1)))
    with VirtualRun(graph(a=[endless], b=[rx.never(), rxo.map(str)], c=[rx.interval(1.0)])) as run:
        run.advance(3)
        assert run.drain().state == "done"
    assert disposed == [1]


def test_drain_while_paused() -> None:
    blocks = Blocks(every=0.1)
    seen: list[Any] = []
    with VirtualRun(graph(blocks.source(), later(1.0), collect(seen))) as run:
        run.advance(2)
        run.engine.pause()
        run.advance(5)
        paused = blocks.emitted
        run.advance(5)
        assert blocks.emitted == paused == len(seen)
        assert run.status().state == "paused"
        assert run.drain().state == "done"


def test_resume() -> None:
    blocks = Blocks(every=0.1)
    with VirtualRun(graph(blocks.source())) as run:
        run.engine.pause()
        run.engine.pause()
        run.advance(1)
        assert blocks.emitted == 0
        run.engine.resume()
        run.engine.resume()
        run.advance(1)
        assert blocks.emitted > 5
        assert not run.engine.flow.held


def test_a_source_subscribed_while_draining_is_told() -> None:
    trigger: Subject[int] = Subject()
    inner = Blocks(every=0.1)

    def switch(source: Observable[Any]) -> Observable[Any]:
        return source.pipe(rxo.concat(inner.source()))

    with VirtualRun(graph(trigger, switch)) as run:
        run.advance(1)
        assert run.drain().state == "done"
    assert inner.emitted <= 1


def test_stop_lets_go_of_everything() -> None:
    blocks = Blocks(nbytes=10)
    with VirtualRun(graph(blocks.source(), later(5.0)), settings={"in_flight": 100}) as run:
        run.advance(1)
        run.engine.stop()
        emitted = blocks.emitted
        run.advance(100)
        assert blocks.emitted == emitted
        assert run.engine.state == "stopped"


def test_a_run_without_sources_that_last_completes_errors() -> None:
    seen: list[Any] = []
    shown = run_graph(graph(main=[rx.of({"n": 1}), rejecting()], bad=[stream("errors"), collect(seen)]))
    assert [(error.step, error.reason) for error in seen] == [("main[1] rejecting", "refused")]
    assert shown.status.errors == 1
    assert shown.status.last_errors == seen


def test_errors_at_subscription_reach_those_who_read_errors() -> None:
    seen: list[Any] = []
    run_graph(graph(main=[rx.of(1), rejecting("early", at_once=True)], bad=[stream("errors"), collect(seen)]))
    assert [error.reason for error in seen] == ["early", "early"]


def test_a_graph_that_reads_errors_alone_ends() -> None:
    assert run_graph(graph(bad=[stream("errors")])).status.state == "done"


@pytest.mark.parametrize("drain", [True, False])
def test_a_stream_that_merges_errors_with_its_own_source_ends(drain: bool) -> None:
    seen: list[Any] = []
    source = Blocks(count=10**9 if drain else 3, every=0.1).source()
    made = graph(source, rejecting(), ops.merge(stream("errors")), collect(seen))
    shown = run_graph(made, until=5 if drain else None)
    assert shown.status.state == "done"
    assert len(seen) == shown.status.errors >= 3


def test_an_error_of_those_who_read_errors_is_logged_and_not_sent_round() -> None:
    seen: list[Any] = []
    lines: list[str] = []
    sink = logger.add(lambda line: lines.append(str(line)), level="WARNING", format="{message}")
    try:
        shown = run_graph(
            graph(
                main=[rx.of(1), rejecting()],
                bad=[stream("errors"), rejecting("again")],
                worse=[stream("bad"), collect(seen), rejecting("never")],
            )
        )
    finally:
        logger.remove(sink)
    assert seen == []
    assert shown.status.errors == 2
    assert lines == ["bad[1] rejecting: again\n"]


def test_errors_nobody_reads_are_logged_but_not_each() -> None:
    lines: list[str] = []
    sink = logger.add(lambda line: lines.append(str(line)), level="WARNING", format="{message}")
    try:
        shown = run_graph(graph(rx.of(*range(250)), rejecting()))
    finally:
        logger.remove(sink)
    assert shown.status.errors == 250
    assert len(shown.status.last_errors) == 100
    assert len(lines) == 5 + 2
    assert "[100 errors of this step so far; few of them are logged]" in lines[-1]


def test_an_error_record_holds_the_lease_of_its_data() -> None:
    blocks = Blocks(count=1)
    held: list[Any] = []
    with VirtualRun(graph(main=[blocks.source(), rejecting()], bad=[stream("errors"), later(60.0, held)])) as run:
        run.advance(1)
        assert run.engine.flow.blocks == 1
        assert isinstance(held[0], Batch)
        assert (held[0].rows[0].path, held[0].rows[0].start, held[0].rows[0].end) == ("origin", 0, 1)
        run.drain()
        assert run.engine.flow.blocks == 0


def test_names_of_python_steps() -> None:
    def doubled(source: Observable[Any]) -> Observable[Any]:
        return source

    made = graph(rx.of(1), rxo.map(str), doubled, lambda source: source, rxo.debounce(1.0))
    assert [step.operator for step in made.streams["main"]] == ["python", "map", "doubled", "python", "debounce"]


def test_a_step_with_state_that_is_subscribed_twice_is_refused() -> None:
    def twice(source: Observable[Any]) -> Observable[Any]:
        return rx.merge(source, source)

    with pytest.raises(RunError, match=r"main\[0\] python: a step with state must be subscribed once"):
        run_graph(graph(Blocks(count=1).source(), twice))


def test_the_executor_is_gone_when_the_run_has_ended() -> None:
    from rxpipe.errors import RxpipeError

    virtual = VirtualTimeScheduler()
    with VirtualRun(graph(rx.never()), virtual=virtual) as run:
        run.engine.threads.given = None
        assert run.engine.executor().submit(lambda: 1).result() == 1
        run.engine.stop()
        run.engine.threads.join()
        with pytest.raises(RxpipeError, match="the run has ended"):
            run.engine.executor()


def test_the_graph_must_have_steps() -> None:
    from rxpipe.errors import GraphError

    with pytest.raises(GraphError, match="a stream needs at least one step"):
        run_graph(Graph("g", {"a": []}))
