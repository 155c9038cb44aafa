"""Folders and files that are private to the user, whatever the umask, and survive a power loss; secrets in files."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

FILE, FOLDER = 0o600, 0o700
"""The modes."""

LONGEST_SECRET = 100_000
"""Bytes of a file that holds a secret."""

_NO_SYNC = (errno.EINVAL, errno.EACCES)
"""What a file system says that knows no sync of folders, and a folder that may be written to but not read."""


def make_folder(path: Path) -> None:
    """Make a folder, with those above it that are missing; their names are durable then.

    Raises:
        OSError: It cannot be made, or there is a file in its place.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
    for folder in reversed(missing):
        folder.mkdir(FOLDER, exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a file's sync says nothing of its name.

    Raises:
        OSError: The disk fails.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


@contextmanager
def replacing(path: Path, *, durable: bool = False, new: bool = False) -> Generator[BinaryIO]:
    """A file to write, which takes the place of the one at the path once the block ends well, as it was or as it is.

    It has the mode of the one that was there, so that who may read that is for the user to say.

    Args:
        path: The path.
        durable: Whether it survives a power loss from then on, with its name.
        new: Whether there must be none at the path.

    Raises:
        FileExistsError: There is one, and must be none.
        OSError: It cannot be written; what was at the path stays.
    """
    mode = FILE
    with suppress(FileNotFoundError):
        mode = path.stat().st_mode & 0o777
    part, descriptor = _beside(path)
    with open(descriptor, "wb") as file:  # until it has its place, nobody else takes it for what was left
        try:
            yield file
            file.flush()
            os.fchmod(descriptor, mode)
            if durable:
                os.fsync(descriptor)
            if new:
                os.link(part, path)
                part.unlink()
            else:
                part.replace(path)
            if durable:
                sync_folder(path.parent)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def _beside(path: Path) -> tuple[Path, int]:
    """A file to write into, open and empty: the one that a process left which was killed, unless somebody is at it."""
    part = path.with_name(f".{path.name[:64]}.part")
    with suppress(OSError):  # a link, a folder, another user's
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, FILE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.lstat(part)):
                os.ftruncate(descriptor, 0)
                os.fchmod(descriptor, FILE)
                return part, descriptor
        except OSError:
            pass
        os.close(descriptor)
    part = path.with_name(f".{path.name[:64]}.{uuid4().hex}.part")
    return part, os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE)


def secret_in(path: str) -> str:
    """The secret that a file holds, without white space around it.

    Raises:
        ValueError: There is no such file, or it is none that holds a secret.
    """
    file = Path(path).expanduser()
    try:
        if file.exists() and not file.is_file():  # a pipe is waited for, a device may have no end
            reason = "not a regular file"
        elif file.stat().st_size > LONGEST_SECRET:
            reason = f"more than {LONGEST_SECRET:,} bytes"
        else:
            return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        reason = error.strerror or str(error)
    except UnicodeDecodeError:
        reason = "not a text file"
    msg = f"cannot read {path!r}: {reason}"
    raise ValueError(msg)
