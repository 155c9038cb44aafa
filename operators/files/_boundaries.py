"""Where the records of a block of lines begin, when a record may have several lines."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

Boundaries = Callable[[bytes], list[int]]
"""From a block of whole lines to the offsets in it, 0 and its length included, at which one record ends and the next
begins."""

_NOT_INDENTED = re.compile(rb"\n(?![ \t])")

_LOOKS_AROUND = re.compile(rb"\(\?<?[=!]|\\[AZ]|\(\?[aiLux]*[ms-]")
"""What makes a pattern see, or not see, that a line is alone."""


def before_unindented(block: bytes) -> list[int]:
    """Every line begins a record, unless it begins with a blank or a tab."""
    found = [] if block[:1] in (b" ", b"\t") else [0]
    found += [match.start() + 1 for match in _NOT_INDENTED.finditer(block)]
    if found and found[-1] == len(block):
        found.pop()
    return found


def before(pattern: re.Pattern[bytes]) -> Boundaries:
    """A line in which the pattern is found begins a record."""
    find = _line_finder(pattern)
    return lambda block: [start for start, _ in find(block)]


def behind(pattern: re.Pattern[bytes]) -> Boundaries:
    """A line in which the pattern is found ends a record."""
    find = _line_finder(pattern)
    return lambda block: [end for _, end in find(block)]


Finder = Callable[[bytes], Iterable[tuple[int, int]]]
"""From a block of whole lines to begin and end of those in which a pattern is found."""


def _line_finder(pattern: re.Pattern[bytes]) -> Finder:
    """The search goes over the whole block, and line by line only where that could make a difference."""
    text = pattern.pattern
    alone = _LOOKS_AROUND.search(text) is not None
    anchored = None
    if re.match(rb"\^[^*+?{|]*$", text[:2]) and b"|" not in text and not alone:
        anchored = re.compile(rb"\n" + text[1:], pattern.flags)  # a search for a byte is many times as fast as for `^`

    def find(block: bytes) -> Iterable[tuple[int, int]]:
        found = None
        if not alone and b"\r\n" not in block:
            found = _in_block(pattern, block) if anchored is None else _anchored(pattern, anchored, block)
        return _line_by_line(pattern, block) if found is None else found

    return find


def _in_block(pattern: re.Pattern[bytes], block: bytes) -> list[tuple[int, int]] | None:
    """Search the block; None where a match reached over a line's end, so that it may have hidden another one."""
    search, rfind, find = pattern.search, block.rfind, block.find
    found = []
    at, length = 0, len(block)
    while at < length:
        match = search(block, at)
        if match is None:
            break
        begin, end = match.span()
        if begin == length:
            break
        line_end = find(b"\n", begin)
        if end > line_end >= 0:
            return None
        after = line_end + 1 or length
        found.append((rfind(b"\n", at, begin) + 1 or at, after))
        at = after
    return found


def _anchored(first: re.Pattern[bytes], others: re.Pattern[bytes], block: bytes) -> list[tuple[int, int]] | None:
    """The same for a pattern that is found at the beginning of a line only."""
    find = block.find
    found = []
    match = first.match(block)
    if match is not None:
        line_end = find(b"\n")
        if match.end() > line_end >= 0:
            return None
        found.append((0, line_end + 1 or len(block)))
    for match in others.finditer(block):
        begin, end = match.span()
        line_end = find(b"\n", begin + 1)
        if end > line_end >= 0:
            return None
        found.append((begin + 1, line_end + 1 or len(block)))
    if found and found[-1][0] == len(block):
        found.pop()
    return found


def _line_by_line(pattern: re.Pattern[bytes], block: bytes) -> Iterator[tuple[int, int]]:
    at, length = 0, len(block)
    for line in block.split(b"\n"):
        end = min(at + len(line) + 1, length)
        if at < length and pattern.search(line.removesuffix(b"\r")):
            yield at, end
        at = end
