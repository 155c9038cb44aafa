"""What came out of a stream compared with what a test expects of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any

import msgspec

from rxpipe.elements import Batch, FileEvent, LineDelta, OriginGone
from rxpipe.table import Table
from rxpipe.testing.cases import FILES, Containing
from rxpipe.testing.kinds import GONE, RETRACTED
from rxpipe.testing.marbles import Event

Same = Callable[[Any, Any], bool]
"""Whether what is expected and what came are the same."""

_EXACT = 1e-6
"""Seconds by which an event may miss its tick: rounding."""


class Rows(list[Any]):
    """The rows of a table at one moment."""


def plain(element: Any, folder: str) -> Any:
    """An element as a test writes it: records as mappings, lines as texts, the folder of the files by its name."""
    if isinstance(element, Batch):
        taken = [{**row, RETRACTED: True} for row in element.dicts(element.retracted)]
        return _named([*taken, *element.dicts()], folder)
    if isinstance(element, Table):
        return Rows(_named(element.dicts(), folder))
    if isinstance(element, LineDelta):
        return element.data.decode("utf-8", "replace").splitlines()
    if isinstance(element, OriginGone):
        return _named({GONE: element.path}, folder)
    if isinstance(element, FileEvent):
        found = {"kind": element.kind, "path": element.path, "old_path": element.old_path}
        return _named({name: value for name, value in found.items() if value is not None}, folder)
    return _named(element._asdict() if hasattr(element, "_asdict") else element, folder)


def _named(value: Any, folder: str) -> Any:
    simple = msgspec.to_builtins(value, enc_hook=repr, builtin_types=())
    return _with_name(simple, folder)


def _with_name(value: Any, folder: str) -> Any:
    if isinstance(value, str):
        return value.replace(folder, FILES)
    if isinstance(value, Mapping):
        return {key: _with_name(item, folder) for key, item in value.items()}
    return [_with_name(item, folder) for item in value] if isinstance(value, list | tuple) else value


def alike(expected: Any, got: Any, *, part: bool = False) -> bool:
    """Whether a value is the expected one.

    Args:
        expected: As a test writes it; a record alone stands for a list of one.
        got: What came.
        part: Whether mappings may have keys that are not expected.
    """
    if _number(expected) and _number(got):
        return _close(expected, got)
    if isinstance(got, list) and not isinstance(expected, list):
        return len(got) == 1 and alike(expected, got[0], part=part)
    if isinstance(expected, list):
        pairs = zip(expected, got, strict=False) if isinstance(got, list) else ()
        return isinstance(got, list) and len(got) == len(expected) and all(alike(e, g, part=part) for e, g in pairs)
    if isinstance(expected, Mapping):
        return (
            isinstance(got, Mapping)
            and (part or got.keys() <= expected.keys())
            and all(key in got and alike(value, got[key], part=part) for key, value in expected.items())
        )
    if isinstance(expected, Containing):
        return isinstance(got, str) and expected in got
    return type(expected) is type(got) and bool(expected == got)


def _close(expected: float, got: float) -> bool:
    """Whether two numbers are the same, to a billionth; two that are not a number are."""
    if expected == got or (isinstance(expected, int) and isinstance(got, int)):
        return expected == got
    try:
        return math.isclose(expected, got, rel_tol=1e-9) or (math.isnan(expected) and math.isnan(got))
    except OverflowError:  # a whole number beyond all floats, which the other one is not
        return False


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def records_of(events: Sequence[Event]) -> list[Any]:
    """All records of events, in order; an origin that is gone brings none."""
    found: list[Any] = []
    for event in events:
        value = event.value
        if event.kind == "next" and not (isinstance(value, Mapping) and [*value] == [GONE]):
            found += value if isinstance(value, list) else [value]
    return found


Moments = dict[float, list[Event]]
"""Events by tick, which is a whole number where they are on time."""


def moments(events: Sequence[Event], tick: float) -> Moments:
    """Events by tick."""

    def at(event: Event) -> float:
        near = round(event.time / tick)
        return near if abs(near * tick - event.time) <= _EXACT else event.time / tick

    return {key: list(group) for key, group in groupby(events, at)}


def first_difference(expected: Moments, got: Moments, same: Same) -> float | None:
    """The first tick at which not the same happens."""
    for tick in sorted(expected.keys() | got.keys()):
        there, here = expected.get(tick, []), got.get(tick, [])
        if len(there) != len(here) or not all(_same(e, g, same) for e, g in zip(there, here, strict=True)):
            return tick
    return None


def _same(expected: Event, got: Event, same: Same) -> bool:
    return expected.kind == got.kind and (expected.kind != "next" or same(expected.value, got.value))


def paired(expected: Sequence[Any], got: Sequence[Any], same: Same) -> dict[int, int]:
    """As many as can be of the expected records, each with one of its own that came, whatever the order."""
    owner: dict[int, int] = {}

    def place(index: int, tried: set[int]) -> bool:
        for other, value in enumerate(got):
            if other not in tried and same(expected[index], value):
                tried.add(other)
                if other not in owner or place(owner[other], tried):
                    owner[other] = index
                    return True
        return False

    for index in range(len(expected)):
        place(index, set())
    return {index: other for other, index in owner.items()}
