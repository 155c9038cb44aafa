"""Steps inside a step: what `parallel` runs elsewhere, checked like those of a stream."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from msgspec.structs import replace

from rxpipe.errors import ParameterError, ParameterProblem, described
from rxpipe.language.guesses import unknown_operator
from rxpipe.operator import Step
from rxpipe.parameters.plain import Checked
from rxpipe.registry import registry


def _steps(value: object) -> list[Step]:
    """Steps as a graph or Python has them, checked.

    Raises:
        ParameterError: With the problems of all steps.
    """
    if not isinstance(value, list) or not value:
        msg = f"must be a list of steps, each an operator's name, alone or with parameters; got {described(value)}"
        raise ValueError(msg)
    made: list[Step] = []
    problems: list[ParameterProblem] = []
    for index, given in enumerate(value):
        try:
            made.append(_step(given, index, last=index == len(value) - 1))
        except ParameterError as error:
            problems += error.problems
    if problems:
        raise ParameterError("steps", problems)
    return made


def _step(given: object, index: int, *, last: bool) -> Step:
    """One step inside a step: it takes one input, and keeps nothing from one element to the next."""
    if isinstance(given, Step):
        return _apart(given, (index,), last=last)
    path: tuple[str | int, ...] = (index,)
    name, value = given, None
    if isinstance(given, Mapping) and len(given) == 1:
        name, value = next(iter(given.items()))
        path = (index, str(name))
    if not isinstance(name, str):
        message = f"a step is one operator's name, alone or with parameters; got {described(given)}"
        raise ParameterError("steps", [ParameterProblem(path, message)])
    operator = registry.get(name)
    if operator is None:
        raise ParameterError("steps", [ParameterProblem(path, unknown_operator(name), on_name=True)])
    named = value is None or isinstance(value, Mapping)
    try:
        step = Step(operator, dict(value or {}) if named else operator.bind([value], {}))
    except ParameterError as error:
        inner = [replace(problem, path=path + (problem.path if named else ())) for problem in error.problems]
        raise ParameterError(name, inner) from error
    return _apart(step, path, last=last)


def _apart(step: Step, path: tuple[str | int, ...], *, last: bool) -> Step:
    """A step that can be applied to part of the data, apart from the rest.

    Raises:
        ParameterError: It cannot.
    """
    operator = step.operator
    stateful = re.search(r"^State:", operator.doc, re.MULTILINE) is not None or operator.delivery is not None
    if operator.partial is not None and last:
        return step
    if operator.is_source or len(operator.inputs) > 1 or stateful or operator.partial is not None:
        why = "can only be the last step here" if operator.partial is not None else "does not, and must stand outside"
        message = f"a step here must make of each record what it makes of it alone; {operator.name!r} {why}"
        raise ParameterError("steps", [ParameterProblem(path, message, on_name=True)])
    return step


Steps = Annotated[list[Any], "steps", Checked(_steps, before=True)]
"""Record-wise steps inside a step, written as in a stream; they arrive as `Step` objects."""
