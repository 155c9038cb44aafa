"""What is measured of every step without its help: records, bytes, blocks, errors, time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import repeat
from typing import Any, TypeVar

import msgspec

from rxpipe.elements import Batch, Fold, LineDelta
from rxpipe.unread import Unread

E = TypeVar("E", bound=BaseException)

LARGE = 16 * 1024
"""Bytes from which on not every block's lines are counted."""

SAMPLED = 16
"""One large block in so many is counted: counting all of them would cost a fiftieth of reading them."""


class Meter(msgspec.Struct):
    """Counters of one step. `nanoseconds` is the step's own time, without that of the steps after it.

    A batch has as many records as rows, a block of lines as many as lines; anything else is one record. Of large blocks
    of lines one in 16 is counted, and the others are taken to have as many lines for their size as those.
    """

    records_in: int = 0
    records_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    blocks_in: int = 0
    blocks_out: int = 0
    largest_block: int = 0
    errors: int = 0
    nanoseconds: int = 0
    last: float = 0.0
    """When an element last flowed out, in seconds since the epoch; 0 before the first."""
    gauges: dict[str, Callable[[], float]] = msgspec.field(default_factory=dict)
    details: dict[str, Callable[[], Any]] = msgspec.field(default_factory=dict)
    _large: int = 0
    _counted_lines: int = 0
    _counted_bytes: int = 0

    def pass_on(self, element: Any, to: Meter) -> None:
        """Count an element that flows out of this meter's step and into that of another, both at once."""
        kind = type(element)
        if kind is Batch:
            records = len(element.rows)
        elif kind is LineDelta:
            size = len(element.data)
            self.bytes_out += size
            to.bytes_in += size
            records = lines_in(element.data) if size < LARGE else self._reckoned(element.data, size)
        elif kind is Fold:
            records = element.records
        elif kind is Unread:
            size = element.end - element.start
            self.bytes_out += size
            to.bytes_in += size
            records = self._reckoned(element.last, size)
        else:
            records = 1
        self.blocks_out += 1
        self.records_out += records
        to.blocks_in += 1
        to.records_in += records
        if records > to.largest_block:  # noqa: PLR1730  # half the time of max()
            to.largest_block = records

    def _reckoned(self, data: bytes, size: int) -> int:
        """The lines of a large block, of which some bytes are at hand."""
        self._large += 1
        if self._large % SAMPLED == 1:
            self._counted_lines += (lines := lines_in(data))
            self._counted_bytes += len(data)
            if len(data) == size:
                return lines
        return round(size * self._counted_lines / self._counted_bytes)


def count_rows(
    steps: list[tuple[Meter, bool]],
    nanoseconds: int,
    before: int,
    after: Iterable[int],
    taken: int = 0,
    taken_after: Iterable[int] = repeat(0),
) -> None:
    """Count one batch through steps that stand side by side, as far as anything of it came.

    Args:
        steps: The meters, and whether records are counted there.
        nanoseconds: The time of each.
        before: How many rows flow into the first.
        after: How many flow out of each, and into the next.
        taken: How many rows that are taken back flow into the first.
        taken_after: How many of these flow out of each.
    """
    for (meter, counted), left, taken_left in zip(steps, after, taken_after, strict=False):
        if not (before or taken):
            return
        meter.nanoseconds += nanoseconds
        if counted:
            meter.records_in += before
            meter.records_out += left
            meter.blocks_in += 1
            meter.blocks_out += 1
            if before > meter.largest_block:  # noqa: PLR1730  # half the time of max()
                meter.largest_block = before
        before, taken = left, taken_left


def lines_in(data: bytes) -> int:
    """The number of lines, an unfinished last one among them.

    Looking for one newline after the other is several times as fast as `bytes.count` where lines are long.
    """
    find = data.find
    lines, at, end = 0, find(b"\n"), len(data) - 1
    while at >= 0:
        lines += 1
        if at == end:
            return lines
        at = find(b"\n", at + 1)
    return lines + (end >= 0)


def blame(error: E, step: str) -> E:
    """Note on an exception the step that raised it; the first note stays, it is the innermost."""
    if not hasattr(error, "rxpipe_step"):
        error.rxpipe_step = step  # type: ignore[attr-defined]  # carried to where the run reports it
    return error
