"""Elements on their way to a worker and back: their data without leases, pickled.

A pickle of plain tuples takes half the time of MessagePack here, since it needs no look at each value, and keeps all
types; the two ends are one program. The bytes of a block are no part of the pickle: they go behind it as they are.
"""

from __future__ import annotations

import pickle
import socket
import struct
from collections.abc import Sequence
from typing import Any

import msgspec

from rxpipe.elements import Batch, LineDelta, Partial, Row
from rxpipe.fusion.rows import row_struct
from rxpipe.lease import Flow, Lease

_COUNT = struct.Struct("!B")

Message = Sequence[bytes | memoryview]
"""A pickle, and the blocks of bytes that belong to it."""

Rows = tuple[tuple[str, ...] | None, list[Any]]
"""The names of the fields and the values, if all rows are of one struct; else None and the rows as they are."""


def dumps(value: Any) -> Message:
    """Anything as a message."""
    blocks: list[pickle.PickleBuffer] = []
    return [pickle.dumps(value, protocol=5, buffer_callback=blocks.append), *(block.raw() for block in blocks)]


def loads(message: Message) -> Any:
    """What `dumps` made a message of."""
    head, *blocks = message
    return pickle.loads(head, buffers=blocks)  # noqa: S301  # of a process of our own, through sockets nobody else has


def plain(element: Any) -> tuple[Any, ...]:
    """An element without leases and generated types; of its leases the place of the first."""
    if isinstance(element, Batch):
        lease = element.leases[0] if element.leases else None
        return ("rows", _rows(element.rows), _rows(element.retracted), element.retractable, _place(lease))
    if isinstance(element, LineDelta):
        values = element._asdict()
        del values["lease"]
        values["data"] = pickle.PickleBuffer(element.data)
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


def send(to: socket.socket, message: Message) -> None:
    """Send a message.

    Raises:
        OSError: The other end is gone, or it takes too long.
    """
    head = _COUNT.pack(len(message)) + struct.pack(f"!{len(message)}Q", *map(len, message))
    parts = [memoryview(part) for part in (head, *message) if part]
    while parts:
        sent = to.sendmsg(parts)
        while parts and sent >= len(parts[0]):
            sent -= len(parts.pop(0))
        if sent:
            parts[0] = parts[0][sent:]


def receive(at: socket.socket) -> Message | None:
    """The next message; None where the other end is gone.

    Raises:
        OSError: It takes too long.
    """
    count = _exactly(at, _COUNT.size)
    if count is None:
        return None
    lengths = _exactly(at, 8 * count[0])
    if lengths is None:
        return None
    parts: list[bytes] = []
    for length in struct.unpack(f"!{count[0]}Q", lengths):
        part = _exactly(at, length)
        if part is None:
            return None
        parts.append(part)
    return parts


def _exactly(at: socket.socket, size: int) -> bytes | None:
    data = at.recv(size, socket.MSG_WAITALL) if size else b""
    if len(data) == size:
        return data
    parts = [data]
    while size := size - len(parts[-1]):
        if not parts[-1]:
            return None
        parts.append(at.recv(size, socket.MSG_WAITALL))
    return b"".join(parts)
