"""One checkpoint on its way into the state file: packed in slices, written in parts, committed at the end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING

from rxpipe.context import Change, Cut
from rxpipe.runtime.meter import blame

if TYPE_CHECKING:
    from rxpipe.runtime.state import StateFile

SLICE = 0.004
"""Seconds for which rows are packed before the flow has its turn again."""

_FEW = 32
"""Rows that are packed between two looks at the time."""

Part = list[tuple[str, list[Change]]]
"""Rows of some steps."""


class Saving:
    """What the steps have to save as of one moment.

    Args:
        state: The state file; None for a run that keeps no state, whose sinks make their data durable all the same.
        then: What to call when all is over.

    Attributes:
        rows: How many rows were written.
        nbytes: How many bytes they have.
    """

    def __init__(self, state: StateFile | None, then: list[Callable[[], None]]) -> None:
        self.then = then
        self.rows = 0
        self.nbytes = 0
        self._state = state
        self._cuts: list[tuple[str, Cut]] = []
        self._unpacked: deque[tuple[str, Iterator[Change]]] = deque()
        self._unsynced: deque[tuple[str, Cut]] = deque()

    def add(self, step: str, cut: Cut) -> None:
        """Save what a step has cut, behind what was added before."""
        for kept in (self._cuts, self._unsynced):
            kept.append((step, cut))
        self._unpacked.append((step, iter(cut.rows)))

    @property
    def last(self) -> bool:
        """Whether the part given last was the last one."""
        return not self._unpacked

    def part(self) -> Part:
        """The next rows: as many as can be packed in a slice of time."""
        made: Part = []
        until = perf_counter() + SLICE
        while self._unpacked:
            step, rows = self._unpacked[0]
            try:
                some = list(islice(rows, _FEW))
            except Exception as error:
                blame(error, step)
                raise
            if len(some) < _FEW:
                self._unpacked.popleft()
            if made and made[-1][0] == step:
                made[-1][1].extend(some)
            else:
                made.append((step, some))
            if perf_counter() >= until:
                break
        return made

    def write(self, part: Part, *, last: bool) -> None:
        """Write a part, on any thread, and commit behind the last one; before the first, all is made durable."""
        while self._unsynced:
            step, cut = self._unsynced.popleft()
            try:
                cut.sync()
            except Exception as error:
                blame(error, step)
                raise
        if self._state is not None:
            write = self._state.commit if last else self._state.write
            self.rows += write(part)
            self.nbytes += sum(len(key) + len(value or b"") for _, rows in part for key, _, value in rows)

    def whole(self) -> None:
        """Write all parts, here and now."""
        while True:
            part = self.part()
            self.write(part, last=self.last)
            if self.last:
                return

    def over(self, *, saved: bool) -> None:
        """Tell the steps whether it was saved."""
        for _, cut in self._cuts:
            if saved:
                cut.saved()
            else:
                cut.failed()
