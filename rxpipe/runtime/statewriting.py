"""Writing rows of state: what a checkpoint writes, within its transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from itertools import chain, groupby
from operator import itemgetter

from rxpipe.context import Change

TOGETHER = 1000
"""Rows that are written with one statement. SQLite lets other threads go on while it runs one, and not between two."""

_place = itemgetter(0, 1)
"""Key and part of a change."""


def begin(db: sqlite3.Connection) -> None:
    """Begin a transaction, unless one is open."""
    if not db.in_transaction:
        db.execute("BEGIN IMMEDIATE")


@contextmanager
def undone_if_it_fails(db: sqlite3.Connection) -> Generator[None]:
    """Leave nothing of an open transaction, which goes on behind the block, if the block fails."""
    try:
        yield
    except BaseException:
        if db.in_transaction:  # a full disk may have ended it already
            db.execute("ROLLBACK")
        raise


def write_rows(db: sqlite3.Connection, changes: Sequence[tuple[str, list[Change]]]) -> int:
    """Write rows in an open transaction, and begin one if there are any; returns how many there were.

    In order: a key that was deleted and came again is there; what is written at once in that of the table.
    """
    count = 0
    for step, rows in changes:
        count += len(rows)
        for gone, group in groupby(rows, key=_part_gone):
            found = sorted(group, key=_place)
            for start in range(0, len(found), TOGETHER):
                some = found[start : start + TOGETHER]
                begin(db)
                if gone is None:
                    marks = ", ".join(["(?1, ?, ?, ?)"] * len(some))
                    query = f"INSERT OR REPLACE INTO state VALUES {marks}"
                    db.execute(query, [step, *chain.from_iterable(some)])
                else:
                    marks = ", ".join("?" * len(some))
                    query = f"DELETE FROM state WHERE step = ? AND part = ? AND key IN ({marks})"
                    db.execute(query, [step, gone, *(key for key, _, _ in some)])
    return count


def _part_gone(change: Change) -> str | None:
    """The part of a row that is deleted; None of one that is written."""
    return change[1] if change[2] is None else None
