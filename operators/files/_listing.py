"""What is in a folder, also while files in it are renamed: then a listing may miss some of them, or have them twice."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

LISTINGS = 5
"""How often a folder is listed, at most, in which something comes or goes meanwhile."""

_GRAIN = 20_000_000
"""Nanoseconds within which two changes of a folder may have the same time."""


class Listing:
    """The entries of a folder; listed again, a few times, until nothing comes or goes meanwhile.

    Args:
        folder: The folder.

    Attributes:
        folder: The folder.
        entries: The entries, also those of earlier listings if the last one may lack some.
        names: The paths that the last one has.

    Raises:
        OSError: It cannot be listed.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._inodes: dict[int, list[str]] | None = None
        found: dict[str, os.DirEntry[str]] = {}
        for _ in range(LISTINGS):
            self._mtime_ns, self._began = os.stat(folder).st_mtime_ns, time.time_ns()
            with os.scandir(folder) as entries:
                last = {entry.path: entry for entry in entries}
            found |= last
            if self.whole():
                found = last
                break
        self.entries = list(found.values())
        self.names = last.keys()

    def whole(self) -> bool:
        """Whether nothing has come or gone since it was begun, so that it lacks nothing."""
        try:
            return self._began - self._mtime_ns > _GRAIN and os.stat(self.folder).st_mtime_ns == self._mtime_ns
        except OSError:
            return True

    def with_inode(self, inode: int) -> Iterable[str]:
        """The paths that have an inode."""
        if self._inodes is None:
            self._inodes = {}
            for entry in self.entries:
                self._inodes.setdefault(entry.inode(), []).append(entry.path)
        return self._inodes.get(inode, ())


def listing_of(folder: str) -> Listing | None:
    """What is in a folder; None if it cannot be listed."""
    try:
        return Listing(folder)
    except OSError:
        return None
