"""What every operator keeps, checked on every operator there is; nothing here knows an operator by name."""

from __future__ import annotations

import contextlib
import inspect
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, get_args

import msgspec
import pytest
import reactivex as rx
import yaml
from jsonschema import Draft202012Validator
from loguru import logger
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import Disposable

from rxpipe.context import current, entered
from rxpipe.elements import Batch, FileEvent, FileState, LineDelta, as_dict
from rxpipe.errors import RxpipeError
from rxpipe.expressions.known import KnownFields
from rxpipe.language.fieldflow import FieldFlow
from rxpipe.operator import Operator, Source, Step, element_type, marked
from rxpipe.promises import Inflow, Level, promise
from rxpipe.registry import registry
from rxpipe.table import Table
from rxpipe.testing import TestContext, VirtualTimeScheduler, check_diagram, docstring_marbles
from rxpipe.testing.samples import Sample, described_parameters, example_parameters, run_example, samples, shown
from rxpipe.views.reference import parse
from rxpipe.views.schema import graph_schema

LONGEST = 20
"""Real seconds that one check may take."""

AFTER = 100.0
"""Virtual seconds given to an operator to emit what it holds."""


def importable() -> Iterator[Operator]:
    """The operators that can be imported; `test_import` reports those that cannot."""
    for name in registry.names():
        with contextlib.suppress(Exception):
            found = registry.get(name)
            if found is not None:
                yield found


OPERATORS = list(importable())


def one_input(operator: Operator) -> bool:
    """Whether the operator has exactly one input that must be given."""
    others = [name for name in operator.inputs[1:] if name != operator.variadic_input]
    given = [name for name in others if operator.signature.parameters[name].default is not inspect.Parameter.empty]
    return not operator.is_source and given == others


def any_name(operator: Operator) -> bool:
    """Whether the operator takes parameters of any name."""
    return any(p.kind is inspect.Parameter.VAR_KEYWORD for p in operator.parameters)


def each(which: Callable[[Operator], object], argument: str = "operator") -> pytest.MarkDecorator:
    """A test of those operators alone that it is about."""
    return pytest.mark.parametrize(argument, [*filter(which, OPERATORS)], ids=lambda operator: operator.name)


@pytest.fixture(params=OPERATORS, ids=lambda operator: operator.name)
def operator(request: pytest.FixtureRequest) -> Operator:
    """Each operator of the registry."""
    found: Operator = request.param
    return found


@pytest.fixture(params=[*filter(one_input, OPERATORS)], ids=lambda operator: operator.name)
def transformer(request: pytest.FixtureRequest) -> Operator:
    """Each operator that has exactly one input that must be given."""
    found: Operator = request.param
    return found


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder, and no log lines."""
    monkeypatch.chdir(tmp_path)
    logger.disable("rxpipe")
    yield tmp_path
    for subscription in Run.subscriptions:
        subscription.dispose()
    Run.subscriptions.clear()
    logger.enable("rxpipe")


@pytest.mark.parametrize("name", registry.names())
def test_import(name: str) -> None:
    found = registry.get(name)
    assert found is not None, "the file must define an operator of its name"


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    """Fail a test that waits for ever, such as an example whose operator does not complete."""

    def late(*_: object) -> None:
        pytest.fail(f"took longer than {LONGEST} s; does the operator complete?")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, LONGEST)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


# What the signature and the docstring say


def test_annotations(operator: Operator) -> None:
    missing = [name for name in (*operator.signature.parameters, "return") if name not in operator.hints]
    assert missing == []
    assert element_type(operator.hints["return"]) is not None, "must return an Observable[…]"
    assert operator.model.model_json_schema()["type"] == "object"


def test_file_and_name(operator: Operator) -> None:
    assert operator.module.rpartition(".")[2] == operator.name
    assert operator.module.startswith("rxpipe.operators.")


def test_summary(operator: Operator) -> None:
    assert re.fullmatch(r"[A-Z`][^\n]*\.", operator.summary), operator.summary
    assert not re.search(r"[.!?] [A-Z]", operator.summary), f"must be one sentence; got {operator.summary!r}"


def test_parameters_are_described(operator: Operator) -> None:
    described = described_parameters(operator.doc)
    wanted = [name for name in operator.signature.parameters if name not in operator.inputs[:1]]
    assert sorted(described) == sorted(wanted)
    assert [name for name, text in described.items() if len(text) < 8] == []


@each(lambda operator: operator.family == "sinks")
def test_sinks_say_what_they_deliver(operator: Operator) -> None:
    assert re.search(r"^\s*Delivery:\s+(exactly-once|idempotent|at-least-once|shown)", operator.doc, re.MULTILINE)


@each(lambda operator: marked(operator.hints["return"]))
def test_outputs_are_described(operator: Operator) -> None:
    mark = marked(operator.hints["return"])
    assert mark is not None
    described = parse(operator.doc).sections["Outputs"]
    assert re.findall(r"^(\w+): .{8}", described, re.MULTILINE) == [*mark.named]


def test_diagrams(operator: Operator) -> None:
    for diagram in docstring_marbles(operator.doc, operator.name):
        check_diagram(operator, diagram)


def test_examples(operator: Operator) -> None:
    report, _ = run_example(operator)
    assert not report, report


# Parameters


def test_parameters_survive_yaml(operator: Operator) -> None:
    raw = example_parameters(operator)
    defaults = {p.name: p.default for p in operator.parameters if p.default is not inspect.Parameter.empty}
    for given in (raw, *({**raw, name: value} for name, value in defaults.items())):
        if not writable(given):
            continue
        read = yaml.safe_load(yaml.safe_dump(plain(given))) or {}
        assert read == plain(given)
        try:
            wanted = operator.validate(given)
        except RxpipeError:
            wanted = None
        if wanted is not None:
            assert operator.validate(read) == wanted


@cache
def steps_schema() -> Draft202012Validator:
    made = graph_schema()
    return Draft202012Validator({"$ref": "#/$defs/step", "$defs": made["$defs"]})


def test_parameters_fit_the_schema(operator: Operator) -> None:
    streams = dict.fromkeys(operator.inputs[1:], "other")
    raw = {name: value for name, value in example_parameters(operator).items() if name not in operator.inputs}
    defaults = {p.name: p.default for p in operator.parameters if p.default is not inspect.Parameter.empty}
    for given in (raw, *({**raw, name: value} for name, value in defaults.items())):
        if writable(given):
            assert steps_schema().is_valid({operator.name: {**streams, **plain(given)}}), given
    if not any_name(operator):
        assert not steps_schema().is_valid({operator.name: {**streams, "no_such_parameter": 1}})


def test_promise(operator: Operator) -> None:
    said = [promise(operator, Inflow(kind), operator.validate(example_parameters(operator))) for kind in (Batch, Table)]
    stated = re.search(r"^(?:Delivery|Guarantee): ([\w-]+)", operator.doc, re.MULTILINE)
    if stated is None:
        assert operator.is_source or said == [None, None]
    else:
        assert stated[1] in get_args(Level)
    for made in said:
        assert made is not None or not (operator.is_source or operator.delivery)
        assert made is None or (made.level in get_args(Level) and made.why)


@each(lambda operator: operator.lint_rule)
def test_lints_are_told_in_words(operator: Operator) -> None:
    assert operator.lint_rule is not None
    parameters = operator.with_defaults(operator.validate(example_parameters(operator)))
    for found in operator.lint_rule(Inflow(FileEvent | Batch, "for some reason"), **parameters):
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", found.name)
        assert re.fullmatch(r"[^A-Z].*[^.]", found.message)
        assert not found.path or found.path[0] in operator.signature.parameters


@each(lambda operator: not any_name(operator))
def test_an_unknown_parameter_is_refused(operator: Operator) -> None:
    with pytest.raises(RxpipeError, match="unknown parameter 'no_such_parameter'"):
        operator.validate({**example_parameters(operator), "no_such_parameter": 1})


@each(lambda operator: operator.fields)
def test_records_have_no_fields_but_those_declared(operator: Operator) -> None:
    elements = [element for element in shown(operator).elements if isinstance(element, Batch | Table | LineDelta)]
    came = {name for row in rows_in(elements) for name in row}
    parameters = operator.validate(example_parameters(operator))
    declared = FieldFlow().behind(operator, parameters, KnownFields(came), {})
    assert declared.problems == []
    run = Run(operator.apply({operator.inputs[0]: rx.from_iterable(elements)}, parameters), copy=lambda one: one)
    gone = rows_in(run.advance().values)
    assert gone or not elements
    assert declared.names is None or {name for row in gone for name in row} <= {*declared.names}
    for output, elements in run.context.outputs.items():
        names = declared.outputs[output].names
        assert names is None or {name for row in rows_in(elements) for name in row} <= {*names}


def rows_in(elements: list[Any]) -> list[dict[str, Any]]:
    """The rows of batches and tables."""
    return [row for element in elements if isinstance(element, Batch | Table) for row in element.dicts()]


def writable(value: Any) -> bool:
    """Whether YAML has a form for the value: functions, observables and live objects have none."""
    if isinstance(value, dict):
        return all(writable(inner) for inner in value.values())
    if isinstance(value, list | tuple):
        return all(writable(inner) for inner in value)
    return value is None or isinstance(value, str | int | float | bool)


def plain(value: Any) -> Any:
    """The value with lists for tuples, as YAML has it."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


# How it runs


class Feed(Observable[Any]):
    """A cold source of samples, one each 100 ms, that then ends as it is told; notes how many are subscribed."""

    def __init__(self, elements: list[Sample], end: str = "completed", error: Exception | None = None) -> None:
        super().__init__()
        self.elements = elements
        self.end = end
        self.error = error
        self.subscribed = 0

    def _subscribe_core(self, observer: ObserverBase[Any], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        assert isinstance(context, TestContext)
        assert scheduler is context.virtual, "must pass the scheduler on"
        self.subscribed += 1
        running = True

        def step(number: int) -> None:
            if not running:
                return
            if number < len(self.elements):
                observer.on_next(self.elements[number](context.flow))
                context.virtual.schedule_relative(0.1, lambda *_: step(number + 1))
            elif self.end == "completed":
                observer.on_completed()
            elif self.end == "error":
                observer.on_error(self.error or Exception("#"))

        def stop() -> None:
            nonlocal running
            running = False
            self.subscribed -= 1

        context.virtual.schedule(lambda *_: step(0))
        return Disposable(stop)


class Run:
    """One subscription in a context of its own; what comes out is copied at once, since tables are live."""

    subscriptions: ClassVar[list[DisposableBase]] = []

    def __init__(
        self, observable: Observable[Any], context: TestContext | None = None, copy: Callable[[Any], Any] | None = None
    ) -> None:
        copy = copy or copied
        self.context = context or TestContext()
        self.values: list[Any] = []
        self.ended: list[Any] = []
        with entered(self.context):
            self.subscription = observable.subscribe(
                lambda element: self.values.append(copy(element)),
                self.ended.append,
                lambda: self.ended.append("completed"),
                scheduler=self.context.virtual,
            )
        self.subscriptions.append(self.subscription)

    @property
    def outputs(self) -> dict[str, list[Any]]:
        """What came out beside the main output."""
        return {output: [copied(element) for element in kept] for output, kept in self.context.outputs.items()}

    def advance(self, seconds: float = AFTER) -> Run:
        """Let time pass."""
        with entered(self.context):
            self.context.virtual.advance_by(seconds)
        return self


def copied(element: Any) -> Any:
    """What an element says, without leases, live rows and the numbers of inodes."""
    if isinstance(element, Batch):
        return ("batch", frozen(element.dicts()), frozen(element.dicts(element.retracted)))
    if isinstance(element, Table):
        return ("table", element.name, frozen(element.dicts()))
    if isinstance(element, LineDelta):
        return ("lines", Path(element.path).name, element.start, element.end, element.data)
    if isinstance(element, FileEvent):
        return ("file", element.kind, Path(element.path).name, *(s and s.size for s in (element.old, element.new)))
    if isinstance(element, FileState):
        return element.size
    return as_dict(element) if isinstance(element, msgspec.Struct) else element


def frozen(rows: list[dict[str, Any]]) -> list[str]:
    """Rows that can be compared and counted."""
    return [repr(sorted(row.items(), key=str)) for row in rows]


def meaning(values: list[Any]) -> Any:
    """What a reader ends with: the last of each table, the records that hold, and everything else in order."""
    tables: dict[str, Any] = {}
    records: Counter[str] = Counter()
    rest: list[Any] = []
    for value in values:
        if isinstance(value, tuple) and value and value[0] == "table":
            tables[value[1]] = sorted(value[2])
        elif isinstance(value, tuple) and value and value[0] == "batch":
            records.subtract(value[2])
            records.update(value[1])
        else:
            rest.append(value)
    return tables, {row: count for row, count in records.items() if count}, rest


Applied = Callable[[Observable[Any]], Observable[Any]]


@pytest.fixture
def applied(transformer: Operator) -> Applied:
    """The operator with the parameters of its docstring."""
    return Step(transformer, example_parameters(transformer))


@pytest.fixture
def elements(transformer: Operator) -> list[Sample]:
    """Something for it to read."""
    return samples(transformer, example_parameters(transformer))


def test_nothing_happens_before_subscription(applied: Applied, elements: list[Sample], folder: Path) -> None:
    context = TestContext()
    feed = Feed(elements)
    before = sorted(folder.iterdir())
    with entered(context):
        applied(feed)
    assert (feed.subscribed, context.states, context.gauges, context.virtual.pending) == (0, [], {}, 0)
    assert sorted(folder.iterdir()) == before


def test_completion_passes(applied: Applied, elements: list[Sample]) -> None:
    for given in ([], elements):
        run = Run(applied(Feed(given))).advance()
        assert run.ended == ["completed"]
        assert run.context.flow.blocks == 0


def test_it_emits_to_the_outputs_that_it_says_it_has(transformer: Operator, applied: Applied) -> None:
    assert isinstance(applied, Step)
    run = Run(applied(Feed([])))
    assert sorted(run.context.outputs) == sorted(transformer.outputs(applied.parameters))


def test_error_passes(applied: Applied, elements: list[Sample]) -> None:
    error = ValueError("of the source")
    for given in ([], elements):
        run = Run(applied(Feed(given, "error", error))).advance()
        assert run.ended == [error]
        assert run.context.flow.blocks == 0


def test_unsubscribing_reaches_the_source(applied: Applied, elements: list[Sample]) -> None:
    feed = Feed(elements, "never")
    run = Run(applied(feed)).advance(0.25)
    assert feed.subscribed == 1
    run.subscription.dispose()
    count = len(run.values)
    run.advance()
    assert (feed.subscribed, len(run.values), run.ended) == (0, count, [])
    assert run.context.flow.blocks == 0, "must let go of its leases"


def test_a_second_subscription_sees_the_same(
    applied: Applied, elements: list[Sample], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    observable = applied(Feed(elements))
    seen = []
    for _ in range(2):
        monkeypatch.chdir(tmp_path_factory.mktemp("run"))
        run = Run(observable).advance()
        seen.append((run.values, run.ended, [error.reason for error in run.context.errors]))
    assert seen[0] == seen[1]


@each(lambda operator: one_input(operator) and operator.family not in {"sinks", "files", "tasks"}, "transformer")
def test_two_subscriptions_at_once_do_not_mix(applied: Applied, elements: list[Sample]) -> None:
    """But for those of which both would write one file."""
    observable = applied(Feed(elements))
    runs = [Run(observable), Run(observable)]
    for _ in range(20):
        for run in runs:
            run.advance(0.1)
    for run in runs:
        run.advance()
    assert runs[0].values == runs[1].values == Run(observable).advance().values


def test_a_checkpoint_gets_all_leases(applied: Applied, elements: list[Sample]) -> None:
    run = Run(applied(Feed(elements, "never"))).advance(0.35)
    run.context.checkpoint()


def test_state_survives(
    applied: Applied, elements: list[Sample], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run interrupted by a checkpoint and a restart gives what a run with that checkpoint and no restart gives."""
    for at in (0, 1, 3, 5):
        survives(applied, elements, at, tmp_path_factory, monkeypatch)


def survives(
    applied: Applied,
    elements: list[Sample],
    at: int,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same of an interruption behind the element at a place; what keeps no state has none to survive."""
    moment = at / 10 + 0.05
    monkeypatch.chdir(tmp_path_factory.mktemp("whole"))
    whole = Run(applied(Feed(elements))).advance(moment)
    whole.context.checkpoint()
    if not any(kind in ("operator", "source") for kind in whole.context.kinds):
        return
    whole.advance()
    monkeypatch.chdir(tmp_path_factory.mktemp("broken"))
    first = Run(applied(Feed(elements[: at + 1], "never"))).advance(moment)
    states = first.context.checkpoint()
    first.subscription.dispose()
    scheduler = VirtualTimeScheduler()
    scheduler.advance_to(moment + 0.05)
    again = Run(applied(Feed(elements[at + 1 :])), TestContext(states, scheduler=scheduler)).advance()
    assert meaning(first.values + again.values) == meaning(whole.values)
    for output, emitted in whole.outputs.items():
        assert meaning(first.outputs[output] + again.outputs[output]) == meaning(emitted)
    assert again.ended == whole.ended == ["completed"]


@each(lambda operator: operator.is_source)
def test_a_source_gives_each_subscriber_the_same(operator: Operator) -> None:
    source = Source(operator, example_parameters(operator))
    context = TestContext(once=True)
    with entered(context):
        assert context.virtual.pending == 0
        runs = [Run(source, context) for _ in range(2)]
    runs[0].advance()
    assert runs[0].values == runs[1].values
    assert runs[0].ended == runs[1].ended == ["completed"], "must end in a run that reads once"
