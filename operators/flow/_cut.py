"""The units that `take` and `skip` count, and elements cut between two of them."""

from __future__ import annotations

from typing import Any

from rxpipe.elements import Batch, LineDelta, OriginGone
from rxpipe.runtime.meter import lines_in


def units(element: Any) -> int:
    """How many an element has: a batch its records, a block its lines, `OriginGone` none, anything else one."""
    if isinstance(element, Batch):
        return len(element.rows)
    if isinstance(element, LineDelta):
        return lines_in(element.data)
    return 0 if isinstance(element, OriginGone) else 1


def head(element: Any, count: int) -> Any:
    """An element of more than `count` units, cut behind those: its leases and retractions stay with it."""
    if isinstance(element, LineDelta):
        at = _behind(element.data, count)
        return element._replace(data=element.data[:at], end=element.start + at, unfinished=False)
    return element.replace(element.rows[:count], element.retracted, element.row_type)


def tail(element: Any, count: int) -> Any:
    """What stands behind the first `count` units of an element that has more."""
    if isinstance(element, LineDelta):
        at = _behind(element.data, count)
        return element._replace(data=element.data[at:], start=element.start + at)
    return element.replace(element.rows[count:], element.retracted, element.row_type)


def _behind(data: bytes, count: int) -> int:
    """The place behind so many lines."""
    at = 0
    for _ in range(count):
        at = data.index(b"\n", at) + 1
    return at
