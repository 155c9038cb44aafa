"""Folders and files that are private to the user, whatever the umask."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

FILE, FOLDER = 0o600, 0o700
"""The modes."""


def make_folder(path: Path) -> None:
    """Make a folder, with those above it that are missing.

    Raises:
        OSError: It cannot be made, or there is a file in its place.
    """
    missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
    for folder in reversed(missing):
        folder.mkdir(FOLDER, exist_ok=True)


@contextmanager
def replacing(path: Path) -> Generator[BinaryIO]:
    """A file to write, which takes the place of the one at the path once the block ends well, as it was or as it is.

    It has the mode of the one that was there, so that who may read that is for the user to say.

    Raises:
        OSError: It cannot be written; what was at the path stays.
    """
    mode = FILE
    with suppress(FileNotFoundError):
        mode = path.stat().st_mode & 0o777
    part = path.with_name(f".{path.name[:64]}.{uuid4().hex}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE)
    try:
        with open(descriptor, "wb") as file:
            yield file
            os.fchmod(descriptor, mode)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
