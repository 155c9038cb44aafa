"""Values of records in the bytes that a checkpoint keeps: MessagePack, with what it has no form for.

What comes back equals what went in, and is of the same type: tuples stay tuples, whole numbers may have any size. Only
structs become dicts of their fields' names.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.msgpack import Ext

_TUPLE, _INTEGER = 1, 2
_NATIVE = range(-(2**63), 2**64)

_encode = msgspec.msgpack.Encoder().encode


def pack(value: Any) -> bytes:
    """A value as bytes.

    Example:
        >>> unpack(pack({"key": ("a", 1), "n": 2**70}))
        {'key': ('a', 1), 'n': 1180591620717411303424}
    """
    return _encode(_plain(value))


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


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind in (str, float, bool) or value is None:
        return value
    if kind is int:
        return value if value in _NATIVE else Ext(_INTEGER, b"%x" % value)
    if kind is tuple:
        return Ext(_TUPLE, _encode([_plain(part) for part in value]))
    if kind is list:
        return [_plain(part) for part in value]
    if isinstance(value, msgspec.Struct):
        value = {name: getattr(value, name) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return value


def _extension(code: int, data: memoryview) -> Any:
    if code == _TUPLE:
        return tuple(_decode(data))
    return int(bytes(data), 16)


_decode = msgspec.msgpack.Decoder(ext_hook=_extension).decode
