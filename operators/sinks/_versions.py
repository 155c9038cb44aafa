"""Which tables a sink has written last: one that a restart brings back as it was is not written again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from rxpipe.context import Change, Saved
from rxpipe.table import Table

_NOTE = b"\0"
"""How keys begin that are a step's notes to itself."""

_PART = "table"
Version = tuple[float, int]
"""When the count of a table's versions began, and the version."""


class Versions:
    """The versions of the tables that were written last, by the tables' names."""

    def __init__(self) -> None:
        self._written: dict[str, Version] = {}
        self._restored: dict[str, Version] = {}
        self._dirty: set[str] = set()

    def restore(self, saved: Saved) -> None:
        """Take over what was saved."""
        for key, part, value in saved.items():
            if part == _PART:
                self._restored[key.removeprefix(_NOTE).decode()] = msgspec.msgpack.decode(value, type=Version)

    def news(self, element: Any) -> bool:
        """Whether an element is to be written: all but a table that comes first after a restart, as it was written."""
        if not isinstance(element, Table) or element.since is None:
            return True
        version = self._written[element.name] = (element.since, element.version)
        self._dirty.add(element.name)
        return self._restored.pop(element.name, None) != version

    def changes(self) -> Iterable[Change]:
        """What there is to save."""
        for name in self._dirty:
            yield _NOTE + name.encode(), _PART, msgspec.msgpack.encode(self._written[name])
        self._dirty.clear()
