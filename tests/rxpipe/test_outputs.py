"""Outputs beside the main one, without a graph."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
import reactivex as rx
from reactivex import Observable
from reactivex import operators as rxo
from reactivex.subject import Subject

from rxpipe import operators as ops
from rxpipe.context import Context, current, entered
from rxpipe.elements import Batch
from rxpipe.errors import RxpipeError
from rxpipe.operator import Operator, Outputs, operator_of
from rxpipe.outputs import with_outputs
from rxpipe.testing import MarbleSource, TestContext, record


def batches(*numbers: int) -> list[Batch]:
    return [Batch([{"n": n}]) for n in numbers]


def test_an_observer_hears_the_elements_and_the_end() -> None:
    high: Subject[Batch] = Subject()
    heard: list[Any] = []
    high.subscribe(heard.append, on_completed=lambda: heard.append("completed"))
    split = with_outputs(ops.split(high="n > 1"), high=high)
    assert rx.of(*batches(1, 2, 3)).pipe(split, rxo.to_list()).run() == batches(1)
    assert heard == [*batches(2, 3), "completed"]


def test_an_observer_hears_an_error() -> None:
    high: Subject[Batch] = Subject()
    heard: list[Any] = []
    high.subscribe(heard.append, heard.append)
    error = ValueError("of the source")
    source = rx.concat(rx.of(*batches(2)), rx.throw(error))
    with pytest.raises(ValueError, match="of the source"):
        source.pipe(with_outputs(ops.split(high="n > 1"), high=high)).run()
    assert heard == [*batches(2), error]


def test_what_nobody_reads_ends_there() -> None:
    assert rx.of(*batches(1, 2)).pipe(ops.split(high="n > 1"), rxo.to_list()).run() == batches(1)


def test_readers_are_those_of_the_one_step_alone() -> None:
    first: list[Any] = []
    second: list[Any] = []
    rx.of(*batches(1, 2, 3)).pipe(
        with_outputs(ops.split(high="n > 2"), high=first.append),
        ops.split(high="n < 0"),
        with_outputs(ops.split(high="n > 1"), high=second.append),
    ).run()
    assert (first, second) == (batches(3), batches(2))


def test_the_context_stays_what_it_was() -> None:
    context = TestContext()
    seen: list[Context] = []

    def look(source: Observable[Any]) -> Observable[Any]:
        def noting(_: object) -> Observable[Any]:
            seen.append(current())
            return source

        return rx.defer(noting)

    with entered(context):
        source = MarbleSource("-a|", {"a": Batch([{"n": 5}])}, scheduler=context.virtual)
        heard: list[Any] = []
        record(source.pipe(look, with_outputs(ops.split(high="n > 1"), high=heard.append)), context=context)
    assert seen == [context]
    assert heard == batches(5)
    assert context.outputs == {}


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (ops.split(high="n > 1", low="n < 0"), "with_outputs: 'split' has no output 'hig', did you mean 'high'?"),
        (ops.split(x="n > 1", y="n < 0"), "with_outputs: 'split' has no output 'hig'; there are 'x', 'y'"),
        (ops.merge(), "with_outputs: 'merge' has no output 'hig'; it has none"),
        (rxo.map(str), "with_outputs: the step must be an operator with its parameters; got "),
    ],
)
def test_a_wrong_name(step: Any, message: str) -> None:
    with pytest.raises(RxpipeError, match=f"^{message.replace('?', r'[?]')}"):
        with_outputs(step, hig=print)


def test_which_outputs_an_operator_has() -> None:
    def named(source: Observable[int]) -> Annotated[Observable[int], Outputs(late=Batch, odd=int)]:
        return source

    def listed(source: Observable[int], names: Annotated[list[str], Outputs(str)] = ["a"]) -> Observable[int]:  # noqa: B006  # as an operator has it
        return source

    assert Operator(named).outputs({}) == {"late": Batch, "odd": int}
    assert Operator(named).emits is int
    assert Operator(listed).outputs({"names": ["b", "c"]}) == {"b": str, "c": str}
    assert Operator(listed).outputs({}) == {"a": str}
    assert operator_of(ops.split).outputs({"x": "n", "y": "n"}) == {"x": Batch, "y": Batch}
    assert operator_of(ops.route).outputs({"by": "n", "to": {"x": 1}}) == {"x": Batch}
    assert operator_of(ops.merge).outputs({}) == {}
