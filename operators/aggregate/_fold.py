"""Groups in a loop over records: each is added to its group, or taken back from it, without a step between the two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rxpipe.aggregations.aggregation import KINDS, Aggregation
from rxpipe.aggregations.groupcode import names_of
from rxpipe.aggregations.keepers import KEEPERS
from rxpipe.errors import RxpipeError
from rxpipe.expressions import Expression
from rxpipe.expressions.fields import may_be_null

if TYPE_CHECKING:
    from rxpipe.fusion.loop import Loop


def write_groups(
    loop: Loop,
    by: Sequence[Expression],
    aggregations: Mapping[str, Aggregation],
    kinds: Sequence[str],
    *,
    retract: bool = False,
) -> None:
    """Write into a loop that each record is added to its group, or taken back; that only where no slot is an object.

    The loop takes the groups, whose slots are of these kinds, and gives those that change: copies, in which each slot
    is then changed in place. A slot that is an object holds in the copy what is to be added to it, see `Store.gather`.
    So a record that fails, and ends the loop, has changed nothing.

    Raises:
        RxpipeError: For one of these kinds a loop gathers nothing.
    """
    if not all(KINDS[name].gather[0] for name in kinds if KINDS[name].keeper):
        msg = f"a loop cannot gather what is to be added to {', '.join(kinds)}"
        raise RxpipeError(msg)
    loop.parameters.append("_groups")
    loop.before += ["_changed = {}", "_get = _changed.get", "_old = _groups.get"]
    loop.result = "_changed"
    keys = [loop.value(expression).text for expression in by]
    values = [
        loop.named(loop.value(made.expression)) if made.expression is not None else None
        for made in aggregations.values()
    ]
    keepers = loop.keep(KEEPERS)
    fresh, copied, updates = ["0"], ["_g[0]"], []
    for name, value in zip(kinds, values, strict=True):
        if value is None:
            continue  # how many records there are is known of every group
        kind = KINDS[name]
        slots = [f"_g[{len(fresh) + number}]" for number in range(len(kind.fresh))]
        names = names_of(slots, value.text)
        container, gathering = (text.format(k=keepers, **names) for text in kind.gather)
        fresh += [container] if kind.keeper else kind.fresh
        copied += [container] if kind.keeper else slots
        after = ", ".join(text.format(**names) for text in (kind.retract if retract else kind.add))
        update = gathering or f"{', '.join(slots)} = {after}"
        conditions = [f"{value.text} is not None"] if may_be_null(value.hint) else []
        conditions += [f"({kind.when.format(**names)})"] if kind.when else []
        updates.append(f"if {' and '.join(conditions)}: {update}" if conditions else update)
    old = f"[{', '.join(copied)}]" if any(KINDS[name].keeper for name in kinds) else "[*_g]"
    loop.line(f"_key = {keys[0]}" if len(keys) == 1 else f"_key = ({', '.join(keys)})")
    loop.line("_g = _get(_key)")
    loop.line("if _g is None:")
    loop.line(f"    _g = {'None if _key in _changed else ' if retract else ''}_old(_key)")
    if retract:
        loop.line("    if _g is None: continue")
    group = old if retract else f"[{', '.join(fresh)}] if _g is None else {old}"
    loop.line(f"    _changed[_key] = _g = {group}")
    loop.line(f"_g[0] {'-' if retract else '+'}= 1")
    for update in updates:
        loop.line(update)
    if retract:
        loop.line("if _g[0] <= 0: _changed[_key] = None")
