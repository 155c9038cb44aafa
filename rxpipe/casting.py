"""Values of one type made of values of another, where nothing is lost: texts of files, numbers, truths."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Literal, NoReturn, TypeVar

from rxpipe.expressions.times import timestamp

N = TypeVar("N", int, float)

CastType = Literal["str", "int", "float", "number", "bool", "timestamp"]
"""What a value may be made: a number is whole where it can be; a timestamp is seconds since the epoch."""

Cast = Callable[[Any], Any]
"""From a value to one of a type; null stays null, and an empty text is null, unless a text is wanted."""

HINTS: dict[CastType, Any] = {
    "str": str | None,
    "int": int | None,
    "float": float | None,
    "number": int | float | None,
    "bool": bool | None,
    "timestamp": float | None,
}
"""The types of what casts give."""

_TRUTHS = {"true": True, "false": False, "1": True, "0": False}


def caster(kind: CastType) -> Cast:
    """A function that makes values of a type.

    Example:
        >>> caster("int")("12"), caster("bool")("True"), caster("float")(""), caster("number")("1e3")
        (12, True, None, 1000.0)
    """
    return _CASTS[kind]


def cast_texts(kind: CastType, texts: Sequence[Any]) -> list[Any]:
    """Many texts as values of a type; numbers at once, where all are.

    Example:
        >>> cast_texts("int", ["1", "", None])
        [1, None, None]
    """
    read: Callable[[Any], Any] | None = {"int": int, "float": float}.get(kind)
    if read is not None:
        with contextlib.suppress(ValueError, TypeError):
            if "_" not in "".join(texts):
                return [*map(read, texts)]
    return [*map(_CASTS[kind], texts)]


def cast_column(name: str, kind: CastType, texts: Sequence[Any]) -> list[Any]:
    """The same, with the name of the field in the error.

    Raises:
        ValueError: A text is no value of the type.
    """
    try:
        return cast_texts(kind, texts)
    except (ValueError, OverflowError) as error:
        msg = f"{name!r} {error}"
        raise ValueError(msg) from error


def _str(value: Any) -> str | None:
    if value is None or type(value) is str:
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(_scalar(value, "a text, number or truth"))


def _int(value: Any) -> int | None:
    if type(value) is str:
        return _read(int, value, "a whole number")
    if isinstance(value, float) and not value.is_integer():
        _refuse(value, "a whole number")
    return None if value is None else int(_scalar(value, "a whole number"))


def _float(value: Any) -> float | None:
    if type(value) is str:
        return _read(float, value, "a number")
    return None if value is None else float(_scalar(value, "a number"))


def _number(value: Any) -> int | float | None:
    if type(value) is str:
        try:
            return _int(value)
        except ValueError:
            return _float(value)
    return value if value is None or type(value) is float else int(_scalar(value, "a number"))


def _bool(value: Any) -> bool | None:
    text = str(value).lower() if isinstance(value, str | int) else ""
    if value is None or value == "":
        return None
    if text not in _TRUTHS:
        _refuse(value, "true or false")
    return _TRUTHS[text]


def _timestamp(value: Any) -> float | None:
    if value is None or value == "":
        return None
    if type(value) is str and value.replace(".", "", 1).lstrip("-").isdecimal():
        return float(value)
    return timestamp(value)


def _scalar(value: Any, must: str) -> Any:
    if not isinstance(value, int | float | bool):
        _refuse(value, must)
    return value


def _read(read: Callable[[str], N], text: str, must: str) -> N | None:
    """A number of a text, which Python would allow underscores."""
    try:
        return read(text) if "_" not in text else _refuse(text, must)
    except ValueError:
        if text:
            _refuse(text, must)
    return None


def _refuse(value: Any, must: str) -> NoReturn:
    msg = f"must be {must}; got {value!r:.80}"
    raise ValueError(msg)


_CASTS: dict[CastType, Cast] = {
    "str": _str, "int": _int, "float": _float, "number": _number, "bool": _bool, "timestamp": _timestamp,
}  # fmt: skip
