"""`read_lines`: the lines of real files through all that happens to files, under virtual time."""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import resource
from pathlib import Path
from typing import Any

import pytest
import reactivex as rx
from reactivex.subject import Subject

from rxpipe.context import entered
from rxpipe.elements import FileEvent, FileState, LineDelta, OriginGone
from rxpipe.graph import Graph
from rxpipe.lease import Flow
from rxpipe.operators.files import _tail
from rxpipe.operators.files.read_lines import read_lines
from rxpipe.operators.files.watch import watch
from rxpipe.testing import TestContext, VirtualRun
from tests.operators.files.files import append, restarted


def test_lines_come_once_and_whole(start: Any, logs: Path) -> None:
    append(logs / "a", b"1\n2\n3")
    session = start(read={})
    assert session.lines(0) == [("a", b"1"), ("a", b"2")]
    append(logs / "a", "3\n\xe4".encode()[:3])
    assert session.lines() == [("a", b"33")]
    append(logs / "a", "\xe4".encode()[1:] + b"\r\n\0\n\n")
    assert session.lines() == [("a", "\xe4\r".encode()), ("a", b"\0"), ("a", b"")]
    assert session.lines() == []


def test_blocks_carry_place_identity_and_lease(logs: Path) -> None:
    append(logs / "a", b"12\n45\n78\n")
    context = TestContext(once=True)
    found = os.stat(logs / "a")
    event = FileEvent("create", str(logs / "a"), None, FileState(found.st_dev, found.st_ino, 9, found.st_mtime_ns))
    seen: list[LineDelta] = []
    in_flight: list[int] = []

    def note(element: Any) -> None:
        seen.append(element)
        in_flight.append(context.flow.in_flight)

    with entered(context):
        rx.of(event).pipe(read_lines(block=7)).subscribe(note, scheduler=context.virtual)
        context.virtual.advance_by(0)
    assert [(delta.start, delta.end, delta.data) for delta in seen] == [(0, 6, b"12\n45\n"), (6, 9, b"78\n")]
    assert {delta.file for delta in seen} == {f"{found.st_dev:x}:{found.st_ino:x}"}
    lease = seen[0].lease
    assert lease is not None
    assert (lease.path, lease.start, lease.end, lease.nbytes) == (str(logs / "a"), 0, 6, 6)
    assert in_flight == [6, 9]
    del lease
    seen.clear()
    assert context.flow.in_flight == 0


def test_files_take_turns(start: Any, logs: Path) -> None:
    for name in ("a", "b"):
        append(logs / name, b"".join(b"%d\n" % number for number in range(9)))
    session = start(read={"block": 2})
    assert [path for path, _ in session.lines(0)] == ["a", "b"] * 9


def test_a_small_file_of_many_lines_takes_turns_if_it_is_compressed(start: Any, logs: Path) -> None:
    append(logs / "a.gz", gzip.compress(b"a\n" * 2000))
    append(logs / "b", b"b\n")
    session = start(read={"block": 100})
    assert [path for path, _ in session.lines(0)].index("b") <= 100


def test_nothing_is_read_while_too_much_is_in_flight_or_held(start: Any, logs: Path) -> None:
    append(logs / "a", b"1\n2\n3\n")
    context = TestContext(flow=Flow(limit=3))
    subject: Subject[Any] = Subject()
    kept: list[Any] = []
    with entered(context):
        subject.pipe(read_lines(block=2)).subscribe(kept.append, scheduler=context.virtual)
    found = os.stat(logs / "a")
    subject.on_next(FileEvent("create", str(logs / "a"), None, FileState(found.st_dev, found.st_ino, 6, 1)))
    context.virtual.advance_by(0)
    assert [delta.data for delta in kept] == [b"1\n", b"2\n"]
    assert context.gauges["lag_bytes"]() == 2
    assert context.gauges["known_bytes"]() == 6
    assert context.gauges["read_bytes"]() == 4
    context.virtual.advance_by(5)
    assert context.gauges["lag_seconds"]() == 5
    context.flow.hold()
    kept.clear()
    context.virtual.advance_by(0)
    assert kept == []
    context.flow.release()
    context.virtual.advance_by(0)
    assert [delta.data for delta in kept] == [b"3\n"]
    assert context.gauges["lag_bytes"]() == context.gauges["lag_seconds"]() == context.gauges["queue_depth"]() == 0
    assert context.details["files"]() == {str(logs / "a"): {"offset": 6, "size": 6, "lag": 0}}


def test_a_line_longer_than_a_block_is_read_whole(start: Any, logs: Path) -> None:
    append(logs / "a", b"x" * 1000 + b"\nb\n")
    session = start(read={"block": 64})
    assert session.lines(0) == [("a", b"x" * 1000), ("a", b"b")]


def test_a_line_longer_than_max_line_is_passed_over_with_its_place(start: Any, logs: Path) -> None:
    append(logs / "a", b"1\n" + b"x" * 1000 + b"\n2\n" + b"y" * 1000)
    session = start(read={"block": 64, "max_line": 500})
    assert session.lines(0) == [("a", b"1"), ("a", b"2")]
    append(logs / "a", b"\n3\n")
    assert session.lines() == [("a", b"3")]
    errors = session.context.errors
    assert [(error.start, error.end) for error in errors] == [(2, 1003), (1005, 2006)]
    assert errors[0].reason == "line of 1001 bytes: at most max_line, 500, are read; passed over"


def test_a_long_unfinished_line_is_not_searched_again(start: Any, logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append(logs / "a", b"x" * 1000)
    session = start(read={"block": 100})
    session.look(0)
    reads: list[int] = []
    pread = os.pread

    def counted(fd: int, count: int, at: int) -> bytes:
        reads.append(at)
        return pread(fd, count, at)

    monkeypatch.setattr(os, "pread", counted)
    append(logs / "a", b"y")
    assert session.lines() == []
    assert min(reads) == 1000


def test_no_change_no_read(start: Any, logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append(logs / "a", b"1\n")
    session = start(read={})
    session.look(0)
    session = restarted(session, start)
    monkeypatch.setattr(_tail, "open_file", lambda path: pytest.fail(f"opened {path}"))
    assert session.lines(10) == []


def test_start_at_the_end(start: Any, logs: Path) -> None:
    append(logs / "a", b"1\nhal")
    append(logs / "empty", b"")
    session = start(read={"start": "end"})
    assert session.lines(0) == []
    append(logs / "a", b"f\n")
    append(logs / "empty", b"e\n")
    append(logs / "b", b"b\n")
    assert session.lines() == [("a", b"half"), ("b", b"b"), ("empty", b"e")]
    states = session.context.checkpoint()
    session.stop()
    append(logs / "a", b"2\n")
    append(logs / "c", b"c\n")
    assert start(read={"start": "end"}, context=TestContext(states)).lines(0) == [("a", b"2"), ("c", b"c")]


def test_a_run_that_began_at_the_end_of_nothing_remembers_it(start: Any, logs: Path) -> None:
    session = start(read={"start": "end"})
    session.look()
    states = session.context.checkpoint()
    session.stop()
    append(logs / "a", b"1\n")
    assert start(read={"start": "end"}, context=TestContext(states)).lines(0) == [("a", b"1")]


@pytest.mark.parametrize("where", ["saved", "beginning", "end"])
def test_a_saved_offset_always_wins(start: Any, logs: Path, where: str) -> None:
    append(logs / "a", b"1\n")
    session = start(read={})
    session.look(0)
    states = session.context.checkpoint()
    session.stop()
    append(logs / "a", b"2\n")
    session = start(read={"start": where}, context=TestContext(states))
    assert session.lines(0) == [("a", b"2")]
    assert session.lines(5) == []


class Closing(Flow):
    """Lets a source emit some blocks, and then no more."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.left = blocks

    @property
    def open(self) -> bool:
        self.left -= 1
        return self.left >= 0


@pytest.mark.parametrize("once", [False, True])
def test_a_file_read_in_part_is_read_on_though_it_did_not_change(start: Any, logs: Path, once: bool) -> None:
    for name in ("a", "b"):
        append(logs / name, b"".join(b"%d\n" % n for n in range(100)) + b"unfinished")
    states: Any = ()
    seen = []
    for blocks in (1, 2, 7, 9999):
        session = start(read={"block": "16B"}, context=TestContext(states, once=once, flow=Closing(blocks)))
        seen += session.lines(5)
        states = session.context.checkpoint()
        session.stop()
    assert sorted(seen) == sorted((name, b"%d" % n) for name in ("a", "b") for n in range(100))


def test_what_happened_while_it_was_stopped(start: Any, logs: Path) -> None:
    for name in ("gone", "replaced", "short", "anew", "rotated", "moved"):
        append(logs / name, name.encode() + b" 1\n")
    session = start(read={})
    session.look(0)
    states = session.context.checkpoint()
    session.stop()
    (logs / "gone").unlink()
    (logs / "replaced").rename(logs.parent / "elsewhere")
    append(logs / "replaced", b"replaced 2\n")
    (logs / "short").write_bytes(b"s\n")
    (logs / "anew").write_bytes(b"anew, longer 2\n")
    (logs / "rotated").rename(logs / "rotated.1")
    append(logs / "rotated.1", b"rotated 2\n")
    append(logs / "rotated", b"rotated 3\n")
    (logs / "sub").mkdir()
    (logs / "moved").rename(logs / "sub" / "moved")
    append(logs / "sub" / "moved", b"moved 2\n")
    session = start(read={}, context=TestContext(states))
    lines = session.lines(0)
    assert ("replaced", b"replaced 2") not in lines
    lines += session.lines(3)
    assert sorted(lines, key=str) == [
        ("anew", None),
        ("anew", b"anew, longer 2"),
        ("gone", None),
        ("replaced", None),
        ("replaced", b"replaced 2"),
        ("rotated", b"rotated 3"),
        ("rotated.1", b"rotated 2"),
        ("short", None),
        ("short", b"s"),
        ("sub/moved", b"moved 2"),
    ]
    assert lines.index(("replaced", None)) < lines.index(("replaced", b"replaced 2"))
    rows = session.context.checkpoint()[0]
    assert sorted(os.path.relpath(os.fsdecode(key), logs) for key, _ in rows) == [
        "anew", "replaced", "rotated", "rotated.1", "short", "sub/moved",
    ]  # fmt: skip


def test_once_reads_all_and_tells_what_is_gone(start: Any, logs: Path) -> None:
    append(logs / "a", b"1\n")
    append(logs / "b", b"2\n")
    session = start(read={})
    session.look(0)
    states = session.context.checkpoint()
    session.stop()
    (logs / "a").unlink()
    append(logs / "b", b"3\nhalf")
    session = start(read={}, context=TestContext(states, once=True))
    assert sorted(session.lines(0), key=str) == [("a", None), ("b", b"3")]
    assert session.done


@pytest.mark.parametrize(("last_line", "expected"), [("hold", []), ("emit", [("a", b'{"a": 1}')])])
def test_a_last_line_without_newline(start: Any, logs: Path, last_line: str, expected: list[Any]) -> None:
    append(logs / "a", b'{"a": 1}')
    session = start(read={"last_line": last_line}, context=TestContext(once=True))
    assert session.lines(0) == expected
    assert session.done
    session = start(read={"last_line": last_line})
    assert session.lines(0) == []
    (logs / "a").unlink()
    assert session.lines() == [*expected, *([("a", None)] if expected else [])]


def test_the_last_line_counts_where_the_source_completes_later(logs: Path) -> None:
    append(logs / "a", b"1\nhalf")
    found = os.stat(logs / "a")
    context = TestContext()
    subject: Subject[Any] = Subject()
    seen: list[Any] = []
    done: list[bool] = []
    with entered(context):
        step = subject.pipe(read_lines(last_line="emit"))
        step.subscribe(seen.append, on_completed=lambda: done.append(True), scheduler=context.virtual)
    subject.on_next(FileEvent("create", str(logs / "a"), None, FileState(found.st_dev, found.st_ino, 6, 1)))
    context.virtual.advance_by(1)
    assert context.gauges["lag_bytes"]() == 4
    subject.on_completed()
    context.virtual.advance_by(1)
    assert [delta.data for delta in seen] == [b"1\n", b"half"]
    assert done == [True]


def test_the_last_line_counts_where_the_run_drains(logs: Path) -> None:
    append(logs / "a", b"1\nhalf")
    steps = [watch([str(logs)], backend="polling"), read_lines(last_line="emit")]
    with VirtualRun(Graph("drained", {"lines": steps})) as run:
        run.advance("1s")
        run.drain()
        found = [event.value.data for event in run.events["lines"] if event.kind == "next"]
        assert found == [b"1\n", b"half"]


def open_in(folder: Path) -> int:
    """How many files of a folder this process has open; what other tests left open is none of them."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one this is read by
            found += descriptor.readlink().is_relative_to(folder)
    return found


def test_no_more_than_a_quarter_of_the_descriptors_is_taken(
    start: Any, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (12, 12))
    for number in range(20):
        append(logs / f"{number}", b"1\n")
    session = start(read={})
    assert len(session.lines()) == 20
    assert open_in(logs) <= 3


def test_draining_stops_at_once(start: Any, logs: Path) -> None:
    append(logs / "a", b"1\n" * 10)
    session = start(read={"block": 2}, context=TestContext(flow=Flow(limit=1)))
    session.context.virtual.schedule(lambda *_: session.context.drain())
    session.look(0)
    assert session.done
    assert session.look(10) == []


def test_an_error_passes_and_other_elements_pass(logs: Path) -> None:
    context = TestContext()
    subject: Subject[Any] = Subject()
    seen: list[Any] = []
    with entered(context):
        subject.pipe(read_lines()).subscribe(seen.append, on_error=seen.append, scheduler=context.virtual)
    subject.on_next(OriginGone("x"))
    error = ValueError("broken")
    subject.on_error(error)
    assert seen == [OriginGone("x"), error]
    assert context.virtual.time == 0


def test_permission_is_denied_and_granted_later(start: Any, logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append(logs / "a", b"1\n")
    append(logs / "b", b"2\n")
    real = os.open

    def refuse(path: Any, flags: int, *rest: Any) -> int:
        if str(path).endswith("/a"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path, flags, *rest)

    monkeypatch.setattr(os, "open", refuse)
    session = start(read={})
    assert session.lines(10) == [("b", b"2")]
    assert [(error.reason, session.short(error.path)) for error in session.context.errors] == [
        ("cannot be read: Permission denied", "a")
    ]
    monkeypatch.setattr(os, "open", real)
    assert session.lines(30) == [("a", b"1")]


def test_descriptors_are_limited_and_their_shortage_survived(
    start: Any, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(300):
        append(logs / f"{number:03}", b"%d\n" % number)
    real = os.open
    opened: list[int] = []
    refusals = [10, 20]

    def scarce(path: Any, flags: int, *rest: Any) -> int:
        opened.append(1)
        if len(opened) in refusals:
            raise OSError(errno.EMFILE, "Too many open files")
        return real(path, flags, *rest)

    monkeypatch.setattr(os, "open", scarce)
    session = start(read={})
    assert len(session.lines(0)) == 300
    assert 1 < open_in(logs) <= 256
    assert session.context.errors == []
    session.stop()
    assert open_in(logs) == 0


def test_readers_share_what_the_process_may_open(start: Any, logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(300):
        append(logs / f"{number:03}", b"%d\n" % number)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (400, 400))
    sessions = [start(read={}) for _ in range(3)]
    for session in sessions:
        assert len(session.lines(0)) == 300
    assert 3 < open_in(logs) <= 100 + 2, "each has one at least"
    for session in sessions:
        session.stop()
    assert open_in(logs) == 0


def test_a_file_that_vanishes_before_it_is_read(start: Any, logs: Path) -> None:
    append(logs / "a", b"1\n")
    state = os.stat(logs / "a")
    context = TestContext()
    subject: Subject[Any] = Subject()
    seen: list[Any] = []
    with entered(context):
        subject.pipe(read_lines()).subscribe(seen.append, scheduler=context.virtual)
    event = FileEvent("create", str(logs / "a"), None, FileState(state.st_dev, state.st_ino, 2, 1))
    (logs / "a").rename(logs / "b")
    subject.on_next(event)
    context.virtual.advance_by(1)
    assert (seen, context.errors) == ([], [])
    (logs / "b").rename(logs / "a")
    subject.on_next(event)
    context.virtual.advance_by(1)
    assert [delta.data for delta in seen] == [b"1\n"]


def test_a_second_subscription_reads_the_same(logs: Path) -> None:
    append(logs / "a", b"1\n")
    found = os.stat(logs / "a")
    event = FileEvent("create", str(logs / "a"), None, FileState(found.st_dev, found.st_ino, 2, found.st_mtime_ns))
    step = rx.of(event).pipe(read_lines())
    for _ in range(2):
        context = TestContext()
        seen: list[Any] = []
        with entered(context):
            step.subscribe(seen.append, scheduler=context.virtual)
        context.virtual.advance_by(0)
        assert [delta.data for delta in seen] == [b"1\n"]


@pytest.mark.parametrize("begun", [3.06, 0.1, 7.3])
def test_what_does_not_turn_up_is_waited_for_once(start: Any, logs: Path, begun: float) -> None:
    for name in "ab":
        append(logs / name, b"1\n")
    session = start(read={})
    session.look(0)
    context = TestContext(session.context.checkpoint())
    session.stop()
    (logs / "b").unlink()
    context.virtual.advance_by(begun)  # from here two seconds are not two, as floating-point numbers have it
    session = start(read={}, context=context)
    assert session.lines(1.9) == []
    assert session.lines(0.2) == [("b", None)]
