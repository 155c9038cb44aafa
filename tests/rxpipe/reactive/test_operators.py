"""reactivex's operators as steps: each of them is offered and sound, or refused with a reason."""

from __future__ import annotations

import gc
import re
from itertools import product
from typing import Any

import pytest
import reactivex.operators
from reactivex import operators as rxo
from reactivex.subject import Subject

from rxpipe import operators as ops
from rxpipe.cli import main
from rxpipe.context import entered
from rxpipe.elements import Batch, FileEvent, LineDelta, OriginGone
from rxpipe.errors import GraphError, ParameterError, RxpipeError
from rxpipe.language.config import load_text
from rxpipe.lease import Lease
from rxpipe.operator import Step
from rxpipe.reactive.forms import is_stream
from rxpipe.reactive.operators import Reactive, names, refusals
from rxpipe.reactive.refused import HIDDEN, HOLDING, REFUSED
from rxpipe.registry import registry
from rxpipe.testing import MarbleSource, TestContext, record, run_graph, run_marbles
from rxpipe.testing.marbles import Event
from rxpipe.views import reference

ALL = sorted(set(reactivex.operators.__all__))
HANDLE_ERRORS = ("rx.catch", "rx.materialize", "rx.on_error_resume_next", "rx.to_marbles")


def step(operator: Reactive, other: Any, expression: str, number: int = 1, *, only: int = 99) -> Step:
    """The operator with some value for each parameter that is no stream; of the optional ones, for the first `only`."""
    raw: dict[str, Any] = {}
    values = {"int": number, "bool": True, "Any": 2, "Duration": "200ms", "list[Any]": [1, 2], "Observable[Any]": other}
    for name, form in operator.forms.items():
        parameter = operator.signature.parameters[name]
        optional = parameter.default is not parameter.empty
        if optional and only == 0:
            continue
        only -= optional
        if form.over:
            raw[name] = {"accumulator": "value", "comparer": "first == second"}.get(name, expression)
        else:
            value = values[form.text.removesuffix(" | None")]
            raw[name] = [value] if name == operator.variadic_input else value
    return Step(operator, raw)


def comparable(events: list[Event]) -> list[Any]:
    return [(event.time, event.kind, re.sub(r" at 0x\w+|timestamp=.*", "", repr(event.value))) for event in events]


@pytest.fixture(params=names())
def operator(request: pytest.FixtureRequest) -> Reactive:
    return Reactive(request.param.removeprefix("rx."))


@pytest.fixture
def marbles() -> Any:
    """Runs an operator on a marble; gives the events and the source."""
    context = TestContext()

    def run(operator: Reactive, marble: str, until: float = 50.0) -> tuple[list[Event], MarbleSource, TestContext]:
        source = MarbleSource(marble, scheduler=context.virtual)
        applied = step(operator, MarbleSource("--7-8|", scheduler=context.virtual), "value > 0")(source)
        with entered(context):
            first = record(applied, until, context=context)
            assert comparable(record(applied, until, context=context)) == comparable(first), "a second subscription"
        assert all(end is not None for _, end in source.subscriptions)
        return first, source, context

    return run


def test_each_operator_is_offered_or_refused_with_a_reason() -> None:
    assert sorted([*names(), *refusals()]) == [f"rx.{name}" for name in ALL]
    assert {name for name in ALL if registry.get(f"rx.{name}")} == {name.removeprefix("rx.") for name in names()}
    assert all(len(reason) > 20 for reason in refusals().values())
    assert len(names()) > 70


def test_what_is_said_of_single_operators_is_of_operators_there_are() -> None:
    assert set(REFUSED) | HOLDING | {name for name, _ in HIDDEN} <= set(ALL)
    assert not HOLDING & set(REFUSED)
    assert all(f"rx.{name}" in names() for name in HOLDING)


def test_those_refused_by_hand_have_a_form_so_that_the_reason_is_needed() -> None:
    from rxpipe.reactive.operators import _unwritable

    assert [name for name in REFUSED if _unwritable(name) is not None] == []


def test_it_runs_in_virtual_time_and_ends(operator: Reactive, marbles: Any) -> None:
    events, source, context = marbles(operator, "-1-2-3-|")
    assert events
    assert events[-1].kind in ("completed", "error")
    assert source.subscriptions[0][1] <= 2
    assert context.errors == []
    with entered(context):
        context.virtual.advance_by(10)
    assert context.virtual.pending == 0, "a timer is left"


def test_an_error_of_the_source_passes(operator: Reactive, marbles: Any) -> None:
    events, _, _ = marbles(operator, "-1-#")
    ended_before = events[-1].kind == "completed" and events[-1].time < 0.3
    assert events[-1].kind == "error" or ended_before or operator.name in HANDLE_ERRORS


def test_unsubscribing_reaches_the_source(operator: Reactive, marbles: Any) -> None:
    _, source, _ = marbles(operator, "------", 0.05)
    assert source.subscriptions[0][1] <= 0.05


def test_which_operators_hold_elements(operator: Reactive) -> None:
    """Those of the list, and no others, keep a lease when time has passed and nothing comes any more."""
    held = False
    for number, count, only in product((1, 2, -2), (1, 3), (0, 1, 99)):
        context = TestContext()
        source, other = Subject[Any](), Subject[Any]()
        operator.holds = False
        try:
            applied = step(operator, other, "start >= 0", number, only=only)(source)
        except RxpipeError:
            continue
        with entered(context):
            subscription = applied.subscribe(on_error=lambda _: None, scheduler=context.virtual)
            for at in range(count):
                for stream in (other, source):
                    stream.on_next(LineDelta("f", "f", at, at + 1, b"\n", Lease(context.flow, 1)))
            context.virtual.advance_by(10)
        if context.flow.blocks:
            gc.collect()
        held = context.flow.blocks > 0
        subscription.dispose()
        if held:
            break
    assert held == (operator.name.removeprefix("rx.") in HOLDING)


def test_a_holding_operator_refuses_what_is_leased() -> None:
    context = TestContext()
    out: list[Any] = []
    source = Subject[Any]()
    pairwise = registry.get("rx.pairwise")
    assert isinstance(pairwise, Reactive)
    with entered(context):
        Step(pairwise, {})(source).subscribe(out.append, out.append)
    source.on_next(Batch([]))
    source.on_next(Batch([]))
    source.on_next(Batch([], leases=(Lease(context.flow, 1),)))
    assert out[0] == (Batch([]), Batch([]))
    must = "test: rx.pairwise cannot take Batch: it holds elements, and a checkpoint would wait for ever"
    assert str(out[1]).startswith(must)


def test_an_element_for_which_an_expression_fails_is_rejected() -> None:
    context = TestContext()
    found = registry.get("rx.map")
    assert found is not None
    values = {"a": {"n": 1}, "b": {"n": "x"}, "c": 2}
    made = run_marbles(Step(found, {"mapper": "n + 1"}), "-a-b-a|", values, context=context)
    assert made == "-2---2|".replace("2", "c")
    assert [error.reason.partition(":")[0] for error in context.errors] == ["TypeError"]


@pytest.mark.parametrize(
    ("expression", "element", "value"),
    [
        ("value * 2", 21, 42),
        ("len(rows)", Batch([{"n": 1}]), 1),
        ("[row.n for row in rows]", Batch([{"n": 1}]), [1]),
        ("kind + path", FileEvent("modify", "f"), "modifyf"),
        ("n", {"n": 3}, 3),
    ],
)
def test_what_an_expression_sees(expression: str, element: Any, value: Any) -> None:
    found = registry.get("rx.map")
    assert found is not None
    assert run_marbles(Step(found, {"mapper": expression}), "a|", {"a": element, "v": value}) in ("v|", "a|")


def test_origins_go_around() -> None:
    found = registry.get("rx.ignore_elements")
    assert found is not None
    values = {"a": OriginGone("f"), "b": Batch([])}
    assert run_marbles(Step(found, {}), "-a-b-|", values) == "-a---|"


GRAPH = """
graph: g
streams:
  ticks:
    - interval: 100ms
    - rx.take: 5
    - rx.filter: value > 1
    - rx.scan: {accumulator: state + value, seed: 0}
    - rx.start_with: [7, 8]
    - rx.map: value * 2
  late: [{from: ticks}, {rx.delay: 1s}, {rx.timeout: {duetime: 10s}}]
  both: [{rx.merge: [ticks, late]}, rx.timestamp, {rx.map: value}]
"""


def test_a_graph_runs_and_is_measured() -> None:
    made = load_text(GRAPH)
    assert load_text(made.to_yaml()) == made
    shown = run_graph(made, 20)
    assert sorted(shown.values("ticks")) == [4, 10, 14, 16, 18]
    assert len(shown.values("both")) == 10
    late = shown.events["late"]
    assert [event.value for event in late] == shown.values("ticks")
    assert late[0].time == pytest.approx(shown.events["ticks"][0].time + 1)
    figures = {status.name: (status.records_in, status.records_out) for status in shown.status.steps}
    assert figures["ticks[2] rx.filter"] == (5, 3)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("rx.debunce: 1s", "unknown operator 'rx.debunce', did you mean 'rx.debounce'"),
        ("rx.zzzzzz", "unknown operator 'rx.zzzzzz'; 'rxpipe operators rx' lists all"),
        ("rx.retry: 3", "operator 'rx.retry' of reactivex has no place in a graph: it subscribes to its source again"),
        ("rx.flat_map_latest: value", "its parameter 'mapper' has no form in a graph"),
        ("rx.window_with_count: 3", "it makes streams of streams"),
        ("rx.debounce: 3x", "rx.debounce: duetime: duration must be seconds or a text"),
        ("rx.debounce: {due: 1s}", "rx.debounce: unknown parameter 'due', did you mean 'duetime'"),
        ("rx.take: two", "rx.take: count: must be an integer; got 'two'"),
        ("rx.take: -1", "rx.take: ArgumentOutOfRangeException"),
        ("rx.filter: value >", "rx.filter: predicate: an expression must be valid syntax"),
        ("rx.merge: [a, nobody]", "unknown stream 'nobody'"),
        ("rx.pairwise", "rx.pairwise cannot take Batch: it holds elements"),
    ],
)
def test_mistakes_are_told_with_their_place(line: str, message: str) -> None:
    with pytest.raises(GraphError, match=rf"<text>:3:\d+: .*{re.escape(message)}"):
        load_text(
            f"graph: g\nstreams:\n  a: [{{from: errors}}, {{{line}}}]\n".replace("{rx.pairwise}", "rx.pairwise")
        ).plan()


def test_they_cannot_be_worked_on_apart() -> None:
    with pytest.raises(
        ParameterError, match=r"a step here must make of each record what it makes of it alone; 'rx.map'"
    ):
        ops.parallel([{"rx.map": "value"}], kind="threads")


def test_in_python_those_of_reactivex_are_used() -> None:
    made = run_marbles(lambda source: source.pipe(rxo.take(1), ops.skip(0)), "-a-b|")
    assert made == "-(a|)"


def test_the_reference(operator: Reactive) -> None:
    text = reference.text(operator)
    assert text.startswith(f"{operator.name} (rx): Any")
    assert ".. marble" not in text
    assert ">>>" not in text
    shown = re.findall(r"^    (\*?\w+): ", text.partition("\nParameters:\n")[2].partition("\nState:")[0], re.MULTILINE)
    assert [name.removeprefix("*") for name in shown] == [*operator.forms]
    assert ("No batches or blocks of lines" in text) == operator.holds


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["operators", "rx"]) == 0
    listed = capsys.readouterr().out
    assert all(f"  rx.{name} " in listed for name in ALL)
    assert main(["operators", "rx.scan"]) == 0
    assert "`accumulator` is an expression over `state` and `value`." in capsys.readouterr().out


def test_streams_that_it_reads_are_inputs() -> None:
    found = registry.get("rx.with_latest_from")
    assert found is not None
    assert found.inputs == ("source", "sources")
    assert all(is_stream(found.hints[name]) for name in found.inputs)
