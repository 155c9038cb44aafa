"""Lines of JSON into batches of records."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from operator import countOf
from typing import Any, NamedTuple

import msgspec
import orjson
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from typing_extensions import TypedDict

from rxpipe.context import Context, current
from rxpipe.elements import Batch, LineDelta, Lines, Row
from rxpipe.errors import RxpipeError
from rxpipe.expressions.known import KnownFields
from rxpipe.fusion.lift import Fusible, Lifted, Make, Reject, Stage
from rxpipe.fusion.loop import Loop, compile_loop
from rxpipe.fusion.origins import lines_in
from rxpipe.operator import fields_of, operator
from rxpipe.operators.records._decode import Declared, JsonType, Paths, compile_decoder
from rxpipe.operators.records._search import lines_containing

_BOM = b"\xef\xbb\xbf"
_OPENING, _CLOSING = b"{}"
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
)
"""A whole surrogate pair, half of one, or any other escape."""

_BAD_LINE = (msgspec.MsgspecError, ValueError, RecursionError)


class FieldSpec(TypedDict, total=False):
    """One declared field, written out: `path` is one path or several to try in order."""

    path: str | list[str]
    type: JsonType


@operator
def parse_json(
    source: Observable[LineDelta], fields: dict[str, str | FieldSpec] | None = None, containing: str | None = None
) -> Observable[Batch]:
    r"""Turn blocks of JSON lines into batches of records, one batch a block.

    With `fields` a record is a typed struct of just these fields, and all others are skipped without being built: a
    field is a dotted path into the object, or `{path, type}` with the types any, str, int, float, number, bool, list,
    object and json (the text of the value as it stands there, not decoded). Of several paths the first that is there
    and not null counts. A field that is not there is null. The path `@path` is the file the record came from. Without
    `fields` a record is the object as a dict.

    A line that is no JSON object, or where a field has another type than declared, goes to `errors` with its path and
    byte range; the lines around it are not harmed. Types are strict: 1.0 and true are no int, an int has 64 bits; an
    int is taken for a float, though. Empty lines, a byte order mark at the start of a file, and an unfinished last line
    that is no JSON yet (see `read_lines`) are skipped. Half of a surrogate pair (one `\ud83d` escape alone, as is left
    of a text cut in two) counts as U+FFFD. With `containing`, only lines that have this text in them are looked at; the
    search runs over the whole block before anything is decoded, and what it passes over is not an error. Completion and
    errors pass through; nothing is held back.

    Args:
        fields: The fields of a record: a name and where to find it.
        containing: Text that a line must have to be decoded.

    Example:
        >>> lines = LineDelta("a.jsonl", "1", 0, 30, b'{"usage":{"out":5},"junk":[]}\n')
        >>> rx.of(lines).pipe(parse_json(fields={"tokens": {"path": "usage.out", "type": "int"}})).run()
        Batch([{'tokens': 5}])

    Raises:
        RxpipeError: A field's name or path cannot be used, or `containing` has a line break.
    """
    declared = None if fields is None else {name: _declared(name, spec) for name, spec in fields.items()}
    decoder, flatten = (None, None) if declared is None else compile_decoder(declared)
    paths: list[Paths] = []  # of the subscription that is being made: the step behind this one's own makes it
    marker = containing.encode() if containing else None
    if marker and b"\n" in marker:
        msg = f"parse_json: 'containing' must be a text within one line; got {containing!r}"
        raise RxpipeError(msg)

    def subscribe(observer: ObserverBase[Batch], scheduler: SchedulerBase | None = None) -> DisposableBase:
        decode = _Decoder(_to_dict, _to_dicts) if decoder is None else _typed(decoder)
        context = current()
        path = paths.pop() if paths else [""]

        def on_next(element: Any) -> None:
            if not isinstance(element, LineDelta):
                observer.on_next(element)
                return
            objects, lines = _decoded(decode, element, marker, context)
            if objects:
                path[0] = element.path
                leases = () if element.lease is None else (element.lease,)
                observer.on_next(Batch(objects, leases=leases, row_type=decoder, lines=lines))

        return source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

    decoded = Observable(subscribe)
    if flatten is None or decoder is None:
        return decoded
    return Lifted(decoded, [Stage(_flattening(flatten, paths, decoder), counted=False)])


@fields_of(parse_json)
def _fields(known: KnownFields, /, fields: dict[str, str | FieldSpec] | None, **_: object) -> KnownFields:
    return known.unknown() if fields is None else known.only(*fields)


def _declared(name: str, spec: str | FieldSpec) -> Declared:
    if isinstance(spec, str):
        return Declared((spec,), "any")
    paths = spec.get("path", name)
    return Declared((paths,) if isinstance(paths, str) else tuple(paths), spec.get("type", "any"))


class _Again(NamedTuple):
    """The lines of a block of which each made an object: they are read again when one is asked for."""

    path: str
    start: int
    end: int
    decode: Callable[[bytes], Row]

    def at(self, index: int, rows: list[Row]) -> tuple[int, int] | None:
        """Where the line of an object stands, if that is still what stands there."""
        lines = lines_in(self.path, self.start, self.end)
        if index >= len(lines):
            return None
        start, line = lines[index]
        try:
            same = self.decode(line.removeprefix(_BOM)) == rows[index]
        except _BAD_LINE:
            return None
        return (start, start + len(line)) if same else None


class _Places(NamedTuple):
    """The lines of a block, of which some made no object: where each begins in it, and how long it is."""

    block: int
    starts: list[int]
    sizes: list[int]

    def at(self, index: int, rows: list[Row]) -> tuple[int, int] | None:  # see `rxpipe.elements.Lines`
        """Where the line of an object stands."""
        start = self.block + self.starts[index]
        return start, start + self.sizes[index]


class _Decoder(NamedTuple):
    """Decodes a line, which must be an object, and an array of them."""

    line: Callable[[bytes], Row]
    array: Callable[[bytearray], list[Any]]


def _to_dict(line: bytes) -> Row:
    record = orjson.loads(line)
    if not isinstance(record, dict):
        msg = f"a line must be a JSON object; got {type(record).__name__}"
        raise ValueError(msg)  # a bad record, as any other that orjson refuses
    return record


def _to_dicts(array: bytearray) -> list[Row]:
    records: list[Any] = orjson.loads(array)
    return records if countOf(map(type, records), dict) == len(records) else []


def _flattening(flatten: Callable[[Loop, Paths], None], paths: list[Paths], decoded: Any) -> Make:
    """The step from decoded objects to rows."""

    def make(_: Context) -> Fusible:
        path = [""]
        paths.append(path)

        def write(loop: Loop) -> None:
            flatten(loop, path)

        alone: dict[type, Callable[..., Any]] = {}

        def rows(objects: list[Any], _: Reject) -> list[Row]:
            kind = type(objects[0])
            if kind not in alone:
                alone[kind] = compile_loop([write], kind).call
            made: list[Row] = alone[kind](objects)[0]
            return made

        return Fusible(rows, write, takes=decoded)

    return make


def _typed(kind: Any) -> _Decoder:
    return _Decoder(msgspec.json.Decoder(kind).decode, msgspec.json.Decoder(list[kind]).decode)


def _decoded(
    decoder: _Decoder, block: LineDelta, marker: bytes | None, context: Context
) -> tuple[list[Any], Lines | None]:
    """The objects of a block and where their lines stand; bad lines are rejected one by one where not all decode."""
    data = block.data
    if block.start == 0 and data.startswith(_BOM):
        data = b"   " + data[3:]
    whole = _at_once(decoder, data) if marker is None else None
    if whole is not None:
        return whole, _Again(block.path, block.start, block.end, decoder.line)
    decode = decoder.line
    starts, lines = _lines(data) if marker is None else lines_containing(data, marker)
    with suppress(*_BAD_LINE):
        return [*map(decode, lines)], _Places(block.start, starts, [*map(len, lines)])
    objects: list[Any] = []
    good: list[int] = []
    sizes: list[int] = []
    for start, line in zip(starts, lines, strict=True):
        try:
            objects.append(decode(line))
        except _BAD_LINE as error:
            repaired = _repaired(decode, line, error)
            if repaired is None:
                if block.unfinished and not _is_json(line):
                    continue
                leases = () if block.lease is None else (block.lease,)
                at = block.start + start
                reason = f"no valid record: {error}"
                context.reject(reason, line, leases=leases, path=block.path, start=at, end=at + len(line))
                continue
            objects.append(repaired)
        good.append(start)
        sizes.append(len(line))
    return objects, _Places(block.start, good, sizes)


def _at_once(decoder: _Decoder, data: bytes) -> list[Row] | None:
    """The objects of lines of which each is one; None where one of them is bad."""
    try:
        if data.find(b"\n") == len(data) - 1:
            return [decoder.line(data)]
        array, lines = _as_array(data)
        whole = decoder.array(array)
    except _BAD_LINE:
        return None
    return whole if len(whole) == lines else None


def _is_json(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except ValueError:
        return False
    return True


def _as_array(data: bytes) -> tuple[bytearray, int]:
    """Lines of objects as one JSON array, and how many there are if each line is one.

    A line break becomes a comma and a line break. The array decodes to that many objects only if each line is exactly
    one: inside an object a comma in the place of white space is never allowed, nor is a line break inside a text, so
    that each of them separates two items; and a line of several objects gives more items, or has no comma between them.
    """
    array = bytearray(b"[")
    array += data.replace(b"\n", b",\n")
    lines = len(array) - 1 - len(data)
    if data.endswith(b"\n"):
        array[-2:] = b"]"
        return array, lines
    array += b"]"
    return array, lines + 1


def _repaired(decode: Callable[[bytes], Any], line: bytes, error: Exception) -> Any:
    """The object of a line whose only fault are escaped halves of surrogate pairs, which become U+FFFD; else None."""
    if isinstance(error, msgspec.ValidationError | RecursionError) or b"\\u" not in line:
        return None
    repaired = _ESCAPE.sub(_whole, line)
    try:
        return None if repaired == line else decode(repaired)
    except _BAD_LINE:
        return None


def _whole(escape: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if escape["half"] else escape[0]


def _lines(data: bytes) -> tuple[list[int], list[bytes]]:
    starts: list[int] = []
    lines: list[bytes] = []
    start = 0
    for line in data.split(b"\n"):
        if line and not line.isspace():
            starts.append(start)
            lines.append(line)
        start += len(line) + 1
    return starts, lines
