"""Blocks of text lines into batches: at once where all is well, else line by line, so that a bad one harms no other."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator

from rxpipe.context import Context
from rxpipe.elements import Batch, LineDelta, Row

BOM = b"\xef\xbb\xbf"
_BAD = (ValueError, csv.Error)

Parse = Callable[[bytes], list[Row]]
"""From lines, without the last line break, to their rows, one a line; a bad line raises ValueError or csv.Error."""


def parsed(block: LineDelta, parse: Parse, context: Context, *, skip: int = 0) -> Batch | None:
    """The rows of a block's lines; None where there are none. Empty lines are passed over.

    A line that is bad goes to `errors` with its byte range, unless it is the unfinished last line.

    Args:
        block: The block.
        parse: Makes rows of several lines, none of them empty, or of one.
        context: The step's context.
        skip: How many bytes at the beginning are no lines to parse.
    """
    data = block.data[skip:]
    start = block.start + skip
    if start == 0 and data.startswith(BOM):
        data, start = data[len(BOM) :], len(BOM)
    rows = _at_once(data.replace(b"\r\n", b"\n").removesuffix(b"\n"), parse)
    if rows is None:
        rows = list(_one_by_one(block, data, start, parse, context))
    return Batch(rows, leases=() if block.lease is None else (block.lease,)) if rows else None


def _at_once(data: bytes, parse: Parse) -> list[Row] | None:
    """The rows of lines if that is one for each, else None."""
    if not data or data.startswith(b"\n") or data.endswith((b"\n", b"\r")) or b"\n\n" in data:
        return None
    try:
        rows = parse(data)
    except _BAD:
        return None
    return rows if len(rows) == data.count(b"\n") + 1 else None


def _one_by_one(block: LineDelta, data: bytes, start: int, parse: Parse, context: Context) -> Iterator[Row]:
    leases = () if block.lease is None else (block.lease,)
    for line in data.split(b"\n"):
        found = line.removesuffix(b"\r")
        end = start + len(line)
        if found:
            try:
                yield from parse(found)
            except _BAD as error:
                if not (block.unfinished and end == block.end):
                    reason = f"no valid record: {error}"
                    context.reject(reason, found, leases=leases, path=block.path, start=start, end=start + len(found))
        start = end + 1
