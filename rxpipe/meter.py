"""What is measured of every step without its help: records, bytes, blocks, errors, time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rxpipe.elements import Batch, Fold, LineDelta

E = TypeVar("E", bound=BaseException)


@dataclass(slots=True)
class Meter:
    """Counters of one step. `nanoseconds` is the step's own time, without that of the steps after it.

    A batch has as many records as rows; a block of lines, and anything else, is one record.
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
    gauges: dict[str, Callable[[], float]] = field(default_factory=dict)
    details: dict[str, Callable[[], Any]] = field(default_factory=dict)

    def rows(self, before: int, after: int, nanoseconds: int) -> None:
        """Count one batch through a fused step."""
        self.records_in += before
        self.records_out += after
        self.blocks_in += 1
        self.blocks_out += 1
        self.largest_block = max(self.largest_block, before)
        self.nanoseconds += nanoseconds

    def count_in(self, element: Any) -> None:
        """Count an element that flows in."""
        self.blocks_in += 1
        records = 1
        if isinstance(element, Batch):
            records = len(element.rows)
        elif isinstance(element, LineDelta):
            self.bytes_in += len(element.data)
        elif isinstance(element, Fold):
            records = element.records
        self.records_in += records
        if records > self.largest_block:  # noqa: PLR1730  # half the time of max()
            self.largest_block = records

    def count_out(self, element: Any) -> None:
        """Count an element that flows out."""
        self.blocks_out += 1
        if isinstance(element, Batch):
            self.records_out += len(element.rows)
        else:
            self.records_out += 1
            if isinstance(element, LineDelta):
                self.bytes_out += len(element.data)


def blame(error: E, step: str) -> E:
    """Note on an exception the step that raised it; the first note stays, it is the innermost."""
    if not hasattr(error, "rxpipe_step"):
        error.rxpipe_step = step  # type: ignore[attr-defined]  # carried to where the run reports it
    return error
