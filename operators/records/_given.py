"""The columns that records were given, for when they are retracted: they then go on as they went on before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rxpipe.aggregations.packing import pack, unpack
from rxpipe.context import Change
from rxpipe.elements import Row, as_dict
from rxpipe.fusion.rows import Reject
from rxpipe.operators.records._wider import widened

PART = "given"
"""The part of the state's rows in which they are saved."""


class Given:
    """What records of one subscription were given; of equal records each its own.

    Args:
        columns: The names of the columns, and their types.
    """

    def __init__(self, columns: Mapping[str, Any]) -> None:
        self._columns = columns
        self._values: dict[bytes, list[tuple[Any, ...]]] = {}
        self._dirty: dict[bytes, None] = {}

    def widened(self, rows: list[Row], values: Sequence[tuple[Any, ...]]) -> list[Row]:
        """Records with the columns that they are given."""
        return widened(rows, self._columns, [*values])

    def remember(self, rows: list[Row], values: Sequence[tuple[Any, ...]]) -> None:
        """Note what records that may be retracted are given."""
        for row, own in zip(rows, values, strict=True):
            content = pack(as_dict(row))
            self._values.setdefault(content, []).append(own)
            self._dirty[content] = None

    def taken_back(self, rows: list[Row], reject: Reject) -> list[Row]:
        """Retracted records as they went on; one that never did is rejected."""
        known: list[Row] = []
        found: list[tuple[Any, ...]] = []
        for row in rows:
            content = pack(as_dict(row))
            values = self._values.get(content)
            if values is None:
                reject(row, LookupError(f"it is retracted, and no record like it was given {', '.join(self._columns)}"))
                continue
            known.append(row)
            found.append(values.pop())
            if not values:
                del self._values[content]
            self._dirty[content] = None
        return widened(known, self._columns, found)

    def changes(self) -> Iterable[Change]:
        """What changed since the last checkpoint."""
        for content in self._dirty:
            values = self._values.get(content)
            yield content, PART, None if values is None else pack(values)
        self._dirty.clear()

    def restore(self, content: bytes, value: bytes) -> None:
        """Take over what was saved of equal records."""
        self._values[content] = unpack(value)
