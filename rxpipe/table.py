"""A live table: the result of an aggregation, whose rows are computed when somebody reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rxpipe.elements import Row, as_dict


class Table:
    """Rows that change in place; the same object is emitted again whenever they did.

    Args:
        name: The stream the table belongs to.
        key: The columns that identify a row; empty where rows have no key.
        read: Computes the rows as they are now.
        version: A number that grows with every change.
        since: When the count of versions began, in seconds since the epoch, where it goes on after a restart: so a
            sink can tell a table that it has written from one that it has not. None where each run counts anew.
    """

    __slots__ = ("_read", "_version", "key", "name", "since")

    def __init__(
        self,
        name: str,
        key: tuple[str, ...],
        read: Callable[[], list[Row]],
        version: Callable[[], int],
        since: float | None = None,
    ) -> None:
        self.name = name
        self.key = key
        self._read = read
        self._version = version
        self.since = since

    @property
    def version(self) -> int:
        """Grows with every change: two reads at one version give the same rows, expressions of `now()` aside."""
        return self._version()

    def rows(self) -> list[Row]:
        """The rows as they are now; do not change them."""
        return self._read()

    def dicts(self) -> list[dict[str, Any]]:
        """The rows as they are now, as plain dicts."""
        return [as_dict(row) for row in self.rows()]

    def map(
        self, function: Callable[[list[Row]], list[Row]], *, name: str = "", key: tuple[str, ...] | None = None
    ) -> Table:
        """A table whose rows are `function` of this one's, computed at each read."""
        key = self.key if key is None else key
        return Table(name or self.name, key, lambda: function(self.rows()), self._version, self.since)

    def __len__(self) -> int:
        return len(self.rows())

    def __eq__(self, other: object) -> bool:
        return self.dicts() == other.dicts() if isinstance(other, Table) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # compared by content, which changes

    def _repr_html_(self) -> str:
        from rxpipe.views.notebook import table_html  # only notebooks call this

        return table_html(self.name, self.dicts())

    def __repr__(self) -> str:
        return f"Table({self.name!r}, {self.dicts()!r})"
