"""`read_lines`: what happens to a file between two blocks of it, and while a block of it is taken."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reactivex.subject import Subject

from rxpipe.context import entered
from rxpipe.elements import FileEvent, FileState, LineDelta, OriginGone
from rxpipe.lease import Flow
from rxpipe.operators.files import _reader, _tail
from rxpipe.operators.files.read_lines import read_lines
from rxpipe.testing import TestContext
from rxpipe.unread import Unread, unread


class Reading:
    """`read_lines` of events given by hand; what it emits is kept, with the leases, until it is asked for."""

    def __init__(self, context: TestContext, left: Callable[[], int] | None = None, **options: Any) -> None:
        self.context = context
        self.events: Subject[Any] = Subject()
        self.kept: list[Any] = []
        self.taken: Callable[[Any], None] = self.kept.append
        with entered(context):
            lines = self.events.pipe(read_lines(**options))
            lines = lines if left is None else unread(lines, left)
            lines.subscribe(self.note, scheduler=context.virtual)

    def note(self, element: Any) -> None:
        """Take an element."""
        self.taken(element)

    def tell(self, kind: Any, path: Path) -> None:
        """Give the event that something happened to a file."""
        now = os.stat(path)
        state = FileState(now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns)
        self.events.on_next(FileEvent(kind, str(path), None, state))

    def came(self, seconds: float = 0) -> list[Any]:
        """What came until then; its leases are let go of."""
        self.context.virtual.advance_by(seconds)
        came = [element.data if isinstance(element, LineDelta) else element for element in self.kept]
        self.kept.clear()
        return came

    def rest(self) -> list[Any]:
        """All that comes until nothing more does."""
        came: list[Any] = []
        while new := self.came():
            came += new
        return came


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a"
    path.write_bytes(b"1\n2\n3\n4\n")
    return path


@pytest.mark.parametrize("content", [b"", b"a\nb\nc\nd\ne\n"])
def test_a_file_that_is_written_anew_between_two_blocks(file: Path, content: bytes) -> None:
    reading = Reading(TestContext(flow=Flow(limit=1)), block=2)
    reading.tell("create", file)
    assert reading.came() == [b"1\n"]
    file.write_bytes(content)
    reading.tell("modify" if content else "truncate", file)
    assert reading.rest() == [OriginGone(str(file)), *content.splitlines(keepends=True)]


def test_a_file_that_is_replaced_between_two_blocks_and_was_closed(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_reader, "Descriptors", lambda _: _tail.Descriptors(1))
    file.write_bytes(b"1\n2\n3\n4\n5\n")  # one of four blocks would be read in one go
    other = tmp_path / "b"
    other.write_bytes(b"o\n")
    reading = Reading(TestContext(flow=Flow(limit=1)), block=2)
    reading.tell("create", file)
    reading.tell("create", other)
    assert reading.came() == [b"1\n"]
    assert reading.came() == [b"o\n"]  # there is one descriptor
    new = tmp_path / "new"
    new.write_bytes(b"a\nb\nc\nd\n")
    new.rename(file)
    assert reading.rest() == []
    reading.tell("replace", file)
    assert reading.rest() == [OriginGone(str(file)), b"a\n", b"b\n", b"c\n", b"d\n"]


def test_lines_are_left_unread_though_their_file_grows(file: Path) -> None:
    reading = Reading(TestContext(flow=Flow(limit=1)), lambda: 2, block=2)
    reading.tell("create", file)
    for start in range(0, 8, 2):
        reading.context.virtual.advance_by(0)
        (lines,) = reading.kept
        assert (type(lines), lines.start, lines.end) == (Unread, start, start + 2)
        with file.open("ab") as more:
            more.write(b"5\n")
        reading.tell("modify", file)
        del lines
        reading.kept.clear()


@pytest.mark.parametrize("place", [0, 2500])
def test_a_file_that_grew_and_is_another_at_its_head_or_before_what_is_new(file: Path, place: int) -> None:
    file.write_bytes(b"1234\n" * 600)
    reading = Reading(TestContext())
    reading.tell("create", file)
    assert reading.came() == [file.read_bytes()]
    with file.open("r+b") as lines:
        lines.seek(place)
        lines.write(b"other")
        lines.seek(0, os.SEEK_END)
        lines.write(b"new\n")
    reading.tell("modify", file)
    assert reading.came() == [OriginGone(str(file)), file.read_bytes()]


def test_nothing_lags_of_a_file_that_was_cut_before_it_was_read(file: Path) -> None:
    reading = Reading(TestContext())
    reading.tell("create", file)
    assert reading.came() == [b"1\n2\n3\n4\n"]
    with file.open("ab") as lines:
        lines.write(b"5\n6\n")
    now = os.stat(file)
    os.truncate(file, 10)
    state = FileState(now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns)
    reading.events.on_next(FileEvent("modify", str(file), None, state))
    assert reading.came() == [b"5\n"]
    assert reading.context.gauges["lag_bytes"]() == 0
    assert reading.context.details["files"]() == {str(file): {"offset": 10, "size": 10, "lag": 0}}


@pytest.mark.parametrize("open_before", [False, True])
def test_what_is_told_while_a_block_is_taken_is_read_behind_it(file: Path, open_before: bool) -> None:
    reading = Reading(TestContext())
    reading.tell("create", file)
    if open_before:
        assert reading.came() == [b"1\n2\n3\n4\n"]
    steps: list[Any] = []

    def grow(line: bytes) -> None:
        with file.open("ab") as lines:
            lines.write(line)
        reading.tell("modify", file)

    def take(element: LineDelta) -> None:
        steps.append(element.data)
        if element.data != b"last\n":
            grow(b"last\n")
            steps.append("taken")

    reading.taken = take
    if open_before:
        grow(b"5\n")
    reading.came()
    assert steps == [b"5\n" if open_before else b"1\n2\n3\n4\n", "taken", b"last\n"]


def test_a_file_that_was_saved_and_goes_unwatched_is_gone_without_another_event(tmp_path: Path) -> None:
    """It was there when all had been seen, but not watched; then something compressed turned up of its log."""
    log = tmp_path / "x.log.1"
    log.write_bytes(b"1\n")
    before = Reading(TestContext())
    before.tell("create", log)
    assert before.came() == [b"1\n"]
    reading = Reading(TestContext(before.context.checkpoint()))
    assert reading.came(3) == []
    log.unlink()
    other = tmp_path / "x.log.2.gz"
    other.write_bytes(gzip.compress(b"other\n"))
    reading.tell("create", other)
    assert reading.came() == [b"other\n"]
    assert reading.came(3) == [OriginGone(str(log))]
