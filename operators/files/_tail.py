"""How far one file has been read, and how to know it again."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import resource
from collections.abc import Iterable

import msgspec

from rxpipe.elements import FileState
from rxpipe.operators.files._codecs import is_packed
from rxpipe.operators.files._packed import Packed, Place
from rxpipe.operators.files._rotation import generation
from rxpipe.operators.files._sample import SAMPLE, digest
from rxpipe.unread import identity


class Row(msgspec.Struct, array_like=True):
    """What is saved of a file: identity, offset, the last `stat`, digests of the head and of what is before."""

    device: int
    inode: int
    offset: int
    size: int
    mtime_ns: int
    head: bytes
    before: bytes
    packed: Place | None = None


class Sample:
    """Bytes of a file by which it is known again: kept as they are while it is open, else their digest alone."""

    __slots__ = ("_digest", "data")

    def __init__(self, digest: bytes = b"") -> None:
        self.data = b""
        self._digest = digest

    def __bool__(self) -> bool:
        return bool(self.data or self._digest)

    @property
    def digest(self) -> bytes:
        """What is saved of it; empty where there is none."""
        if self.data and not self._digest:
            self._digest = digest(self.data)
        return self._digest

    def take(self, data: bytes) -> None:
        """Be of these bytes."""
        self.data, self._digest = data, b""

    def is_of(self, data: bytes) -> bool:
        """Whether it is of these bytes."""
        return data == self.data if self.data else digest(data) == self._digest

    def shorten(self) -> None:
        """Keep the digest alone."""
        self._digest, self.data = self.digest, b""


class Tail:
    """One file that is being read.

    Attributes:
        path: Where it is now.
        log, age: Which log it is of, and which of that log's files; see `Generation`.
        name: What blocks of it say of whose lines they are.
        offset: Where the next line starts; all before was emitted.
        scanned: Up to here there is no newline behind `offset`.
        size, mtime_ns: What `stat` said when it was last read.
        changed_ns: When it was last changed, as far as was told.
        head: Sample of the first 1,024 bytes, once so many were read.
        before: Sample of the last 1,024 bytes before the offset, or of all if they are fewer.
        ahead: Bytes behind the offset that were read together with the sample before it.
        fd: Its descriptor while it is open, else -1.
        lag: Bytes known and not yet emitted.
        dirty: Whether there may be something to read.
        checked: Whether it was found to be the same file since it was opened, and since something was told of it.
        gone: Whether it was removed: what is left is read from the open descriptor, then it is forgotten.
        from_end: Whether to start at the end of its last complete line.
        rest: Whether what is left of it then counts.
        sought: Whether it was waited for once: it may be elsewhere by now, or compressed.
        packed: Where its lines are, if it is compressed; the offset is then how much of it was decompressed.
    """

    __slots__ = (
        "age", "ahead", "before", "changed_ns", "checked", "device", "dirty", "due", "fd", "from_end", "gone", "head",
        "inode", "lag", "log", "mtime_ns", "name", "offset", "packed", "path", "queued", "rest", "scanned", "size",
        "sought", "tries",
    )  # fmt: skip

    def __init__(self, path: str, device: int, inode: int) -> None:
        self.move(path)
        self.name = identity(device, inode)
        self.device = device
        self.inode = inode
        self.offset = self.scanned = self.lag = self.tries = 0
        self.size = self.mtime_ns = self.changed_ns = -1
        self.head, self.before = Sample(), Sample()
        self.ahead = b""
        self.fd = -1
        self.due = 0.0
        self.dirty = self.queued = self.checked = self.gone = self.from_end = self.sought = False
        self.rest = True
        self.packed: Packed | None = None

    @classmethod
    def restored(cls, path: str, row: Row) -> Tail:
        """A file as it was saved."""
        tail = cls(path, row.device, row.inode)
        tail.offset = tail.scanned = row.offset
        tail.size, tail.mtime_ns, tail.head, tail.before = row.size, row.mtime_ns, Sample(row.head), Sample(row.before)
        tail.changed_ns = row.mtime_ns
        tail.packed = None if row.packed is None else Packed(row.packed)
        return tail

    def move(self, path: str) -> None:
        """It is at this path now."""
        self.path = path
        self.log, self.age = generation(path)

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode."""
        return (self.device, self.inode)

    def row(self) -> Row:
        """What to save."""
        packed = self.packed
        size = self.size if packed is None or packed.caught_up else -1  # or else it would be taken for read to its end
        place = None if packed is None else packed.place()
        head, before = self.head.digest, self.before.digest
        return Row(self.device, self.inode, self.offset, size, self.mtime_ns, head, before, place)

    def unchanged(self, state: FileState) -> bool:
        """Whether a file with this state was read to its end, so that it need not be opened."""
        return self.scanned >= state.size == self.size and state.mtime_ns == self.mtime_ns

    def only_grew(self, state: FileState, most: int) -> bool:
        """Whether it is open, was read to its end, and is now longer by `most` bytes at most, as `stat` said."""
        return (
            self.fd >= 0
            and not self.dirty
            and self.packed is None
            and self.inode == state.inode
            and self.device == state.device
            and 0 < self.offset == self.scanned < state.size <= self.offset + most
        )

    def same_content(self, fd: int, ahead: int = 0) -> bool:
        """Whether an open file begins, and goes on up to the offset, as this one did.

        Args:
            fd: The file.
            ahead: How many bytes behind the offset to read by the way, into `ahead`.
        """
        if self.offset == 0:
            return True
        length = min(SAMPLE, self.offset)
        data = os.pread(fd, length + ahead, self.offset - length)
        if not self.before.is_of(data[:length]):
            return False
        self.ahead = data[length:]
        return not self.head or self.head.is_of(os.pread(fd, SAMPLE, 0))

    def same_at(self, path: str) -> bool:
        """Whether the file at a path with this one's device and inode is this one: nobody took over its inode.

        Where the path is another file's by now, this one was renamed: its content is looked at when it is read. But it
        was not renamed to what is compressed: that is another file, whatever it was made of.
        """
        if self.fd >= 0 or self.offset == 0:
            return True
        untold = is_packed(self.path) or not is_packed(path)
        try:
            fd = open_file(path)
        except OSError:
            return untold
        try:
            found = os.fstat(fd)
            if (found.st_dev, found.st_ino) != self.identity:
                return untold
            return found.st_size >= self.offset and self.same_content(fd)
        finally:
            os.close(fd)

    def begins(self, head: bytes, at: Iterable[str] = ()) -> bool:
        """Whether it begins with these bytes, the first of another file, as far as that can be told.

        Args:
            head: The bytes.
            at: Where it may be, to be opened if nothing was read of it yet.
        """
        if self.packed is not None:
            return False
        if not self.offset:
            return bool(head) and self._first(len(head), at) == head
        return self.head.is_of(head) if self.head else self.before.is_of(head[: self.offset])

    def _first(self, length: int, at: Iterable[str]) -> bytes:
        """Its first bytes, none if it is not open and nowhere there."""
        if self.fd >= 0:
            return os.pread(self.fd, length, 0)
        for path in at:
            with contextlib.suppress(OSError):  # told of when its turn comes
                fd = open_file(path)
                try:
                    found = os.fstat(fd)
                    if (found.st_dev, found.st_ino) == self.identity:
                        return os.pread(fd, length, 0)
                finally:
                    os.close(fd)
        return b""

    def advance(self, fd: int, to: int, data: bytes = b"") -> None:
        """Move the offset; `data` are the bytes before it, as far as they are at hand."""
        length = min(SAMPLE, to)
        if len(data) < length and self.offset + len(data) == to:
            data = self.before.data + data
        self.offset = self.scanned = to
        self.before.take(data[-length:] if len(data) >= length else os.pread(fd, length, to - length))
        if not self.head and to >= SAMPLE:
            self.head.take(os.pread(fd, SAMPLE, 0))

    def torn(self, fd: int) -> bool:
        """Whether what is before the offset, which was looked at by `same_content`, is no whole line."""
        if self.packed is not None:
            return self.packed.torn
        return (self.before.data[-1:] or os.pread(fd, 1, self.offset - 1)) != b"\n"

    def restart(self) -> None:
        """Start again from the beginning."""
        self.packed = None
        self.offset = self.scanned = 0
        self.ahead = b""
        self.head, self.before = Sample(), Sample()


class Descriptors:
    """The open files: a limited number, the one not used for the longest time is closed first.

    Of what the process may open those of all readers take a quarter at most, if one each is not more: sinks and states
    need some, too.
    """

    _all = 0
    """How many are open, of all readers."""

    def __init__(self, limit: int) -> None:
        allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._limit = limit
        self._limit_of_all = math.inf if allowed == resource.RLIM_INFINITY else allowed // 4
        self._open: dict[Tail, None] = {}

    def get(self, tail: Tail) -> int:
        """The descriptor of a file, opened if need be.

        Raises:
            OSError: It cannot be opened.
        """
        if tail.fd < 0:
            if self._open and (len(self._open) >= self._limit or Descriptors._all >= self._limit_of_all):
                self.close(next(iter(self._open)))
            try:
                tail.fd = open_file(tail.path)
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE) or not self._open:
                    raise
                self.close_all()
                tail.fd = open_file(tail.path)
            Descriptors._all += 1
        self._open.pop(tail, None)
        self._open[tail] = None
        return tail.fd

    def close(self, tail: Tail) -> None:
        """Close a file."""
        if tail.fd >= 0:
            self._open.pop(tail, None)
            Descriptors._all -= 1
            os.close(tail.fd)
            tail.fd = -1
            tail.checked = False
            tail.head.shorten()
            tail.before.shorten()

    def close_all(self) -> None:
        """Close every file."""
        for tail in list(self._open):
            self.close(tail)


def open_file(path: str) -> int:
    """Open a file for reading, without waiting should it have become a pipe."""
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)


def last_line_end(fd: int, size: int, block: int = 1 << 16) -> int:
    """The offset behind the last newline of an open file, 0 without one."""
    end = size
    while end > 0:
        start = max(0, end - block)
        found = os.pread(fd, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
