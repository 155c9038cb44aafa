"""Reading the lines of a compressed file: where it is in the file, and where in what comes out."""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from rxpipe.operators.files._blocks import Found
from rxpipe.operators.files._codecs import MAGIC, Codec, CorruptError, MissingError, codec, kind_of
from rxpipe.operators.files._sample import SAMPLE, digest

if TYPE_CHECKING:
    from rxpipe.context import Context
    from rxpipe.operators.files._tail import Tail


class OtherError(Exception):
    """What is compressed in a file is not what was read of the file that it seemed to be made of."""


class Place(NamedTuple):
    """What is saved of a compressed file.

    Where a member begins in the file (`member`) and in what comes out (`base`); up to where the lines were emitted;
    whether the last of them was unfinished; and, while it is not certain that they were this file's, the digest of the
    last bytes before.
    """

    kind: str
    member: int = 0
    base: int = 0
    emitted: int = 0
    torn: bool = False
    before: bytes = b""


class Packed:
    """How far one compressed file was read.

    A tail's `offset` is how much of the file was decompressed. To go on after a restart, the last member that begins
    before the next line is decompressed again, and what was emitted of it is passed over.

    Attributes:
        torn: Whether the last line emitted was unfinished.
        held: How many bytes of an unfinished line there are.
        failure: Why nothing more can be read, if that is so.
    """

    def __init__(self, place: Place) -> None:
        self.kind = place.kind
        self.torn = place.torn
        self.held = 0
        self.failure: CorruptError | None = None
        self._members: deque[tuple[int, int]] = deque([(place.member, place.base)])
        self._emitted = place.emitted
        self._at = place.member
        self._made = place.base
        self._skip = place.emitted - place.base
        self._before = place.before
        self._skipped = b""
        self._silent_to = 0
        self._codec: Codec | None = None
        self._parts: list[bytes] = []
        self._ready = b""
        self._more = True
        self._incomplete = self._told = False

    def place(self) -> Place:
        """What to save: the last member that begins before the next line."""
        while len(self._members) > 1 and self._members[1][1] <= self._emitted and not self._before:
            self._members.popleft()
        return Place(self.kind, *self._members[0], self._emitted, self.torn, self._before)

    @property
    def _pending(self) -> bool:
        """Whether there is more to come of what is in the file."""
        return self._more or bool(self._ready)

    @property
    def caught_up(self) -> bool:
        """Whether all that was in the file at the last look came out."""
        return not (self._pending or isinstance(self.failure, MissingError))

    @property
    def open(self) -> bool:
        """Whether the file ends within a member."""
        begun = self._incomplete or (self._codec is not None and self._codec.begun)
        return begun and self.failure is None

    @property
    def at(self) -> int:
        """How much of the file was decompressed."""
        return self._at

    def pass_over(self, size: int) -> None:
        """Emit none of the lines that are complete within so many bytes of the file."""
        self._silent_to = size

    def read(self, fd: int, tail: Tail, block: int, max_line: int) -> Found:
        """Read the next block of complete lines; see `read_block`.

        Raises:
            OSError: The file cannot be read.
            CorruptError: It cannot be decompressed; told once.
            OtherError: It was not made of the file that was read.
        """
        if not self._ready:
            self._ready = self._decompress(fd, tail, block)
        out, self._ready = self._ready[:block], self._ready[block:]
        found = self._lines(out, max_line)
        if not self._silent_to:
            return found
        if self._at >= self._silent_to and not found.more:
            self._silent_to = 0
        return Found(more=found.more)

    def _lines(self, out: bytes, max_line: int) -> Found:
        end = out.rfind(b"\n") + 1
        if not end:
            self._hold(out, max_line)
            return Found(more=self._pending)
        first = out.find(b"\n") + 1
        start = self._emitted
        if self.held + first > max_line:
            self._emitted += self.held + first
            self._ready = out[first:] + self._ready
            self._parts, self.held = [], 0
            return Found(start=start, end=self._emitted, too_long=True, more=self._pending)
        data = b"".join([*self._parts, out[:end]])
        self._emitted += len(data)
        self._parts, self.held, self.torn = [], 0, False
        self._hold(out[end:], max_line)
        return Found(data, start, end=self._emitted, more=self._pending)

    def rest(self, max_line: int) -> Found:
        """A last line that has no newline, as far as it is there."""
        start = self._emitted
        self._emitted += self.held
        data, held = b"".join(self._parts), self.held
        self._parts, self.held, self.torn = [], 0, True
        return Found(data, start, end=self._emitted, too_long=held > max_line, unfinished=True)

    def _hold(self, data: bytes, max_line: int) -> None:
        if data:
            self.held += len(data)
            self._parts.append(data)
            if self.held > max_line:
                self._parts = []

    def _decompress(self, fd: int, tail: Tail, room: int) -> bytes:
        """What is in about so many bytes of what comes next, less at the end of what is there."""
        if self.failure is not None:
            if not self._told:
                self._told = True
                raise self.failure
            self._more = False
            tail.advance(fd, max(tail.offset, os.fstat(fd).st_size))
            return b""
        made: list[bytes] = []
        until = self._made + room
        self._more = True
        try:
            while self._made < until and self._more:
                made.append(self._step(fd, until - self._made))
        except CorruptError as error:
            self.failure = error  # raised when what came before it is emitted
        if self._at > tail.offset:
            tail.advance(fd, self._at)
        return b"".join(made)

    def _step(self, fd: int, room: int) -> bytes:
        if self._codec is None:
            self._codec = codec(self.kind)
        data = os.pread(fd, self._codec.window, self._at)
        piece, used = self._codec.feed(data, room)
        self._at += used
        self._made += len(piece)
        if self._codec.over:
            self._codec = None
            self._members.append((self._at, self._made))
            self.place()
        elif not piece and not used:
            self._more = False
            self._incomplete = bool(data)
        skipped = min(self._skip, len(piece))
        self._skip -= skipped
        if self._before:
            self._compare(piece[:skipped])
        return piece[skipped:]

    def _compare(self, skipped: bytes) -> None:
        """Hold what is passed over against what was read; at the end of the file it must have been all of that."""
        self._skipped = (self._skipped + skipped)[-SAMPLE:]
        if not self._skip:
            if digest(self._skipped) != self._before:
                raise OtherError
            self._before, self._skipped = b"", b""
        elif not self._more and not self.open:
            raise OtherError


def packed_as(compression: str, path: str, fd: int) -> Packed | None:
    """How to read a file, from its beginning: None if it is not compressed."""
    if compression == "none":
        return None
    kind = kind_of(path, os.pread(fd, MAGIC, 0)) if compression == "auto" else compression
    return None if kind is None else Packed(Place(kind))


def read_packed(
    fd: int, tail: Tail, block: int, max_line: int, context: Context, *, over: bool, last_line: bool
) -> Found:
    """Read the next block of a compressed file; what cannot be decompressed goes to `errors`.

    Args:
        fd: The open file.
        tail: The file, which is compressed.
        block: How much to decompress.
        max_line: The most bytes of a line.
        context: Takes what cannot be decompressed.
        over: Whether nothing more will be written.
        last_line: Whether an unfinished last line counts then.

    Raises:
        OSError: The file cannot be read.
    """
    packed = tail.packed
    if packed is None:
        return Found()
    try:
        found = packed.read(fd, tail, block, max_line)
    except OtherError:
        tail.restart()
        tail.packed = Packed(Place(packed.kind))
        return Found(more=True)
    except CorruptError as error:
        reason = f"cannot be decompressed at byte {packed.at}: {error}"
        context.reject(reason, path=tail.path, start=packed.at, end=tail.size)
        return Found(more=True)
    if over and not found.more:
        if packed.open and not packed.torn:
            reason = f"compressed data must be whole; the file ends in the middle of it, at byte {tail.size}"
            context.reject(reason, path=tail.path, start=packed.at, end=tail.size)
        if packed.held and last_line:
            return packed.rest(max_line) if not found.data else found._replace(more=True)
    return found
