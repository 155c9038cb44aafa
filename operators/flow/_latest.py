"""What the combining operators share: records put together, and what stands for the latest of a stream."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from operator import itemgetter
from typing import Any

from rxpipe.context import Change, Context
from rxpipe.elements import Batch, Row
from rxpipe.expressions.packing import pack, pack_key, unpack

RETRACTED = "retracted: what was made of it stays; put this step before the one that retracts"


def combined(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One record of several: their fields in order, of one name the first."""
    made: dict[str, Any] = {}
    for row in rows:
        for name, value in row.items():
            made.setdefault(name, value)
    return made


def kept_rows(batch: Batch, context: Context) -> list[Row]:
    """The records of a batch; those that are retracted are rejected."""
    for row in batch.retracted:
        context.reject(RETRACTED, row, leases=batch.leases)
    return batch.rows


class Latest:
    """The latest record of each stream, and what changed of them since the last checkpoint.

    Args:
        context: The step's context.
    """

    def __init__(self, context: Context) -> None:
        self.rows: dict[Hashable, dict[str, Any]] = {}
        self._dirty: dict[Hashable, None] = {}
        saved = context.state("operator", self._changes, "the latest record")
        self._persistent = saved.persistent
        rows = sorted((unpack(value) for _, _, value in saved.items()), key=itemgetter(1))
        self.rows |= {key: row for key, _, row in rows}
        self._number = rows[-1][1] if rows else 0
        self._numbers: dict[Hashable, int] = {key: number for key, number, _ in rows}
        context.gauge("held", lambda: len(self.rows))

    def put(self, key: Hashable, row: dict[str, Any]) -> None:
        """Keep a record as the latest of its key; the key is then the last of `rows`."""
        self.rows.pop(key, None)
        self.rows[key] = row
        self._number += 1
        self._numbers[key] = self._number
        self._note(key)

    def drop_oldest(self) -> None:
        """Let go of the key that has had no record for the longest time."""
        key = next(iter(self.rows))
        del self.rows[key], self._numbers[key]
        self._note(key)

    def _note(self, key: Hashable) -> None:
        if self._persistent:
            self._dirty[key] = None

    def _changes(self) -> Iterable[Change]:
        for key in self._dirty:
            row = self.rows.get(key)
            yield pack_key(key), "", None if row is None else pack([key, self._numbers[key], row])
        self._dirty.clear()
