"""The files that a run writes itself."""

from __future__ import annotations

import os
from pathlib import Path


class Written:
    """The files that a run writes itself: what `watch` leaves out, lest a sink feed its own source for ever."""

    def __init__(self) -> None:
        self._paths: dict[str, str] = {}
        self._names: set[str] = set()

    def add(self, path: str | Path, *beside: str) -> None:
        """Add a file, and those beside it that have its name with something behind it, as `-wal`."""
        real = os.path.realpath(path)
        for found in (real, *(real + suffix for suffix in beside)):
            self._paths[found] = real
            self._names.add(os.path.basename(found))

    def at(self, path: str) -> str | None:
        """The written file at a path, or which has the file at that path beside it; None for any other."""
        return self._paths.get(os.path.realpath(path)) if os.path.basename(path) in self._names else None
