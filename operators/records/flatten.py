"""Nested objects as fields of their record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from reactivex import Observable

from rxpipe.elements import Row, as_dict
from rxpipe.expressions.known import KnownFields
from rxpipe.fusion.lift import Records, lift
from rxpipe.fusion.loop import Loop
from rxpipe.fusion.rows import looping
from rxpipe.operator import fields_of, operator
from rxpipe.parameters.plain import Checked, kept
from rxpipe.parameters.types import Ge


def _separator(text: str) -> None:
    if not text:
        msg = "must be at least one character, such as '_' or '.'; got ''"
        raise ValueError(msg)


Separator = Annotated[str, Checked(kept(_separator))]
"""What stands between the parts of a name."""


@operator
def flatten(
    source: Observable[Records], separator: Separator = "_", depth: Annotated[int, Ge(1)] | None = None
) -> Observable[Records]:
    """Put what is in nested objects into the record itself, under names with a separator between their parts.

    Lists and empty objects stay as they are. With `depth`, objects further inside stay, too. Records become dicts; with
    the separator `_` expressions can name all fields, with `.` they cannot. A record in which two values would have the
    same name goes to `errors`. Completion and errors pass through; nothing is held back.

        source     -a-|
        flatten    -b-|
        a: {"id": 1, "usage": {"in": 5, "cache": {"read": 7}}}
        b: {"id": 1, "usage_in": 5, "usage_cache_read": 7}

    Args:
        separator: What stands between the parts of a name.
        depth: How many objects are opened, one inside the other; all by default.

    Example:
        >>> rx.of(Batch([{"a": {"b": {"c": 1}, "d": [{}]}}])).pipe(flatten(".", depth=1)).run()
        Batch([{'a.b': {'c': 1}, 'a.d': [{}]}])
    """

    def flat(row: Row) -> dict[str, Any]:
        made: dict[str, Any] = {}
        _spread(as_dict(row), "", -1 if depth is None else depth, separator, made)
        return made

    def write(loop: Loop) -> None:
        loop.remake(flat, dict)

    step = looping(write)
    return lift(source, lambda _: step)


@fields_of(flatten)
def _fields(known: KnownFields, /, **_: object) -> KnownFields:
    return known.unknown()


def _spread(found: Mapping[str, Any], prefix: str, depth: int, separator: str, made: dict[str, Any]) -> None:
    """Put the values of an object into `made`; with a depth of 0 as they are."""
    for key, value in found.items():
        name = f"{prefix}{key}"
        if depth and value and isinstance(value, dict):
            _spread(value, f"{name}{separator}", depth - 1, separator, made)
        elif name in made:
            msg = f"each value must have a name of its own; got {name!r} twice"
            raise ValueError(msg)
        else:
            made[name] = value
