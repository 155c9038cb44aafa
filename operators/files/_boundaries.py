"""Where the records of a block of lines begin, when a record may have several lines."""

from __future__ import annotations

import re
from collections.abc import Callable

Boundaries = Callable[[bytes], list[int]]
"""From a block of whole lines to the offsets in it, 0 and its length included, at which one record ends and the next
begins."""

_NOT_INDENTED = re.compile(rb"\n(?![ \t])")


def before_unindented(block: bytes) -> list[int]:
    """Every line begins a record, unless it begins with a blank or a tab."""
    found = [] if block[:1] in (b" ", b"\t") else [0]
    found += [match.start() + 1 for match in _NOT_INDENTED.finditer(block)]
    if found and found[-1] == len(block):
        found.pop()
    return found


def before(pattern: re.Pattern[bytes]) -> Boundaries:
    """A line in which the pattern is found begins a record."""
    return lambda block: [begin for begin, _ in _lines_with(pattern, block)]


def behind(pattern: re.Pattern[bytes]) -> Boundaries:
    """A line in which the pattern is found ends a record."""
    return lambda block: [end for _, end in _lines_with(pattern, block)]


def _lines_with(pattern: re.Pattern[bytes], block: bytes) -> list[tuple[int, int]]:
    r"""Begin and end of the lines in which a pattern is found.

    Each is searched on its own: over the block a pattern such as `^\s*at` would look from each empty line to the last.
    """
    search, length = pattern.search, len(block)
    returns = b"\r\n" in block
    found = []
    at = 0
    for line in block.split(b"\n"):
        end = at + len(line) + 1
        if search(line.removesuffix(b"\r") if returns else line):
            found.append((at, end))
        at = end
    if found and found[-1][1] > length:  # behind the last line break there is a line only if it has something in it
        begin, _ = found.pop()
        found += [(begin, length)] if begin < length else []
    return found
