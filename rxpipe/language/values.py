"""The values of a graph's parameters: defaults, what the environment puts into them, and what `--set` overrides."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from rxpipe.errors import GraphError, Problem, RxpipeError, did_you_mean, listed, nearest
from rxpipe.graph import Graph, Param
from rxpipe.language.hidden import Hidden
from rxpipe.language.variables import UNSET, Filled, Scope, Value
from rxpipe.language.yamltext import compose, scalar
from rxpipe.parameters.units import hertz, nbytes, seconds
from rxpipe.private import secret_in

UNITS: dict[str, Callable[[Any], float]] = {"duration": seconds, "rate": hertz, "size": nbytes}
TYPES = ("str", "int", "float", "bool", "list", "mapping", "date", *UNITS, "secret")
_INFERRED = {bool: "bool", int: "int", float: "float", list: "list", dict: "mapping"}
_ARTICLES = {"str": "a text", "int": "an integer", "float": "a number", "bool": "true or false", "list": "a list"}
HIDDEN = "**********"
_DAY = re.compile(r"\d{4}-\d\d-\d\d|\d{8}", re.ASCII)
DECLARING = {"type", "default", "required"}
"""A mapping below a parameter's name is its declaration if it has one of these keys, else its default."""


def inferred(default: Any) -> str:
    """The type of a parameter that is declared by its default alone."""
    return _INFERRED.get(type(default), "str")


def read_sets(graph: Graph, sets: Iterable[str]) -> dict[str, Any]:
    """The values of `--set name=value` options, read by the types of the graph's parameters.

    Raises:
        GraphError: A name that is not declared, or a value that does not fit; all at once.
    """
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for text in sets:
        name, equals, written = text.partition("=")
        name = name.strip()
        if not equals:  # the text may be a secret whose name was forgotten: it is not repeated
            problems.append(Problem("--set: must be written name=value"))
            continue
        if name not in graph.params:
            problems.append(Problem(f"--set {name}: {unknown_parameter(name, graph)}"))
            continue
        try:
            values[name] = from_text(graph.params[name], written)
        except RxpipeError as error:
            problems.append(Problem(f"--set {name}: {error}"))
    if problems:
        raise GraphError(problems)
    return values


def unknown_parameter(name: str, graph: Graph) -> str:
    """The message for a parameter that the graph does not declare."""
    guess = nearest(name, graph.params)
    names = listed(map(repr, graph.params)) or "none"
    tail = did_you_mean(guess) if guess else f"; it declares {names}"
    return f"unknown parameter {name!r} of graph {graph.name!r}{tail}"


def from_text(param: Param, text: str) -> Any:
    """A parameter's value from a text, as `--set` and the environment give it.

    Raises:
        RxpipeError: The text does not fit the type.
    """
    if param.type in ("str", "date", "secret", *UNITS):
        value: Any = text
    elif param.type == "list":
        value = _flow(text) if text.lstrip().startswith("[") else _comma_list(text, param.default)
    elif param.type == "mapping":
        value = _flow(text)
    else:
        value = scalar(text.strip())
    return converted(param, value)


def converted(param: Param, value: Any, environ: Mapping[str, str] = os.environ) -> Any:
    """A value checked against the type of its parameter.

    Raises:
        RxpipeError: It does not fit.
    """
    value = _typed(param, value, environ)
    if param.choices and value is not None and value not in param.choices:
        guess = nearest(str(value), [str(choice) for choice in param.choices])
        tail = did_you_mean(guess) if guess else ""
        msg = f"must be one of {', '.join(map(repr, param.choices))}; got {value!r}{tail}"
        raise RxpipeError(msg)
    return value


def _typed(param: Param, value: Any, environ: Mapping[str, str]) -> Any:  # noqa: C901  # one case for each type
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, tuple):
        value = list(value)
    if value is None:
        if param.default is None:
            return None
    elif param.type == "secret":
        return _secret(value, environ)
    elif param.type in UNITS:
        if isinstance(value, str | int | float | timedelta) and not isinstance(value, bool):
            UNITS[param.type](value)
            return value
    elif param.type == "date":
        return _date(value)
    elif param.type == "float" and type(value) is int:
        return float(value)
    elif _INFERRED.get(type(value), "str" if isinstance(value, str) else None) == param.type:
        return value
    must = _ARTICLES.get(param.type, f"a {param.type}")
    msg = f"must be {must}; got {value!r}"
    raise RxpipeError(msg)


def _date(value: Any) -> str:
    """A day as 2026-01-31, from that or 20260131; an empty text is no day."""
    text = value.isoformat() if isinstance(value, date) else value
    try:
        if isinstance(text, str) and (not text or _DAY.fullmatch(text)):
            return date.fromisoformat(text).isoformat() if text else ""
    except ValueError:
        pass
    msg = f"must be a day such as 2026-01-31, or empty; got {value!r}"
    raise RxpipeError(msg)


def resolve(
    graph: Graph, given: Mapping[str, Any], environ: Mapping[str, str], *, lenient: bool
) -> tuple[dict[str, Value], list[Problem]]:
    """The values of all parameters of a graph, and what is wrong with them.

    Args:
        graph: The graph.
        given: Values that override the defaults.
        environ: The environment.
        lenient: Whether a required parameter may be missing; its value is then `UNSET`.
    """
    values: dict[str, Value] = {}
    problems = [Problem(unknown_parameter(name, graph)) for name in given if name not in graph.params]
    scope = Scope({}, environ)
    for name, param in graph.params.items():
        where = f"params: {name}: "
        hidden = param.type == "secret"
        if name in given:
            try:
                values[name] = Value(converted(param, given[name]), hidden)
            except RxpipeError as error:
                message = str(error) if not hidden else str(error).split("; got ")[0]
                problems.append(Problem(f"parameter {name!r}: {message}"))
                values[name] = Value(UNSET, hidden)
        elif param.required:
            values[name] = Value(UNSET, hidden)
            if not lenient:
                problems.append(Problem(f"{where}must be set; use --set {name}=…", param.place))
        else:
            values[name], found = _default(param, scope, where)
            problems += found
    return values, problems


def _default(param: Param, scope: Scope, where: str) -> tuple[Value, list[Problem]]:
    filled = scope.fill(param.default)
    hidden = param.type == "secret" or bool(filled.hidden)
    place = param.place
    if filled.problems:
        found = [
            Problem(where + message, place.moved(column) if place and not path else place)
            for path, message, column in filled.problems
        ]
        return Value(UNSET, hidden), found
    try:
        value = _filled(param, filled, scope.environ)
    except RxpipeError as error:
        message = filled.safe(str(error), ())
        if param.type == "secret":
            message = message.split("; got ")[0]
        return Value(UNSET, hidden), [Problem(where + message, place)]
    return Value(_guarded(value, filled.hidden[()]) if () in filled.hidden else value, hidden), []


def _filled(param: Param, filled: Filled, environ: Mapping[str, str]) -> Any:
    """A default of the parameter's type, whose references are filled in.

    Raises:
        RxpipeError: It does not fit.
    """
    if () in filled.texts:
        return from_text(param, filled.texts[()])
    if () in filled.changed and param.type not in ("str", "secret"):
        return from_text(param, filled.value)
    if param.type == "secret" and isinstance(param.default, str) and () not in filled.hidden:
        msg = "must be a reference: {env: NAME}, {file: PATH} or ${NAME}"
        raise RxpipeError(msg)
    return converted(param, filled.value, environ)


def _guarded(value: Any, written: str) -> Any:
    """A value made of what must not be shown."""
    if isinstance(value, list):
        return [_guarded(item, written) for item in value]
    return Hidden(value, written) if isinstance(value, str) and not isinstance(value, Hidden) else value


def _flow(text: str) -> Any:
    node, problems = compose(text, "--set")
    if node is None or problems:
        problem = problems[0].message if problems else "nothing"
        msg = f"must be a YAML list or mapping; got {text!r} ({problem})"
        raise RxpipeError(msg)
    return node.plain()


def _comma_list(text: str, default: Any) -> list[Any]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if isinstance(default, list) and default and not any(isinstance(item, str) for item in default):
        return [scalar(part) for part in parts]
    return parts


def _secret(value: Any, environ: Mapping[str, str]) -> Hidden:
    if isinstance(value, Mapping) and len(value) == 1:
        kind, where = next(iter(value.items()))
        if kind == "env" and isinstance(where, str):
            if where not in environ:
                msg = f"the environment has no variable {where!r}; set it"
                raise RxpipeError(msg)
            return Hidden(environ[where], HIDDEN)
        if kind == "file" and isinstance(where, str):
            try:
                return Hidden(secret_in(where), HIDDEN)
            except ValueError as error:
                raise RxpipeError(str(error)) from error
    if isinstance(value, str) and value:
        return Hidden(value, HIDDEN)
    msg = "must be a secret: {env: NAME}, {file: PATH}, or set from outside"
    raise RxpipeError(msg)
