"""The pydantic model of an operator's parameters, made from its signature, and what is wrong with values it refuses."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from dataclasses import is_dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from msgspec.structs import replace
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    WithJsonSchema,
    create_model,
)

from rxpipe.errors import (
    ExpressionError,
    FunctionError,
    ParameterError,
    ParameterProblem,
    described,
    did_you_mean,
    nearest,
)
from rxpipe.language.hidden import Hidden
from rxpipe.private import secret_in


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
                return SecretStr(secret_in(str(place)))
            except ValueError as error:
                msg = f"secret: {error}"
                raise ValueError(msg) from error
    msg = "a secret must be a reference, {env: NAME} or {file: PATH}"
    raise ValueError(msg)


_SECRET_SCHEMA = {
    "type": "object",
    "description": "Where a secret is: {env: NAME} or {file: PATH}.",
    "properties": {"env": {"type": "string"}, "file": {"type": "string"}},
    "additionalProperties": False,
    "minProperties": 1,
    "maxProperties": 1,
}

Secret = Annotated[SecretStr, BeforeValidator(_secret), WithJsonSchema(_SECRET_SCHEMA)]
"""A secret given as `{env: NAME}` or `{file: PATH}`; never printed."""


_PREFIX = "parameter_"
"""Stands before the names inside the model, so that no name of pydantic's own is in the way."""


def build_model(name: str, parameters: list[inspect.Parameter], hints: Mapping[str, Any]) -> type[BaseModel]:
    """The model of an operator's parameters: unknown names are refused, scalars are taken strictly.

    Raises:
        TypeError: A parameter has no annotation.
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
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        fields[_PREFIX + parameter.name] = (hints[parameter.name], Field(default, alias=parameter.name))
    if extra is None:
        return create_model(f"{name}_parameters", __config__=config, **fields)
    base = type(
        "Extra", (BaseModel,), {"__annotations__": {"__pydantic_extra__": dict[str, extra]}, "model_config": config}
    )
    return create_model(f"{name}_parameters", __base__=base, **fields)


def validate(operator: str, model: type[BaseModel], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as the operator takes them, defaults left out.

    Raises:
        ParameterError: With all problems, each with its path inside the parameters.
    """
    try:
        made = model.model_validate(dict(values))
    except ValidationError as error:
        raise ParameterError(operator, _problems(operator, model, values, error)) from error
    given = {_name(field): getattr(made, field) for field in model.model_fields if field in made.model_fields_set}
    return given | (made.__pydantic_extra__ or {})


def _name(field: str) -> str:
    return field.removeprefix(_PREFIX)


_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
"""What pydantic calls an unknown key of a mapping, and of a dataclass."""


def _problems(
    operator: str, model: type[BaseModel], values: Mapping[str, Any], error: ValidationError
) -> list[ParameterProblem]:
    found: dict[tuple[str | int, ...], ParameterProblem] = {}
    other_forms: set[tuple[str | int, ...]] = set()
    missing: dict[tuple[str | int, ...], list[str]] = {}
    details = error.errors(include_url=False)
    unknown = [_inside(values, detail["loc"])[0] for detail in details if detail["type"] in _UNKNOWN]
    meant = {(*path[:-1], _meant(model, path)) for path in unknown}
    for detail in details:
        kind = detail["type"]
        path, value = _inside(values, detail["loc"])
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, ParameterError):  # of the steps inside this one
            found |= {(inner := path + p.path): replace(p, path=inner) for p in cause.problems}
            continue
        column = 0
        on_name = False
        if kind in _UNKNOWN:
            message = _unknown(operator, model, path)
            on_name = True
        elif kind == "missing":
            name = ".".join(_name(str(part)) for part in detail["loc"][len(path) :])
            if (*path, name) in meant:  # it is there, misspelt, and that is told
                continue
            message = _missing(missing.setdefault(path, []), name)
        else:
            if isinstance(cause, ExpressionError | FunctionError):
                column = cause.column
            message = str(cause) if isinstance(cause, ValueError) else _ill_typed(kind, detail["msg"], value)
        if path in found and not on_name and kind != "missing":
            message = f"{found[path].message.split('; got ')[0]}, or {message}"
        found[path] = ParameterProblem(path, message, column, on_name)
        if kind != "missing" and len(detail["loc"]) > len(path):  # it names the form, of several, that this is not
            other_forms.add(path)
    within = {path[:length] for path in found for length in range(len(path))}
    return [problem for path, problem in found.items() if path not in other_forms & within]


def _ill_typed(kind: str, told: str, value: Any) -> str:
    """What to say of a value of another type."""
    message = f"{must_be(told)}; got {described(value)}"
    return (
        f"{message}; a list of one is written [{described(value)}]"
        if kind == "list_type" and isinstance(value, str)
        else message
    )


def _missing(names: list[str], name: str) -> str:
    """What to say of one more parameter that is missing at a place."""
    names.append(repr(name))
    return f"parameter {name!r} is missing" if len(names) == 1 else f"parameters {' and '.join(names)} are missing"


def _unknown(operator: str, model: type[BaseModel], path: tuple[str | int, ...]) -> str:
    """What to say of a key that is none."""
    name = str(path[-1]) if path else "?"
    guess = _meant(model, path)
    if guess is not None:
        return f"unknown parameter {name!r}{did_you_mean(guess)}"
    takes = f"{operator!r} takes" if len(path) <= 1 else "there are"
    return f"unknown parameter {name!r}; {takes} {', '.join(map(repr, _names(model, path))) or 'no parameters'}"


def _meant(model: type[BaseModel], path: tuple[str | int, ...]) -> str | None:
    """The key that is most like one that is none."""
    return nearest(str(path[-1]), _names(model, path)) if path else None


def _names(model: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    """The keys that there are at a place."""
    if len(path) > 1:
        return _keys_at(model.model_fields[_PREFIX + str(path[0])].annotation, path[1:-1])
    return [_name(field) for field in model.model_fields]


def _keys_at(form: Any, path: tuple[str | int, ...]) -> list[str]:
    """The keys that a value of a type may have, at a path inside it."""
    if get_origin(form) in (Annotated, Union, UnionType):
        members = get_args(form)[:1] if get_origin(form) is Annotated else get_args(form)
        return [key for member in members for key in _keys_at(member, path)]
    if is_dataclass(form) or hasattr(form, "__total__"):  # of a mapping with declared keys
        keys = get_type_hints(form, include_extras=True)
        return _keys_at(keys.get(str(path[0])), path[1:]) if path else [*keys]
    return _keys_at(get_args(form)[-1], path[1:]) if path and get_args(form) else []


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


_PLAIN = {
    "a valid string": "a text",
    "a valid integer": "an integer",
    "a valid number": "a number",
    "a valid boolean": "true or false",
    "a valid list": "a list",
    "a valid tuple": "a list",
    "a valid dictionary": "a mapping",
}
"""What pydantic calls the types of values, and what graph files call them."""


def must_be(text: str) -> str:
    """What must be, of a message of pydantic's."""
    text = text.removeprefix("Input should be ")
    text = _PLAIN.get(text, text)
    return f"must be {text[:1].lower()}{text[1:]}" if text else text
