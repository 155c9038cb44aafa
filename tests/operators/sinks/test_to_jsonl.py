"""`to_jsonl`: what it writes, exactly once, whatever fails."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxpipe.elements import Batch, FileEvent, LineDelta, OriginGone
from rxpipe.errors import RxpipeError, StateError
from rxpipe.lease import Lease
from rxpipe.operators.sinks.to_jsonl import to_jsonl
from rxpipe.table import Table
from rxpipe.testing import run_marbles
from tests.operators.sinks.parts import Running


def lines(path: Path) -> list[Any]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


class Row(msgspec.Struct):
    a: int
    at: datetime


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """A disk with so many bytes left."""
    write, left = os.write, [1 << 60]

    def limited(descriptor: int, data: Any) -> int:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return write(descriptor, data)
        if left[0] <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        count = write(descriptor, bytes(data)[: left[0]])
        left[0] -= count
        return count

    def room(count: int | None) -> None:
        left[0] = 1 << 60 if count is None else count

    monkeypatch.setattr(os, "write", limited)
    return room


def test_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "out.jsonl"
    run = Running(to_jsonl(str(path)))
    at = datetime(2026, 1, 2, 3, 4, 5, 600, UTC)
    table = Table("t", ("k",), lambda: [{"k": 1}, {"k": 2}], lambda: 1)
    elements: list[Any] = [
        Batch([Row(1, at), {"d": Decimal("1.5"), "s": {1}, "b": b"\xff"}], [Row(0, at)]),
        table,
        LineDelta("f", "id", 0, 4, b"a\nb\n"),
        OriginGone("f"),
        FileEvent("create", "p"),
        7,
    ]
    run.push(*elements)
    assert run.out == elements
    assert lines(path) == [
        {"a": 0, "at": "2026-01-02T03:04:05.000600Z", "_retracted": True},
        {"a": 1, "at": "2026-01-02T03:04:05.000600Z"},
        {"d": "1.5", "s": [1], "b": "/w=="},
        {"k": 1},
        {"k": 2},
        {"path": "f", "line": "a"},
        {"path": "f", "line": "b"},
        {"kind": "create", "path": "p", "old": None, "new": None, "old_path": None, "known": False},
        {"value": 7},
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    run.source.on_completed()
    assert run.done


def test_a_record_without_a_json_form_is_rejected(tmp_path: Path) -> None:
    run = Running(to_jsonl(str(tmp_path / "x")))
    lease = Lease(run.context.flow, 1, "f", 3, 9)
    run.push(Batch([{"a": object()}, {"a": 1}, {"a": "\ud800"}, {"a": 1 << 70}], leases=(lease,)))
    assert lines(tmp_path / "x") == [{"a": 1}]
    assert [error.path for error in run.context.errors] == ["f"] * 3
    assert (
        "a value of type object has no JSON form" in run.context.errors[0].reason
        or "object" in run.context.errors[0].reason
    )


@pytest.mark.parametrize("source", ["|", "-a-|", "-a-b|", "#", "-a#", "(ab|)"])
def test_marbles(source: str, tmp_path: Path) -> None:
    assert run_marbles(to_jsonl(str(tmp_path / "x")), source) == source


@given(
    st.lists(st.lists(st.integers(-9, 9), max_size=4), max_size=12),
    st.lists(st.tuples(st.sampled_from(["next", "next", "checkpoint", "crash"]), st.binary(max_size=9)), max_size=30),
)
def test_exactly_once(batches: list[list[int]], actions: list[tuple[str, bytes]]) -> None:
    """However checkpoints and crashes fall, and whatever a crash left behind the position, each row is there once."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "out.jsonl")
        run = Running(to_jsonl(str(path)))
        states = run.context.checkpoint()
        offset = saved = 0
        for action, torn in [*actions, *[("next", b"")] * len(batches)]:
            if action == "next" and offset < len(batches):
                run.push(Batch([{"n": n} for n in batches[offset]]))
                offset += 1
            elif action == "checkpoint":
                states, saved = run.context.checkpoint(), offset
            elif action == "crash":
                run.stop()
                path.write_bytes(path.read_bytes() + torn)
                run, offset = Running(to_jsonl(str(path)), states), saved
        while offset < len(batches):
            run.push(Batch([{"n": n} for n in batches[offset]]))
            offset += 1
        run.stop()
        assert lines(path) == [{"n": n} for batch in batches for n in batch]


def test_a_full_disk_loses_nothing(tmp_path: Path, full: Callable[[int | None], None]) -> None:
    path = tmp_path / "out.jsonl"
    run = Running(to_jsonl(str(path)))
    first, second = Batch([{"n": 1}]), Batch([{"n": 22}, {"n": 3}])
    run.push(first)
    full(3)
    run.push(second)
    assert (lines(path), run.out) == ([{"n": 1}], [first])  # the three bytes are taken back
    assert run.context.flow.held
    assert "No space left" in run.context.details["degraded"]()
    with pytest.raises(AssertionError, match="1 leases are still held"):
        run.context.checkpoint()
    run.push(first)
    run.source.on_completed()
    run.context.virtual.advance_by(100)
    assert (lines(path), run.done, run.context.gauges["queue_depth"]()) == ([{"n": 1}], False, 2)
    full(None)
    run.context.virtual.advance_by(30)
    assert lines(path) == [{"n": 1}, {"n": 22}, {"n": 3}, {"n": 1}]
    assert (run.out, run.done) == ([first, second, first], True)
    assert not run.context.flow.held
    assert run.context.flow.blocks == 0
    assert run.context.details["degraded"]() is None
    run.context.checkpoint()


def test_waits_double(tmp_path: Path, full: Callable[[int | None], None]) -> None:
    run = Running(to_jsonl(str(tmp_path / "x")))
    full(0)
    calls: list[float] = []
    run.context.flow.hold()
    run.push(Batch([{}]))
    while run.context.virtual.time < 200:
        before = run.context.virtual.time
        run.context.virtual.advance_by(0.05)
        calls.append(before)
    full(None)
    run.context.virtual.advance_by(30)
    assert lines(tmp_path / "x") == [{}]


def test_a_line_that_cannot_be_taken_back_is_repaired_later(
    tmp_path: Path, full: Callable[[int | None], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x"
    run = Running(to_jsonl(str(path)))
    full(4)
    truncate = os.ftruncate

    def failing(descriptor: int, length: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "ftruncate", failing)
    run.push(Batch([{"n": 1}]))
    assert path.read_bytes() == b'{"n"'
    monkeypatch.setattr(os, "ftruncate", truncate)
    full(None)
    run.context.virtual.advance_by(1)
    assert lines(path) == [{"n": 1}]


def test_an_element_that_cannot_be_made_durable_is_not_doubled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x"
    fsync, answers = os.fsync, [OSError(errno.EIO, "Input/output error"), None]

    def failing(descriptor: int) -> None:
        answer = answers.pop(0) if answers else None
        if answer is not None:
            raise answer
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    run = Running(to_jsonl(str(path), sync="batch"))
    run.push(Batch([{"n": 1}]))
    assert path.read_bytes() == b""
    run.context.virtual.advance_by(1)
    assert lines(path) == [{"n": 1}]


def test_a_checkpoint_fails_where_the_disk_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Running(to_jsonl(str(tmp_path / "x")))
    run.push(Batch([{"n": 1}]))

    def failing(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(OSError, match="Input/output error"):
            run.context.checkpoint()
    assert run.context.states == [{}]
    assert run.context.checkpoint() != [{}]


def test_goes_on_at_the_end_of_a_file_it_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text('{"n":0}\n{"torn')
    Running(to_jsonl(str(path))).push(Batch([{"n": 1}]))
    assert path.read_text() == '{"n":0}\n{"torn\n{"n":1}\n'


def saved(path: Path) -> list[Any]:
    run = Running(to_jsonl(str(path)))
    run.push(Batch([{"n": 1}, {"n": 2}]))
    states = run.context.checkpoint()
    run.stop()
    return states


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda path: path.unlink(),
            "must be the file that holds 16 bytes of this graph; there is no file: it was removed",
        ),
        (lambda path: path.write_text("{}\n"), "must be the file that holds at least 16 bytes; it has 3"),
        (lambda path: path.write_text("x" * 99), "holds what this graph wrote up to byte 16; it holds something else"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, change: Callable[[Path], Any], message: str) -> None:
    path = tmp_path / "x"
    states = saved(path)
    change(path)
    before = path.read_bytes() if path.exists() else None
    run = Running(to_jsonl(str(path)), states)
    with pytest.raises(StateError, match=message):
        raise run.failed or AssertionError
    assert (path.read_bytes() if path.exists() else None) == before


def test_a_copy_is_as_good(tmp_path: Path) -> None:
    path = tmp_path / "x"
    states = saved(path)
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data + b'{"n":3}\n')
    run = Running(to_jsonl(str(path)), states)
    run.push(Batch([{"n": 4}]))
    assert lines(path) == [{"n": 1}, {"n": 2}, {"n": 4}]


def test_one_writer(tmp_path: Path) -> None:
    first = Running(to_jsonl(str(tmp_path / "x")))
    second = Running(to_jsonl(str(tmp_path / "x")))
    with pytest.raises(RxpipeError, match="must have one writer; another sink or run has it open"):
        raise second.failed or AssertionError
    first.stop()
    assert Running(to_jsonl(str(tmp_path / "x"))).failed is None


def test_no_regular_file(tmp_path: Path) -> None:
    with pytest.raises(RxpipeError, match="must be a regular file; got something else"):
        raise Running(to_jsonl("/dev/null")).failed or AssertionError
    with pytest.raises(RxpipeError, match="must be a file that can be written; got Is a directory"):
        raise Running(to_jsonl(str(tmp_path))).failed or AssertionError


def test_a_checkpoint_without_change_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Running(to_jsonl(str(tmp_path / "x")))
    states = run.context.checkpoint()
    assert run.context.kinds == ["sink"]
    monkeypatch.setattr(os, "fsync", lambda _: pytest.fail("nothing is new"))
    assert run.context.checkpoint() == states


def test_unsubscribing_while_waiting_lets_the_sources_go(tmp_path: Path, full: Callable[[int | None], None]) -> None:
    run = Running(to_jsonl(str(tmp_path / "x")))
    full(0)
    run.push(Batch([{}]))
    assert run.context.flow.held
    run.stop()
    assert not run.context.flow.held
    assert run.context.flow.blocks == 0
