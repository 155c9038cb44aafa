"""Lines left unread: they are read as they were, or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rxpipe.unread import Kept, Unread, UnreadableError, identity

LINES = b"".join(b"line %d %s\n" % (n, b"x" * (n % 50)) for n in range(200)) + b"y" * 999 + b"\n" + b"z\n" * 10


def left(path: Path, *, kept: bool = False) -> Unread:
    """All lines of a file but the first, and what is behind the last."""
    found = path.stat()
    start = LINES.index(b"\n") + 1
    keep = None
    if kept:
        with path.open("rb") as file:
            keep = Kept(file.fileno())
    return Unread(str(path), identity(found.st_dev, found.st_ino), start, len(LINES), LINES[-100:], keep)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "x.log"
    path.write_bytes(LINES + b"unfinis")
    return path


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("most", [1, 100, 10**6])
def test_blocks_of_whole_lines(most: int, kept: bool, log: Path) -> None:
    element = left(log, kept=kept)
    blocks = list(element.read(most))
    assert b"".join(block.data for block in blocks) == LINES[element.start :]
    assert all(block.data == LINES[block.start : block.end] and block.data.endswith(b"\n") for block in blocks)
    assert {(block.path, block.file, block.lease) for block in blocks} == {(str(log), element.file, None)}
    assert (len(blocks) == 1) == (most == 10**6)


@pytest.mark.parametrize(
    "change",
    [
        lambda log: log.write_bytes(b""),
        lambda log: log.write_bytes(LINES[:-1]),
        lambda log: log.write_bytes(LINES[:-21] + b"Z\n" + LINES[-19:]),
        lambda log: log.write_bytes(b"q" * 2 * len(LINES)),
    ],
)
def test_a_file_that_changed_is_not_read(change: Callable[[Path], object], log: Path) -> None:
    elements = [left(log), left(log, kept=True)]
    change(log)
    for element in elements:
        with pytest.raises(
            UnreadableError, match="the file was cut or written anew before these lines of it were read"
        ):
            list(element.read(100))


def test_a_file_that_moved_is_read_by_who_has_it_open(log: Path, tmp_path: Path) -> None:
    apart, kept = left(log), left(log, kept=True)
    log.rename(tmp_path / "x.log.1")
    with pytest.raises(UnreadableError):
        list(apart.read(100))
    log.write_bytes(LINES)
    with pytest.raises(UnreadableError):
        list(apart.read(100))
    assert b"".join(block.data for block in kept.read(100)) == LINES[kept.start :]


def test_descriptors_are_closed(log: Path) -> None:
    before = os.listdir("/proc/self/fd")
    elements = [left(log), left(log, kept=True)]
    for element in elements:
        list(element.read(100))
        next(element.read(100))
    assert len(os.listdir("/proc/self/fd")) == len(before) + 1
    del elements, element
    assert os.listdir("/proc/self/fd") == before


def test_what_the_system_refuses_is_told(log: Path) -> None:
    element = left(log, kept=True)._replace(end=2**63, start=2**63 - 1)
    with pytest.raises(UnreadableError, match="cannot be read: "):
        list(element.read(100))
