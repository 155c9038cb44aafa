"""Dead letters: error records kept whole, as lines of JSON, so that they can be looked at and sent again."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import msgspec

from rxpipe.aggregations.packing import pack, unpack
from rxpipe.elements import Batch, ErrorRecord, FileEvent, FileState, LineDelta, OriginGone, Row, as_dict
from rxpipe.errors import RxpipeError, shortened
from rxpipe.lease import Flow, Lease
from rxpipe.log import logger

Kind = Literal["record", "batch", "line", "bytes", "lines", "block", "event", "value"]
"""What was rejected: a record, a batch of them, a line or a block of lines as text or in base64, an event, a value."""

_TYPES: dict[str, Any] = {
    kind.__name__: kind
    for kind in (datetime, date, time, timedelta, bytes, Decimal, UUID, set, frozenset, tuple, float)
}
"""The types of values that JSON has no form of its own for, but a text."""

_COLLECTIONS = {set, frozenset, tuple}

_NATIVE = range(-(2**63), 2**63)
_SHOWN = 1000
"""Characters that are shown of a value that stands in `exact`."""


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
        types: Of a record's fields that are texts here, though they were something else, the types.
        exact: Of those that JSON would change further in, as dates in a list, the values, packed and in base64; the
            fields in `record` only show them.
        retracted: Of how many of a batch's records, the first ones, it said that they hold no more.
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
    exact: dict[str, str] | list[dict[str, str]] | None = None
    retracted: int = 0

    def element(self, flow: Flow) -> Any:
        """What was rejected, as it can be given to the step again, with a lease of its own.

        Raises:
            ValueError: It cannot: what was rejected was not kept, or was changed to what is no letter any more.
        """
        if self.kind is None:
            msg = f"{self.step}: cannot be sent again: what was rejected is not kept, only shown"
            raise ValueError(msg)
        try:
            return self._element(flow)
        except Exception as error:  # whatever somebody wrote there makes Python raise
            told = f"{type(error).__name__}: {error}"
            msg = f"{self.step}: cannot be sent again: its record must be as it was kept, or like it; got {told}"
            raise ValueError(msg) from error

    def _element(self, flow: Flow) -> Any:
        if self.kind == "event":
            states = {name: self.record[name] and FileState(**self.record[name]) for name in ("old", "new")}
            return FileEvent(**self.record | states)
        if self.kind == "value":
            return _row({}, None, self.exact)["value"]
        start, end = self.start or 0, self.end or 0
        lease = Lease(flow, max(0, end - start), self.path or "", start, end)
        if self.kind == "record":
            return Batch([_row(self.record, self.types, self.exact)], leases=(lease,))
        if self.kind == "batch":
            none: list[Any] = [None] * len(self.record)
            told = zip(self.record, self.types or none, self.exact or none, strict=True)
            rows = [_row(*each) for each in told]
            gone = self.retracted
            return Batch(rows[gone:], rows[:gone], leases=(lease,), retractable=gone > 0)
        data = base64.b64decode(self.record) if self.kind in {"bytes", "block"} else self.record.encode()
        if self.kind in {"line", "bytes"}:
            data += b"\n"
        return LineDelta(self.path or "", "", start, start + len(data), data, lease)


class Found(msgspec.Struct, frozen=True):
    """A letter in its file.

    Attributes:
        id: The file's name and the offset of the letter's line in it, as `dead.jsonl:1234`.
        letter: The letter.
        path: The file.
        offset: Where its line begins there.
        size: Bytes of its line.
        digest: Of its line: the same of those that several steps keep of one error.
    """

    id: str
    letter: Letter
    path: Path
    offset: int
    size: int
    digest: bytes


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
    shown: dict[str, Any] = {name: _unicode(getattr(error, name)) for name in ("step", "reason", "path", "record")}
    made = Letter(error.step.partition("[")[0], time=error.time, start=error.start, end=error.end, **shown)
    with suppress(TypeError, ValueError, OverflowError, RecursionError):  # it has no form, and is only shown
        kept = msgspec.structs.replace(made, **_kept(error.whole))
        msgspec.json.encode(kept)
        return kept
    return made


def line_of(error: ErrorRecord) -> bytes:
    """An error record as a line of JSON; what has no form there is only shown."""
    return msgspec.json.encode(letter_of(error)) + b"\n"


def _unicode(text: str | None) -> str | None:
    """A text without what is no Unicode, such as the bytes of a file's name that are no UTF-8, which it shows."""
    return text and text.encode("utf-8", "backslashreplace").decode()


def read(paths: Iterable[Path]) -> Iterator[Found]:
    """The letters in files, in order; a line that is none is told of and passed over.

    Raises:
        RxpipeError: A file cannot be read.
    """
    for path in paths:
        offset = 0
        try:
            with path.open("rb") as file:
                for line in file:
                    if line.endswith(b"\n") and (letter := _letter(line, path, offset)) is not None:
                        digest = blake2b(line, digest_size=16).digest()
                        yield Found(f"{path.name}:{offset}", letter, path, offset, len(line), digest)
                    offset += len(line)
        except OSError as error:
            msg = f"{path}: must be a file of dead letters that can be read; got {error.strerror}"
            raise RxpipeError(msg) from error


def read_again(path: Path, offset: int, size: int) -> Letter:
    """A letter that was found before.

    Raises:
        RxpipeError: The file cannot be read, or holds something else there now.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return _decode(file.read(size))
    except (OSError, msgspec.DecodeError) as error:
        msg = f"{path}: byte {offset}: the letter must still be there; got {error}"
        raise RxpipeError(msg) from error


_decode: Callable[[bytes], Letter] = msgspec.json.Decoder(Letter).decode


def _letter(line: bytes, path: Path, offset: int) -> Letter | None:
    try:
        return _decode(line)
    except msgspec.DecodeError as error:
        logger.warning("{}: byte {}: no dead letter: {}", path, offset, error)
        return None


def _kept(whole: Any) -> dict[str, Any]:
    """The attributes of a letter that keep what was rejected.

    Raises:
        TypeError: It cannot be kept: it is a live table, or a text that only shows what it was.
        ValueError: It has texts that are no Unicode.
    """
    if isinstance(whole, bytes):
        return _data(whole, "line", "bytes")
    if isinstance(whole, LineDelta):
        return _data(whole.data, "lines", "block")
    if isinstance(whole, Batch):
        rows = [_written(row) for row in (*whole.retracted, *whole.rows)]
        columns: dict[str, Any] = {name: [row[name] for row in rows] for name in ("record", "types", "exact")}
        columns |= {name: None for name in ("types", "exact") if not any(columns[name])}
        return {"kind": "batch", "retracted": len(whole.retracted), **columns}
    if isinstance(whole, FileEvent):
        states = {name: state and state._asdict() for name, state in (("old", whole.old), ("new", whole.new))}
        return {"kind": "event", "record": whole._asdict() | states}
    if isinstance(whole, Mapping | msgspec.Struct):
        told = _written(whole)
        return {"kind": "record", **told, "types": told["types"] or None, "exact": told["exact"] or None}
    if whole is None or isinstance(whole, str | OriginGone):
        msg = "what was rejected is not known"
        raise TypeError(msg)
    return {"kind": "value", "exact": {"value": _packed(whole)}}


def _data(data: bytes, text: Kind, other: Kind) -> dict[str, Any]:
    try:
        return {"kind": text, "record": data.decode()}
    except UnicodeDecodeError:
        return {"kind": other, "record": base64.b64encode(data).decode()}


def _written(row: Row) -> dict[str, dict[str, Any]]:
    """A record for JSON: as it is written, the types of what is a text in it, and what JSON would change."""
    record, types, exact = as_dict(row), {}, {}
    for name, value in record.items():
        if _same_in_json(value):
            continue
        kind = type(value)
        if _TYPES.get(kind.__name__) is kind and (kind not in _COLLECTIONS or _same_in_json([*value])):
            types[name] = kind.__name__
            record[name] = str(value) if kind is float else value
        else:
            exact[name] = _packed(value)
            record[name] = shortened(repr(value), _SHOWN)
    return {"record": record, "types": types, "exact": exact}


def _packed(value: Any) -> str:
    return base64.b64encode(pack(value)).decode()


def _same_in_json(value: Any) -> bool:
    """Whether a value that is written as JSON comes back as it was."""
    kind = type(value)
    if kind is int:
        return value in _NATIVE
    if kind is float:
        return math.isfinite(value)
    if kind is dict:
        return all(type(name) is str for name in value) and all(map(_same_in_json, value.values()))
    return kind in {str, bool, type(None)} or (kind is list and all(map(_same_in_json, value)))


def _row(row: Mapping[str, Any], types: Any, exact: Any) -> dict[str, Any]:
    """A record with its values as they were."""
    typed = {name: msgspec.convert(row[name], _TYPES[kind], strict=False) for name, kind in (types or {}).items()}
    return {**row, **typed, **{name: unpack(base64.b64decode(text)) for name, text in (exact or {}).items()}}
