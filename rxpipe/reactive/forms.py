"""How the parameters of reactivex's operators are written in a graph, told from their annotations."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar

import msgspec
from reactivex import Observable
from reactivex.typing import Accumulator, Comparer, Mapper, Predicate

from rxpipe.elements import Batch, Row
from rxpipe.expressions import parse
from rxpipe.parameters.types import Expr
from rxpipe.parameters.units import Duration
from rxpipe.table import Table

Convert = Callable[[Any], Any]


class Form(NamedTuple):
    """How a parameter is written.

    Attributes:
        hint: The annotation that checks it.
        text: The annotation for people.
        convert: Makes of a checked value what the operator takes.
        over: What an expression is over: `element`, or the names of its values; empty for all else.
    """

    hint: Any
    text: str
    convert: Convert = lambda value: value
    over: tuple[str, ...] = ()


ELEMENT = ("element",)
STREAM = Form(Observable[Any], "Observable[Any]")
LIST = Form(list[Any], "list[Any]")


class _State(NamedTuple):
    state: Any
    value: Any


class _Both(NamedTuple):
    first: Any
    second: Any


class _Rows(NamedTuple):
    rows: list[Row]


class _Named(NamedTuple):
    name: str
    rows: list[Row]


class _Value(NamedTuple):
    value: Any


def form_of(hint: Any) -> Form | None:
    """The form of an annotation; None where there is none: functions, schedulers, streams of streams."""
    choices = [choice for choice in _choices(hint) if choice is not type(None)]
    optional = len(choices) < len(_choices(hint))
    found = next((form for choice in choices if (form := _plain_form(choice)) is not None), None)
    if timedelta in choices:
        found = Form(Duration, "Duration")
    if found is None or not optional or is_stream(found.hint) or found.hint is Any:
        return found
    return found._replace(hint=found.hint | None, text=f"{found.text} | None")


def is_stream(hint: Any) -> bool:
    """Whether an annotation is of an observable, whatever it emits."""
    origin = typing.get_origin(hint) or hint
    return isinstance(origin, type) and issubclass(origin, Observable)


def _choices(hint: Any) -> list[Any]:
    return list(typing.get_args(hint)) if typing.get_origin(hint) in (typing.Union, types.UnionType) else [hint]


def _plain_form(hint: Any) -> Form | None:
    if is_stream(hint):
        return STREAM
    if hint is Any or isinstance(hint, TypeVar):
        return Form(Any, "Any")
    if hint in (bool, int, float, str):
        return Form(hint, hint.__name__)
    origin = typing.get_origin(hint)
    if origin in (Iterable, list):
        return LIST
    if origin in _EXPRESSIONS and not any(_has_stream(argument) for argument in typing.get_args(hint)):
        convert, over = _EXPRESSIONS[origin]
        return Form(Expr, "Expr", convert, over)
    return None


def _has_stream(hint: Any) -> bool:
    return is_stream(hint) or any(map(_has_stream, typing.get_args(hint)))


def of_element(text: str) -> Callable[[Any], Any]:
    """An expression as a function of an element.

    A dict, struct or named tuple has its fields; a batch has `rows`, a table `name` and `rows`, all else is `value`.

    Example:
        >>> of_element("value * 2")(21), of_element("len(rows)")(Batch([{"n": 1}]))
        (42, 1)
    """
    expression = parse(text)
    bound: dict[type, Callable[[Any], Any]] = {}

    def call(element: Any) -> Any:
        row = _row_of(element)
        kind = type(row)
        if kind not in bound:
            bound[kind] = expression.bind(kind)
        return bound[kind](row)

    return call


def _row_of(element: Any) -> Any:
    if isinstance(element, Batch):
        return _Rows(element.dicts())
    if isinstance(element, Table):
        return _Named(element.name, element.dicts())
    if isinstance(element, dict | msgspec.Struct) or (isinstance(element, tuple) and hasattr(element, "_fields")):
        return element
    return _Value(element)


def _of_two(made: Callable[[Any, Any], Any], kind: type) -> Convert:
    def convert(text: str) -> Callable[[Any, Any], Any]:
        bound = parse(text).bind(kind)
        return lambda one, other: bound(made(one, other))

    return convert


_EXPRESSIONS: dict[Any, tuple[Convert, tuple[str, ...]]] = {
    Mapper: (of_element, ELEMENT),
    Predicate: (of_element, ELEMENT),
    Accumulator: (_of_two(_State, _State), _State._fields),
    Comparer: (_of_two(_Both, _Both), _Both._fields),
}
