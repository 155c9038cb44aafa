"""`on_error`: what steps do with what they cannot handle, in graph files and in Python."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import orjson
import pytest
import reactivex as rx
from reactivex import operators as rxo

import rxpipe
from rxpipe import Batch, GraphError, ParameterError, RunError, RxpipeError, on_error, operators, retry, stream
from rxpipe.context import entered
from rxpipe.faults.handling import Handled
from rxpipe.faults.retrying import Retry
from rxpipe.lease import Lease
from rxpipe.testing import TestContext, VirtualRun, run_graph
from rxpipe.views.schema import graph_schema
from rxpipe.views.show import as_json, show
from tests.operators.sinks.parts import Running, full_disk
from tests.rxpipe.parts import graph

ops: Any = operators
BAD = "1 / n > 0"
ROWS = [{"n": 1}, {"n": 0}, {"n": 2}]
attempts: list[Any] = []
down: list[Exception] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    attempts.clear()
    down.clear()


def fetch(record: dict[str, Any]) -> dict[str, Any]:
    """A function that fails with what is next in `down`."""
    attempts.append(record)
    if down:
        raise down.pop(0)
    return record


def text(*steps: str) -> str:
    return "graph: g\nstreams:\n  main:\n" + "".join(f"    - {step}\n" for step in steps)


def loaded(*steps: str) -> rxpipe.Graph:
    return rxpipe.load_text(text("list_files: {paths: [x]}", *steps))


def reading(*steps: Any) -> Any:
    return graph(main=[rx.of(Batch(ROWS)), *steps], errors_seen=[stream("errors"), ops.select(["step", "reason"])])


def shown(step: Any) -> tuple[Any, list[Any], int]:
    """What came through, what went to `errors`, and how much was counted."""
    result = run_graph(reading(step))
    rows = [row for batch in result.values("main") for row in batch.dicts()]
    seen = [row["reason"] for batch in result.values("errors_seen") for row in batch.dicts()]
    return rows, seen, result.status.errors


KEPT = [{"n": 1}, {"n": 2}]
REASON = "ZeroDivisionError: division by zero"


@pytest.mark.parametrize("do", [None, "dead_letter", "skip", "retry"])
def test_what_becomes_of_a_record(do: str | None) -> None:
    step = ops.where(BAD) if do is None else on_error(ops.where(BAD), do)
    assert shown(step) == (KEPT, [] if do == "skip" else [REASON], 1)


def test_stop_ends_the_run_with_the_steps_name() -> None:
    with pytest.raises(RunError, match=r"main\[1\] where: ZeroDivisionError: division by zero"):
        run_graph(reading(on_error(ops.where(BAD), "stop")))


@pytest.mark.parametrize("do", ["skip", "dead_letter"])
def test_neighbours_share_a_loop_all_the_same(do: str) -> None:
    made = graph(main=[rx.of(Batch(ROWS)), ops.derive(m="n"), on_error(ops.where(BAD), do), ops.select(["n"])])
    with VirtualRun(made) as run:
        assert [*run.engine.runs] == [("main[1] derive", "main[2] where", "main[3] select")]
        run.advance(1)
        assert run.status().errors == 1


def test_outside_a_graph(capsys: pytest.CaptureFixture[str]) -> None:
    out: list[Any] = []
    context = TestContext()
    with entered(context):
        rx.of(Batch(ROWS)).pipe(on_error(ops.where(BAD), "skip"), ops.derive(m="1 / (n - 1)")).subscribe(out.append)
    assert [batch.dicts() for batch in out] == [[{"n": 2, "m": 1.0}]]
    assert [error.reason for error in context.errors] == [REASON]  # the other step's own
    with pytest.raises(RunError, match="division by zero"), entered(TestContext()):
        rx.of(Batch(ROWS)).pipe(on_error(ops.where(BAD), "stop")).run()


def trying(step: Any) -> Running:
    running = Running(step)
    running.push(Batch([{"n": 1}, {"n": 2}], leases=(Lease(running.context.flow, 10),)))
    return running


def rows(running: Running) -> list[int]:
    return [row["n"] for batch in running.out for row in batch.rows]


def test_a_record_is_tried_again_behind_its_fellows() -> None:
    down.extend([ConnectionError("gone"), ConnectionError("gone")])
    running = trying(on_error(ops.call(fetch), retry(first="1s")))
    assert (rows(running), running.context.flow.held, running.context.flow.in_flight) == ([], True, 10)
    assert running.context.details["degraded"]() == "ConnectionError: gone"
    running.complete()
    assert not running.done
    running.context.virtual.advance_by(1)
    assert (rows(running), running.done, running.reasons) == ([1, 2], True, [])
    assert (running.context.flow.held, running.context.details["degraded"]()) == (False, None)
    running.out.clear()
    assert running.context.flow.blocks == 0


def test_one_fails_while_its_fellow_comes_through() -> None:
    down.append(ConnectionError("gone"))
    running = trying(on_error(ops.call(fetch), "retry"))
    assert rows(running) == [2]
    running.context.virtual.advance_by(0.1)
    assert (rows(running), len(attempts)) == ([2, 1], 3)


def test_attempts_are_counted_and_what_is_given_up_goes_to_errors() -> None:
    down.extend([ConnectionError("gone")] * 99)
    running = trying(on_error(ops.call(fetch), retry(attempts=3)))
    running.context.virtual.advance_by(100)
    assert (rows(running), running.reasons, len(attempts)) == ([], ["ConnectionError: gone"] * 2, 6)
    assert not running.context.flow.held
    assert running.context.flow.blocks == 0


def test_what_does_not_pass_is_given_up_at_once() -> None:
    down.extend([ValueError("no"), KeyError("k")])
    running = trying(on_error(ops.call(fetch), retry(also=[KeyError], then="skip")))
    assert (running.reasons, rows(running)) == ([], [])
    running.context.virtual.advance_by(1)
    assert (rows(running), len(attempts)) == ([2], 3)


def test_unsubscribing_forgets_what_waits() -> None:
    down.extend([ConnectionError("gone")] * 9)
    running = trying(on_error(ops.call(fetch), "retry"))
    running.stop()
    running.context.virtual.advance_by(100)
    assert len(attempts) == 2
    assert (running.context.flow.held, running.context.flow.blocks) == (False, 0)


@pytest.mark.parametrize("step", ["map_async", "to_callback"])
def test_calls_keep_their_order(step: str) -> None:
    down.append(ConnectionError("gone"))
    made = ops.map_async(fetch, ordered=True) if step == "map_async" else ops.to_callback(fetch)
    running = Running(on_error(made, "retry"))
    running.push(*(Batch([{"n": n}]) for n in range(4)))
    running.complete()
    running.context.virtual.advance_by(0)
    assert (rows(running), running.done, running.context.details["degraded"]()) == ([], False, "ConnectionError: gone")
    for _ in range(20):
        running.context.virtual.advance_by(0.1)
    assert (rows(running), running.done, running.reasons) == ([0, 1, 2, 3], True, [])
    assert (running.context.details["degraded"](), running.context.flow.held) == (None, False)


def test_a_call_that_takes_too_long_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    futures: list[Future[Any]] = []

    class Slow:
        def submit(self, *_: Any) -> Future[Any]:
            futures.append(Future())
            return futures[-1]

    monkeypatch.setattr(TestContext, "executor", lambda _: Slow())
    running = Running(on_error(ops.map_async(fetch, timeout="1s"), retry(attempts=2)))
    running.push(Batch([{"n": 1}]))
    running.context.virtual.advance_by(1)
    assert futures[0].cancelled()
    running.context.virtual.advance_by(0.1)
    assert len(futures) == 2
    futures[1].set_result({"n": 5})
    running.context.virtual.advance_by(0)
    assert (rows(running), running.reasons) == ([5], [])


@pytest.mark.parametrize(
    ("do", "expected"),
    [
        ("skip", ([], False)),
        ("dead_letter", (["OSError: [Errno 28] No space left on device"] * 2, False)),
        (retry(attempts=1, then="skip"), ([], False)),
        ("retry", ([], True)),
    ],
)
def test_a_sink_that_cannot_write(tmp_path: Path, do: Any, expected: tuple[list[str], bool]) -> None:
    running = Running(on_error(ops.to_jsonl(str(tmp_path / "x")), do))
    with full_disk():
        running.push(Batch([{"n": 1}, {"n": 2}]))
        assert (running.reasons, running.context.flow.held) == expected
    running.context.virtual.advance_by(1)
    running.push(Batch([{"n": 3}]))
    written = [orjson.loads(line)["n"] for line in (tmp_path / "x").read_bytes().splitlines()]
    assert written == ([1, 2, 3] if expected[1] else [3])
    assert len(running.out) == 2


def test_a_sink_that_is_to_stop_stops(tmp_path: Path) -> None:
    running = Running(on_error(ops.to_jsonl(str(tmp_path / "x")), "stop"))
    with full_disk(), pytest.raises(OSError, match="No space left"):
        running.push(Batch([{"n": 1}]))


def test_a_sink_gives_up_after_its_attempts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda _, high: high)
    running = Running(on_error(ops.to_jsonl(str(tmp_path / "x")), retry(attempts=3, first="1s")))
    with full_disk():
        running.push(Batch([{"n": 1}], leases=(Lease(running.context.flow, 5),)), Batch([{"n": 2}]))
        running.context.virtual.advance_by(3)
        assert running.reasons == ["OSError: [Errno 28] No space left on device"]  # the next one has its own attempts
    running.context.virtual.advance_by(30)
    assert (tmp_path / "x").read_bytes() == b'{"n":2}\n'


def test_the_breaker_opens_also_where_each_element_is_given_up(tmp_path: Path) -> None:
    do = retry(attempts=1, failures=3, rest="30s", then="skip")
    running = Running(on_error(ops.to_jsonl(str(tmp_path / "x")), do))
    breaker = running.context.gauges["breaker"]
    with full_disk():
        running.push(*(Batch([{"n": n}]) for n in range(6)))
        assert (len(running.out), breaker(), running.context.flow.held) == (3, 2, True)
        assert "No space left" in running.context.details["degraded"]()
        running.context.virtual.advance_by(30)
        assert (len(running.out), breaker()) == (4, 2)  # one told that it is still down
    running.complete()
    running.context.virtual.advance_by(30)
    assert (len(running.out), breaker(), running.done, running.context.flow.held) == (6, 0, True, False)
    assert (tmp_path / "x").read_bytes() == b'{"n":4}\n{"n":5}\n'


def test_yaml_and_python_are_the_same_graph() -> None:
    steps = [
        on_error(ops.call("json:loads"), retry(attempts=3, first="1s")),
        on_error(ops.tap(), "stop"),
    ]
    made = rxpipe.Graph("g", {"main": [ops.list_files(paths=["x"]), *steps]})
    written = made.to_yaml()
    assert "- call: json:loads\n      on_error:" in written
    assert "- tap:\n      on_error: stop" in written.replace("tap: null", "tap:")
    assert rxpipe.load_text(written) == made
    assert rxpipe.dump(rxpipe.load_text(written)) == written


def test_variables() -> None:
    raw = "graph: g\nparams: {tries: 3}\n" + text(
        "list_files: {paths: [x]}", "tap:", "  on_error: {retry: {attempts: '${tries}'}}"
    ).removeprefix("graph: g\n").replace("- tap:\n    -   on", "- tap:\n      on")
    plan = rxpipe.load_text(raw).plan(tries=7)
    assert plan.streams["main"].steps[1].on_error == Retry(attempts=7)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("{tap: null, on_error: skp}", "must be dead_letter, skip, stop, retry or .* got 'skp', did you mean 'skip'"),
        ("{tap: null, on_error: {retry: {atempts: 3}}}", "unknown parameter 'atempts', did you mean 'attempts'"),
        ("{tap: null, on_error: {retry: {attempts: 0}}}", "on_error.retry.attempts: .*greater than or equal to 1"),
        ("{tap: null, on_error: {retry: {also: ['builtins:len']}}}", "must be a class of exceptions"),
        ("{tap: null, on_error: {retry: {first: '${nope}'}}}", "variable 'nope' is neither"),
        ("{on_error: skip}", "with 'on_error' beside it; got only that"),
        ("{tap: null, where: n > 1}", "a step is one operator"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(step: str, message: str) -> None:
    with pytest.raises(GraphError, match=message) as refused:
        rxpipe.load_text(text("list_files: {paths: [x]}", step)).plan()
    problem = refused.value.problems[0]
    assert problem.place is not None
    assert (problem.where, problem.place.line) == ("main[1]", 5)


def test_from_and_sources() -> None:
    with pytest.raises(GraphError, match="'from' has no errors of its own"):
        rxpipe.load_text(text("{from: errors, on_error: skip}")).plan()
    with pytest.raises(GraphError, match="a source has nothing before it"):
        rxpipe.load_text(text("{list_files: {paths: [x]}, on_error: retry}")).plan()
    rxpipe.load_text(text("{list_files: {paths: [x]}, on_error: skip}")).plan()


def test_what_python_refuses() -> None:
    with pytest.raises(RxpipeError, match="must be an operator with its parameters"):
        on_error(rxo.map(lambda x: x), "skip")
    with pytest.raises(RxpipeError, match="and no source"):
        on_error(ops.list_files(paths=["x"]), "skip")
    with pytest.raises(ParameterError, match="did you mean 'dead_letter'"):
        on_error(ops.tap(), "dead_leter")
    with pytest.raises(ParameterError, match="attempts"):
        retry(attempts=0)
    with pytest.raises(GraphError, match="exists only in Python, has no errors"):
        spec = rxpipe.Graph("g", {"a": [rx.of(1)]}).streams["a"][0]
        rxpipe.Graph("g", {"a": [msgspec.structs.replace(spec, on_error="skip")]}).plan()


def test_equal_where_all_is_equal() -> None:
    one, other = on_error(ops.tap(), "skip"), on_error(ops.tap(), "skip")
    assert one == other
    assert hash(one) == hash(other)
    assert one != on_error(ops.tap(), "stop")
    assert one != ops.tap()
    assert isinstance(one, Handled)


def test_it_is_drawn() -> None:
    plan = loaded("{tap: null, on_error: skip}", "{call: 'json:loads', on_error: {retry: {attempts: 2}}}").plan()
    assert "tap         on_error: skip" in show(plan, "text")
    assert "json:loads; on_error: {retry: {attempts: 2}}" in show(plan, "text")
    steps = orjson.loads(as_json(plan))["streams"]["main"]["steps"]
    assert [step.get("on_error") for step in steps] == [None, "skip", {"retry": {"attempts": 2}}]


@pytest.mark.parametrize(
    ("step", "valid"),
    [
        ({"tap": None, "on_error": "skip"}, True),
        ({"tap": None, "on_error": {"retry": {"attempts": 3, "first": "1s"}}}, True),
        ({"tap": None, "on_error": {"retry": None}}, True),
        ({"tap": None, "on_error": "${what}"}, True),
        ({"tap": None}, True),
        ({"on_error": "skip"}, False),
        ({"tap": None, "where": "n"}, False),
        ({"tap": None, "where": "n", "on_error": "skip"}, False),
        ({"tap": None, "on_error": "skp"}, False),
        ({"tap": None, "on_error": {"retry": {"atempts": 3}}}, False),
    ],
)
def test_the_schema_knows_it(step: Any, valid: bool) -> None:
    schema = graph_schema()
    document = {"graph": "g", "streams": {"main": [{"list_files": {"paths": ["x"]}}, step]}}
    assert jsonschema.Draft202012Validator(schema).is_valid(document) == valid
