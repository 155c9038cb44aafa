"""What only an operator itself can say of its parameters: those that do not go together."""

from __future__ import annotations

from typing import Any

from reactivex import never

from rxpipe.errors import MissingExtraError, ParameterError, Problem, RxpipeError
from rxpipe.language.plan import Plan, PlannedStep


def refusals(plan: Plan) -> list[Problem]:
    """The problems of steps that refuse their parameters when they are put together, as a run would do it.

    Nothing is subscribed: neither a file nor a network is touched. A package that is missing here is no problem of the
    graph.
    """
    found = []
    for stream in plan.streams.values():
        for index, step in enumerate(stream.steps):
            message = _refusal(step)
            if message:
                found.append(Problem(message, step.place, stream.name, index))
    return found


def _refusal(step: PlannedStep) -> str:
    operator = step.operator
    if operator is None:
        return ""
    inputs: dict[str, Any] = {operator.inputs[0]: never()} if step.previous else {}
    for name, read in step.streams.items():
        inputs[name] = [never() for _ in read] if isinstance(read, list) else never()
    try:
        operator.apply(inputs, step.parameters)
    except (MissingExtraError, ImportError):
        return ""
    except ParameterError as error:
        return str(error)
    except RxpipeError as error:
        return f"{operator.name}: {str(error).removeprefix(f'{operator.name}: ')}"
    return ""
