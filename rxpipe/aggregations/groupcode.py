"""Generated code for groups of records: the loops that add records and take them back, and the one that reads a group.

A group is a sequence: how many records it has, then the slots of each aggregation. A loop makes of the old one a new
tuple, so that a record for which a computation fails has changed nothing. Slots that keep values are objects that
change in place; they are asked first whether they can, and told last.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

from rxpipe.aggregations.aggregation import KINDS
from rxpipe.aggregations.keepers import KEEPERS

Key = Any
"""The value of the key's column if it is one, else a tuple."""

Group = Sequence[Any]

Update = Callable[[Iterator[Any], dict[Key, Group], dict[Key, Group | None]], None]
"""Takes values (a tuple for each record: key columns, then one per expression), the groups, and what is to change of
them.

Raises whatever a record makes a computation raise; the iterator then stands behind that record.
"""


class GroupCode(NamedTuple):
    """The code for groups of one shape.

    Attributes:
        add: Adds records.
        retract: Takes records back; a group without records becomes None.
        join: Makes one group of two, the second of which has the later records.
        fresh: Makes a group without records.
        read: Makes a row of a key and a group.
    """

    add: Update
    retract: Update
    join: Callable[[Group, Group], Group]
    fresh: Callable[[], Group]
    read: Callable[[Key, Group], dict[str, Any]]


_SUMS = ("{s} + {o}", "{s2} + {o2}", "{s3} + {o3}")


class Column(NamedTuple):
    """An aggregated column: its name, its kind, whether it has an expression, and the function's argument."""

    name: str
    kind: str
    has_value: bool
    argument: float | None = None


def names_of(slots: Sequence[str], value: str, argument: float | None = None) -> dict[str, str]:
    """The names that the code of a kind uses, see `Kind`."""
    numbered = {"s" if at == 1 else f"s{at}": slot for at, slot in enumerate(slots, 1)}
    return {"s": "", **numbered, "v": value, "a": repr(argument)}


@cache
def compile_groups(by: tuple[str, ...], columns: tuple[Column, ...]) -> GroupCode:
    """Generate the code for groups.

    Args:
        by: The columns of the key.
        columns: The other columns.
    """
    fresh, reads = ["0"], []
    adds: list[_Part] = []
    retracts: list[_Part] = []
    joins = ["n + other[0]"]
    for number, (name, kind_name, has_value, argument) in enumerate(columns):
        kind = KINDS[kind_name]
        slots = [f"s{len(fresh) + n}" for n in range(len(kind.fresh))]
        fresh += kind.fresh
        value = f"v{number}" if has_value else ""
        names = names_of(slots, value, argument)
        others = {
            name.replace("s", "o"): f"other{slot.replace('s', '[')}]" for name, slot in names.items() if slot in slots
        }
        joins += [text.format(**names, **others) for text in kind.join or _SUMS[: len(slots)]]
        reads.append(f"{name!r}: {kind.read.format(**names)}")
        form = f"({{}}) if ({kind.when.format(**names)}) else {names['s']}" if kind.when else "{}"
        adds.append(_Part(slots, [form.format(text.format(**names)) for text in kind.add], value, bool(kind.keeper)))
        retracts.append(_Part(slots, [text.format(**names) for text in kind.retract], value, bool(kind.keeper)))
    keys = [f"k{n}" for n in range(len(by))]
    key = keys[0] if len(keys) == 1 else f"({', '.join(keys)})"
    group = f"({', '.join(['n', *(slot for part in adds for slot in part.slots)])},)"
    values = f"({''.join(f'{name}, ' for name in [*keys, *(part.value for part in adds if part.value)])})"
    items = [*(f"{name!r}: {key}" for name, key in zip(by, keys, strict=True)), *reads]
    source = [
        f"def fresh(): return ({', '.join(fresh)},)",
        *_loop("add", "+", values, key, group, adds),
        *_loop("retract", "-", values, key, group, retracts),
        "def join(group, other):",
        f"    {group} = group",
        f"    return ({', '.join(joins)},)",
        f"def read({key if keys else '_'}, group):" if len(keys) <= 1 else "def read(key, group):",
        *([f"    {key} = key"] if len(keys) > 1 else []),
        f"    {group} = group",
        f"    return {{{', '.join(items)}}}",
    ]
    scope: dict[str, Any] = {"keepers": KEEPERS, "quotient": _quotient}
    exec(compile("\n".join(source), "<aggregate>", "exec"), scope)  # noqa: S102  # made above; of the user only names, quoted
    return GroupCode(scope["add"], scope["retract"], scope["join"], scope["fresh"], scope["read"])


def _quotient(total: Any, count: int) -> Any:
    """A mean; infinite where it is a whole number too large for a float, as a sum of floats would be."""
    try:
        return total / count
    except OverflowError:
        return math.inf if total > 0 else -math.inf


class _Part(NamedTuple):
    """What a record does to the slots of one column."""

    slots: list[str]
    after: list[str]
    value: str
    keeps: bool


def _loop(name: str, sign: str, values: str, key: str, group: str, parts: list[_Part]) -> list[str]:
    checks, tells, after = [], [], [f"n {sign} 1"]
    for part in parts:
        if part.keeps:
            slot = part.slots[0]
            checks.append(f"        if {part.value} is not None: {slot}.may_{name}({part.value})")
            tells.append(f"        if {part.value} is not None: {slot}.{name}({part.value})")
            after.append(slot)
            continue
        for one, text in zip(part.slots, part.after or part.slots, strict=True):
            after.append(f"({text}) if {part.value} is not None else {one}" if part.value else text)
    adding = name == "add"
    made = f"({', '.join(f'({text})' for text in after)},)"
    return [
        f"def {name}(values, groups, changed):",
        f"    for {values if values != '()' else '_'} in values:",
        f"        key = {key}",
        "        group = changed.get(key)",
        "        if group is None:",
        "            group = groups.get(key)"
        if adding
        else "            group = groups.get(key) if key not in changed else None",
        "            if group is None:",
        "                group = fresh()" if adding else "                continue",
        f"        {group} = group",
        *checks,
        f"        {'group' if tells or not adding else 'changed[key]'} = {made}",
        *tells,
        *(["        changed[key] = group"] if tells and adding else []),
        *([] if adding else ["        changed[key] = group if group[0] > 0 else None"]),
    ]
