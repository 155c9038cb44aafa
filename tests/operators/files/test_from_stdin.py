"""`from_stdin`: however the input is torn, its lines come once; real pipes, real processes."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rxpipe
from rxpipe import operators as ops
from rxpipe.elements import LineDelta
from rxpipe.operators.files import from_stdin as module
from rxpipe.operators.files.from_stdin import _Lines
from rxpipe.testing import TestContext
from tests.rxpipe.parts import threads_of_runs, until


class Collector:
    """Takes what `_Lines` emits."""

    def __init__(self) -> None:
        self.deltas: list[LineDelta] = []
        self.done = False

    def on_next(self, delta: LineDelta) -> None:
        self.deltas.append(delta)

    def on_completed(self) -> None:
        self.done = True


def fed(pieces: list[bytes], max_line: int = 1 << 20, *, drained: bool = False) -> tuple[list[LineDelta], TestContext]:
    """What comes of pieces."""
    context, out = TestContext(), Collector()
    lines = _Lines(out, context, "in", max_line)  # type: ignore[arg-type]  # as much of an observer as it needs
    for piece in pieces:
        lines.take(piece)
    lines.end(drained)
    assert out.done
    return out.deltas, context


@given(st.binary(max_size=60).map(lambda data: data.replace(b"x", b"\n")), st.lists(st.integers(0, 60), max_size=8))
def test_torn_input(data: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    deltas, _ = fed([data[a:b] for a, b in itertools.pairwise(places)])
    assert b"".join(delta.data for delta in deltas) == (data if not data or data.endswith(b"\n") else data + b"\n")
    assert [delta.start for delta in deltas] == [0, *(delta.end for delta in deltas)][: len(deltas)]
    assert (deltas[-1].end if deltas else 0) == len(data)
    assert not any(delta.unfinished for delta in deltas)


def test_a_drain_leaves_an_unfinished_line() -> None:
    deltas, _ = fed([b"a\nb", b"c"], drained=True)
    assert [(d.start, d.end, d.data, d.unfinished) for d in deltas] == [(0, 2, b"a\n", False), (2, 4, b"bc", True)]


@pytest.mark.parametrize("drained", [True, False])
def test_a_long_line_is_passed_over(drained: bool) -> None:
    deltas, context = fed([b"ok\n123", b"456", b"789\nalso\n", b"too ", b"long", b"."], 6, drained=drained)
    assert [delta.data for delta in deltas] == [b"ok\n", b"also\n"]
    assert [(e.path, e.start, e.end, e.reason) for e in context.errors] == [
        ("in", 3, 13, "line of 10 bytes: at most max_line, 6, are read; passed over"),
        ("in", 18, 27, "line of 9 bytes: at most max_line, 6, are read; passed over"),
    ]


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The end to write to of a pipe that is standard input."""
    read, write = os.pipe()
    monkeypatch.setattr(module, "_STDIN", read)
    yield write
    os.close(read)
    os.close(write)


def test_drain_emits_what_was_read_and_lets_go(pipe: int) -> None:
    """The thread that waits for input ends with the run, and so do its descriptors."""
    seen: list[Any] = []
    before, open_before = threads_of_runs(), len(os.listdir("/proc/self/fd"))
    graph = rxpipe.Graph("in", {"in": [ops.from_stdin(), ops.tap(lambda delta: seen.append(delta.data))]})
    with graph.run(state=False) as run:
        os.write(pipe, b"a\nb\nhalf")
        until(lambda: bool(seen))
    assert seen == [b"a\nb\n", b"half"]
    assert run.status().state == "done"
    until(lambda: threads_of_runs() <= before)
    until(lambda: len(os.listdir("/proc/self/fd")) <= open_before)


def test_a_stopped_run_lets_go(pipe: int) -> None:
    open_before = len(os.listdir("/proc/self/fd"))
    graph = rxpipe.Graph("in", {"in": [ops.from_stdin()]})
    with graph.run(state=False) as run:
        run.stop()
    until(lambda: len(os.listdir("/proc/self/fd")) <= open_before)


GRAPH = """
graph: piped
streams:
  in:
    - from_stdin
    - parse_json
    - to_jsonl: {path: OUT}
"""


def command(folder: Path) -> list[str]:
    (folder / "graph.yaml").write_text(GRAPH.replace("OUT", str(folder / "out.jsonl")))
    return [sys.executable, "-m", "rxpipe", "run", str(folder / "graph.yaml"), "--state", str(folder / "state.db")]


def test_a_whole_process_reads_to_the_end(tmp_path: Path) -> None:
    data = b"".join(b'{"n":%d}\n' % n for n in range(50_000))
    result = subprocess.run(command(tmp_path), input=data[:-1], capture_output=True, timeout=60, check=False)
    assert result.returncode == 0, result.stderr.decode()
    assert (tmp_path / "out.jsonl").read_bytes() == data


def test_ctrl_c_drains(tmp_path: Path) -> None:
    process = subprocess.Popen(command(tmp_path), stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(b'{"n":1}\n{"n":2}\n')
    process.stdin.flush()
    out = tmp_path / "out.jsonl"
    until(lambda: out.exists() and out.stat().st_size > 0)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    process.stdin.close()
    assert process.stderr is not None
    process.stderr.close()
    assert out.read_bytes() == b'{"n":1}\n{"n":2}\n'
