"""A folder of Parquet files, none of them longer open than to the next checkpoint: what is behind the last can go."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from pathlib import Path
from typing import Any

from rxpipe.errors import RxpipeError
from rxpipe.operators.sinks._appender import Appender
from rxpipe.private import make_folder

_NAME = re.compile(r"part-([0-9]{8,})\.parquet")


class Parts:
    """The files of one sink, and the one that is written.

    What is to be written is encoded in memory and appended to the file whole or not at all, so that a full disk
    leaves no file behind that cannot be gone on with.

    Args:
        folder: The folder; made private to the user where it does not exist.
        parquet: The module `pyarrow.parquet`.
        compression: How columns are compressed.

    Raises:
        RxpipeError: It cannot be made, or has another writer.
    """

    def __init__(self, folder: Path, parquet: Any, compression: str) -> None:
        self.folder = folder
        self._parquet = parquet
        self._compression = compression
        self._file: Appender | None = None
        self._writer: Any = None
        self._encoded = _Encoded()
        self._ended = False
        try:
            make_folder(folder)
            self._descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            msg = f"{folder}: must be a folder that can be written to; got {error.strerror}"
            raise RxpipeError(msg) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._descriptor)
            msg = f"{folder}: must have one writer; another sink or run has it open, give each its own folder"
            raise RxpipeError(msg) from error
        self.last = max(self._numbers(), default=0)

    def _numbers(self) -> list[int]:
        return [int(found[1]) for name in os.listdir(self._descriptor) if (found := _NAME.fullmatch(name))]

    def path(self, number: int) -> Path:
        """The file of a number."""
        return self.folder / f"part-{number:08}.parquet"

    @property
    def _torn(self) -> Path:
        """Where the next file is written until it is whole."""
        return self.folder / ".part.tmp"

    def go_back(self, number: int) -> None:
        """Remove the files behind a number."""
        for found in self._numbers():
            if found > number:
                self.path(found).unlink()
        self.last = number

    def schema(self) -> Any:
        """The schema of the last file; None if there is none."""
        numbers = self._numbers()
        return self._parquet.read_schema(self.path(max(numbers))) if numbers else None

    def add(self, table: Any) -> None:
        """Take a row group for the file that is written; `flush` writes it."""
        if self._writer is None:
            self._writer = self._parquet.ParquetWriter(self._encoded, table.schema, compression=self._compression)
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))

    def flush(self) -> None:
        """Write what was taken, or nothing of it.

        Raises:
            OSError: It cannot be written; to be called again.
        """
        if not self._encoded.data:
            return
        if self._file is None:
            self._file = self._begun()
        self._file.write(self._encoded.data)
        self._encoded.data = b""

    def _begun(self) -> Appender:
        self._torn.unlink(missing_ok=True)
        try:
            return Appender(self._torn)
        except RxpipeError as error:
            if isinstance(error.__cause__, OSError):
                raise error.__cause__ from error  # which may pass, and is tried again
            raise

    @property
    def begun(self) -> bool:
        """Whether a file is begun and not finished."""
        return self._writer is not None or self._file is not None or self._ended

    def go_on(self) -> None:
        """Finish the file that could not be finished, if there is one: what comes now belongs to the next.

        Raises:
            OSError: It cannot; to be called again.
        """
        if self._ended:
            self.finish()

    def finish(self) -> bool:
        """Make the file that is written whole and durable, under its number; returns whether there was one.

        Raises:
            OSError: It cannot; to be called again.
        """
        if self._writer is not None:
            self._writer.close()
            self._writer, self._ended = None, True
        self.flush()
        if self._file is None:
            return False
        self._file.sync()
        self._torn.replace(self.path(self.last + 1))
        self.last += 1
        self._file.close()
        self._file = None
        self._encoded, self._ended = _Encoded(), False
        return True

    def sync(self) -> None:
        """Make the entries of the folder durable."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Give up the file that is written, and let go of the folder."""
        if self._file is not None:
            self._file.close()
            with contextlib.suppress(OSError):
                self._torn.unlink(missing_ok=True)
        if self._writer is not None:
            self._writer.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class _Encoded:
    """Where the writer puts its bytes, as a file that it only appends to."""

    closed = False

    def __init__(self) -> None:
        self.data = b""
        self._length = 0

    def write(self, data: Any) -> int:
        added = bytes(data)
        self.data += added
        self._length += len(added)
        return len(added)

    def tell(self) -> int:
        return self._length

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """The footer is written."""
