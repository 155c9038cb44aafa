"""What flows between operators: file events, blocks of lines, batches of records; `table.py` has the live tables."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from rxpipe.errors import escaped
from rxpipe.lease import Lease

Row = Any
"""One record: a dict, or a msgspec struct generated from declared fields."""

FileKind = Literal["create", "modify", "delete", "rename", "truncate", "replace"]


class FileState(NamedTuple):
    """What `stat` said of a file: identity, size in bytes, modification time in nanoseconds since the epoch."""

    device: int
    inode: int
    size: int
    mtime_ns: int

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode: the same file under whatever name."""
        return (self.device, self.inode)


class FileEvent(NamedTuple):
    """Something happened to a file.

    `old` and `new` are its states before and after (None: it did not, or does not, exist); `old_path` is set for a
    rename.
    `known` marks a file found by the first scan: it was there before the watch began.
    """

    kind: FileKind
    path: str
    old: FileState | None = None
    new: FileState | None = None
    old_path: str | None = None
    known: bool = False


class LineDelta(NamedTuple):
    """A block of complete new lines of one file: bytes `start` to `end`, ending in a newline unless `unfinished`.

    `file` is the identity under which the reader keeps the file's offset. An unfinished block is one last line of which
    nobody knows whether it is whole.
    """

    path: str
    file: str
    start: int
    end: int
    data: bytes
    lease: Lease | None = None
    unfinished: bool = False


class OriginGone(NamedTuple):
    """All that was read from `path` is void: the file was removed, truncated or replaced.

    Operators that remember records by their origin take them back; all others pass it on.
    """

    path: str


class Lines(Protocol):
    """The lines that the rows of a batch were made of."""

    def at(self, index: int, rows: list[Row]) -> tuple[int, int] | None:
        """The first byte of the line of one of the rows, and the one behind it; None where it cannot be told."""
        ...


class Batch:
    """Records that travel together, with the leases of the data they came from.

    Args:
        rows: The records; all of one type, as a rule. Never changed once emitted: the batch may have several readers.
        retracted: Records emitted earlier that no longer hold; a reader takes them back before it adds `rows`.
        leases: Leases of the source blocks; dropped with the batch.
        retractable: Whether rows of this stream may be retracted later.
        row_type: The type of all rows, where whoever made them knows it; nothing depends on it but time.
        lines: Where the lines stand that the rows were made of, one of each; for error records.
    """

    __slots__ = ("leases", "lines", "retractable", "retracted", "row_type", "rows")

    def __init__(
        self,
        rows: list[Row],
        retracted: list[Row] | None = None,
        leases: tuple[Lease, ...] = (),
        *,
        retractable: bool = False,
        row_type: type | None = None,
        lines: Lines | None = None,
    ) -> None:
        self.rows = rows
        self.row_type = row_type
        self.lines = lines
        self.retracted: list[Row] = [] if retracted is None else retracted
        self.leases = leases
        self.retractable = retractable

    def __len__(self) -> int:
        return len(self.rows)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Batch):
            return NotImplemented
        return self.dicts() == other.dicts() and self.dicts(self.retracted) == other.dicts(other.retracted)

    __hash__ = None  # type: ignore[assignment]  # compared by content, which a set could not rely on

    def __repr__(self) -> str:
        taken = f", retracted={self.dicts(self.retracted)}" if self.retracted else ""
        return f"Batch({self.dicts()}{taken})"

    def replace(self, rows: list[Row], retracted: list[Row] | None = None, row_type: type | None = None) -> Batch:
        """A batch with other rows and the same leases."""
        return Batch(rows, retracted, self.leases, retractable=self.retractable, row_type=row_type)

    def dicts(self, rows: Sequence[Row] | None = None) -> list[dict[str, Any]]:
        """The rows as plain dicts."""
        return [as_dict(row) for row in (self.rows if rows is None else rows)]


class Fold(NamedTuple):
    """What a loop made of a batch in the place of records: between a run of record-wise steps and the step behind it.

    `records` is how many there were.
    """

    result: Any
    records: int
    leases: tuple[Lease, ...] = ()


class Partial(NamedTuple):
    """What an operator computed of a batch where the whole is not known, in a worker: only that operator reads it."""

    state: Any
    leases: tuple[Lease, ...] = ()


class ErrorRecord(msgspec.Struct, frozen=True, dict=True):
    """A record, line or file that could not be handled: an element of the built-in stream `errors`.

    `start` and `end` are byte offsets in `path`: of the line itself where `read_lines` (with its newline) or
    `parse_json` (without) rejects it, and where a record-wise step next to `parse_json` rejects a record; of the block
    of lines that the record came in where a later step does, which knows no more. `time` is in seconds since the epoch.
    """

    step: str
    reason: str
    time: float
    path: str | None = None
    start: int | None = None
    end: int | None = None
    record: str | None = None

    @property
    def whole(self) -> Any:
        """What was rejected as it was: a record, a line as bytes, an element; None where nobody keeps it any more."""
        return self.__dict__.get("whole")

    @property
    def where(self) -> str:
        """The path and bytes in brackets, to put behind a message; empty where no path is known."""
        span = "" if self.start is None else f", in bytes {self.start} to {self.end}"
        return "" if self.path is None else f" ({self.path}{span})"

    def __str__(self) -> str:
        """The error as the log tells it, on one line."""
        return escaped(f"{self.step}: {self.reason}{self.where}")


def as_dict(row: Row) -> dict[str, Any]:
    """A row as a plain dict with its declared order of fields."""
    if isinstance(row, Mapping):
        return dict(row)
    return msgspec.structs.asdict(row)


def error_record(
    step: str, reason: str, record: object = None, leases: tuple[Lease, ...] = (), **place: Any
) -> ErrorRecord:
    """Build an `ErrorRecord`; the record is shown in 1,000 characters, its place is that of the leases unless given.

    What the name of a file has that is no UTF-8 is shown as escapes, so that all that is told can be written. Of data
    of several blocks the place is from the first to the last byte if all are of one file, else not known.
    """
    paths = {lease.path for lease in leases}
    if len(paths) == 1 and "" not in paths:
        start, end = min(lease.start for lease in leases), max(lease.end for lease in leases)
        place = {"path": leases[0].path, "start": start, "end": end} | place
    text = None if record is None else _shorten(record)
    place.setdefault("time", time.time())
    if place.get("path") is not None:
        place["path"] = writable(place["path"])
    made = ErrorRecord(step=step, reason=writable(reason), record=None if text is None else writable(text), **place)
    if record is not None:
        vars(made)["whole"] = unleased(record)
    return made


def writable(text: str) -> str:
    """A text that can be written as UTF-8: halves of surrogate pairs, as in names of files, are shown as escapes."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def unleased(element: Any) -> Any:
    """An element that can be kept: without its leases."""
    if isinstance(element, Batch):
        return Batch(element.rows, element.retracted, retractable=element.retractable)
    return element._replace(lease=None) if isinstance(element, LineDelta) else element


def _shorten(record: object, limit: int = 1000) -> str:
    if isinstance(record, bytes):
        record = record[:limit].decode("utf-8", "replace")
    try:
        text = record if isinstance(record, str) else repr(record)
    except RecursionError:
        text = f"a {type(record).__name__} that is nested too deep to be shown"
    return text if len(text) <= limit else text[: limit - 1] + "…"
