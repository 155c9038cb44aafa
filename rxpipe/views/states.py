"""The rows of a state file as text for a person: offsets and positions as tables, other states as key and value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from rxpipe.errors import escaped, shortened

SHOWN = 20
"""How many rows of a table are shown; a count tells of the others."""

FEW = 10
"""Up to how many keys other states are shown with their values."""

_WIDTH = 100
_NOTE = "\0"
"""How keys begin that are a step's notes to itself."""

_TIME = "_ns"
"""How names of times end, which are nanoseconds since the epoch."""


def listing(rows: Iterable[tuple[str, str, str, Any, str, Any]]) -> Iterator[str]:
    """Lines about the rows that `rxpipe.runtime.statereading.readable` gives, those of a step together.

    Where a step names the parts of its values they are a table, of the latest rows if one part is a time; the one of a
    sink stands in its line. Other states are key and value if they are few, else only their number.
    """
    for (step, kind, description), group in groupby(rows, key=lambda row: row[:3]):
        holds, _, parts = description.rpartition(": ")
        names = parts.split(", ") if holds else []
        kept = [(key, part, value) for *_, key, part, value in group if not str(key).startswith(_NOTE)]
        fitting = bool(names) and all(isinstance(value, list) and len(value) == len(names) for *_, value in kept)
        if kind == "sink" and fitting:
            at = [f"{_cell(name, part)} {name}" for *_, value in kept for name, part in zip(names, value, strict=True)]
            yield f"{step}: {holds}: {', '.join(text for text in at if not text.endswith(' -'))}"
            continue
        yield f"{step}: {holds if fitting else description}, {len(kept):,} in all"
        if fitting:
            yield from (f"    {line}" for line in _table(names, kept))
        elif len(kept) <= FEW:
            yield from (f"    {_pair(row)}" for row in kept)


def _pair(row: tuple[Any, str, Any]) -> str:
    key, part, value = row
    line = shortened(f"{escaped(str(key))}{f' {part}' if part else ''}", _WIDTH)
    return f"{line} → {shortened(escaped(str(value)), _WIDTH)}".rstrip()


def _table(names: Sequence[str], rows: list[tuple[Any, str, Any]]) -> Iterator[str]:
    """Rows in columns, their keys last; the latest first."""
    times = [index for index, name in enumerate(names) if name.endswith(_TIME)]
    rows = sorted(rows, key=lambda row: [row[2][index] for index in times], reverse=True)
    columns = [index for index, name in enumerate(names) if name != "-"]
    lines = [[*(names[at].removesuffix(_TIME) for at in columns), ""]]
    lines += [[*(_cell(names[at], value[at]) for at in columns), escaped(str(key))] for key, _, value in rows[:SHOWN]]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for *cells, key in lines:
        yield "  ".join([*(cell.rjust(width) for cell, width in zip(cells, widths, strict=False)), key]).rstrip()
    if len(rows) > SHOWN:
        yield f"and {len(rows) - SHOWN:,} more, which --json prints, too"


def _cell(name: str, value: Any) -> str:
    if name.endswith(_TIME):
        return datetime.fromtimestamp(value / 1e9).astimezone().isoformat(" ", "seconds")
    return f"{value:,}" if type(value) is int else escaped(str(value))
