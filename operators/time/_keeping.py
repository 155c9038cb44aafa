"""Elements that are held for long: their leases apart from them, and the bytes that a checkpoint keeps of them."""

from __future__ import annotations

from typing import Any

from rxpipe.elements import Batch, FileEvent, FileState, LineDelta, OriginGone
from rxpipe.lease import Flow, Lease
from rxpipe.table import Table


def leases_of(element: Any) -> tuple[Lease, ...]:
    """The leases that an element holds."""
    if isinstance(element, Batch):
        return element.leases
    return (element.lease,) if isinstance(element, LineDelta) and element.lease is not None else ()


def with_leases(element: Any, leases: tuple[Lease, ...]) -> Any:
    """The element with these leases in the place of its own."""
    if isinstance(element, Batch):
        rows, retracted = element.rows, element.retracted
        return Batch(rows, retracted, leases, retractable=element.retractable, row_type=element.row_type)
    return element._replace(lease=leases[0] if leases else None) if isinstance(element, LineDelta) else element


def packed(element: Any) -> Any:
    """An element without leases as plain values that `pack` takes; None for a live table, which cannot be kept."""
    if isinstance(element, Table):
        return None
    if isinstance(element, Batch):
        return ["batch", element.rows, element.retracted, element.retractable]
    if isinstance(element, LineDelta):
        return ["lines", *element]
    if isinstance(element, FileEvent):
        return ["file", *element]
    return ["gone", element.path] if isinstance(element, OriginGone) else ["value", element]


def unpacked(values: list[Any]) -> Any:
    """The element that `packed` made plain values of; its rows are dicts."""
    kind, *parts = values
    if kind == "batch":
        rows, retracted, retractable = parts
        return Batch(rows, retracted, retractable=retractable)
    if kind == "lines":
        return LineDelta(*parts)
    if kind == "file":
        event = FileEvent(*parts)
        return event._replace(old=event.old and FileState(*event.old), new=event.new and FileState(*event.new))
    return OriginGone(*parts) if kind == "gone" else parts[0]


Origin = tuple[int, str, int, int]
"""Of a lease: size, path, start and end."""


class Kept:
    """A held element, apart from its leases: those can be let go of (`leases = None`) and be taken again.

    Args:
        element: The element.
        origins: What its leases were of; by default those it has.
    """

    def __init__(self, element: Any, origins: list[Origin] | None = None) -> None:
        leases = leases_of(element)
        self.leases: tuple[Lease, ...] | None = leases if origins is None else None
        self.origins = [(made.nbytes, made.path, made.start, made.end) for made in leases] + (origins or [])
        self.element = with_leases(element, ())

    def lease(self, flow: Flow) -> tuple[Lease, ...]:
        """The leases; new ones of the same data where they were let go of."""
        if self.leases is None:
            self.leases = tuple(Lease(flow, *origin) for origin in self.origins)
        return self.leases
