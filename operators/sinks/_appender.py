"""A file that is only appended to, whose writes are whole or not there, and that can go back to a position."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
from pathlib import Path

from rxpipe.errors import RxpipeError, StateError
from rxpipe.private import make_folder, sync_folder

TAIL = 4096
"""How many bytes before the position tell whether the file is the one that was written."""


class Appender:
    """One open file, locked for this writer.

    Args:
        path: The file; made with its folder, private to the user, where it does not exist.
        position: Where to go back to: length and `mark` of the last checkpoint. Without it writing goes on at the end.

    Raises:
        StateError: There is a position, and the file is not the one it belongs to.
        RxpipeError: The file cannot be opened, is no regular file, or has another writer.
    """

    def __init__(self, path: Path, position: tuple[int, bytes] | None = None) -> None:
        self.path = path
        self._descriptor = -1
        self._synced_folder = False  # also of a file that is there: who made it may have been killed before that
        if position is not None and position[0] > 0 and not path.exists():
            raise _foreign(path, f"holds {position[0]:,} bytes of this graph", "there is no file")
        try:
            make_folder(path.parent)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        except OSError as error:
            msg = f"{path}: must be a file that can be written; got {error.strerror}"
            raise RxpipeError(msg) from error
        try:
            self._open(position)
        except BaseException:
            self.close()
            raise

    def _open(self, position: tuple[int, bytes] | None) -> None:
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            msg = f"{self.path}: must be a regular file; got something else, which to_stdout may write to"
            raise RxpipeError(msg)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            msg = f"{self.path}: must have one writer; another sink or run has it open, give each its own file"
            raise RxpipeError(msg) from error
        except OSError:
            pass  # a file system without locks
        self.length = os.fstat(self._descriptor).st_size
        if position is not None:
            self._go_back(*position)
        elif self.length and os.pread(self._descriptor, 1, self.length - 1) != b"\n":
            self.write(b"\n")  # the line that another writer left torn must not swallow the first of ours

    def _go_back(self, length: int, mark: bytes) -> None:
        if self.length < length:
            raise _foreign(self.path, f"holds at least {length:,} bytes", f"it has {self.length:,}")
        if self._mark(length) != mark:
            raise _foreign(self.path, f"holds what this graph wrote up to byte {length:,}", "it holds something else")
        if self.length > length:
            os.ftruncate(self._descriptor, length)
        self.length = length

    def write(self, data: bytes | memoryview, *, sync: bool = False) -> None:
        """Append all of the data, or nothing.

        Args:
            data: The bytes.
            sync: Whether to make them durable too.

        Raises:
            OSError: The disk is full, or another error of the file system; what was written of the data is taken back.
        """
        rest = memoryview(data)
        if os.fstat(self._descriptor).st_size != self.length:  # a failed attempt is still to be taken back
            os.ftruncate(self._descriptor, self.length)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            if sync:
                self.sync()
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self.length)
            raise
        self.length += len(data)

    def sync(self) -> None:
        """Make what was written durable, and at first also the file's entry in its folder."""
        os.fsync(self._descriptor)
        if not self._synced_folder:
            sync_folder(self.path.parent)
            self._synced_folder = True

    def sync_aside(self) -> None:
        """The same, on another thread, while the file may be written to, or closed. One that is gone held nothing."""
        with contextlib.suppress(FileNotFoundError):
            sync(self.path)
        if not self._synced_folder:
            sync_folder(self.path.parent)
            self._synced_folder = True

    def position(self) -> tuple[int, bytes]:
        """What to give to the next writer so that it goes on here.

        Raises:
            StateError: The file is no longer at its path: it was removed or replaced.
        """
        in_place(self.path, os.fstat(self._descriptor))
        return self.length, self._mark(self.length)

    def _mark(self, length: int) -> bytes:
        start = max(0, length - TAIL)
        return hashlib.blake2b(os.pread(self._descriptor, length - start, start), digest_size=16).digest()

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def sync(path: Path) -> None:
    """Make durable what is at a path, a file or the entries of a folder."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def in_place(path: Path, opened: os.stat_result) -> None:
    """Make sure that the file that is written to is still the one at its path.

    Raises:
        StateError: It was removed or replaced.
    """
    try:
        now = path.stat()
    except FileNotFoundError:
        now = None
    if now is None or (now.st_dev, now.st_ino) != (opened.st_dev, opened.st_ino):
        raise _foreign(path, "this run writes to", f"it was {'removed' if now is None else 'replaced'} meanwhile")


def _foreign(path: Path, must: str, got: str) -> StateError:
    return StateError(
        f"{path}: must be the file that {must}; {got}: it was removed, shortened or replaced since the last "
        f"checkpoint. Put it back, or give up its rows and reset this step's state with `rxpipe state`"
    )
