"""Which of the known files are of one log: a compressed one may have been made of another one."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from rxpipe.operators.files._codecs import is_packed

if TYPE_CHECKING:
    from rxpipe.operators.files._tail import Tail


class Logs:
    """The known files by their log; also those that are gone, until they are done with."""

    def __init__(self) -> None:
        self._plain: dict[str, dict[Tail, None]] = {}
        self._compressed: dict[str, dict[Tail, None]] = {}
        """As their names say; empty where none is known any more."""

    def add(self, tail: Tail) -> Tail:
        """A file is known, or of this log now; returns it."""
        self._like(tail).setdefault(tail.log, {})[tail] = None
        return tail

    def remove(self, tail: Tail) -> None:
        """A file is not known any more, or will be of another log."""
        self._like(tail).get(tail.log, {}).pop(tail, None)
        if not self._plain.get(tail.log, True):
            del self._plain[tail.log]

    def _like(self, tail: Tail) -> dict[str, dict[Tail, None]]:
        return self._compressed if is_packed(tail.path) else self._plain

    def plain(self, log: str) -> Collection[Tail]:
        """The files of a log that are not compressed."""
        return self._plain.get(log, ())

    def compresses(self, log: str) -> bool:
        """Whether a compressed file of a log is known, or was."""
        return log in self._compressed

    def unread(self, log: str) -> list[Tail]:
        """The compressed files of a log that are there and of which nothing was read."""
        copies = self._compressed.get(log, ())
        return [tail for tail in copies if not (tail.offset or tail.gone) and tail.packed is None]
