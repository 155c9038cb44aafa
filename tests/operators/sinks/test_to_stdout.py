"""`to_stdout`: records as lines."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import reactivex as rx

from rxpipe.context import entered
from rxpipe.elements import Batch, LineDelta, OriginGone
from rxpipe.operators.sinks import to_stdout as module
from rxpipe.operators.sinks.to_stdout import to_stdout
from rxpipe.runtime.output import Output
from rxpipe.testing import TestContext, run_marbles

ELEMENTS: list[Any] = [
    Batch([{"n": 1, "who": "Ann Lee", "e": "", "l": [1, {"a": None}]}], [{"n": 0}]),
    LineDelta("f", "id", 0, 6, b"\x1b[1m\nb\n"),
    OriginGone("f"),
    "plain \x1b text",
]


def written(step: Any, elements: list[Any]) -> str:
    stream = io.StringIO()
    context = TestContext()
    context.output = lambda: Output(stream)
    out: list[Any] = []
    with entered(context):
        rx.from_iterable(elements).pipe(step).subscribe(out.append, scheduler=context.virtual)
        context.virtual.start()
    assert out == elements
    return stream.getvalue()


def test_json() -> None:
    assert written(to_stdout(), ELEMENTS).splitlines() == [
        '{"n":0,"_retracted":true}',
        '{"n":1,"who":"Ann Lee","e":"","l":[1,{"a":null}]}',
        '{"path":"f","line":"\\u001b[1m"}',
        '{"path":"f","line":"b"}',
        '{"value":"plain \\u001b text"}',
    ]


def test_text() -> None:
    assert written(to_stdout("text"), ELEMENTS).split("\n") == [
        "n=0 _retracted=true",
        'n=1 who="Ann Lee" e="" l=[1,{"a":null}]',
        "\x1b[1m",
        "b",
        "plain \\x1b text",
        "",
    ]
    assert written(to_stdout("text"), [{"a\nb": object, "c": "\ud800"}]) == 'a\\nb="<class \'object\'>" c="?"\n'


@pytest.mark.parametrize("source", ["|", "-a-|", "-a-b|", "#", "-a#", "(ab|)"])
def test_marbles(source: str) -> None:
    assert run_marbles(to_stdout(), source) == source


def test_without_a_run_it_prints(capsys: pytest.CaptureFixture[str]) -> None:
    rx.of(1).pipe(to_stdout()).run()
    assert capsys.readouterr().out == '{"value":1}\n'


class Pipe(io.StringIO):
    """A real descriptor that fails as told."""

    def fileno(self) -> int:
        return 1


def test_a_write_goes_on_where_it_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[bytes] = []
    answers: list[Any] = [3, OSError(errno.ENOSPC, "No space left on device"), 99]

    def write(_: int, data: Any) -> int:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        got.append(bytes(data[:answer]))
        return len(got[-1])

    stream = Pipe()
    monkeypatch.setattr(sys, "__stdout__", stream)
    monkeypatch.setattr(os, "write", write)
    job = [memoryview(b"abcdefg\n")]
    with pytest.raises(OSError, match="No space left"):
        module._write(stream, job)
    module._write(stream, job)
    assert got == [b"abc", b"defg\n"]


def test_a_reader_that_goes_away_ends_the_stream() -> None:
    program = (
        "import reactivex as rx\n"
        "from rxpipe.operators.sinks.to_stdout import to_stdout\n"
        "try:\n    rx.range(0, 100000).pipe(to_stdout()).run()\n"
        "except BrokenPipeError:\n    import os, sys; os._exit(42)\n"
    )
    root = Path(module.__file__).parents[3]
    process = subprocess.Popen(  # our own program
        [sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b'{"value":0}\n'
    process.stdout.close()
    try:
        assert process.wait(30) == 42
    finally:
        process.kill()
        process.wait()
