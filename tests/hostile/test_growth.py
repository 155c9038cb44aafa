"""Eight times as much hostile input takes about eight times as long, not 64 times: nothing is quadratic.

Guessing at misspelt names of streams is, and so their number is limited.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import orjson
import pytest
import reactivex as rx
from loguru import logger

from rxpipe import operators as ops
from rxpipe.context import entered
from rxpipe.elements import Batch, LineDelta
from rxpipe.errors import RxpipeError
from rxpipe.language.config import load_text
from rxpipe.parameters.units import seconds
from rxpipe.testing import TestContext

MORE = 8
MOST = 28.0
"""How much longer it may take, where 8 is linear and 64 quadratic."""

HEAD = "graph: g\nstreams:\n"
READ = HEAD + "  s:\n    - watch: {paths: [a]}\n    - read_lines\n    - parse_json: {fields: {aa: a}}\n"

GRAPHS: dict[str, Callable[[int], str]] = {
    "unknown operators": lambda n: HEAD + "  s:\n" + "".join(f"    - unknown{i}: 1\n" for i in range(n)),
    "unknown parameters": lambda n: HEAD + f"  s: [interval: {{{', '.join(f'p{i}: 1' for i in range(n))}}}]\n",
    "unknown fields": lambda n: READ + "    - where: aab > 1\n" * n,
    "unknown variables": lambda n: HEAD + f"  s: [watch: {{paths: [{', '.join(f'${{V{i}}}' for i in range(n))}]}}]\n",
    "anchors in one line": lambda n: HEAD + f"  s: [{', '.join(f'&a{i} b' for i in range(n))}]\n",
    "the same key": lambda n: HEAD + "  s: [interval: 1s]\n" * n,
    "a merge of many": lambda n: HEAD + f"  a: [interval: 1s]\n  m: [merge: [{', '.join(['a'] * n)}]]\n",
    "escapes": lambda n: HEAD + '  s: [interval: "' + r"\n" * n + '"]\n',
    "fields one by one": lambda n: READ + "".join(f"    - derive: {{f{i}: aa + 1}}\n" for i in range(n // 4)),
}


def longer(call: Callable[[int], Any], size: int) -> float:
    """How much longer a call takes for more, in CPU time, the least of several."""

    def least(count: int) -> float:
        took = []
        for _ in range(3):
            started = time.process_time()
            call(count)
            took.append(time.process_time() - started)
        return min(took)

    return least(size * MORE) / max(least(size), 1e-3)


@pytest.mark.parametrize("name", [*GRAPHS])
def test_graphs(name: str) -> None:
    def load(count: int) -> None:
        with suppress(RxpipeError):
            load_text(GRAPHS[name](count))

    load(1)
    assert longer(load, 100) < MOST


def over(step: Any, make: Callable[[int], bytes]) -> Callable[[int], None]:
    """A call that has a step take a block of so many lines or characters."""

    def call(count: int) -> None:
        data = make(count)
        context = TestContext()
        with entered(context):
            blocks = [LineDelta("f", "f", 0, len(data), data)]
            rx.from_iterable(blocks).pipe(step).subscribe(lambda _: None, scheduler=context.virtual)
            context.virtual.advance_by(10)

    return call


TEXTS: dict[str, tuple[Callable[[], Any], Callable[[int], bytes]]] = {
    "lines that a pattern could look over": (
        lambda: ops.parse_text(r"(?P<a>[^=]*)=(?P<b>.*)"),
        lambda n: b"a\n" * n,
    ),
    "blanks that a pattern could look over": (
        lambda: ops.parse_text(r"\s*(?P<a>\w+)\s*=\s*(?P<b>\d+)\s*"),
        lambda n: b"  \n" * n,
    ),
    "quotes in logfmt": (lambda: ops.parse_text("logfmt"), lambda n: b'a="' + b'\\"' * n + b"\n"),
    "pairs in logfmt": (lambda: ops.parse_text("logfmt"), lambda n: b"a=1 " * n + b"=\n"),
    "empty lines before a start": (lambda: ops.multiline(start=r"^\s*at"), lambda n: b"\n" * n),
    "empty lines behind an end": (lambda: ops.multiline(end=r";\s*$"), lambda n: b";\n\n" * n),
    "lines of JSON that are none": (ops.parse_json, lambda n: b"{\n" * n),
    "escapes in JSON": (ops.parse_json, lambda n: b'{"a":"' + b"\\ud800" * n + b"\n"),
    "quotes in CSV": (lambda: ops.parse_csv(columns=["a"]), lambda n: b'"\n' * n),
    "secrets that are none": (
        lambda: rx.compose(ops.parse_json(), ops.mask()),
        lambda n: orjson.dumps({"a": "a.@-4 +49:1:" * n}) + b"\n",
    ),
}


@pytest.mark.parametrize("name", [*TEXTS])
def test_texts(name: str) -> None:
    made, make = TEXTS[name]
    logger.remove()
    assert longer(over(made(), make), 1000) < MOST


@pytest.mark.parametrize("data", ['"\n', 'a"\n', '"a\n"b"\n', '""\n'])
def test_files_of_csv(data: str, tmp_path: Any) -> None:
    path = tmp_path / "a.csv"

    def read(count: int) -> None:
        path.write_text(data * count)
        context = TestContext()
        with entered(context):
            ops.read_csv(str(path), columns=["a", "b"], max_record=500).subscribe(scheduler=context.virtual)
            context.virtual.advance_by(10)

    assert longer(read, 1000) < MOST


@pytest.mark.parametrize("text", [" ", "1 ", "1h", ".", "1e", "9"])
def test_quantities(text: str) -> None:
    def read(count: int) -> None:
        with suppress(RxpipeError):
            seconds(text * count)

    assert longer(read, 2000) < MOST


def test_a_record_with_many_names() -> None:
    def call(count: int) -> None:
        record = {f"n{i}": i for i in range(count)}
        context = TestContext()
        with entered(context):
            step = rx.compose(ops.flatten(), ops.aggregate(by=["n0"], n="count()"))
            rx.of(Batch([record] * 3)).pipe(step).subscribe(scheduler=context.virtual)
            context.virtual.advance_by(10)

    assert longer(call, 500) < MOST
