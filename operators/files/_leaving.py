"""The files that are not where they were: renamed, compressed or removed, which may not be known yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rxpipe.operators.files._tail import Tail

Identity = tuple[int, int]


class Leaving:
    """The files that were at a path and are not yet done with. Where there are several, each waits for those before it.

    A file that is lost may still turn up: elsewhere, or as what it was compressed to.

    Args:
        now: The time, in seconds.
        note: Called with a path where one more file is leaving, or one less.
    """

    def __init__(self, now: Callable[[], float], note: Callable[[str], None]) -> None:
        self._now = now
        self._note = note
        self._at: dict[str, list[Tail]] = {}
        self._lost: dict[Tail, float] = {}
        """Since when each is lost."""
        self._lost_at: dict[Identity, dict[Tail, None]] = {}

    def add(self, tail: Tail) -> None:
        """A file is not at its path any more."""
        leaving = self._at.setdefault(tail.path, [])
        if tail not in leaving:
            leaving.append(tail)
        self._note(tail.path)

    def lose(self, tail: Tail, since: float | None = None) -> None:
        """A file is not at its path any more, and may be elsewhere."""
        self.add(tail)
        tail.sought = True
        self._lost[tail] = self._now() if since is None else since
        self._lost_at.setdefault(tail.identity, {})[tail] = None

    def found(self, tail: Tail) -> None:
        """A file is not lost any more: it turned up, or is known to be gone."""
        if tail in self._lost:
            del self._lost[tail], self._lost_at[tail.identity][tail]
            if not self._lost_at[tail.identity]:
                del self._lost_at[tail.identity]

    def remove(self, tail: Tail, path: str) -> bool:
        """A file that was at a path is done with, or elsewhere; whether it was among those that left."""
        leaving = self._at.get(path, [])
        if tail not in leaving:
            return False
        leaving.remove(tail)
        if not leaving:
            del self._at[path]
        self._note(path)
        return True

    def at(self, path: str) -> list[Tail]:
        """The files that were at a path, those that were there first first."""
        return self._at.get(path, [])

    def waits(self, tail: Tail) -> bool:
        """Whether a file, which is at its path or was, waits until those are done with that were there before."""
        return tail.path in self._at and self._at[tail.path][0] is not tail

    def lost(self, identity: Identity) -> list[Tail]:
        """The files that are lost and had an identity: one may have it from another one that is gone."""
        return [*self._lost_at.get(identity, ())]

    def is_lost(self, tail: Tail) -> bool:
        """Whether a file may still turn up."""
        return tail in self._lost

    @property
    def any_lost(self) -> bool:
        """Whether any file may still turn up."""
        return bool(self._lost)

    def overdue(self, left: Callable[[float], float]) -> list[Tail]:
        """The files that are lost for so long that no time is left, as `left` says of the time since when they are."""
        return [tail for tail, since in self._lost.items() if not left(since)]

    def due(self, left: Callable[[float], float]) -> float:
        """How much time is left for the first of the files that are lost; 0 without one."""
        return min(map(left, self._lost.values()), default=0.0)
