"""Dead letters: error records kept whole, as lines of JSON, so that they can be looked at and sent again."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import msgspec

from rxpipe.elements import Batch, ErrorRecord, LineDelta, Row, as_dict
from rxpipe.lease import Flow, Lease
from rxpipe.log import logger

Kind = Literal["record", "batch", "line", "bytes", "lines"]
"""What was rejected: a record, all records of a batch, a line as text or in base64, or a block of lines."""

_TYPES: dict[str, Any] = {
    kind.__name__: kind
    for kind in (datetime, date, time, timedelta, bytes, Decimal, UUID, set, frozenset, tuple, float)
}
"""The types of values that JSON has no form of its own for."""


class Letter(msgspec.Struct, frozen=True, omit_defaults=True):
    """One error record, with what was rejected.

    Attributes:
        stream: The stream in which it was.
        step: The step that rejected it, as `records[2] parse_json`.
        reason: Why.
        time: When, in seconds since the epoch.
        path: The file that it came from.
        start: Where in it: the first byte.
        end: The byte behind the last.
        kind: What `record` is; None where it only shows what was rejected, which cannot be sent again.
        record: What was rejected.
        types: Of a record's fields that JSON has no form for, the types.
    """

    stream: str
    step: str
    reason: str
    time: float
    path: str | None = None
    start: int | None = None
    end: int | None = None
    kind: Kind | None = None
    record: Any = None
    types: dict[str, str] | list[dict[str, str]] | None = None

    def element(self, flow: Flow) -> Any:
        """What was rejected, as it can be given to the step again, with a lease of its own.

        Raises:
            ValueError: It cannot: what was rejected was not kept.
            msgspec.ValidationError: A value is not of the type that is told of it.
        """
        if self.kind is None:
            msg = f"{self.step}: cannot be sent again: what was rejected is not kept, only shown"
            raise ValueError(msg)
        start, end = self.start or 0, self.end or 0
        lease = Lease(flow, max(0, end - start), self.path or "", start, end)
        if self.kind in {"record", "batch"}:
            rows = [self.record] if self.kind == "record" else self.record
            types: Any = [self.types] * len(rows) if self.kind == "record" else self.types or [None] * len(rows)
            return Batch([_typed(row, of) for row, of in zip(rows, types, strict=True)], leases=(lease,))
        data = base64.b64decode(self.record) if self.kind == "bytes" else self.record.encode()
        if self.kind != "lines":
            data += b"\n"
        return LineDelta(self.path or "", "", start, start + len(data), data, lease)


class Found(msgspec.Struct, frozen=True):
    """A letter in its file.

    Attributes:
        id: The file's name and the offset of the letter's line in it, as `dead.jsonl:1234`.
        letter: The letter.
        size: Bytes of its line.
    """

    id: str
    letter: Letter
    size: int


class Selection(msgspec.Struct, frozen=True):
    """Which letters: all that fit everything that is given.

    Attributes:
        stream: The name of their stream.
        step: A text in the name of their step.
        reason: A text in their reason.
        since: The earliest time, in seconds since the epoch.
        until: The time before which they are.
        ids: Their ids; all if there are none.
    """

    stream: str | None = None
    step: str | None = None
    reason: str | None = None
    since: float | None = None
    until: float | None = None
    ids: tuple[str, ...] = ()

    def fits(self, found: Found) -> bool:
        """Whether a letter is one of them."""
        letter = found.letter
        return (
            (self.stream is None or letter.stream == self.stream)
            and (self.step is None or self.step in letter.step)
            and (self.reason is None or self.reason in letter.reason)
            and (self.since is None or letter.time >= self.since)
            and (self.until is None or letter.time < self.until)
            and (not self.ids or found.id in self.ids)
        )


def letter_of(error: ErrorRecord) -> Letter:
    """An error record as a letter, with all that is still known of what was rejected."""
    stream = error.step.partition("[")[0]
    made = Letter(stream, error.step, error.reason, error.time, error.path, error.start, error.end)
    kind, record, types = _whole(error.whole)
    if kind is None:
        return msgspec.structs.replace(made, record=error.record)
    return msgspec.structs.replace(made, kind=kind, record=record, types=types or None)


def line_of(error: ErrorRecord) -> bytes:
    """An error record as a line of JSON; what has no form there is only shown."""
    letter = letter_of(error)
    try:
        return msgspec.json.encode(letter) + b"\n"
    except (TypeError, ValueError, RecursionError):
        shown = None if error.record is None else error.record.encode("utf-8", "replace").decode()
        reason = error.reason.encode("utf-8", "replace").decode()
        return (
            msgspec.json.encode(msgspec.structs.replace(letter, kind=None, types=None, record=shown, reason=reason))
            + b"\n"
        )


def read(paths: Iterable[Path]) -> Iterator[Found]:
    """The letters in files, in order; a line that is none is told of and passed over."""
    decode: Callable[[bytes], Letter] = msgspec.json.Decoder(Letter).decode
    for path in paths:
        offset = 0
        with path.open("rb") as file:
            for line in file:
                try:
                    if line.endswith(b"\n"):
                        yield Found(f"{path.name}:{offset}", decode(line), len(line))
                except msgspec.DecodeError as error:
                    logger.warning("{}: byte {}: no dead letter: {}", path, offset, error)
                offset += len(line)


def _whole(whole: Any) -> tuple[Kind | None, Any, Any]:
    """What was rejected, as data for JSON: its kind, itself, and the types of its values."""
    if isinstance(whole, bytes):
        text = _text(whole)
        return ("bytes", base64.b64encode(whole).decode(), None) if text is None else ("line", text, None)
    if isinstance(whole, LineDelta):
        text = _text(whole.data)
        return ("lines" if text is not None else None), text, None
    if isinstance(whole, Batch):
        types = [_types(row) for row in whole.rows]
        return "batch", [_written(row) for row in whole.rows], types if any(types) else None
    if isinstance(whole, Mapping | msgspec.Struct):
        return "record", _written(whole), _types(whole)
    return None, None, None


def _text(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _written(row: Row) -> dict[str, Any]:
    """A record with what JSON has no number for as text."""
    return {name: str(value) if _odd(value) else value for name, value in as_dict(row).items()}


def _odd(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _types(row: Row) -> dict[str, str]:
    values = as_dict(row).items()
    return {
        name: type(value).__name__
        for name, value in values
        if (type(value) is not float and type(value).__name__ in _TYPES) or _odd(value)
    }


def _typed(row: dict[str, Any], types: Mapping[str, str] | None) -> dict[str, Any]:
    """A record with its values in their types again."""
    typed = {name: msgspec.convert(row[name], _TYPES[kind], strict=False) for name, kind in (types or {}).items()}
    return {**row, **typed}
