"""Elements on their way to a worker and back: their data without leases, pickled.

A pickle of plain tuples takes half the time of MessagePack here, since it needs no look at each value, and keeps all
types; the two ends are one program. The bytes of a block are no part of the pickle: they go behind it as they are, or
through memory that both ends share, where the copies and the waits of a socket cost more than all the rest.
"""

from __future__ import annotations

import mmap
import os
import pickle
import socket
import struct
import tempfile
from collections.abc import Sequence
from typing import IO, Any

import msgspec

from rxpipe.elements import Batch, LineDelta, Partial, Row
from rxpipe.fusion.rows import row_struct
from rxpipe.lease import Flow, Lease
from rxpipe.unread import Unread

_COUNT = struct.Struct("!B")

SLOT = 1024 * 1024
"""Bytes of shared memory for one element; the blocks of a larger one go through the socket."""

KNOWN_BY = 1024
"""Bytes by which a worker knows that what it read is what was meant."""

_SHARED = 1 << 63
"""Added to the length of a part that is in shared memory."""

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
    if isinstance(element, Unread):
        return ("unread", (*element[:4], element.last[-KNOWN_BY:]))
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
    if kind == "unread":
        return Unread(*parts[0])
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


def shared_memory(count: int) -> IO[bytes]:
    """Memory for so many slots, as a file that another process can be given."""
    if hasattr(os, "memfd_create"):
        memory: IO[bytes] = os.fdopen(os.memfd_create("rxpipe"), "wb")
    else:
        memory = tempfile.TemporaryFile()  # noqa: SIM115  # it is the caller's to close
    memory.truncate(SLOT * count)
    return memory


def slots(descriptor: int) -> list[memoryview]:
    """The slots of some shared memory; it stays for as long as they are held."""
    whole = memoryview(mmap.mmap(descriptor, 0))
    return [whole[at : at + SLOT] for at in range(0, len(whole), SLOT)]


def send(to: socket.socket, message: Message, slot: memoryview | None = None) -> None:
    """Send a message; its blocks are put into a slot of shared memory, if there is one and they fit into it.

    Raises:
        OSError: The other end is gone, or it takes too long.
    """
    lengths = [*map(len, message)]
    parts = message
    if slot is not None and sum(lengths[1:]) <= len(slot):
        at = 0
        for block in message[1:]:
            slot[at : at + len(block)] = block
            at += len(block)
        lengths[1:] = [length + _SHARED for length in lengths[1:]]
        parts = message[:1]
    head = _COUNT.pack(len(message)) + struct.pack(f"!{len(message)}Q", *lengths)
    left = [memoryview(part) for part in (head, *parts) if part]
    while left:
        sent = to.sendmsg(left)
        while left and sent >= len(left[0]):
            sent -= len(left.pop(0))
        if sent:
            left[0] = left[0][sent:]


def receive(at: IO[bytes], slot: memoryview | None = None) -> Message | None:
    """The next message, whose blocks may be in a slot of shared memory; None where the other end is gone.

    Args:
        at: This end of the socket, as a file: a small message is there after one call of the system.
        slot: The memory.

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
    start = 0
    for length in struct.unpack(f"!{count[0]}Q", lengths):
        if length >= _SHARED and slot is not None:
            end = start + length - _SHARED
            part: bytes | None = bytes(slot[start:end])
            start = end
        else:
            part = _exactly(at, length)
        if part is None:
            return None
        parts.append(part)
    return parts


def _exactly(at: IO[bytes], size: int) -> bytes | None:
    data = at.read(size)
    return data if len(data) == size else None
