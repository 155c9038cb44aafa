"""Lines that a source found the end of and left in their file: whoever works on them reads them, maybe elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol, runtime_checkable

from reactivex import Observable

from rxpipe.elements import LineDelta
from rxpipe.errors import RxpipeError
from rxpipe.lease import Lease


class UnreadableError(RxpipeError):
    """The lines cannot be read, or are not what they were."""


class Kept:
    """A descriptor, closed when nobody holds this any more.

    Args:
        descriptor: One of another's, which may close it; of it a copy is made.
    """

    __slots__ = ("descriptor",)

    def __init__(self, descriptor: int) -> None:
        self.descriptor = os.dup(descriptor)

    def __del__(self) -> None:
        os.close(self.descriptor)


class Unread(NamedTuple):
    """A stretch of complete lines of one file, bytes `start` to `end`; see `LineDelta`, which has the bytes.

    `last` are the last bytes of it, by which the file is known to be still the same where the lines are read; `kept` is
    the open file, None in another process.
    """

    path: str
    file: str
    start: int
    end: int
    last: bytes
    kept: Kept | None = None
    lease: Lease | None = None

    def read(self, most: int) -> Iterator[LineDelta]:
        """The lines in blocks of about so many bytes, without the lease; what was read counts only if all could be.

        Raises:
            UnreadableError: The file is not the same, or not at its path, or cannot be read.
        """
        descriptor = -1
        try:
            if self.kept is not None:
                yield from self._read(self.kept.descriptor, most)
                return
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            found = os.fstat(descriptor)
            if identity(found.st_dev, found.st_ino) != self.file:
                raise _changed()
            yield from self._read(descriptor, most)
        except OSError as error:
            msg = f"cannot be read: {error.strerror or error}"
            raise UnreadableError(msg) from error
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _read(self, descriptor: int, most: int) -> Iterator[LineDelta]:
        at = self.start
        while at < self.end:
            size = min(most, self.end - at)
            data = os.pread(descriptor, size, at)
            length = data.rfind(b"\n") + 1
            if not length and len(data) == size < self.end - at:
                most *= 2  # a long line
                continue
            if not length or len(data) < size:
                raise _changed()
            yield LineDelta(self.path, self.file, at, at + length, data if length == size else data[:length])
            at += length
        if os.pread(descriptor, len(self.last), self.end - len(self.last)) != self.last:
            raise _changed()


def _changed() -> UnreadableError:
    return UnreadableError("the file was cut or written anew before these lines of it were read")


def identity(device: int, inode: int) -> str:
    """What blocks of a file say of whose lines they are."""
    return f"{device:x}:{inode:x}"


@runtime_checkable
class Leaving(Protocol):
    """An observable that can leave lines unread."""

    def unread(self, size: Callable[[], int]) -> Observable[Any]:
        """The same observable; where it can, it emits `Unread` of about so many bytes, or of a block's if that is more.

        Args:
            size: Asked each time.
        """
        ...


def unread(source: Observable[Any], size: Callable[[], int]) -> Observable[Any]:
    """The source, leaving lines unread if it can; what it cannot leave it emits as ever."""
    return source.unread(size) if isinstance(source, Leaving) else source
