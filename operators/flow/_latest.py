"""The latest record of each key."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from operator import itemgetter
from typing import Any

from rxpipe.aggregations.packing import pack, pack_key, unpack
from rxpipe.context import Change, Context


class Latest:
    """The latest record of each key, the one that came last at the end; what changed since the last checkpoint.

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
