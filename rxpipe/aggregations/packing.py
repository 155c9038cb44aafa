"""Values of records in the bytes that a checkpoint keeps: MessagePack, with what it has no form for.

What comes back equals what went in, and is of the same type: tuples stay tuples, whole numbers may have any size. Only
structs become dicts of their fields' names.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from itertools import chain
from typing import Any

import msgspec
from msgspec.msgpack import Ext

_TUPLE, _INTEGER = 1, 2
_NATIVE = range(-(2**63), 2**64)

_ATOMS = frozenset({type(None), bool, int, float, str})
"""What MessagePack has a form for, whole numbers outside `_NATIVE` aside."""

_encode = msgspec.msgpack.Encoder().encode


def pack(value: Any) -> bytes:
    """A value as bytes.

    Example:
        >>> unpack(pack({"key": ("a", 1), "n": 2**70}))
        {'key': ('a', 1), 'n': 1180591620717411303424}
    """
    try:
        return _encode(_plain(value))
    except OverflowError:  # a whole number that is large, which is rare: looked for only now
        return _encode(_plain(value, large=True))


def pack_around(value: Any, parts: Iterable[Any]) -> bytes:
    """As `pack`, of a value that is nothing but lists and these parts: the usual case takes a quarter of the time."""
    if _ATOMS.issuperset(map(type, parts)):
        with suppress(OverflowError):
            return _encode(value)
    return pack(value)


def unpack(data: bytes) -> Any:
    """The value that `pack` made bytes of."""
    return _decode(data)


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
    if type(key) is bool or (type(key) is float and key.is_integer()):
        return int(key)
    return key


def _plain(value: Any, *, large: bool = False) -> Any:
    """The value without what MessagePack has no form for; whole numbers outside `_NATIVE` only where there are some."""
    kind: type = type(value)
    if kind in _ATOMS:
        return Ext(_INTEGER, b"%x" % value) if large and kind is int and value not in _NATIVE else value
    if kind is tuple or kind is list:
        if large or not (_ATOMS.issuperset(map(type, value)) or _is_plain_rows(value)):
            value = [_plain(part, large=large) for part in value]
        return value if kind is list else Ext(_TUPLE, _encode(value))
    if isinstance(value, msgspec.Struct):
        if not large and _is_encoded_by_name(kind) and _ATOMS.issuperset(map(type, msgspec.structs.astuple(value))):
            return value
        value = msgspec.structs.asdict(value)
    if isinstance(value, dict):
        return {name: _plain(part, large=large) for name, part in value.items()}
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
    if code == _TUPLE:
        return tuple(_decode(data))
    return int(bytes(data), 16)


_decode = msgspec.msgpack.Decoder(ext_hook=_extension).decode
