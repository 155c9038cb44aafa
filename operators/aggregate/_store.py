"""Groups of records by key: adding records, taking them back, joining groups, saving and restoring."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from operator import length_hint
from typing import Any, NamedTuple

from msgspec import Raw

from rxpipe.aggregations.aggregation import KINDS, Aggregation
from rxpipe.aggregations.groupcode import Column, Group, Key, Update, compile_groups
from rxpipe.aggregations.keepers import KEEPERS
from rxpipe.aggregations.packing import canonical, pack, unpack
from rxpipe.context import Change, Cut
from rxpipe.elements import Batch, Row
from rxpipe.fusion.rows import Reject

Changed = dict[Key, Group | None]
"""The groups that changed; None where one is gone."""


class _Settled(NamedTuple):
    """A group as it is saved: whether it has all values, its place, and its slots, which are packed."""

    exact: bool
    number: int
    slots: Raw


class Store:
    """The groups of one subscription.

    Args:
        by: The columns of the key.
        aggregations: Aggregations by column name.

    Attributes:
        groups: The groups by key, in order of each one's first record.
        exact: Whether all values are kept, since records may be taken back.
        kinds: In which kind each aggregation is kept.
        in_place: Whether any slot is an object, which changes in place.
        gathers: Whether a loop can gather what is to be added to all such slots.
        persistent: Whether to note what changes, for `changes`.
    """

    def __init__(self, by: tuple[str, ...], aggregations: Mapping[str, Aggregation]) -> None:
        self.groups: dict[Key, Group] = {}
        self.exact = False
        self.persistent = False
        self._by = by
        self._aggregations = aggregations
        self._dirty: Changed = {}
        self._cut: Changed = {}
        self._numbers: dict[Key, int] = {}
        self._last = 0
        self._compile()

    def fit(self, batch: Batch) -> None:
        """Keep all values from the first batch on whose rows may be retracted. Those before it stay for good."""
        if (batch.retractable or batch.retracted) and not self.exact:
            self._settle([*self._cut])
            self.exact = True
            self._compile()
            self.groups = {key: self._with_keepers(group) for key, group in self.groups.items()}
            self._dirty = {key: self.groups.get(key) for key in self._dirty}

    def add(self, rows: Sequence[Row], values: Sequence[Any], reject: Reject) -> Changed:
        """Add records, each a tuple of its key's columns and its values; one for which that fails is rejected."""
        return self._update(self._code.add, rows, values, reject)

    def retract(self, rows: Sequence[Row], values: Sequence[Any]) -> Changed:
        """Take records back; one for which that fails was refused when it came, and counted then."""
        return self._update(self._code.retract, rows, values, _ignore)

    def open(self, key: Key) -> None:
        """Make a group without records; it is not saved until it has one."""
        self.groups[key] = self._code.fresh()

    def join(self, key: Key, other: Key) -> None:
        """Add a group, whose records count as later, to another, which is made if there is none."""
        later = self.groups[other]
        self.take({other: None, key: self._code.join(self.groups[key], later) if key in self.groups else later})

    def merge(self, later: Mapping[Key, Group], reject: Callable[[Key, Exception], None]) -> Changed:
        """Add groups made elsewhere, of records that are never taken back and count as later; reject what cannot be."""
        changed: Changed = {}
        for key, group in later.items():
            made = self._with_keepers(group) if self.exact else group
            try:
                changed[key] = self._code.join(self.groups[key], made) if key in self.groups else made
            except Exception as error:  # whatever two values make the generated code raise
                reject(key, error)
        self.take(changed)
        return changed

    def remove(self, keys: Iterable[Key]) -> None:
        """Let go of groups."""
        self.take(dict.fromkeys(keys))

    def row(self, key: Key) -> dict[str, Any]:
        """The row of a group."""
        return self._code.read(key, self.groups[key])

    def changes(self) -> Cut:
        """The groups that changed, each with the number of its place among the others.

        They are packed while the flow goes on: what changes is a new group in the place of the old one. Where something
        changes in place it is packed before, see `_settle`.
        """
        cut, self._cut, self._dirty = self._dirty, self._dirty, {}
        given: list[Key] = []

        def rows() -> Iterator[Change]:
            while cut:
                key, group = cut.popitem()
                given.append(key)
                yield self._packed(key, group)

        def failed() -> None:
            self._dirty = {key: self.groups.get(key) for key in (*given, *cut)} | self._dirty
            cut.clear()

        return Cut(rows(), failed=failed)

    def _settle(self, keys: Iterable[Key]) -> None:
        """Pack what is cut of some groups, which are about to change in place."""
        cut = self._cut
        for key in keys:
            with suppress(TypeError):  # it cannot be a key: the record will be refused
                group = cut.get(key)
                if group is not None and type(group) is not _Settled:
                    cut[key] = _Settled(self.exact, self._numbers[key], Raw(pack([*map(self._dumped, group)])))

    def _packed(self, key: Key, group: Group | None) -> Change:
        shared = canonical(key)
        if group is None:
            return pack(shared), "", None
        if type(group) is not _Settled:
            group = self.exact, self._numbers[key], [*map(self._dumped, group)]
        own = [] if shared is key else [key]
        return pack(shared), "", pack([*group, *own])

    def restore(self, rows: Iterable[tuple[bytes, str, bytes]]) -> None:
        """Take over what was saved."""
        saved = sorted(((unpack(key), *unpack(value)) for key, part, value in rows if not part), key=_number)
        if any(exact for _, exact, *_ in saved):
            self.exact = True
            self._compile()
        for shared, exact, number, slots, *own in saved:
            key = own[0] if own else shared
            group = self._loaded(slots, self.kinds if exact else self._plain)
            self.groups[key] = self._with_keepers(group) if self.exact and not exact else group
            self._numbers[key] = self._last = number

    def _update(self, update: Update, rows: Sequence[Row], values: Sequence[Any], reject: Reject) -> Changed:
        if self._cut and self.in_place:
            columns = len(self._by)
            self._settle(value[0] if columns == 1 else value[:columns] for value in values)
        left = iter(values)
        changed: Changed = {}
        while True:
            try:
                update(left, self.groups, changed)
            except Exception as error:  # whatever a value makes the generated code raise
                reject(rows[len(values) - length_hint(left) - 1], error)
            else:
                break
        if changed:
            self.take(changed)
        return changed

    def take(self, changed: Changed) -> None:
        """Take in groups that changed."""
        self.groups.update(changed)  # those that are None go in the next line
        gone = [key for key, group in changed.items() if group is None]
        if self._cut:
            self._settle(gone)
        for key in gone:
            del self.groups[key]
            self._numbers.pop(key, None)
        if self.persistent:
            self._dirty.update(changed)
            for key, group in changed.items():
                if group is not None and key not in self._numbers:
                    self._last += 1
                    self._numbers[key] = self._last

    def gather(self, changed: dict[Key, Any]) -> None:
        """Take in groups that a loop changed; slots that are objects hold there what is to be added to them.

        Raises:
            TypeError: One of those refuses it; nothing has changed then.
        """
        gathered: list[tuple[Any, int, Any]] = []
        for key, group in changed.items() if self._kept else ():
            old = self.groups.get(key)
            for at, keeper in self._kept:
                slot = KEEPERS[keeper]() if old is None else old[at]
                if group[at] and hasattr(slot, "may_take"):
                    slot.may_take(group[at])
                gathered.append((group, at, slot))
        if self._cut and gathered:
            self._settle(changed)
        for group, at, slot in gathered:
            if group[at]:
                slot.take(group[at])
            group[at] = slot
        self.take(changed)

    def _compile(self) -> None:
        """Generate the code; if rows are retracted, of the kinds that can take values back."""
        self._plain = [made.kind for made in self._aggregations.values()]
        self.kinds = [(self.exact and KINDS[kind].exact) or kind for kind in self._plain]
        slots = [kind.keeper for name in self.kinds for kind in [KINDS[name]] for _ in kind.fresh]
        self._kept = [(at, keeper) for at, keeper in enumerate(slots, 1) if keeper]
        self.in_place = bool(self._kept)
        self.gathers = all(KINDS[kind].gather[0] for kind in self.kinds if KINDS[kind].keeper)
        self._code = compile_groups(
            self._by,
            tuple(
                Column(name, kind, made.expression is not None, made.argument)
                for (name, made), kind in zip(self._aggregations.items(), self.kinds, strict=True)
            ),
        )

    def _with_keepers(self, group: Group) -> Group:
        """A group of plain results, as it is where all values are kept."""
        slots = iter(group[1:])
        made = [group[0]]
        for plain, kind in zip(self._plain, self.kinds, strict=True):
            own = [*islice(slots, len(KINDS[plain].fresh))]
            made += own if kind == plain else [KEEPERS[KINDS[kind].keeper]().begun(*own)]
        return tuple(made)

    @staticmethod
    def _dumped(slot: Any) -> Any:
        return slot.dump() if hasattr(slot, "dump") else slot

    @staticmethod
    def _loaded(saved: list[Any], kinds: list[str]) -> Group:
        slots = iter(saved[1:])
        made = [saved[0]]
        for kind in map(KINDS.__getitem__, kinds):
            own = islice(slots, len(kind.fresh))
            made += [KEEPERS[kind.keeper]().restored(slot) for slot in own] if kind.keeper else own
        return tuple(made)


def _number(saved: tuple[Any, ...]) -> Any:
    return saved[2]


def _ignore(row: Row, error: Exception) -> None:
    """A retracted record was refused when it came by the first time, and counted then."""
