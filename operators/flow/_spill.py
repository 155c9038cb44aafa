"""What waits for a slow reader, on disk: done with for its source, and still there after a restart."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from rxpipe.aggregations.packing import pack, unpack
from rxpipe.context import Change, Context
from rxpipe.elements import Batch, LineDelta, OriginGone, Row
from rxpipe.lease import Lease
from rxpipe.log import logger
from rxpipe.operators.flow._queues import final, weight
from rxpipe.operators.flow._spool import LENGTH, Spool

_POSITION = b"position"
_FILES = 8
"""How many files a full spool has, so that what was read can be removed."""

_LEAST_FILE = 64 * 1024


class Spill:
    """A queue on disk, with a line in memory behind it of what does not fit.

    Args:
        context: The step's context.
        limit: How many bytes may be on disk.
    """

    in_memory = False

    dropped = 0

    def __init__(self, context: Context, limit: int) -> None:
        self._context = context
        self._limit = limit
        self._line: deque[Any] = deque()
        self._codec = _Codec(context)
        self._saved = context.state("operator", self._changes, "what waits on disk: files and offsets, records")
        saved = self._saved.get(_POSITION).get("")
        self._records: int
        *position, self._records = unpack(saved) if saved else (0, 0, 0, 0, 0)
        self._last = saved
        lasting = self._saved.persistent
        folder = context.spool() or Path(tempfile.gettempdir()) / f"rxpipe-{uuid4().hex}"
        size = max(limit // _FILES, _LEAST_FILE)
        self._spool = Spool(folder, size, tuple(position) if saved else None, keep=lasting)
        self._leave = False
        self._failing = False
        self._stop = context.on_drain(self._drain) if lasting else None
        context.gauge("spilled_bytes", lambda: self._spool.nbytes)

    @property
    def depth(self) -> int:
        """How many records wait."""
        return self._records + sum(map(weight, self._line))

    @property
    def ready(self) -> bool:
        """Whether `take` may be called; what is on disk is read like a source, unless there is no room behind it."""
        return bool(self._line) or (bool(self._spool.nbytes) and not self._context.flow.held)

    @property
    def full(self) -> bool:
        """Whether anything must wait in memory."""
        return bool(self._line)

    leased = full

    @property
    def over(self) -> bool:
        """Whether what still waits can be left to the next run."""
        return not self._line and (self._leave or not self._spool.nbytes)

    def put(self, element: Any) -> None:
        """Write an element to disk; behind one that cannot be, it waits in memory."""
        if self._line or not self._write(element):
            self._line.append(element)

    def take(self) -> Any:
        """The oldest; there is room for another one then."""
        if not self._spool.nbytes:
            element = self._line.popleft()
        else:
            element = self._codec.decode(self._spool.take())
            self._records -= weight(element)
        while self._line and self._write(self._line[0]):
            self._line.popleft()
        return element

    def close(self) -> None:
        """Let go of what waits in memory, and of the files."""
        self._line.clear()
        if self._stop is not None:
            self._stop.dispose()
        self._spool.close()

    def _write(self, element: Any) -> bool:
        text = self._codec.encode(element)
        if text is None or self._spool.nbytes + LENGTH + len(text) > self._limit:
            return False
        try:
            self._spool.append(text)
        except OSError as error:
            if not self._failing:
                logger.warning("{}: cannot write to disk, the sources are held: {}", self._context.name, error)
            self._failing = True
            return False
        self._failing = False
        self._records += weight(element)
        return True

    def _drain(self) -> None:
        """The run ends: what is on disk is left there."""
        self._leave = True

    def _changes(self) -> Iterable[Change]:
        position = self._spool.sync()
        committed = self._saved.get(_POSITION).get("")
        if committed is not None:
            self._spool.forget(tuple(unpack(committed)[:4]))
        row = pack([*position, self._records])
        if row != self._last:
            self._last = row
            yield _POSITION, "", row


class _Codec:
    """Elements as bytes and back; what comes back holds a lease of the run, as what comes from a source.

    Rows that are structs become structs again where their type has been seen in this run, else dicts.
    """

    def __init__(self, context: Context) -> None:
        self._flow = context.flow
        self._kinds: dict[tuple[str, ...], type[msgspec.Struct]] = {}

    def encode(self, element: Any) -> bytes | None:
        """The element as bytes; None if it must stay in memory."""
        try:
            if isinstance(element, Batch) and final(element):
                first = element.leases[0] if element.leases else None
                origin = None if first is None else [first.path, first.start, first.end]
                return pack(["rows", origin, *self._rows(element.rows)])
            if isinstance(element, LineDelta):
                return pack(["lines", element._replace(lease=None)._asdict()])
            if isinstance(element, OriginGone):
                return pack(["gone", element.path])
        except (TypeError, ValueError, RecursionError):  # a value that has no form on disk
            pass
        return None

    def decode(self, text: bytes) -> Any:
        """The element."""
        kind, *parts = unpack(text)
        if kind == "gone":
            return OriginGone(*parts)
        if kind == "lines":
            block = LineDelta(**parts[0])
            return block._replace(lease=Lease(self._flow, len(block.data), block.path, block.start, block.end))
        origin, fields, rows = parts
        if fields is not None:
            names = tuple(fields)
            made = self._kinds.get(names)
            rows = [dict(zip(names, row, strict=True)) if made is None else made(*row) for row in rows]
        return Batch(rows, leases=(Lease(self._flow, len(text), *(origin or ())),))

    def _rows(self, rows: list[Row]) -> tuple[Any, list[Any]]:
        """The names of the fields and the values, if all rows are of one struct; else the rows as they are."""
        first = rows[0] if rows else None
        if not isinstance(first, msgspec.Struct) or any(type(row) is not type(first) for row in rows):
            return None, rows
        self._kinds[first.__struct_fields__] = type(first)
        return first.__struct_fields__, [list(msgspec.structs.astuple(row)) for row in rows]
