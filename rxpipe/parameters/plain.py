"""Values that are plainly what an annotation says, told without pydantic, whose import would double the time to start.

A value is plain where its type is exactly the annotated one and all that stands behind the type in `Annotated` is a
`Reading`. Of any other value nothing is said here, neither that it is right nor that it is wrong: pydantic judges it.
So there is one description, the annotations, and one judge of what is wrong; whatever passes here would pass pydantic
with the same result.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from rxpipe.language.hidden import Hidden

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic_core import CoreSchema


class NotPlainError(Exception):
    """The value is not plainly right: ask pydantic."""


class Reading:
    """What may stand behind a type in `Annotated`: it checks the value, and turns it into what arrives."""

    @abstractmethod
    def read(self, value: Any) -> Any:
        """The value as it arrives.

        Raises:
            ValueError: It is refused.
        """


class Checked(Reading):
    """A function that checks a value and gives what arrives.

    Args:
        function: Raises ValueError where the value is refused.
        before: Whether it is given the value as it is written, and gives one of the annotated type.
        pattern: What a text must match, for editors; the function may ask for more.
    """

    def __init__(self, function: Callable[[Any], Any], *, before: bool = False, pattern: str = "") -> None:
        self.function = function
        self._before = before
        self._pattern = pattern

    def read(self, value: Any) -> Any:
        """What the function gives."""
        return self.function(value)

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema  # declaring a parameter must not cost the import of pydantic

        if self._before:
            return core_schema.no_info_before_validator_function(self.function, handler(source))
        return core_schema.no_info_after_validator_function(self.function, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        made = handler(schema)
        return {**made, "pattern": self._pattern} if self._pattern else made


def kept(check: Callable[[Any], object]) -> Callable[[Any], Any]:
    """A function that gives the value itself, once a check of it has not raised."""

    def checked(value: Any) -> Any:
        check(value)
        return value

    return checked


def plain(hint: Any, value: Any) -> Any:
    """A plain value, as pydantic would give it.

    Raises:
        NotPlainError: The value may be wrong, or need converting, or the annotation is not known here.
    """
    kind = typing.get_origin(hint) or hint
    if kind is Any or (kind in _SCALARS and type(value) is kind):
        return value
    if kind is str and type(value) is Hidden:  # it comes from the environment; as pydantic does
        return str(value)
    known = _KINDS.get(kind)
    if known is not None:
        return known(typing.get_args(hint), value)
    if kind is Callable and callable(value):
        return value
    if type(value) is dict:
        if hasattr(kind, "__required_keys__"):  # a TypedDict, of `typing` or of `typing_extensions`
            return _plain_typed_dict(kind, value)
        if dataclasses.is_dataclass(kind):
            return _plain_object(kind, value)
    raise NotPlainError


def plain_entries(
    hints: Mapping[str, Any], required: typing.Collection[str], values: Mapping[str, Any]
) -> dict[str, Any]:
    """The entries of a mapping whose names are known, in the order of the names.

    Raises:
        NotPlainError: A name is unknown or missing, or a value is not plain.
    """
    if not (hints.keys() >= values.keys() >= set(required)):
        raise NotPlainError
    return {name: plain(hint, values[name]) for name, hint in hints.items() if name in values}


def _plain_typed_dict(kind: Any, value: dict[str, Any]) -> dict[str, Any]:
    hints = _fields(kind)
    if any(typing.get_origin(hint) in (typing.Required, typing.NotRequired) for hint in hints.values()):
        raise NotPlainError  # `__required_keys__` does not know of them where annotations are text
    return plain_entries(hints, kind.__required_keys__, value)


def _plain_object(kind: Any, value: dict[str, Any]) -> Any:
    hints = _fields(kind)
    missing = dataclasses.MISSING
    required = [f.name for f in dataclasses.fields(kind) if f.default is missing and f.default_factory is missing]
    try:
        return kind(**plain_entries(hints, required, value))
    except ValueError as error:
        raise NotPlainError from error


@cache
def _fields(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


def _literal(choices: tuple[Any, ...], value: Any) -> Any:
    if any(type(value) is type(choice) and value == choice for choice in choices):
        return value
    raise NotPlainError


def _annotated(arguments: tuple[Any, ...], value: Any) -> Any:
    value = plain(arguments[0], value)
    for metadata in arguments[1:]:
        if isinstance(metadata, Reading):
            try:
                value = metadata.read(value)
            except ValueError as error:
                raise NotPlainError from error
        elif not isinstance(metadata, str):  # a text is a note that changes nothing
            raise NotPlainError
    return value


def _union(members: tuple[Any, ...], value: Any) -> Any:
    """The value as the one member gives it that it fits; which of several, pydantic knows."""
    found: list[Any] = []
    for member in members:
        try:
            found.append(plain(member, value))
        except NotPlainError:
            continue
    if len(found) != 1:
        raise NotPlainError
    return found[0]


def _list(arguments: tuple[Any, ...], value: Any) -> list[Any]:
    if type(value) is not list or not arguments:
        raise NotPlainError
    return [plain(arguments[0], item) for item in value]


def _dict(arguments: tuple[Any, ...], value: Any) -> dict[Any, Any]:
    if type(value) is not dict or not arguments:
        raise NotPlainError
    keys, values = arguments
    return {plain(keys, key): plain(values, item) for key, item in value.items()}


_SCALARS = frozenset({str, int, float, bool, type(None)})

_KINDS: dict[Any, Callable[[tuple[Any, ...], Any], Any]] = {
    typing.Literal: _literal,
    typing.Annotated: _annotated,
    typing.Union: _union,
    types.UnionType: _union,
    list: _list,
    dict: _dict,
}
