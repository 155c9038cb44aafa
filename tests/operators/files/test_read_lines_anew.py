"""`read_lines`: files that are written anew, replaced, rotated, renamed or deleted."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from reactivex.subject import Subject

from rxpipe.context import entered
from rxpipe.elements import FileEvent, FileState, OriginGone
from rxpipe.operators.files.read_lines import read_lines
from rxpipe.testing import TestContext
from tests.operators.files.files import append, restarted


def test_truncated_and_written_anew(start: Any, logs: Path) -> None:
    append(logs / "a", b"1\n2\n3\n")
    session = start(read={})
    session.look(0)
    (logs / "a").write_bytes(b"4\n")
    assert session.lines() == [("a", None), ("a", b"4")]
    (logs / "a").write_bytes(b"")
    assert session.lines() == [("a", None)]
    append(logs / "a", b"5\n")
    assert session.lines() == [("a", b"5")]


@pytest.mark.parametrize("head", [b"same first line\n", b"x" * 1500 + b"\n"])
def test_written_anew_longer_than_before_with_the_same_head(start: Any, logs: Path, head: bytes) -> None:
    append(logs / "a", head + b"1\n")
    session = start(read={})
    session.look(0)
    (logs / "a").write_bytes(head + b"2\n3\n")
    assert session.lines() == [("a", None), ("a", head[:-1]), ("a", b"2"), ("a", b"3")]


def test_only_the_head_changed(start: Any, logs: Path) -> None:
    tail = b"".join(b"%06d\n" % number for number in range(1000))
    append(logs / "a", b"1\n" + tail)
    session = start(read={})
    session.look(0)
    (logs / "a").write_bytes(b"2\n" + tail + b"3\n")
    assert session.lines()[:2] == [("a", None), ("a", b"2")]


def test_a_held_line_that_is_written_anew(start: Any, logs: Path) -> None:
    append(logs / "a", b"1\nhalf a line")
    session = start(read={})
    assert session.lines(0) == [("a", b"1")]
    (logs / "a").write_bytes(b"1\nhalf\nand more, unfinished")
    assert session.lines() == [("a", b"half")]


def test_replaced(start: Any, logs: Path, tmp_path: Path) -> None:
    append(logs / "a", b"1\n")
    session = start(read={})
    session.look(0)
    append(logs / "a", b"2\n")
    append(tmp_path / "new", b"3\n")
    (tmp_path / "new").rename(logs / "a")
    assert session.lines() == [("a", b"2"), ("a", None), ("a", b"3")]


def test_deleted_while_there_was_more_and_made_anew(start: Any, logs: Path) -> None:
    append(logs / "a", b"1\n")
    session = start(read={})
    session.look(0)
    append(logs / "a", b"2\nrest")
    (logs / "a").unlink()
    assert session.lines() == [("a", b"2"), ("a", None)]
    append(logs / "a", b"3\n")
    assert session.lines() == [("a", b"3")]
    (logs / "a").unlink()
    append(logs / "a", b"3\n4\n")
    assert session.lines() == [("a", None), ("a", b"3"), ("a", b"4")]


def test_a_file_that_held_no_line_goes_in_silence(start: Any, logs: Path) -> None:
    append(logs / "a", b"half")
    session = start(read={})
    session.look(0)
    (logs / "a").unlink()
    assert session.lines() == []
    assert session.context.details["files"]() == {}


def test_rotation_loses_and_doubles_nothing(start: Any, logs: Path) -> None:
    append(logs / "x.log", b"1\n")
    session = start(read={})
    session.look(0)
    lines: list[Any] = []
    for number in range(2, 6):
        append(logs / "x.log", b"%d\n" % number)
        for old in (3, 2, 1):
            if (logs / f"x.log.{old}").exists():
                (logs / f"x.log.{old}").rename(logs / f"x.log.{old + 1}")
        (logs / "x.log").rename(logs / "x.log.1")
        append(logs / "x.log.1", b"%d late\n" % number)
        append(logs / "x.log", b"%d new\n" % number)
        lines += session.lines()
    words = [b"%d%s" % (n, t) for n in range(2, 6) for t in (b"", b" late", b" new")]
    assert sorted(line for _, line in lines) == sorted(words)


def test_copytruncate(start: Any, logs: Path) -> None:
    append(logs / "x.log", b"1\n2\n")
    session = start(read={}, patterns=["*.log"])
    session.look(0)
    (logs / "x.log.1").write_bytes((logs / "x.log").read_bytes())
    os.truncate(logs / "x.log", 0)
    append(logs / "x.log", b"3\n")
    assert session.lines() == [("x.log", None), ("x.log", b"3")]


def test_renamed_files_can_be_read_anew(start: Any, logs: Path) -> None:
    append(logs / "a", b"1\n")
    session = start(read={"renamed": "reread"})
    session.look(0)
    (logs / "a").rename(logs / "b")
    assert session.lines() == [("a", None), ("b", b"1")]
    session = restarted(session, start, renamed="reread")
    session.look(0)
    (logs / "b").rename(logs / "c")
    session = restarted(session, start, renamed="reread")
    assert session.lines(0) == [("b", None), ("c", b"1")]


def test_two_files_that_change_places(start: Any, logs: Path) -> None:
    append(logs / "a", b"a1\n")
    append(logs / "b", b"b1\n")
    session = start(read={})
    session.look(0)
    (logs / "a").rename(logs / "t")
    (logs / "b").rename(logs / "a")
    (logs / "t").rename(logs / "b")
    append(logs / "a", b"b2\n")
    append(logs / "b", b"a2\n")
    assert sorted(session.lines()) == [("a", b"b2"), ("b", b"a2")]


def test_an_inode_that_another_file_took_over(start: Any, logs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append(logs / "a", b"1\n")
    session = start(read={})
    session.look(0)
    session.context.checkpoint()
    found = os.stat(logs / "a")
    state = FileState(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
    context = TestContext()
    subject: Subject[Any] = Subject()
    seen: list[Any] = []
    with entered(context):
        subject.pipe(read_lines()).subscribe(seen.append, scheduler=context.virtual)
    subject.on_next(FileEvent("create", str(logs / "a"), None, state))
    context.virtual.advance_by(0)
    files: Any = context.details["files"]
    files.__self__.descriptors.close_all()
    (logs / "b").write_bytes(b"2\n")
    (logs / "a").unlink()
    other = os.stat(logs / "b")
    real = os.fstat

    def fstat(fd: int) -> Any:
        found = real(fd)
        return os.stat_result((found.st_mode, state.inode, *found[2:])) if found.st_ino == other.st_ino else found

    seen.clear()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fstat", fstat)
        subject.on_next(FileEvent("rename", str(logs / "b"), state, state, str(logs / "a")))
        context.virtual.advance_by(0)
    assert [delta.data for delta in seen] == [b"2\n"]
    context.virtual.advance_by(3)  # what it was compressed to might have turned up
    assert [element.path for element in seen[1:] if isinstance(element, OriginGone)] == [str(logs / "a")]
