"""What an operator itself refuses: it is called with its parameters, as a run calls it, and nothing is subscribed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reactivex import never

from rxpipe.errors import ParameterError, ParameterProblem, RxpipeError
from rxpipe.operator import Operator


def refusals(
    operator: Operator, streams: Mapping[str, str | list[str]], parameters: Mapping[str, Any], *, behind: bool
) -> list[ParameterProblem]:
    """The problems that an operator has with parameters that are good each on its own, as two that exclude each other.

    Args:
        operator: The operator.
        streams: The streams that the step names, by input.
        parameters: The checked parameters.
        behind: Whether the step reads another one before it.
    """
    if found := [*_inside(operator, parameters)]:
        return found
    inputs: dict[str, Any] = {
        name: [never() for _ in read] if isinstance(read, list) else never() for name, read in streams.items()
    }
    if behind and operator.inputs:
        inputs[operator.inputs[0]] = never()
    try:
        operator.apply(inputs, parameters)
    except ImportError:  # as MissingExtraError is: a package that is missing here is no problem of the graph
        return []
    except ParameterError as error:
        return error.problems
    except RxpipeError as error:
        return [ParameterProblem((), str(error).removeprefix(f"{operator.name}: "))]
    return []


def _inside(operator: Operator, parameters: Mapping[str, Any]) -> Iterator[ParameterProblem]:
    """What the steps inside a step refuse."""
    for key in operator.nesting:
        for number, step in enumerate(parameters[key]):
            inner = step.operator
            for found in refusals(inner, {}, step.parameters, behind=True):
                path = (key, number, inner.name, *found.path)
                yield ParameterProblem(path, found.message, found.column, found.on_name)
