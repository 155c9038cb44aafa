"""What reads text and bytes that others wrote, one function each: it raises nothing but rxpipe's own errors.

Each is called with bytes by the tests here (Hypothesis), and by `make fuzz` (atheris).
"""

from __future__ import annotations

import base64
import gzip
import os
import re
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import reactivex as rx
import zstandard

from rxpipe import operators as ops
from rxpipe.aggregations.packing import pack
from rxpipe.context import entered
from rxpipe.elements import Batch, FileEvent, FileState, LineDelta, error_record
from rxpipe.errors import ExpressionError, GraphError, ParameterError, RxpipeError, StateError, UnitError
from rxpipe.expressions import parse
from rxpipe.faults.letters import Letter, line_of
from rxpipe.faults.letters import read as read_letters
from rxpipe.graph import Param
from rxpipe.language.config import load_text
from rxpipe.language.values import TYPES, from_text
from rxpipe.lease import Flow
from rxpipe.parameters import units
from rxpipe.runtime.state import StateFile
from rxpipe.runtime.statereading import open_readonly, readable
from rxpipe.testing import TestContext
from rxpipe.testing.marbles import MarbleError, format_marbles, parse_marbles
from rxpipe.views.show import show

Target = Callable[[bytes], None]

FIELDS: Any = {"a": {"path": "a", "type": "int"}, "t": {"path": ["b.t", "c.t"], "type": "any"}, "p": "@path"}
RECORDS: list[dict[str, Any]] = [
    {},
    {"a": 3, "b": 2.5, "t": "some text", "l": [1, 2, {"x": "y"}], "o": {"x": {"y": [None]}}, "n": None},
    {"a": 2**63, "b": -1e308, "t": "", "l": [], "o": {}, "n": True},
]
GRAPH = """\
graph: fuzzed
params: {n: 3, rate: {type: rate, default: 0.75Hz}, paths: [a, b]}
settings: {checkpoint: 5s}
streams:
  rows:
    - watch: {paths: "${paths}", patterns: ["*.jsonl"]}
    - read_lines
    - parse_json: {fields: {k: a.b, n: {path: n, type: int}}}
    - where: n > ${n} and k is not None
    - derive: {m: "n * 2"}
  sums: [{from: rows}, {aggregate: {by: [k], n: sum(n)}}, {throttle: "${rate}"}, to_terminal]
  both: [{merge: [rows, errors]}, {to_jsonl: out.jsonl}]
tests:
  - {name: t, where: rows, given: {rows: "-a|"}, expect: {rows: "-a|"}}
"""


def text_of(data: bytes) -> str:
    """The bytes as text."""
    return data.decode("utf-8", "replace")


def _check(holds: object, error: Exception) -> None:
    """Raise an error that does not tell what it must."""
    if not holds:
        raise AssertionError(repr(error)) from error


def graph(data: bytes) -> None:
    """A graph file: what is accepted can be drawn, and written so that it reads back the same."""
    text = text_of(data)
    if re.search("plugins|sample|module|:[a-z_]+", text.replace(GRAPH, "")) and "plugins" in text:
        return  # code is run that a graph names: that is what it is for
    with tempfile.TemporaryDirectory() as folder:
        try:
            made = load_text(text, folder=folder, environ={"HOME": "/home/x"}, tests=True)
        except GraphError as error:
            _check(str(error).replace("\n", "").isprintable(), error)
            _check(error.problems and all(problem.message for problem in error.problems), error)
            return
        assert load_text(made.to_yaml(), folder=folder, environ={"HOME": "/home/x"}) == made
        with suppress(RxpipeError):  # a parameter that must be set
            plan = made.plan()
            assert plan.fingerprint
            for form in ("text", "mermaid", "dot", "svg"):
                assert show(plan, form)


def expression(data: bytes) -> None:
    """An expression: what is accepted computes in little memory, or fails for the record alone."""
    try:
        function = parse(text_of(data)).bind(dict)
    except ExpressionError as error:
        _check(0 <= error.column <= len(error.text), error)
        return
    for record in RECORDS:
        try:
            function(record)
        except (MemoryError, SystemError):
            raise
        except Exception:  # the record's own: it goes to `errors`
            continue


def quantity(data: bytes) -> None:
    """A duration, rate or size: what is read is written so that it reads back the same."""
    text = text_of(data)
    for read, write in (
        (units.seconds, units.format_duration),
        (units.hertz, units.format_rate),
        (units.nbytes, units.format_size),
    ):
        with suppress(UnitError):
            value = read(text)
            assert read(write(value)) == value


def setting(data: bytes) -> None:
    """The value of a parameter, as `--set` gives it."""
    for kind in TYPES:
        with suppress(RxpipeError):
            from_text(Param(kind, default=[] if kind == "list" else None), text_of(data))


def _blocks(data: bytes, *steps: Any) -> tuple[list[Any], TestContext]:
    """The rows made of lines, whole or torn in two blocks, and the context with the errors."""
    context = TestContext()
    batches: list[Any] = []
    cut = data.find(b"\n", len(data) // 2) + 1
    parts = [(at, part) for at, part in ((0, data[:cut]), (cut, data[cut:])) if part]
    with entered(context):
        blocks = [LineDelta("f", "f", at, at + len(part), part) for at, part in parts]
        rx.from_iterable(blocks).pipe(*steps).subscribe(batches.append, scheduler=context.virtual)
        context.virtual.advance_by(10)
    rows = [row for element in batches if isinstance(element, Batch) for row in element.rows]
    return rows, context


def lines_of_json(data: bytes) -> None:
    """Lines of JSON, typed and not: each line is a record or an error."""
    lines = [line for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line and not line.isspace()]
    for fields in (None, FIELDS):
        rows, context = _blocks(data, ops.parse_json(fields=fields))
        assert len(rows) + len(context.errors) == len(lines), (rows, context.errors)


def csv(data: bytes) -> None:
    """Lines of CSV, and a file of CSV with quoted line breaks."""
    _blocks(data, ops.parse_csv(types={}))
    _blocks(data, ops.parse_csv(columns=["a", "b"], types={"a": "int"}))
    with tempfile.TemporaryDirectory() as folder, entered(TestContext()):
        path = Path(folder, "a.csv")
        path.write_bytes(data)
        seen: list[Any] = []
        context = TestContext()
        with entered(context):
            ops.read_csv(str(path), columns=["a", "b"], max_record=64).subscribe(seen.append, scheduler=context.virtual)
            context.virtual.advance_by(10)
        spans = [(error.start or 0, error.end or 0) for error in context.errors]
        assert all(start < end <= len(data) for start, end in spans)


def lines_of_text(data: bytes) -> None:
    """Lines of logfmt, and lines that a regular expression takes apart: each is a record or an error."""
    for step in (ops.parse_text("logfmt"), ops.parse_text(r"(?P<a>\w*)\s*=(?P<b>[^=]*)", types={"b": "number"})):
        rows, context = _blocks(data, step)
        lines = [line for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.removesuffix(b"\r")]
        assert len(rows) + len(context.errors) == len(lines)


def joined_lines(data: bytes) -> None:
    """Records of several lines: byte for byte what was there, aside from the line breaks."""
    whole = data if data.endswith(b"\n") else data + b"\n"
    for options in ({"start": r"^\S"}, {"end": r";\s*$"}, {"indented": True}):
        context = TestContext()
        seen: list[Any] = []
        with entered(context):
            block = LineDelta("f", "f", 0, len(whole), whole)
            rx.of(block).pipe(ops.multiline(**options, max_lines=3, max_bytes=20)).subscribe(
                seen.append, scheduler=context.virtual
            )
            context.virtual.advance_by(10)
        joined = b"".join(element.data for element in seen)
        assert re.sub(rb"\s", b"", joined) == re.sub(rb"\s", b"", whole)
        assert len(joined) == len(whole)


def packed(data: bytes) -> None:
    """Compressed files: no more comes out than asked for, whatever is in them."""
    for suffix, head in ((".gz", b""), (".zst", b""), (".gz", gzip.compress(b"a\n", mtime=0)), (".zst", _ZSTD)):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"a{suffix}")
            path.write_bytes(head + data)
            found = os.stat(path)
            event = FileEvent("create", str(path), None, FileState(found.st_dev, found.st_ino, found.st_size, 0))
            context = TestContext(once=True)
            seen: list[Any] = []
            with entered(context):
                rx.of(event).pipe(ops.read_lines(block="4KB", max_line="16KB")).subscribe(
                    seen.append, scheduler=context.virtual
                )
                context.virtual.advance_by(10)
            blocks = [element for element in seen if isinstance(element, LineDelta)]
            assert max((len(block.data) for block in blocks), default=0) <= 200_000  # a zstd block and a line
            assert not head or (blocks and blocks[0].data.startswith(b"a\n"))


_ZSTD = zstandard.ZstdCompressor().compress(b"a\n")


def marbles(data: bytes) -> None:
    """Marble text: what is read is written so that it reads back the same."""
    with suppress(MarbleError):
        events = parse_marbles(text_of(data))
        with suppress(MarbleError):  # times before zero
            again = [event[:2] for event in parse_marbles(format_marbles(events))]
            assert again == sorted((event[:2] for event in events), key=lambda event: event[0])


def state(data: bytes) -> None:
    """A state file that is damaged, or none."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "s.sqlite")
        path.write_bytes(data)
        with suppress(StateError), open_readonly(path) as file:
            for _ in readable(file):
                pass
        with suppress(StateError):
            opened = StateFile(path)
            try:
                opened.adopt("g", "f")
                [*opened.saved("s", "source", "what").items()]
                opened.commit([("s", [(b"k", "", b"v")])])
            finally:
                opened.close()


def state_seed() -> bytes:
    """A state file as it should be."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "s.sqlite")
        opened = StateFile(path)
        opened.adopt("g", "f")
        opened.saved("s", "source", "what: offset")
        opened.commit([("s", [(b"\xa1k", "", b"\x01"), (b"k", "p", b"\xff")])])
        opened.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        opened.close()
        return path.read_bytes()


def letters(data: bytes) -> None:
    """A file of dead letters that somebody changed, and packed values in one."""
    exact = {"value": base64.b64encode(data).decode()}
    line = msgspec.json.encode(Letter("a", "a[1] b", "", 0.0, kind="value", exact=exact))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "dead.jsonl")
        path.write_bytes(data + b"\n" + line + b"\n")
        for found in read_letters([path]):
            with suppress(ValueError):
                found.letter.element(Flow())


def letters_seed() -> bytes:
    """A dead letter of each kind."""
    row = {"a": [date(2026, 1, 31)], "d": Decimal("1.5"), "n": {1: 2**70, "s": {(1, 2)}}, "t": "text"}
    event = FileEvent("modify", "/a", FileState(1, 2, 3, 4), FileState(1, 2, 5, 6))
    kinds = [row, Batch([row, {"b": float("nan")}]), b"line", b"\xff", LineDelta("p", "f", 0, 2, b"a\n"), event, (1, 2)]
    return b"".join(line_of(error_record("a[1] b", "why", whole, time=1.0)) for whole in kinds)


def operators(data: bytes) -> None:
    """Parameters of operators, given as YAML on the command line of life."""
    text = text_of(data)
    with suppress(ParameterError, RxpipeError):
        ops.parse_text(text)
    with suppress(ParameterError, RxpipeError):
        ops.multiline(start=text)
    with suppress(ParameterError, RxpipeError):
        ops.watch([text], patterns=[text])
    with suppress(ParameterError, RxpipeError):
        ops.at(text, zone=text)
    with suppress(ParameterError, RxpipeError):
        ops.aggregate(n=text)


TARGETS: dict[str, tuple[Target, list[bytes]]] = {
    "graph": (graph, [GRAPH.encode(), b"a: &a [b]\nc: [*a, *a]\n", b"graph: g\nstreams: {s: [interval: 1s]}\n"]),
    "expression": (
        expression,
        [
            b"a + 1 if t == 'x' else coalesce(o.x.y, [i for i in l if i is not None])",
            b"matches(t, r'^a.b') and 2 ** a < 9 or any(i > 1 for i in l)",
            b"floor_time(now(), '15min') // 2 - date(a, 'Europe/Berlin')[0:4]",
            b"f'{a}' or (lambda: a.__class__)()",
        ],
    ),
    "quantity": (quantity, [b"1h30m", b"0.75Hz", b"60/min", b"64KiB", b"1e3ms", b"1_0"]),
    "setting": (setting, [b"[a, {b: 1}]", b"1,2,3", b"2026-01-31", b"10s", b"{env: HOME}", b"true"]),
    "json": (
        lines_of_json,
        [b'{"a":1,"b":{"t":"\\ud83d\\ude00"}}\n{"a":1.5}\n[1]\n', b'{"a":"' + b"x" * 50 + b'"}', b"[" * 70 + b"\n"],
    ),
    "csv": (csv, [b'a,b\n1,"x, ""y""\nz"\n2,\n', b'1,2"3\n"4,5\n']),
    "text": (lines_of_text, [b'a=1 b="c \\" d" e\n x = 5\n', b"= = =\n"]),
    "multiline": (joined_lines, [b"a\n b\n c\nd;\ne; \n\n\n", b"\r\n\r\n x\r\n"]),
    "packed": (packed, [gzip.compress(b"one\ntwo\n" * 20, mtime=0), _ZSTD * 2, b"\x50\x2a\x4d\x18\x01\0\0\0x"]),
    "marbles": (marbles, [b"-a-(bc)-|", b"^--1 #"]),
    "state": (state, [state_seed(), b"SQLite format 3\0"]),
    "letters": (letters, [letters_seed(), pack({"d": [date(2026, 1, 31), Decimal(1)], "s": {1, (2,)}, 2.5: 2**70})]),
    "operators": (operators, [rb"(?P<a>\d+) ", b"*/5 * * * *", b"sum(a)", b"**/[!a]?.log"]),
}
"""Each with inputs to begin from."""
