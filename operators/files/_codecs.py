"""Decompressors that can be fed in pieces, give a bounded amount at a time, and tell where a member ends."""

from __future__ import annotations

import zlib
from typing import Any, Protocol

GZIP, ZSTD = "gzip", "zstd"
MAGIC = 4
"""Bytes that tell how a file is compressed."""

_MAGIC = {GZIP: b"\x1f\x8b\x08", ZSTD: b"\x28\xb5\x2f\xfd"}
_SKIPPABLE = 0x184D2A50
"""The magic number of zstd frames to be skipped, without its last four bits."""

_FIRST = {b"\x1f", b"\x28", *(bytes([0x50 + low]) for low in range(16))}
"""The first bytes of compressed files, and of few others."""

SUFFIXES = {".gz": GZIP, ".zst": ZSTD, ".zstd": ZSTD}
_ENDINGS = tuple(SUFFIXES)


class CorruptError(Exception):
    """The compressed data is not what it must be."""


class MissingError(CorruptError):
    """The package that decompresses is not installed."""


class Codec(Protocol):
    """The decompressor of one member (gzip) or frame (zstd).

    Attributes:
        window: How many bytes to offer at once.
        begun: Whether anything of the member was seen.
        over: Whether the member is at its end.
    """

    window: int
    begun: bool
    over: bool

    def feed(self, data: bytes, room: int) -> tuple[bytes, int]:
        """Decompress about `room` bytes; returns them and how much of the data was used, 0 if more data is needed.

        Raises:
            CorruptError: It cannot be decompressed.
        """
        ...


def is_packed(path: str) -> bool:
    """Whether a file is compressed, as its name says."""
    return path.endswith(_ENDINGS)


def kind_of(path: str, head: bytes) -> str | None:
    """How a file is compressed, by its first bytes or its suffix."""
    if head[:1] in _FIRST:
        for kind, magic in _MAGIC.items():
            if head.startswith(magic):
                return kind
        if int.from_bytes(head, "little") & ~0xF == _SKIPPABLE:
            return ZSTD
    return SUFFIXES[path[path.rindex(".") :]] if is_packed(path) else None


def codec(kind: str) -> Codec:
    """A decompressor for the next member.

    Raises:
        MissingError: The package that it needs is not installed.
    """
    return Gzip() if kind == GZIP else Zstd()


class Gzip:
    """One gzip member; zeros before it are padding."""

    window = 1 << 16

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)
        self.begun = False
        self.over = False

    def feed(self, data: bytes, room: int) -> tuple[bytes, int]:
        """See `Codec`."""
        padding = 0
        if not self.begun:
            stripped = data.lstrip(b"\0")
            padding, data = len(data) - len(stripped), stripped
            if not data:
                return b"", padding
            self.begun = True
        try:
            made = self._inner.decompress(data, room)
        except zlib.error as error:
            raise CorruptError(str(error)) from error
        self.over = self._inner.eof
        rest = self._inner.unused_data if self.over else self._inner.unconsumed_tail
        return made, padding + len(data) - len(rest)


class Zstd:
    """One zstd frame, fed block by block: a block of a few bytes may become 128 KiB, but no more."""

    window = (1 << 17) + 1024
    _largest = 1 << 17

    def __init__(self) -> None:
        try:
            import zstandard  # only who reads such files needs the package
        except ImportError as error:
            msg = "to read zstd needs the package 'zstandard': pip install 'rxpipe-graphs[zstd]'"
            raise MissingError(msg) from error
        self._error = zstandard.ZstdError
        self._inner: Any = zstandard.ZstdDecompressor().decompressobj()
        self._checksum = 0
        self._skip = 0
        self.begun = self._last = False
        self.over = False

    def feed(self, data: bytes, room: int) -> tuple[bytes, int]:
        """See `Codec`."""
        made: list[bytes] = []
        at = total = 0
        while not self.over and total < room:
            length = self._unit(memoryview(data)[at:])
            if not length:
                break
            piece = self._pass(data[at : at + length])
            made.append(piece)
            at += length
            total += len(piece)
        return b"".join(made), at

    def _unit(self, data: memoryview) -> int:
        """The length of what is fed next: the frame's header, a block, or the checksum; 0 if it is not all there."""
        if self._skip:
            return min(self._skip, len(data))
        if self._last:
            length = self._checksum
        elif self.begun:
            if len(data) < 3:  # a block's header
                return 0
            header = int.from_bytes(data[:3], "little")
            size = header >> 3
            if size > self._largest:
                msg = "a block is larger than zstd allows"
                raise CorruptError(msg)
            length = 3 + (1 if header >> 1 & 3 == 1 else size)  # one byte that is repeated, or as many as it says
        else:
            length = self._header(data)
        return length if length <= len(data) else 0

    def _header(self, data: memoryview) -> int:
        if len(data) < 8:  # no frame is shorter
            return len(data) + 1
        if int.from_bytes(data[:4], "little") & ~0xF == _SKIPPABLE:
            self.begun = True
            self._skip = 8 + int.from_bytes(data[4:8], "little")
            return min(self._skip, len(data))
        if data[:4] != _MAGIC[ZSTD]:
            msg = "no zstd frame begins here"
            raise CorruptError(msg)
        flags = data[4]
        single = flags >> 5 & 1
        self._checksum = 4 if flags >> 2 & 1 else 0
        return 5 + (1 - single) + (0, 1, 2, 4)[flags & 3] + (single, 2, 4, 8)[flags >> 6]

    def _pass(self, unit: bytes) -> bytes:
        if self._skip:
            self._skip -= len(unit)
            self.over = not self._skip
            return b""
        try:
            made: bytes = self._inner.decompress(unit)
        except self._error as error:
            raise CorruptError(str(error)) from error
        if self._last:
            self.over = True
        elif self.begun:
            self._last = bool(unit[0] & 1)
            self.over = self._last and not self._checksum
        self.begun = True
        return made
