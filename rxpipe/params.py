"""The parameters of an operator: a pydantic model made from its Python signature when first needed."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, SecretStr, ValidationError, create_model

from rxpipe.errors import (
    ExpressionError,
    FunctionError,
    ParameterError,
    ParameterProblem,
    UnitError,
    did_you_mean,
    nearest,
    shortened,
)
from rxpipe.expressions import parse
from rxpipe.expressions.aggregation import parse_aggregation
from rxpipe.language.guesses import unknown_operator
from rxpipe.language.hidden import Hidden
from rxpipe.operator import Step
from rxpipe.registry import registry

_RESERVED = frozenset(dir(BaseModel))


def _parsed(text: str) -> str:
    parse(text)
    return text


def _parsed_aggregation(text: str) -> str:
    parse_aggregation(text)
    return text


def _secret(value: object) -> SecretStr:
    """Read a secret from where it is: `{env: NAME}` or `{file: PATH}`; a plain text would be stored, and is refused."""
    if isinstance(value, SecretStr):
        return value
    if isinstance(value, Hidden):
        return SecretStr(str(value))
    if isinstance(value, Mapping) and len(value) == 1:
        kind, place = next(iter(value.items()))
        if kind == "env":
            if place not in os.environ:
                msg = f"secret: the environment has no variable {place!r}; set it"
                raise ValueError(msg)
            return SecretStr(os.environ[place])
        if kind == "file":
            try:
                return SecretStr(Path(str(place)).expanduser().read_text(encoding="utf-8").strip())
            except OSError as error:
                msg = f"secret: cannot read {place!r}: {error.strerror}"
                raise ValueError(msg) from error
    msg = "a secret must be a reference, {env: NAME} or {file: PATH}"
    raise ValueError(msg)


def _steps(value: object) -> list[Step]:
    """Steps as a graph or Python has them, checked.

    Raises:
        ParameterError: With the problems of all steps.
    """
    if not isinstance(value, list) or not value:
        msg = f"must be a list of steps, each an operator's name, alone or with parameters; got {describe(value)}"
        raise ValueError(msg)
    made: list[Step] = []
    problems: list[ParameterProblem] = []
    for index, given in enumerate(value):
        try:
            made.append(_step(given, index, last=index == len(value) - 1))
        except ParameterError as error:
            problems += error.problems
    if problems:
        raise ParameterError("steps", problems)  # noqa: EM101  # named by whoever has the steps
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
        message = f"a step is one operator's name, alone or with parameters; got {describe(given)}"
        raise ParameterError("steps", [ParameterProblem(path, message)])  # noqa: EM101
    operator = registry.get(name)
    if operator is None:
        raise ParameterError("steps", [ParameterProblem(path, unknown_operator(name), on_name=True)])  # noqa: EM101
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
        raise ParameterError("steps", [ParameterProblem(path, message, on_name=True)])  # noqa: EM101
    return step


Steps = Annotated[list[Any], "steps", BeforeValidator(_steps)]
"""Record-wise steps inside a step, written as in a stream; they arrive as `Step` objects."""

Expr = Annotated[str, AfterValidator(_parsed)]
"""An expression over the fields of a record, see `rxpipe.expressions`."""

AggregationExpr = Annotated[str, AfterValidator(_parsed_aggregation)]
"""An aggregation such as `sum(tokens)` or `count()`."""

Secret = Annotated[SecretStr, BeforeValidator(_secret)]
"""A secret given as `{env: NAME}` or `{file: PATH}`; never printed."""


def build_model(name: str, parameters: list[inspect.Parameter], hints: Mapping[str, Any]) -> type[BaseModel]:
    """The model of an operator's parameters: unknown names are refused, scalars are taken strictly.

    Raises:
        TypeError: A parameter has no annotation, or a name that pydantic uses itself.
    """
    fields: dict[str, Any] = {}
    config = ConfigDict(strict=True, extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True)
    extra: Any = None
    for parameter in parameters:
        if parameter.name not in hints:
            msg = f"operator {name!r}: parameter {parameter.name!r} must have an annotation"
            raise TypeError(msg)
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            extra = hints[parameter.name]
            config["extra"] = "allow"
            continue
        if parameter.name in _RESERVED or parameter.name.startswith("model_"):
            msg = f"operator {name!r}: parameter name {parameter.name!r} is used by pydantic; choose another"
            raise TypeError(msg)
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        fields[parameter.name] = (hints[parameter.name], default)
    if extra is None:
        return create_model(f"{name}_parameters", __config__=config, **fields)
    base = type(
        "Extra", (BaseModel,), {"__annotations__": {"__pydantic_extra__": dict[str, extra]}, "model_config": config}
    )
    return create_model(f"{name}_parameters", __base__=base, **fields)


def validate(
    operator: str, model: type[BaseModel], values: Mapping[str, Any], folder: Path | None = None
) -> dict[str, Any]:
    """The values as the operator takes them, defaults left out.

    Args:
        operator: The operator's name, for messages.
        model: The model of its parameters.
        values: The values.
        folder: The graph's folder, for its data files; without one they are not looked for.

    Raises:
        ParameterError: With all problems, each with its path inside the parameters.
    """
    try:
        made = model.model_validate(dict(values), context=folder)
    except ValidationError as error:
        raise ParameterError(operator, _problems(operator, model, values, error)) from error
    given = {name: getattr(made, name) for name in model.model_fields if name in made.model_fields_set}
    return given | (made.__pydantic_extra__ or {})


def _problems(
    operator: str, model: type[BaseModel], values: Mapping[str, Any], error: ValidationError
) -> list[ParameterProblem]:
    found: dict[tuple[str | int, ...], ParameterProblem] = {}
    for detail in error.errors(include_url=False):
        kind = detail["type"]
        path, value = _inside(values, detail["loc"])
        within = detail.get("ctx", {}).get("error")
        if isinstance(within, ParameterError):  # of the steps inside this one
            found |= {(inner := path + p.path): replace(p, path=inner) for p in within.problems}
            continue
        column = 0
        on_name = False
        if kind == "extra_forbidden":
            name = str(path[-1]) if path else "?"
            names = list(model.model_fields)
            guess = nearest(name, names)
            message = f"unknown parameter {name!r}{did_you_mean(guess)}"
            if guess is None:
                message += f"; {operator!r} takes {', '.join(map(repr, names)) or 'no parameters'}"
            on_name = True
        elif kind == "missing":
            missing = [str(part) for part in detail["loc"][len(path) :]]
            message = f"parameter {'.'.join(missing)!r} is missing"
        else:
            cause = detail.get("ctx", {}).get("error")
            if isinstance(cause, ExpressionError | FunctionError):
                column = cause.column
            if isinstance(cause, UnitError | ExpressionError | ValueError):
                message = str(cause)
            else:
                message = f"{_lower(detail['msg'])}; got {describe(value)}"
        if path in found and not on_name and kind != "missing":
            message = f"{found[path].message.split('; got ')[0]}, or {message}"
        found[path] = ParameterProblem(path, message, column, on_name)
    return list(found.values())


def describe(value: object) -> str:
    """A value for a message: its repr, shortened; a secret's is hidden."""
    return shortened(repr(value))


def _inside(values: Any, location: tuple[str | int, ...]) -> tuple[tuple[str | int, ...], Any]:
    """The part of pydantic's location that exists in the values, and the value there: it names members of unions."""
    path: list[str | int] = []
    for part in location:
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            continue
        path.append(part)
    return tuple(path), values


def _lower(text: str) -> str:
    text = text.removeprefix("Input should be ")
    return f"must be {text[:1].lower()}{text[1:]}" if text else text
