"""The groups of one aggregation as a live table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from operator import countOf
from typing import Any

from rxpipe.aggregations.aggregation import Aggregation
from rxpipe.aggregations.groupcode import Group, Key
from rxpipe.aggregations.packing import pack, unpack
from rxpipe.context import Context, Cut
from rxpipe.elements import Batch, Fold, Partial, Row
from rxpipe.errors import RxpipeError
from rxpipe.expressions import parse
from rxpipe.fusion.loop import Fused, Loop, compile_loop
from rxpipe.fusion.rows import Reject, compile_values
from rxpipe.operators.aggregate._fold import write_groups
from rxpipe.operators.aggregate._store import Changed, Store
from rxpipe.table import Table

_VERSION = b"\0version"
"""The key of the row with the table's version, and when their count began; groups have others."""


class Groups:
    """The groups of one subscription.

    Args:
        context: The step's context.
        by: Expressions of the key.
        aggregations: Aggregations by column name.

    Attributes:
        name: The step's name.
        table: The table of the groups.
        restored: Whether there were groups in the saved state.
    """

    def __init__(self, context: Context, by: tuple[str, ...], aggregations: Mapping[str, Aggregation]) -> None:
        self._context = context
        self.name = context.name
        self._by = by
        self._aggregations = aggregations
        self._keys = [parse(text) for text in by]
        expressions = [*self._keys]
        expressions += [made.expression for made in aggregations.values() if made.expression is not None]
        self._values = compile_values(expressions, tuples=True) if expressions else None
        self._rows: dict[Key, dict[str, Any]] = {}
        self._stale: dict[Key, object] = {}
        self._loops: dict[tuple[type, bool, bool], Fused | None] = {}
        self._store = store = Store(by, aggregations)
        saved = context.state("operator", self._changes, f"groups by {', '.join(by) or 'nothing'}")
        store.persistent = saved.persistent
        version = saved.get(_VERSION).get("version")
        self._version: int
        self._version, since = (0, context.now()) if version is None else unpack(version)
        self._saved_version = None if version is None else self._version
        self._unread = [row for row in saved.items() if row[0] != _VERSION]
        self.restored = bool(self._unread)
        self._fill()
        self.table = Table(context.stream, by, self._read, lambda: self._version, since)
        context.gauge("groups", lambda: len(store.groups) + len(self._unread))

    def _changes(self) -> Cut:
        """What changed, and the version of the table."""
        made = self._store.changes()
        if self._saved_version != self._version:
            self._saved_version = self._version
            made.told.append((_VERSION, "version", pack([self._version, self.table.since])))
        return made

    def apply(self, batch: Batch | Fold) -> bool:
        """Take a batch in, or the groups that a loop changed; returns whether anything changed."""
        self._restore()
        changed = self._taken(batch) if isinstance(batch, Fold) else self._applied(batch)
        if changed:
            self._fill()
            self._version += 1
        return changed

    def _taken(self, folded: Fold) -> bool:
        self._store.gather(folded.result)
        self._stale.update(folded.result)
        return True

    def _applied(self, batch: Batch) -> bool:

        def reject(row: Row, error: Exception) -> None:
            self._context.reject(error, row, leases=batch.leases)

        self._store.fit(batch)
        changed = self._at_once(batch.retracted, retract=True)
        if changed is None:
            changed = self._update(lambda rows, values, _: self._store.retract(rows, values), batch.retracted, _ignore)
        added = self._at_once(batch.rows)
        return (self._update(self._store.add, batch.rows, reject) if added is None else added) or changed

    def _at_once(self, rows: list[Row], *, retract: bool = False) -> bool | None:
        """Add records, or take them back, by a loop of their own: whether anything changed; None where it cannot."""
        if not rows:
            return False
        row_type = type(rows[0])
        in_place = self._store.in_place
        if (in_place and (retract or not self._store.gathers)) or countOf(map(type, rows), row_type) != len(rows):
            return None
        key = (row_type, retract, self._store.exact)
        if key not in self._loops:
            try:
                self._loops[key] = compile_loop([partial(self.write, retract=retract)], row_type)
            except (RxpipeError, TypeError):  # the rows do not fit: each says so itself
                self._loops[key] = None
        loop = self._loops[key]
        if loop is None:
            return None
        try:
            changed: Changed = loop.call(rows, self._store.groups)[0]
            if in_place:
                self._store.gather(changed)
        except Exception:  # whatever it is, going record by record finds the one it comes from
            return None
        if not in_place:
            self._store.take(changed)
        self._stale.update(changed)
        return bool(changed)

    def receive(self, element: Any) -> bool:
        """Take in whatever has records, or groups of them; returns whether anything changed."""
        if isinstance(element, Partial):
            return self._merged(element)
        return isinstance(element, Batch | Fold) and self.apply(element)

    def part(self) -> dict[Key, Group]:
        """All groups, which are then no more here: a part of what another takes in."""
        part, self._store.groups = self._store.groups, {}
        self._stale.clear()
        return part

    def _merged(self, part: Partial) -> bool:
        """Take in the groups of later records; one whose values do not fit those that are here is rejected."""

        def reject(key: Key, error: Exception) -> None:
            self._context.reject(error, str({"key": key}), leases=part.leases)

        self._restore()
        self._stale.update(dict.fromkeys(self._store.merge(part.state, reject)))
        if part.state:
            self._fill()
            self._version += 1
        return bool(part.state)

    def write(self, loop: Loop, *, retract: bool = False) -> None:
        """Add records where they are computed, see `rxpipe.fusion.fused.Tail`; or take them back."""
        write_groups(loop, self._keys, self._aggregations, self._store.kinds, retract=retract)

    def arguments(self) -> tuple[Any, ...] | None:
        """The groups; None where all values must be kept, which is not done there."""
        self._restore()
        return None if self._store.exact else (self._store.groups,)

    def _update(
        self, update: Callable[[list[Row], list[Any], Reject], Changed], rows: list[Row], reject: Reject
    ) -> bool:
        """Add records or take them back; whether anything changed."""
        if not rows:
            return False
        kept, values = (rows, [()] * len(rows)) if self._values is None else self._values(rows, reject)
        changed = update(kept, values, reject)
        self._stale.update(changed)
        return bool(changed)

    def _restore(self) -> None:
        """Make groups of what was saved, when somebody first needs them: many tables are never looked at."""
        if self._unread:
            self._store.restore(self._unread)
            self._unread = []
            self._stale.update(self._store.groups)

    def _fill(self) -> None:
        """Without a key there is always one group."""
        if not self._by and not self._store.groups and not self._unread:
            self._store.open(())
            self._stale[()] = None

    def _read(self) -> list[Row]:
        """The rows; only those of groups that changed since the last read are made anew."""
        self._restore()
        groups, rows = self._store.groups, self._rows
        for key in self._stale:
            if key in groups:
                rows[key] = self._store.row(key)
            else:
                rows.pop(key, None)
        self._stale.clear()
        return [rows[key] for key in groups]


def _ignore(row: Row, error: Exception) -> None:
    """A retracted record was refused when it came by the first time, and counted then."""
