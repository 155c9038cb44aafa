"""A queue of texts of bytes on disk, in files of a limited size: written at one end, read at the other."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from rxpipe.errors import StateError
from rxpipe.private import make_folder, sync_folder

LENGTH = 4
"""Bytes in front of each text that tell its length."""

Position = tuple[int, int, int, int]
"""Number of the file that is read and offset in it, number of the file that is written and offset in it."""


class Spool:
    """The queue in one folder.

    Args:
        folder: Holds nothing but the queue; it is made when something is written.
        size: Bytes after which a new file is begun.
        position: Where to go back to, as `sync` told it; None begins anew.
        keep: Whether files that were read stay until `forget` is told of a position that nothing goes back behind.

    Attributes:
        nbytes: How much waits.

    Raises:
        StateError: What was synced at that position is not there any more.
    """

    def __init__(self, folder: Path, size: int, position: Position | None, *, keep: bool) -> None:
        self._folder = folder
        self._size = size
        self._keep = keep
        self._reading, self._read, self._writing, self._written = position or (0, 0, 0, 0)
        self._in = self._out = -1
        self._synced = True
        self._closed = False
        self._empty = self._reading == self._writing and self._read == self._written
        self.nbytes = 0 if self._empty else self._found()
        if self._empty:
            self._read = self._written = 0
        self._oldest = self._reading
        self._clean()

    def append(self, text: bytes) -> None:
        """Write a text; one that cannot be written whole is not there.

        Raises:
            OSError: The disk is full, say.
        """
        if self._written >= self._size:
            self.sync()
            self._close_out()
            self._writing, self._written = self._writing + 1, 0
        if self._out < 0:
            self._out = self._opened()
        frame = len(text).to_bytes(LENGTH, "big") + text
        done = 0
        while done < len(frame):
            done += os.pwrite(self._out, frame[done:], self._written + done)
        self._written += len(frame)
        self.nbytes += len(frame)
        self._synced = False

    def take(self) -> bytes:
        """Read the next text; there must be one."""
        while self._reading < self._writing and self._read >= self._length(self._reading):
            self._close_in()
            self._reading, self._read = self._reading + 1, 0
            if not self._keep:
                self.forget((self._reading, 0, 0, 0))
        if self._in < 0:
            self._in = os.open(self._path(self._reading), os.O_RDONLY | os.O_CLOEXEC)
        length = int.from_bytes(os.pread(self._in, LENGTH, self._read), "big")
        text = os.pread(self._in, length, self._read + LENGTH)
        self._read += LENGTH + length
        self.nbytes -= LENGTH + length
        return text

    def sync(self) -> Position:
        """Make what was written durable, and tell the position.

        Raises:
            OSError: That failed.
        """
        if not self._synced:
            if self._out < 0:
                self._out = self._opened()
            os.fsync(self._out)
            self._synced = True
            if self._closed:
                self._close_out()
        return self._reading, self._read, self._writing, self._written

    def forget(self, position: Position) -> None:
        """Remove the files in front of a position."""
        while self._oldest < position[0]:
            self._path(self._oldest).unlink(missing_ok=True)
            self._oldest += 1

    def close(self) -> None:
        """Close the files; those that nobody is to go back to are removed. The others can still be synced."""
        self._closed = True
        self._close_in()
        self._close_out()
        if not self._keep:
            self._synced = True
            shutil.rmtree(self._folder, ignore_errors=True)

    def _found(self) -> int:
        """How many bytes wait at the position."""
        files = range(self._reading, self._writing + 1)
        wanted = [(number, self._written if number == self._writing else 0) for number in files]
        total = -self._read
        for number, written in wanted:
            length = self._length(number)
            if length < written or (number < self._writing and not length):
                msg = f"{self._path(number)}: must have what was written to it before the restart; got {length} bytes"
                raise StateError(msg)
            total += written if number == self._writing else length
        return total

    def _clean(self) -> None:
        """Remove what was written behind the position, and what stands in front of it.

        Where nothing waits at the position, nothing of it is needed: a crash may go back to it once more.
        """
        for path in self._folder.glob("[0-9]*"):
            number = int(path.name)
            if self._empty or not self._reading <= number <= self._writing:
                path.unlink()
            elif number == self._writing:
                os.truncate(path, self._written)

    def _opened(self) -> int:
        make_folder(self._folder)
        made = os.open(self._path(self._writing), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        sync_folder(self._folder)
        return made

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:08d}"

    def _length(self, number: int) -> int:
        try:
            return self._path(number).stat().st_size
        except FileNotFoundError:
            return 0

    def _close_in(self) -> None:
        if self._in >= 0:
            os.close(self._in)
            self._in = -1

    def _close_out(self) -> None:
        if self._out >= 0:
            os.close(self._out)
            self._out = -1
