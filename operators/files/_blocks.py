"""Reading the next complete lines of an open file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from rxpipe.operators.files._sample import SAMPLE
from rxpipe.unread import Kept

if TYPE_CHECKING:
    from rxpipe.operators.files._tail import Tail


class Found(NamedTuple):
    """What one read gave: complete lines, or a line to pass over (`start` to the tail's offset), or nothing yet."""

    data: bytes = b""
    start: int = 0
    too_long: bool = False
    more: bool = False
    """Whether there is more to read now."""
    unfinished: bool = False
    """Whether the data are a last line without its newline."""
    end: int = -1
    """The offset behind it, where that is not the tail's: the file is compressed."""
    kept: Kept | None = None
    """The open file, if the data are only the last of the lines found."""


LAST = 16 * 1024
"""Bytes that are searched for the end of lines that are not read."""


def read_block(fd: int, tail: Tail, block: int, max_line: int) -> Found:
    """Read the next block of complete lines and move the tail's offset behind it.

    A line longer than a block is looked for in blocks without keeping them, and read once its end is known; a line
    longer than `max_line` is passed over. An unfinished line at the end of the file stays, and is not searched again.

    Raises:
        OSError: The file cannot be read.
    """
    start = tail.offset
    data, tail.ahead = tail.ahead or os.pread(fd, block, tail.scanned), b""
    more = len(data) == block
    end = data.rfind(b"\n") + 1
    if not end:
        tail.scanned += len(data)
        return Found(more=more)
    if tail.scanned > start:
        searched = tail.scanned
        first = data.find(b"\n") + 1
        if searched + first - start > max_line:
            tail.advance(fd, searched + first)
            return Found(start=start, too_long=True, more=True)
        if searched + end - start > max(block, max_line):
            end = first
        kept = os.pread(fd, searched - start, start)
        if len(kept) < searched - start:
            tail.scanned = start
            return Found(more=True)
        data = kept + data[:end]
        tail.advance(fd, searched + end, data)
        return Found(data, start, more=True)
    read_to = start + len(data)
    if end < len(data):
        data = data[:end]
    tail.advance(fd, start + end, data)
    if not more:
        tail.scanned = read_to
    return Found(data, start, more=more)


def read_growth(fd: int, tail: Tail, size: int) -> Found | None:
    """Read the lines that a plain file grew by, up to a size; otherwise like `read_block`.

    None, with nothing changed, where there is more to find out: what stands before the offset is not what stood there
    (see `Tail.same_content`), or what is behind it is not all whole lines.

    Raises:
        OSError: The file cannot be read.
    """
    start, before = tail.offset, tail.before.data
    length = len(before)
    data = os.pread(fd, length + size - start, start - length)
    lines = data[length:]
    if not before or data[:length] != before or lines[-1:] != b"\n":
        return None
    if tail.head:
        if not tail.head.is_of(os.pread(fd, SAMPLE, 0)):
            return None
    elif start + len(lines) >= SAMPLE:
        return None
    tail.offset = tail.scanned = tail.size = start + len(lines)
    tail.before.take(data[-SAMPLE:])
    return Found(lines, start)


def find_lines(fd: int, tail: Tail, size: int) -> Found | None:
    """Move the tail's offset behind complete lines of about `size` bytes that are not read; None if they must be read.

    Raises:
        OSError: The file cannot be read.
    """
    start = tail.offset
    if tail.scanned != start or tail.ahead:
        return None
    kept = Kept(fd)
    length = min(size, LAST)
    at = start + size - length
    data = os.pread(fd, length, at)
    end = data.rfind(b"\n") + 1
    if not end or len(data) < length:
        return None
    tail.advance(fd, at + end, data[:end])
    return Found(data[:end], start, more=True, kept=kept)


def read_rest(fd: int, tail: Tail, max_line: int) -> Found:
    """Read a last line that has no newline, as far as it is there."""
    start = tail.offset
    if tail.scanned - start > max_line:
        tail.advance(fd, tail.scanned)
        return Found(start=start, too_long=True)
    data = os.pread(fd, tail.scanned - start, start)
    if data:
        tail.advance(fd, start + len(data), data)
    return Found(data, start, unfinished=True)
