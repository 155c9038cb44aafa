"""Make fields of another type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from reactivex import Observable

from rxpipe.casting import HINTS, CastType, caster
from rxpipe.errors import ParameterError, ParameterProblem
from rxpipe.expressions import parse
from rxpipe.expressions.known import KnownFields
from rxpipe.expressions.syntax import Code
from rxpipe.fusion.lift import Records, lift
from rxpipe.fusion.loop import Loop
from rxpipe.fusion.rows import looping
from rxpipe.operator import fields_of, operator


class CastError(ValueError):
    """A field's value cannot be made one of the type."""


@operator
def cast(
    source: Observable[Records], /, otherwise: Literal["reject"] | None = "reject", **types: CastType
) -> Observable[Records]:
    """Make fields of each record values of a type.

    The types are `int` (a fraction is refused, not cut off), `float`, `number` (whole where it can be), `bool` (true,
    false, 1, 0), `str`, and `timestamp`: seconds since the epoch, of a number, a text of one, or an RFC 3339 text with
    a zone. Null, a field that is missing, and an empty text that is to be no text give null. A record with a value that
    has no such form goes to `errors`, unless `otherwise` is null. Completion and errors pass through; nothing is held
    back.

        source                       -a-|
        cast(ms="int", ok="bool")    -b-|
        a: {"ms": "12", "ok": "true"}
        b: {"ms": 12, "ok": True}

    Args:
        otherwise: What becomes of a value that cannot be cast: `reject` its record, or null.
        types: The type of each field.

    Example:
        >>> rx.of(Batch([{"ms": "7", "at": "1970-01-02T00:00:00Z"}])).pipe(cast(ms="int", at="timestamp")).run()
        Batch([{'ms': 7, 'at': 86400.0}])

    Raises:
        ParameterError: What is to be cast is no name of a field.
    """
    for name in types:
        if not name.isidentifier():
            problem = ParameterProblem((name,), f"a field must have a Python name; got {name!r}", on_name=True)
            raise ParameterError("cast", [problem])
    functions = {name: _casting(name, kind, null=otherwise is None) for name, kind in types.items()}

    def write(loop: Loop) -> None:
        for name, function in functions.items():
            text = f"{loop.keep(function)}({loop.value(parse(name)).text})"
            loop.put(name, loop.named(Code(text, HINTS[types[name]])))

    step = looping(write)
    return lift(source, lambda _: step)


@fields_of(cast)
def _fields(known: KnownFields, /, otherwise: str | None, **types: CastType) -> KnownFields:  # noqa: ARG001  # of the operator
    for name in types:
        known.check(name, name)
    return known.plus(*types)


def _casting(name: str, kind: CastType, *, null: bool) -> Callable[[Any], Any]:
    """The cast of one field, whose error names it."""
    made = caster(kind)

    def casting(value: Any) -> Any:
        try:
            return made(value)
        except (ValueError, TypeError, OverflowError) as error:
            if null:
                return None
            msg = f"{name!r} {error}"
            raise CastError(msg) from error

    return casting
