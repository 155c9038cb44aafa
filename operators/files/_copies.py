"""Compressed files that were made of files that were read: they are read on where those were left."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rxpipe.operators.files._codecs import CorruptError, codec
from rxpipe.operators.files._packed import Packed, Place, packed_as
from rxpipe.operators.files._sample import SAMPLE
from rxpipe.operators.files._tail import open_file

if TYPE_CHECKING:
    from rxpipe.operators.files._known import Known
    from rxpipe.operators.files._tail import Tail


class Copies:
    """The compressed files of which nothing is read while what they were made of is still there.

    A compressed file counts as made of a file of its log where it begins with what was read of that. Once that is gone
    what was read of it is passed over, and compared (see `Packed`): files that only begin alike are both read.

    Args:
        known: The files.
        compression: How files are compressed; see `packed_as`.
    """

    def __init__(self, known: Known, compression: str) -> None:
        self._known = known
        self._compression = compression
        self._waiting: dict[Tail, tuple[Tail, str]] = {}

    def waits(self, copy: Tail, fd: int, *, completing: bool) -> bool:
        """Whether a compressed file, of which nothing was read, has to wait for the file it was made of.

        It also waits while too little of it is written to tell, unless the run ends. One that would have to wait and is
        gone is done with.
        """
        if copy.packed is None:
            return False
        kind = copy.packed.kind
        begins, whole = beginning(fd, kind)
        if not whole and not completing and self._known.has_plain(copy.log):
            copy.packed = None
            return True
        original = self._known.original(copy, begins)
        if original is None:
            return False
        copy.packed = None
        if not copy.gone:
            self._waiting[original] = (copy, kind)
        return True

    def after(self, original: Tail) -> Tail | None:
        """The compressed file that was made of one that is gone, to be read on from there."""
        found = self._waiting.pop(original, None)
        if original.packed is not None:
            return None
        if found is not None and found[0].gone:
            found = None
        if not original.offset:  # there is nothing to pass over
            return None if found is None else found[0]
        for tail in self._known.logs.unread(original.log) if found is None else ():
            kind = self._kind(tail, original)
            if kind is not None:
                found = (tail, kind)
                break
        if found is None:
            return None
        copy, kind = found
        copy.packed = Packed(Place(kind, emitted=original.offset, before=original.before.digest))
        return copy

    def _kind(self, tail: Tail, original: Tail) -> str | None:
        """How a file is compressed, if it was made of the original; else None."""
        try:
            fd = open_file(tail.path)
        except OSError:  # told of when its turn comes
            return None
        try:
            found = os.fstat(fd)
            if (found.st_dev, found.st_ino) != tail.identity:
                return None
            packed = packed_as(self._compression, tail.path, fd)
            return packed.kind if packed is not None and original.begins(beginning(fd, packed.kind)[0]) else None
        finally:
            os.close(fd)


def beginning(fd: int, kind: str) -> tuple[bytes, bool]:
    """The first bytes of what is compressed in a file, as many as a sample has, and whether there will be no more.

    There are fewer where it has no more, where the rest is not written yet, and where it is corrupt.
    """
    found = b""
    at = 0
    try:
        inner = codec(kind)
        while len(found) < SAMPLE and not inner.over:
            piece, used = inner.feed(os.pread(fd, inner.window, at), SAMPLE)
            if not piece and not used:
                return found, False
            at += used
            found += piece
    except CorruptError:  # told of when it is read
        pass
    return found[:SAMPLE], True
