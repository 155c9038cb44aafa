"""What a step of a drawing says of its parameters."""

from __future__ import annotations

from typing import Any

import orjson

from rxpipe.errors import escaped
from rxpipe.graph import FROM, StepSpec
from rxpipe.language.configstep import ON_ERROR
from rxpipe.language.plan import PlannedStep, by_type
from rxpipe.operator import steps_in
from rxpipe.registry import registry

WIDTH, LEAST = 48, 20
"""Characters of a step's parameters: in drawings, and on a terminal at least."""


def detail(spec: StepSpec, step: PlannedStep | None, width: int = WIDTH) -> str:
    """A step's parameters and what it does about errors, as written, on one line, the former shortened."""
    handling = [] if spec.on_error is None else [f"{ON_ERROR}: {_value(spec.on_error)}"]
    return "; ".join([*filter(None, [_parameters(spec, step, width)]), *handling])


def _parameters(spec: StepSpec, step: PlannedStep | None, width: int) -> str:
    """A step's parameters; of the steps inside it the names."""
    if spec.function is not None or not spec.parameters:
        return ""
    inside = {} if step is None else {key: steps_in(value) for key, value in step.parameters.items()}
    parameters = {
        key: " > ".join(inner.operator.name for inner in inside[key]) if inside.get(key) else value
        for key, value in spec.parameters.items()
    }
    if spec.operator == FROM:
        text = _value(parameters.get("stream"))
    elif [*parameters] == [_unnamed(spec, step)] and not isinstance(only := next(iter(parameters.values())), dict):
        text = _value(only)
    else:
        text = ", ".join(f"{name}: {_value(value)}" for name, value in parameters.items())
    return text if len(text) <= width else text[: width - 1] + "…"


def _unnamed(spec: StepSpec, step: PlannedStep | None) -> str | None:
    """The parameter that needs no name."""
    operator = registry.get(spec.operator) if step is None else step.operator
    return None if operator is None else operator.unnamed


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_value(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_value(item) for item in value) + "]"
    if isinstance(value, str):
        return escaped(" ".join(value.split()))
    if value is None or isinstance(value, bool):
        return orjson.dumps(value).decode()
    return repr(value) if isinstance(value, int | float) else by_type(value)
