"""Elements on their way to a worker and back: their data without leases, pickled.

A pickle of plain tuples takes half the time of MessagePack here, since it needs no look at each value, and keeps all
types; the two ends are one program.
"""

from __future__ import annotations

import pickle
import socket
import struct
from typing import Any

import msgspec

from rxpipe.elements import Batch, LineDelta, Partial, Row
from rxpipe.fusion.rows import row_struct
from rxpipe.lease import Flow, Lease

_LENGTH = struct.Struct("!Q")

Rows = tuple[tuple[str, ...] | None, list[Any]]
"""The names of the fields and the values, if all rows are of one struct; else None and the rows as they are."""


def dumps(value: Any) -> bytes:
    """Anything as bytes."""
    return pickle.dumps(value, protocol=5)


def loads(data: bytes | bytearray) -> Any:
    """What `dumps` made bytes of."""
    return pickle.loads(data)  # noqa: S301  # of a process of our own, through a pair of sockets nobody else has


def plain(element: Any) -> tuple[Any, ...]:
    """An element without leases and generated types; of its leases the place of the first."""
    if isinstance(element, Batch):
        lease = element.leases[0] if element.leases else None
        return ("rows", _rows(element.rows), _rows(element.retracted), element.retractable, _place(lease))
    if isinstance(element, LineDelta):
        values = element._asdict()
        del values["lease"]
        return ("lines", values, _place(element.lease))
    if isinstance(element, Partial):
        return ("part", element.state)
    return ("other", element)


def restored(data: tuple[Any, ...], leases: tuple[Lease, ...] | None, flow: Flow) -> Any:
    """The element; with the leases given, or one that has the place of what it had, counted by a flow."""
    kind, *parts = data
    if kind == "rows":
        rows, retracted, retractable, place = parts
        held = (Lease(flow, 0, *place),) if leases is None else leases
        return Batch(_unrows(rows), _unrows(retracted), held, retractable=retractable)
    if kind == "lines":
        values, place = parts
        held = (Lease(flow, 0, *place),) if leases is None else leases
        return LineDelta(**values, lease=held[0] if held else None)
    return Partial(parts[0], leases or ()) if kind == "part" else parts[0]


def _place(lease: Lease | None) -> tuple[Any, ...]:
    return () if lease is None else (lease.path, lease.start, lease.end)


def _rows(rows: list[Row]) -> Rows:
    first = rows[0] if rows else None
    if not isinstance(first, msgspec.Struct) or any(type(row) is not type(first) for row in rows):
        return None, rows
    return first.__struct_fields__, list(map(msgspec.structs.astuple, rows))


def _unrows(data: Rows) -> list[Row]:
    names, rows = data
    if names is None:
        return rows
    made = row_struct("Row", dict.fromkeys(names, Any))
    return [made(*row) for row in rows]


def send(to: socket.socket, message: bytes) -> None:
    """Send a message.

    Raises:
        OSError: The other end is gone, or it takes too long.
    """
    to.sendall(_LENGTH.pack(len(message)))
    to.sendall(message)


def receive(at: socket.socket) -> bytearray | None:
    """The next message; None where the other end is gone.

    Raises:
        OSError: It takes too long.
    """
    head = _exactly(at, _LENGTH.size)
    return None if head is None else _exactly(at, _LENGTH.unpack(head)[0])


def _exactly(at: socket.socket, size: int) -> bytearray | None:
    data = bytearray(size)
    view, have = memoryview(data), 0
    while have < size:
        got = at.recv_into(view[have:])
        if not got:
            return None
        have += got
    return data
