"""Which files are one log that is rotated, by their names, and which of them are older."""

from __future__ import annotations

import re
from collections import deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rxpipe.operators.files._tail import Tail

_ROTATED = re.compile(r"(.+?)(?:[.-](\d[\d.:T_-]*))?(?:\.(?:gz|zst|zstd))?")
_ROTATED_ENDS = frozenset("0123456789.:T_-ztd")
_NOT_A_DIGIT = re.compile(r"\D")
_LONGEST_NUMBER = 5
"""Digits of a rotation's number at most; more are a date or a time."""


class Generation(NamedTuple):
    """A log's path as it is without rotation, and an age: of two files of a log, the older one has the lesser."""

    log: str
    age: int


def generation(path: str) -> Generation:
    """What the name of a file says: `x.log`, `x.log.1`, `x.log.2.gz` and `x.log-20250131` are files of one log.

    Example:
        >>> generation("/logs/x.log.2.gz")
        Generation(log='/logs/x.log', age=-2)
    """
    if path[-1:] not in _ROTATED_ENDS:  # most are not
        return Generation(path, 1)
    folder, slash, name = path.rpartition("/")
    match = _ROTATED.fullmatch(name)
    if match is None:
        return Generation(path, 1)
    log, number = folder + slash + match[1], match[2]
    if number is None:
        return Generation(log, 1)
    digits = _NOT_A_DIGIT.sub("", number)
    return Generation(log, -int(digits) if len(digits) <= _LONGEST_NUMBER else int(digits) - 10 ** len(digits))


class Turns:
    """The files that wait to be read: logs take turns, and of each log the file whose last change is the oldest.

    Attributes:
        turns: The logs whose turns there will be, in order.
    """

    def __init__(self) -> None:
        self.turns: deque[str] = deque()
        self._waiting: dict[str, list[_Waiting]] = {}
        self._added = 0

    def add(self, tail: Tail, *, first: bool = False) -> None:
        """A file waits, until it has been taken as often as it was added; `first` if its log has the next turn, too."""
        self._added += 1
        if first:
            self.turns.appendleft(tail.log)
        else:
            self.turns.append(tail.log)
        heappush(self._waiting.setdefault(tail.log, []), (tail.changed_ns, tail.age, tail.path, self._added, tail))

    def take(self) -> Tail:
        """The file whose turn it is."""
        log = self.turns.popleft()
        waiting = self._waiting[log]
        *_, tail = heappop(waiting)
        if not waiting:
            del self._waiting[log]
        return tail


_Waiting = tuple[int, int, str, int, "Tail"]
"""When a file was changed, its age, its path, how many were added before it, and the file: in the order of turns."""
