"""Folders and names that survive a power loss: a file's sync says nothing of its name, which is its folder's."""

from __future__ import annotations

import errno
import os
from pathlib import Path

_NO_SYNC = (errno.EINVAL, errno.EACCES)
"""What a file system says that knows no sync of folders, and a folder that may be written to but not read."""


def make_folder(folder: Path) -> None:
    """Make a folder, private to the user, where it does not exist, with all that it is in.

    Raises:
        OSError: It cannot be made.
    """
    missing = [made for made in (folder, *folder.parents) if not made.exists()]
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for made in reversed(missing):
        sync_folder(made.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable.

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
