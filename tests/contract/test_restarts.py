"""However a stateful operator is stopped and begun again, it gives what it would have given; on every one there is."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loguru import logger
from reactivex import Observable

from rxpipe.context import entered
from rxpipe.operator import Operator
from rxpipe.registry import registry
from rxpipe.testing import TestContext, VirtualTimeScheduler
from rxpipe.testing.samples import example_parameters, samples
from tests.contract.test_operators import Feed, Run, meaning

STEP, LATER = 0.1, 100.0
"""Virtual seconds between two elements, and those given to an operator to emit what it holds."""

PICKS = st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=8)


class Inputs(NamedTuple):
    """What comes to an operator, a list of picks for each of its first two inputs, and when it is stopped."""

    first: list[list[int]]
    second: list[list[int]]
    at: int
    beyond: int


INPUTS = st.builds(Inputs, PICKS, PICKS, st.integers(0, 8), st.integers(0, 3))


def stateful() -> Iterator[str]:
    """The operators that read something and say that they keep a state."""
    for name in registry.names():
        with contextlib.suppress(Exception):  # `test_import` reports those that cannot be imported
            found = registry.get(name)
            if found is not None and not found.is_source and re.search(r"^\s*State:", found.doc, re.MULTILINE):
                yield name


class Case:
    """An operator with the parameters of its docstring, and elements for its inputs."""

    def __init__(self, operator: Operator, given: Inputs) -> None:
        self.operator = operator
        self.parameters = operator.validate(example_parameters(operator))
        self.elements = {
            name: samples(operator, self.parameters, picks, name)
            for name, picks in zip(self._inputs(), (given.first, given.second), strict=False)
        }

    def _inputs(self) -> list[str]:
        return [*self.operator.inputs]

    def applied(self, start: int, end: int | None, ending: str) -> Observable[Any]:
        """The operator behind a part of the elements."""
        feeds: dict[str, Any] = {name: Feed(elements[start:end], ending) for name, elements in self.elements.items()}
        variadic = self.operator.variadic_input
        if variadic in feeds:
            feeds[variadic] = [feeds[variadic]]
        return self.operator.apply(feeds, self.parameters)


@pytest.fixture(params=list(stateful()))
def operator(request: pytest.FixtureRequest) -> Operator:
    found = registry.get(request.param)
    assert found is not None
    return found


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logger.disable("rxpipe")
    yield
    logger.enable("rxpipe")


def moment(at: int) -> float:
    """Between two elements."""
    return at * STEP + STEP / 2


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    with TemporaryDirectory() as name, contextlib.chdir(name):
        yield Path(name)


def told(values: Sequence[Any], outputs: dict[str, Any]) -> Any:
    """What a run gave, at all its outputs."""
    return meaning([*values]), {name: meaning(emitted) for name, emitted in outputs.items()}


def whole(case: Case, at: int) -> Any:
    """What an uninterrupted run gives in which a checkpoint is taken."""
    with folder() as here:
        run = Run(case.applied(0, None, "completed"), TestContext(folder=here / "spool")).advance(moment(at))
        run.context.checkpoint()
        run.advance(LATER)
        assert run.ended == ["completed"]
        made = told(run.values, run.outputs)
        run.subscription.dispose()
        return made


def again(case: Case, at: int, states: Any, here: Path, before: Run, kept: tuple[list[Any], dict[str, Any]]) -> Any:
    """What a first run had given up to a checkpoint, and a second gives that goes on from it."""
    before.subscription.dispose()
    scheduler = VirtualTimeScheduler()
    scheduler.advance_to((at + 1) * STEP)
    run = Run(case.applied(at + 1, None, "completed"), TestContext(states, scheduler=scheduler, folder=here / "spool"))
    run.advance(LATER)
    assert run.ended == ["completed"]
    values, outputs = kept
    made = told(values + run.values, {name: outputs.get(name, []) + found for name, found in run.outputs.items()})
    run.subscription.dispose()
    return made


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(inputs=INPUTS)
def test_killed(operator: Operator, inputs: Inputs) -> None:
    """What happens between the checkpoint and the kill is not there any more."""
    case, at = Case(operator, inputs), inputs.at
    with folder() as here:
        feed = case.applied(0, at + 1 + inputs.beyond, "never")
        run = Run(feed, TestContext(folder=here / "spool")).advance(moment(at))
        states = run.context.checkpoint()
        kept = [*run.values], run.outputs
        run.advance(inputs.beyond * STEP)
        broken = again(case, at, states, here, run, kept)
    assert broken == whole(case, at)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(inputs=INPUTS)
def test_drained(operator: Operator, inputs: Inputs) -> None:
    """A run that is stopped leaves to the next what it would have gone on with."""
    case, at = Case(operator, inputs), inputs.at
    with folder() as here:
        run = Run(case.applied(0, at + 1, "completed"), TestContext(folder=here / "spool")).advance(moment(at))
        with entered(run.context):
            run.context.drain()
        run.advance(LATER)
        assert run.ended == ["completed"]
        states = run.context.checkpoint()
        broken = again(case, at, states, here, run, ([*run.values], run.outputs))
    assert broken == whole(case, at)
