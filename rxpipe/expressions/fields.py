"""What is known of the fields of a type of rows, before any row is seen."""

from __future__ import annotations

import keyword
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Union

import msgspec

from rxpipe.errors import RxpipeError
from rxpipe.expressions.functions import Number

DICT_NAMES = frozenset(dir(dict))
"""Names that a dict answers to with a method; a generated access to such a field must not be misled by it."""

_NONE = type(None)


def fields_of(row_type: type) -> tuple[str, ...]:
    """The names of the fields of a struct or named tuple, in order; a dict declares none.

    Raises:
        TypeError: It is no type of rows.

    Example:
        >>> fields_of(msgspec.defstruct("Row", ["model", "tokens"]))
        ('model', 'tokens')
    """
    if issubclass(row_type, dict):
        return ()
    if issubclass(row_type, msgspec.Struct):
        return row_type.__struct_fields__
    names: tuple[str, ...] | None = getattr(row_type, "_fields", None)
    if issubclass(row_type, tuple) and names is not None:
        return names
    msg = f"a row must be a dict, a msgspec struct or a named tuple; got {row_type.__name__}"
    raise TypeError(msg)


def field_types(row_type: type) -> dict[str, Any]:
    """The declared types of the fields; Any for all where the declarations cannot be read."""
    names = fields_of(row_type)
    if not names:
        return {}
    try:
        if issubclass(row_type, msgspec.Struct):
            return {field.name: field.type for field in msgspec.structs.fields(row_type)}
        hints = typing.get_type_hints(row_type, include_extras=True)
    except (NameError, TypeError, AttributeError):
        hints = {}
    return {name: hints.get(name, Any) for name in names}


def members(hint: Any) -> frozenset[Any]:
    """The types of a union, None among them; any other type alone."""
    origin = typing.get_origin(hint)
    if origin is Annotated:
        return members(hint.__origin__)
    if origin in (Union, types.UnionType):
        return frozenset().union(*map(members, typing.get_args(hint)))
    return frozenset([hint])


def is_number(hint: Any) -> bool:
    """Whether a value of this type is a number or None."""
    found = members(hint) - {_NONE}
    return bool(found) and found <= {int, float, bool}


def may_be_null(hint: Any) -> bool:
    """Whether a value of this type may be None, as far as is known."""
    found = members(hint)
    return Any in found or _NONE in found


def is_scalar(hint: Any) -> bool:
    """Whether a value of this type cannot contain others."""
    return members(hint) <= {int, float, bool, str, bytes, _NONE}


def as_struct(hint: Any) -> type[msgspec.Struct] | None:
    """The struct type that a value of this type is an instance of, if it is not None; None where that is not sure."""
    found = [*(members(hint) - {_NONE})]
    return found[0] if len(found) == 1 and isinstance(found[0], type) and issubclass(found[0], msgspec.Struct) else None


def common(*hints: Any) -> Any:
    """A type for a value that is of one of these types; Any where they differ."""
    found = frozenset[Any]().union(*map(members, hints)) - {_NONE}
    if len(found) == 1:
        return next(iter(found)) | None
    return Number if found and found <= {int, float, bool} else Any


def row_struct(name: str, fields: Mapping[str, Any]) -> type[msgspec.Struct]:
    """A struct type with these fields, all of them None by default; the same arguments give the same type.

    Raises:
        RxpipeError: A name is no Python name, is a keyword, or begins with an underscore.

    Example:
        >>> row_struct("Row", {"model": str, "tokens": int})("opus", 5)
        Row(model='opus', tokens=5)
    """
    return _row_struct(name, tuple(fields.items()))


@cache
def _row_struct(name: str, fields: tuple[tuple[str, Any], ...]) -> type[msgspec.Struct]:
    for field, _ in fields:
        if not field.isidentifier() or keyword.iskeyword(field) or field.startswith("_"):
            msg = f"a field's name must be a Python name without a leading underscore; got {field!r}"
            raise RxpipeError(msg)
    contains = not all(is_scalar(kind) for _, kind in fields)  # only then can the garbage collector have work with it
    return msgspec.defstruct(name, [(field, kind | None, None) for field, kind in fields], gc=contains)
