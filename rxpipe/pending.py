"""Records held back: batches merged so that whoever applies the result ends where the single batches would have led."""

from __future__ import annotations

from rxpipe.elements import Batch, Row
from rxpipe.lease import Lease

MOST_COMPARISONS = 20_000
"""How many comparisons of rows one merge may cost."""


class Pending:
    """Batches held back, in one.

    A batch takes back its retracted rows before it adds its rows. So a retraction of a row that is itself still held
    cancels that row; any other stands for a row emitted before, and goes ahead of all that is held.
    """

    __slots__ = ("leases", "nbytes", "retractable", "retracted", "rows")

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.retracted: list[Row] = []
        self.leases: dict[Lease, None] = {}
        self.nbytes = 0
        self.retractable = False

    def __bool__(self) -> bool:
        return bool(self.rows or self.retracted)

    def fits(self, batch: Batch) -> bool:
        """Whether the batch can be merged at a fair price; if not, emit what is held first, which is always right."""
        return len(batch.retracted) * len(self.rows) <= MOST_COMPARISONS

    def more_bytes(self, batch: Batch) -> int:
        """How many bytes of source blocks the batch would add."""
        return sum(lease.nbytes for lease in dict.fromkeys(batch.leases) if lease not in self.leases)

    def add(self, batch: Batch) -> None:
        """Merge a whole batch."""
        self.retract(batch)
        self.extend(batch, batch.rows)

    def retract(self, batch: Batch) -> None:
        """Merge a batch's retractions; its rows come next."""
        self.retractable |= batch.retractable or bool(batch.retracted)
        if batch.retracted:
            for row in batch.retracted:
                if not self._cancel(row):
                    self.retracted.append(row)
            self._lease(batch)

    def extend(self, batch: Batch, rows: list[Row]) -> None:
        """Merge some of a batch's rows."""
        if rows:
            self.rows += rows
            self._lease(batch)

    def take(self) -> Batch:
        """What is held, as one batch; nothing is held after."""
        made = Batch(self.rows, self.retracted, tuple(self.leases), retractable=self.retractable)
        self.rows, self.retracted, self.leases, self.nbytes = [], [], {}, 0
        return made

    def clear(self) -> None:
        """Let go of all that is held."""
        self.take()

    def _lease(self, batch: Batch) -> None:
        self.retractable |= batch.retractable
        for lease in batch.leases:
            if lease not in self.leases:
                self.leases[lease] = None
                self.nbytes += lease.nbytes

    def _cancel(self, row: Row) -> bool:
        rows = self.rows
        for index in range(len(rows) - 1, -1, -1):
            if rows[index] is row or rows[index] == row:
                del rows[index]
                return True
        return False
