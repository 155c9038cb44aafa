"""Where in its file the line of a record stands, found when the record is rejected: nothing is kept of it before."""

from __future__ import annotations

import os
from itertools import accumulate

from rxpipe.elements import Batch, Row


class Origins:
    """The way of a batch's records through steps, from the lines that they were made of.

    Args:
        batch: The batch as it came.
    """

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._steps: list[tuple[list[Row], list[Row], list[Row]]] = []
        self._rows = batch.rows
        self._rejected: list[Row] = []

    def step(self, rows: list[Row]) -> None:
        """A step has made these rows of those that came to it."""
        self._steps.append((self._rows, rows, self._rejected))
        self._rows, self._rejected = rows, []

    def rejected(self, row: Row) -> tuple[int, int] | None:
        """The first byte of a rejected record's line, and the one behind it; None where that is not known."""
        self._rejected.append(row)
        lines = self._batch.lines
        if lines is None:
            return None
        at = _found(row, self._rows)
        for came, went, rejected in reversed(self._steps):
            if at is None:
                return None
            at = _before(at, came, went, rejected)
        return None if at is None else lines.at(at, self._batch.rows)


def _before(at: int, came: list[Row], went: list[Row], rejected: list[Row]) -> int | None:
    """Which of the rows that came is the one at a place of those that went."""
    if len(went) + len(rejected) == len(came):  # one of each, but for those rejected
        gone = {id(row) for row in rejected}
        kept = [place for place, row in enumerate(came) if id(row) not in gone]
        return kept[at] if len(kept) == len(went) else None
    return _found(went[at], came)


def _found(row: Row, rows: list[Row]) -> int | None:
    return next((place for place, other in enumerate(rows) if other is row), None)


def lines_in(path: str, start: int, end: int) -> list[tuple[int, bytes]]:
    """The lines of a block with the offsets of their first bytes, read again; none where that is not possible."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError):
        return []
    try:
        lines = os.pread(descriptor, end - start, start).split(b"\n")
    except OSError:
        return []
    finally:
        os.close(descriptor)
    starts = accumulate((len(line) + 1 for line in lines[:-1]), initial=start)
    return [*zip(starts, lines, strict=True)]
