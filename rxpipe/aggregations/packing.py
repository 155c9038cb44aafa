"""Values of records in the bytes that a checkpoint keeps: MessagePack, with what it has no form for.

What comes back equals what went in, and is of the same type: tuples stay tuples, whole numbers may have any size, dates
stay dates. Only structs and dataclasses become dicts of their fields' names, named tuples tuples, and members of an
enumeration their values. What has no form at all is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from functools import cache
from itertools import chain
from typing import Any, NoReturn
from uuid import UUID

import msgspec
from msgspec.msgpack import Ext

_TUPLE, _INTEGER, _MAPPING, _SET, _FROZENSET, _TEXT = 1, 2, 3, 4, 5, 6
_NATIVE = range(-(2**63), 2**64)

_ATOMS = frozenset({type(None), bool, int, float, str})
"""What MessagePack has a form for, whole numbers outside `_NATIVE` aside."""

_TEXTS: dict[type, tuple[int, Callable[[Any], str], Callable[[str], Any]]] = {
    datetime: (16, datetime.isoformat, datetime.fromisoformat),
    date: (17, date.isoformat, date.fromisoformat),
    time: (18, time.isoformat, time.fromisoformat),
    timedelta: (
        19,
        lambda value: f"{value.days} {value.seconds} {value.microseconds}",
        lambda text: timedelta(*map(int, text.split())),
    ),
    Decimal: (20, str, Decimal),
    UUID: (21, str, UUID),
}
"""What is kept as a text: its code, how the text is made, and read. A moment in UTC has a form of its own."""

_READ = {code: read for code, _, read in _TEXTS.values()}

_EXACT = Context(prec=MAX_PREC, Emin=MIN_EMIN, Emax=MAX_EMAX)

_MOST_DIGITS = 400
"""Beyond every float: a decimal number with more before its point is equal to none, and hardly to a whole number."""


def _refused(value: Any) -> NoReturn:
    msg = (
        f"a state cannot keep a value of type {type(value).__name__}: make it a number, a text, a list or a dict before"
    )
    raise TypeError(msg)


_encode = msgspec.msgpack.Encoder(enc_hook=_refused).encode


def pack(value: Any) -> bytes:
    """A value as bytes.

    Raises:
        TypeError: It is of a type, or has a part of one, that has no form.

    Example:
        >>> unpack(pack({"key": ("a", 1), "n": 2**70}))
        {'key': ('a', 1), 'n': 1180591620717411303424}
    """
    try:
        return _encode(_plain(value))
    except (OverflowError, UnicodeEncodeError):  # a number that is large, or half a surrogate pair: looked for only now
        return _encode(_plain(value, odd=True))


def pack_around(value: Any, parts: Iterable[Any]) -> bytes:
    """As `pack`, of a value that is nothing but lists and these parts: the usual case takes a quarter of the time."""
    if _ATOMS.issuperset(map(type, parts)):
        with suppress(OverflowError, UnicodeEncodeError):
            return _encode(value)
    return pack(value)


def unpack(data: bytes) -> Any:
    """The value that `pack` made bytes of.

    Raises:
        ValueError: They are other bytes.
    """
    try:
        return _decode(data)
    except (msgspec.DecodeError, KeyError, TypeError, ArithmeticError, RecursionError) as error:
        msg = f"must be bytes of a packed value; got others: {type(error).__name__}: {error}"
        raise ValueError(msg) from error


def pack_key(key: Any) -> bytes:
    """A key as bytes: the same for keys that are equal, such as 1, 1.0 and True.

    Example:
        >>> pack_key(("a", 1.0)) == pack_key(("a", 1))
        True
    """
    return pack(canonical(key))


def canonical(key: Any) -> Any:
    """The form of a key that all keys equal to it share; of most keys that is the key itself."""
    if type(key) is tuple:
        made = tuple(map(canonical, key))
        return key if all(new is old for new, old in zip(made, key, strict=True)) else made
    kind = type(key)
    if kind in _ATOMS:
        return int(key) if kind is bool or (kind is float and key.is_integer()) else key
    if isinstance(key, Decimal):
        return _canonical_number(key)
    if isinstance(key, datetime) and key.tzinfo is not None:
        with suppress(OverflowError, UnicodeEncodeError):  # in the first or the last hours of all
            return key.astimezone(UTC)
    if isinstance(key, (tuple, frozenset)):
        parts: list[Any] = [*key]
        found = [*map(canonical, parts)]
        same = all(new is old for new, old in zip(found, parts, strict=True))
        return key if same else (frozenset if isinstance(key, frozenset) else tuple)(found)
    return key


def _canonical_number(key: Decimal) -> Any:
    """The whole number or float that a decimal equals, if there is one; else the decimal without zeros at its end."""
    if key.is_nan():
        return key
    if not key.is_finite():
        return float(key)
    if key.adjusted() < _MOST_DIGITS:
        if key == key.to_integral_value():
            return int(key)
        if key == (near := float(key)):
            return near
    return key.normalize(_EXACT)


def _plain(value: Any, *, odd: bool = False) -> Any:
    """The value without what MessagePack has no form for; `odd` numbers and texts only where there are some."""
    kind: type = type(value)
    if kind in _ATOMS:
        return _odd(value) if odd else value
    if kind is tuple or kind is list:
        if odd or not (_ATOMS.issuperset(map(type, value)) or _is_plain_rows(value)):
            value = [_plain(part, odd=odd) for part in value]
        return value if kind is list else Ext(_TUPLE, _encode(value))
    if isinstance(value, msgspec.Struct):
        if not odd and _is_encoded_by_name(kind) and _ATOMS.issuperset(map(type, msgspec.structs.astuple(value))):
            return value
        value = msgspec.structs.asdict(value)
    if isinstance(value, dict):
        if not _ATOMS.issuperset(map(type, value)) or (odd and not all(map(_fits, value))):
            return Ext(_MAPPING, _encode([[_plain(part, odd=odd) for part in pair] for pair in value.items()]))
        return {name: _plain(part, odd=odd) for name, part in value.items()}
    return _formed(value, odd=odd)


def _fits(value: Any) -> bool:
    """Whether a value is no number outside `_NATIVE`, and no text with half a surrogate pair, as in names of files."""
    if type(value) is str:
        return value.encode("utf-8", "replace").decode() == value
    return type(value) is not int or value in _NATIVE


def _odd(value: Any) -> Any:
    """A number or a text in the form that it has where it does not fit."""
    if _fits(value):
        return value
    return Ext(_INTEGER, b"%x" % value) if type(value) is int else Ext(_TEXT, value.encode("utf-8", "surrogatepass"))


def _formed(value: Any, *, odd: bool) -> Any:
    """What is neither a plain value nor a list, tuple, dict or struct, in its form."""
    if isinstance(value, tuple):
        return _plain((*value,), odd=odd)
    if isinstance(value, (set, frozenset)):
        parts = sorted(_encode(_plain(part, odd=odd)) for part in value)  # the same for sets that are equal
        return Ext(_SET if isinstance(value, set) else _FROZENSET, _encode(parts))
    if isinstance(value, datetime) and value.tzinfo is UTC:
        return value
    for kind, (code, write, _) in _TEXTS.items():
        if isinstance(value, kind):
            return Ext(code, write(value).encode())
    return value


def _is_plain_rows(value: Any) -> bool:
    """Whether all parts are lists of what MessagePack has a form for: values, and how many of each."""
    return {*map(type, value)} == {list} and _ATOMS.issuperset(map(type, chain.from_iterable(value)))


@cache
def _is_encoded_by_name(kind: Any) -> bool:
    """Whether the encoder makes of a struct what it makes of the dict of its fields."""
    made = kind.__struct_config__
    return kind.__struct_encode_fields__ == kind.__struct_fields__ and not (
        made.array_like or made.omit_defaults or made.tag is not None
    )


def _extension(code: int, data: memoryview) -> Any:
    if code == _INTEGER:
        return int(bytes(data), 16)
    if code == _TEXT:
        return bytes(data).decode("utf-8", "surrogatepass")
    if code in _READ:
        return _READ[code](bytes(data).decode())
    return _COLLECTIONS[code](_decode(data))


def _parts(packed: Iterable[bytes]) -> Iterable[Any]:
    return map(_decode, packed)


_COLLECTIONS: dict[int, Callable[[Any], Any]] = {
    _TUPLE: tuple,
    _MAPPING: dict,
    _SET: lambda packed: set(_parts(packed)),
    _FROZENSET: lambda packed: frozenset(_parts(packed)),
}

_decode = msgspec.msgpack.Decoder(ext_hook=_extension).decode
