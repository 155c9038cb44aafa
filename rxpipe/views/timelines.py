"""What was expected beside what came: two timelines with ticks as columns, or two lists of records."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from rxpipe.errors import shortened
from rxpipe.testing.marbles import Event
from rxpipe.testing.matching import Moments, Same, paired

BEFORE, AFTER = 20, 40
"""How many ticks are drawn before the first difference, and behind it."""

AROUND = 3
"""How many records are shown before and behind those that differ."""

WIDTH = 160
"""Characters of a value; the rest is left out."""


@dataclass
class Legend:
    """The letters of a test, and those given here to values that have none.

    Args:
        letters: The letters of the test.
        same: Tells whether a value is the one that a letter stands for.
    """

    letters: Mapping[str, Any]
    same: Same
    made: dict[str, Any] = field(default_factory=dict)
    used: dict[str, Any] = field(default_factory=dict)

    def letter(self, value: Any) -> str:
        """The letter of a value."""
        if type(value) is int and 0 <= value <= 9 and str(value) not in self.letters:  # a digit
            return str(value)
        found = next((letter for letter, known in self.letters.items() if self.same(known, value)), None)
        if found is None:
            found = next((letter for letter, known in self.made.items() if known == value), None)
        if found is None:
            taken = {*self.letters, *self.made}
            found = next(
                (letter for letter in string.ascii_uppercase + string.ascii_lowercase if letter not in taken), "?"
            )
            self.made[found] = value
        self.used[found] = self.letters.get(found, value)
        return found


def draw_timelines(expected: Moments, got: Moments, first: float, legend: Legend, shown: int | None = None) -> str:
    """Two timelines, the first difference marked, and below it the values.

    Args:
        expected: What was expected, by tick.
        got: What came, by tick.
        first: The tick of the first difference.
        legend: Gives values their letters.
        shown: The ticks to draw; by default up to the last event.
    """
    mark = int(first)
    last = max([int(tick) for tick in (*expected, *got)] + [mark, (shown or 0) - 1])
    begin, end = max(0, mark - BEFORE), min(last, mark + AFTER)
    cells = [_cells(moments, begin, end, legend) for moments in (expected, got)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cut = "…" if begin else ""
    lines = [f"{'tick':<10}{' ' * len(cut)}{_ruler(begin, widths)}"]
    for name, row in zip(("expected", "got"), cells, strict=True):
        text = "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        lines.append(f"{name:<10}{cut}{text}{'…' if end < last else ''}")
    lines.append(" " * (10 + len(cut) + sum(widths[: mark - begin])) + "^")
    when = f"tick {first:g}"
    lines += [f"{when}: expected {_moment(expected.get(first, []), legend)}"]
    lines += [f"{' ' * len(when)}  got      {_moment(got.get(first, []), legend)}"]
    late = [tick for tick in got if tick != int(tick) and begin <= tick <= end]
    lines += [f"between two ticks, at {tick:g}: {_moment(got[tick], legend)}" for tick in late[:AROUND]]
    lines += _values(expected.get(first, []), got.get(first, []), legend)
    lines += [f"{letter} = {text_of(value)}" for letter, value in sorted(legend.used.items()) if not letter.isdigit()]
    return "\n".join(lines)


def _cells(moments: Moments, begin: int, end: int, legend: Legend) -> list[str]:
    """What happened in each column, as marble text; what came between two ticks stands in the column before it."""
    columns: dict[int, list[Event]] = {}
    for tick, events in moments.items():
        columns.setdefault(int(tick), []).extend(events)
    over = min(
        (column for column, events in columns.items() if any(e.kind == "completed" for e in events)), default=end
    )
    made = []
    for column in range(begin, end + 1):
        texts = ["|" if e.kind == "completed" else legend.letter(e.value) for e in columns.get(column, [])]
        quiet = "-" if column <= over else ""
        made.append(quiet if not texts else texts[0] if len(texts) == 1 else f"({''.join(texts)})")
    return made


def _ruler(begin: int, widths: Sequence[int]) -> str:
    """The number of every fifth tick, where it begins."""
    text = ""
    at = 0
    for index, width in enumerate(widths):
        if (begin + index) % 5 == 0 and len(text) <= at:
            text = text.ljust(at) + str(begin + index)
        at += width
    return text


def _moment(events: Sequence[Event], legend: Legend) -> str:
    texts = ["the end" if event.kind == "completed" else legend.letter(event.value) for event in events]
    return ", ".join(texts) or "nothing"


def _values(expected: Sequence[Event], got: Sequence[Event], legend: Legend) -> list[str]:
    """The first two values that were to be the same."""
    for there, here in zip(expected, got, strict=False):
        if there.kind == here.kind == "next" and not legend.same(there.value, here.value):
            return [
                f"  {line}" for line in draw_records(_listed(there.value), _listed(here.value), legend.same).split("\n")
            ]
    return []


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def draw_records(expected: Sequence[Any], got: Sequence[Any], same: Same) -> str:
    """Two lists of records in order: around the first that differ, expected ones with `-`, others with `+`."""
    lines: list[str] = []
    first = next(
        (at for at, (e, g) in enumerate(zip(expected, got, strict=False)) if not same(e, g)),
        min(len(expected), len(got)),
    )
    begin, end = max(0, first - AROUND), first + 1 + AROUND
    if begin:
        lines.append(f"  … {begin} before that are the same")
    for at in range(begin, min(end, max(len(expected), len(got)))):
        there, here = at < len(expected), at < len(got)
        if there and here and same(expected[at], got[at]):
            lines.append(f"  {at + 1}  {text_of(got[at])}")
            continue
        lines += [f"- {at + 1}  {text_of(record)}" for record in expected[at : at + 1]]
        lines += [f"+ {at + 1}  {text_of(record)}" for record in got[at : at + 1]]
        if there and here and at == first:
            lines += _fields(expected[at], got[at], same)
    if max(len(expected), len(got)) > end:
        lines.append(f"  … {max(len(expected), len(got)) - end} more")
    return "\n".join(lines)


def draw_rows(expected: Sequence[Any], got: Sequence[Any], same: Same) -> str:
    """Two sets of rows: those that were expected and are not there with `-`, those that are too many with `+`."""
    pairs = paired(expected, got, same)
    there = [row for at, row in enumerate(expected) if at not in pairs]
    here = [row for at, row in enumerate(got) if at not in pairs.values()]
    lines = [f"- {text_of(row)}" for row in there] + [f"+ {text_of(row)}" for row in here]
    if len(there) == len(here) == 1:
        lines += _fields(there[0], here[0], same)
    return "\n".join(lines)


def _fields(expected: Any, got: Any, same: Same) -> list[str]:
    """The fields in which two records differ."""
    if not (isinstance(expected, Mapping) and isinstance(got, Mapping)):
        return []
    lines = []
    for name in dict.fromkeys([*expected, *got]):
        if name not in got:
            lines.append(f"     {name}: expected {text_of(expected[name])}, is not there")
        elif name not in expected:
            if not same({}, {name: got[name]}):
                lines.append(f"     {name}: not expected, got {text_of(got[name])}")
        elif not same({name: expected[name]}, {name: got[name]}):
            lines.append(f"     {name}: expected {text_of(expected[name])}, got {text_of(got[name])}")
    return lines


def text_of(value: Any) -> str:
    """A value in a line."""
    try:
        text = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # a number of more than 64 bits
        text = repr(value)
    return shortened(text, WIDTH)
