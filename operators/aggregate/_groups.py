"""The groups of one aggregation: taking batches in, reading rows, saving and restoring."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import length_hint
from typing import TYPE_CHECKING, Any

from rxpipe.context import Change, Context
from rxpipe.elements import Batch, Fold, Row
from rxpipe.expressions import parse
from rxpipe.expressions.aggregation import KINDS, Aggregation
from rxpipe.expressions.groupcode import Group, Key, Update, compile_groups
from rxpipe.expressions.keepers import keep, load
from rxpipe.expressions.packing import canonical, pack, unpack
from rxpipe.expressions.rows import Reject, compile_values
from rxpipe.operators.aggregate._fold import write_groups
from rxpipe.table import Table

if TYPE_CHECKING:
    from rxpipe.expressions.loop import Loop


class Groups:
    """The groups of one subscription.

    Args:
        context: The step's context.
        by: Expressions of the key.
        aggregations: Aggregations by column name.

    Attributes:
        table: The table of the groups.
        restored: Whether there were groups in the saved state.
    """

    def __init__(self, context: Context, by: tuple[str, ...], aggregations: Mapping[str, Aggregation]) -> None:
        self._context = context
        self._by = by
        self._aggregations = aggregations
        self._keys = [parse(text) for text in by]
        expressions = [*self._keys]
        expressions += [made.expression for made in aggregations.values() if made.expression is not None]
        self._values = compile_values(expressions, tuples=True) if expressions else None
        self._groups: dict[Key, Group] = {}
        self._rows: dict[Key, dict[str, Any]] = {}
        self._stale: dict[Key, Group | None] = {}
        self._dirty: dict[Key, Group | None] = {}
        self._numbers: dict[Key, int] = {}
        self._last = 0
        self._exact = False
        self._version = 0
        self._compile()
        self._saved = context.state("operator", self._changes, f"groups by {', '.join(by) or 'nothing'}")
        self._restore()
        self.restored = bool(self._groups)
        self._fill()
        self.table = Table(context.stream, by, self._read, lambda: self._version)
        context.gauge("groups", lambda: len(self._groups))

    def apply(self, batch: Batch | Fold) -> bool:
        """Take a batch in, or the groups that a loop changed; returns whether anything changed."""
        changed = self._taken(batch) if isinstance(batch, Fold) else self._applied(batch)
        if changed:
            self._fill()
            self._version += 1
        return changed

    def _taken(self, folded: Fold) -> bool:
        self._change(folded.result)
        return True

    def _applied(self, batch: Batch) -> bool:
        if (batch.retractable or batch.retracted) and not self._exact:
            self._become_exact()
        changed = self._update(self._code.retract, batch.retracted, _ignore)
        if batch.rows:

            def reject(row: Row, error: Exception) -> None:
                self._context.reject(f"{type(error).__name__}: {error}", row, leases=batch.leases)

            changed = self._update(self._code.add, batch.rows, reject) or changed
        return changed

    def write(self, loop: Loop) -> None:
        """Add records where they are computed; see `rxpipe.fused.Tail`."""
        write_groups(loop, self._keys, self._aggregations)

    def arguments(self) -> tuple[Any, ...] | None:
        """The groups; None where all values must be kept, which is not done there."""
        return None if self._exact else (self._groups,)

    def _update(self, update: Update, rows: list[Row], reject: Reject) -> bool:
        """Add records or take them back; one for which that fails is rejected and changes nothing."""
        if not rows:
            return False
        kept, values = (rows, [()] * len(rows)) if self._values is None else self._values(rows, reject)
        left = iter(values)
        changed: dict[Key, Group | None] = {}
        while True:
            try:
                update(left, self._groups, changed)
            except Exception as error:  # noqa: BLE001  # whatever a value makes the generated code raise
                reject(kept[len(values) - length_hint(left) - 1], error)
            else:
                break
        if not changed:
            return False
        self._change(changed)
        return True

    def _change(self, changed: dict[Key, Group | None]) -> None:
        self._groups.update(changed)  # those that are None go in the next line
        for key in [key for key, group in changed.items() if group is None]:
            del self._groups[key]
            self._numbers.pop(key, None)
        self._stale.update(changed)
        if self._saved.persistent:
            self._dirty.update(changed)
            for key, group in changed.items():
                if group is not None and key not in self._numbers:
                    self._last += 1
                    self._numbers[key] = self._last

    def _compile(self) -> None:
        """Generate the code; if rows are retracted, of the kinds that can take values back."""
        self._kinds = [(self._exact and KINDS[made.kind].exact) or made.kind for made in self._aggregations.values()]
        self._code = compile_groups(
            self._by,
            tuple(
                (name, kind, made.expression is not None)
                for (name, made), kind in zip(self._aggregations.items(), self._kinds, strict=True)
            ),
        )

    def _become_exact(self) -> None:
        """The first batch whose rows may be retracted: from now on keep all values. Those before it stay for good."""
        self._exact = True
        self._compile()
        self._groups = {key: self._with_keepers(group) for key, group in self._groups.items()}

    def _with_keepers(self, group: Group) -> Group:
        """A group of plain results, as it is where all values are kept."""
        slots = iter(group[1:])
        made = [group[0]]
        for kind in self._kinds:
            for _ in KINDS[kind].fresh:
                slot = next(slots)
                made.append(keep(kind, slot) if KINDS[kind].keeps else slot)
        return tuple(made)

    def _fill(self) -> None:
        """Without a key there is always one group."""
        if not self._by and not self._groups:
            self._groups[()] = self._code.fresh()
            self._stale[()] = None

    def _read(self) -> list[Row]:
        """The rows; only those of groups that changed since the last read are made anew."""
        groups, rows, read = self._groups, self._rows, self._code.read
        for key in self._stale:
            group = groups.get(key)
            if group is None:
                rows.pop(key, None)
            else:
                rows[key] = read(key, group)
        self._stale.clear()
        return [rows[key] for key in groups]

    def _changes(self) -> Iterable[Change]:
        """The groups that changed, each with the number of its place among the others."""
        for key in self._dirty:
            shared = canonical(key)
            group = self._groups.get(key)
            if group is None:
                yield pack(shared), "", None
                continue
            own = [] if shared is key else [key]
            yield (
                pack(shared),
                "",
                pack([self._exact, self._numbers.get(key, 0), [self._dumped(slot) for slot in group], *own]),
            )
        self._dirty.clear()

    @staticmethod
    def _dumped(slot: Any) -> Any:
        return slot.dump() if hasattr(slot, "dump") else slot

    def _restore(self) -> None:
        saved = sorted(((unpack(key), *unpack(value)) for key, _, value in self._saved.items()), key=_number)
        if any(exact for _, exact, *_ in saved):
            self._exact = True
            self._compile()
        for shared, exact, number, slots, *own in saved:
            key = own[0] if own else shared
            self._groups[key] = self._loaded(slots) if exact or not self._exact else self._with_keepers(tuple(slots))
            self._numbers[key] = self._last = number
            self._stale[key] = None

    def _loaded(self, saved: list[Any]) -> Group:
        slots = iter(saved[1:])
        made = [saved[0]]
        for kind in self._kinds:
            for _ in KINDS[kind].fresh:
                slot = next(slots)
                made.append(load(kind, slot) if KINDS[kind].keeps else slot)
        return tuple(made)


def _number(saved: tuple[Any, ...]) -> Any:
    return saved[2]


def _ignore(row: Row, error: Exception) -> None:
    """A retracted record was refused when it came by the first time, and counted then."""
