"""Types on the edges of a graph: whether what a step emits fits what the next one takes, and what then flows out."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable
from typing import Any, TypeVar

from rxpipe.elements import OriginGone

PASSING: tuple[Any, ...] = (OriginGone,)
"""Elements that every operator lets pass, so that no edge has to name them."""

Bindings = dict[Any, Any]


def members(hint: Any) -> list[Any]:
    """The members of a union, or the one type itself; annotations and aliases are looked through."""
    hint = _bare(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [inner for member in typing.get_args(hint) for inner in members(member)]
    return [hint]


def union(hints: Iterable[Any]) -> Any:
    """The union of types, each once; `Any` with anything is `Any`."""
    unique: list[Any] = []
    for hint in hints:
        for member in members(hint):
            if member is Any:
                return Any
            if member not in unique:
                unique.append(member)
    if not unique:
        return Any
    return unique[0] if len(unique) == 1 else typing.Union[tuple(unique)]  # noqa: UP007  # made at run time


def fits(flowing: Any, accepted: Any, bindings: Bindings | None = None) -> bool:
    """Whether every element that flows is one that is accepted; type variables are bound on the way.

    Args:
        flowing: The type of what comes.
        accepted: The type of what is taken.
        bindings: Takes what type variables turn out to be.
    """
    bound = {} if bindings is None else bindings
    candidates = members(accepted)
    variable = next((c for c in candidates if isinstance(c, TypeVar)), None)
    rest = []
    for member in members(flowing):
        if any(_fits_one(member, c, bound) for c in candidates if not isinstance(c, TypeVar)) or member in PASSING:
            continue
        rest.append(member)
    if variable is None:
        return not rest
    if not rest:  # only passing elements, or all taken by the other members
        rest = members(flowing) if len(candidates) == 1 else []
    allowed = list(variable.__constraints__) or ([variable.__bound__] if variable.__bound__ is not None else [Any])
    if not all(member in PASSING or any(_fits_one(member, choice, bound) for choice in allowed) for member in rest):
        return False
    if rest:
        bound[variable] = union([bound[variable], *rest]) if variable in bound else union(rest)
    return True


def emitted(hint: Any, bindings: Bindings) -> Any:
    """The type of what flows out, its type variables replaced by what they were bound to."""
    hint = _bare(hint)
    if isinstance(hint, TypeVar):
        return bindings.get(hint, Any)
    arguments = typing.get_args(hint)
    if not arguments or typing.get_origin(hint) is typing.Literal:
        return hint
    replaced = tuple(emitted(argument, bindings) for argument in arguments)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return union(replaced)
    try:
        return typing.get_origin(hint)[replaced]
    except TypeError:
        return hint


def type_name(hint: Any) -> str:
    """A type as people say it: `Batch | Table`."""
    return " | ".join(_one_name(member) for member in members(hint))


def _one_name(hint: Any) -> str:
    if isinstance(hint, TypeVar):
        if hint.__constraints__:
            return type_name(union(hint.__constraints__))
        return "Any" if hint.__bound__ is None else type_name(hint.__bound__)
    if hint is None or hint is type(None):
        return "None"
    arguments = typing.get_args(hint)
    if arguments:
        origin = typing.get_origin(hint)
        name = getattr(origin, "__name__", str(origin))
        return f"{name}[{', '.join(_argument_name(argument) for argument in arguments)}]"
    return getattr(hint, "__name__", None) or str(hint).removeprefix("typing.")


def _argument_name(argument: Any) -> str:
    if argument is ...:
        return "..."
    if isinstance(argument, str | int | bool):
        return repr(argument)
    return f"[{', '.join(map(type_name, argument))}]" if isinstance(argument, list) else type_name(argument)


def _bare(hint: Any) -> Any:
    """The type without `Annotated`, an alias or a `NewType` around it."""
    while True:
        if typing.get_origin(hint) is typing.Annotated:
            hint = typing.get_args(hint)[0]
        elif hasattr(hint, "__value__"):
            hint = hint.__value__
        elif hasattr(hint, "__supertype__"):
            hint = hint.__supertype__
        else:
            return hint


def _fits_one(flowing: Any, accepted: Any, bindings: Bindings) -> bool:
    """One type against one type; where nothing can be said for certain, it fits."""
    flowing, accepted = _bare(flowing), _bare(accepted)
    if flowing is Any or accepted is Any or accepted is object or flowing == accepted or isinstance(flowing, TypeVar):
        return True
    if isinstance(accepted, TypeVar) or len(members(accepted)) > 1:
        return fits(flowing, accepted, bindings)
    if typing.get_origin(flowing) is typing.Literal:
        flowing = union(type(value) for value in typing.get_args(flowing))
        return fits(flowing, accepted, bindings)
    if typing.get_origin(accepted) is typing.Literal:
        return False
    if accepted is float and flowing is int:
        return True
    return _same_class(flowing, accepted, bindings)


def _same_class(flowing: Any, accepted: Any, bindings: Bindings) -> bool:
    one = typing.get_origin(flowing) or flowing
    other = typing.get_origin(accepted) or accepted
    if one is None or other is None or not isinstance(one, type) or not isinstance(other, type):
        return (type(None) in (one, other) and {one, other} <= {None, type(None)}) or not isinstance(one, type | None)
    try:
        if not issubclass(one, other):
            return False
    except TypeError:  # a protocol that cannot be checked
        return True
    given, taken = typing.get_args(flowing), typing.get_args(accepted)
    if one is not other or len(given) != len(taken) or ... in given or ... in taken:
        return True
    return all(isinstance(t, list) or fits(g, t, bindings) for g, t in zip(given, taken, strict=True))
