"""Looking at a state file from outside, also while a run uses it."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rxpipe.errors import StateError
from rxpipe.sqlitefile import to_look_at

APPLICATION = 0x72787070
"""Marks an SQLite file as a state file: `rxpp`."""


FORMAT = "1"
"""That of the state files that this version reads and writes."""

ANEW = "begin anew: move the file away, and with it what the sinks wrote, since all is read and written again"
"""What is left to do with a state that cannot be read."""


def check_format(path: Path, found: str) -> None:
    """Refuse a state file of another version, which is left as it is.

    Raises:
        StateError: Its format is not the one that this version reads.
    """
    if found != FORMAT:
        older = found.isdecimal() and int(found) < int(FORMAT)
        msg = (
            f"state file {path}: format must be {FORMAT}; got {found}, written by {'an older' if older else 'a newer'} "
            f"version of rxpipe. Go on with that version; or {ANEW}"
        )
        raise StateError(msg)


def meta_of(db: sqlite3.Connection, name: str) -> str:
    """A fact about an open state file, empty if it has none."""
    row = db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return "" if row is None else row[0]


@contextmanager
def open_readonly(path: Path) -> Generator[sqlite3.Connection]:
    """A state file to look at, also while a run uses it.

    Raises:
        StateError: The file is no state file, or that of another version.
    """
    try:
        db = to_look_at(path)
    except sqlite3.Error as error:
        msg = f"{path}: must be a state file that can be read; got {error}"
        raise StateError(msg) from error
    try:
        if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
            msg = f"{path}: must be a state file of rxpipe; got another SQLite file"
            raise StateError(msg)
        check_format(path, meta_of(db, "format"))
        yield db
    except sqlite3.DatabaseError as error:
        msg = f"{path}: must be a state file that can be read; got {error}"
        raise StateError(msg) from error
    finally:
        db.close()


def readable(db: sqlite3.Connection) -> Iterator[tuple[str, str, str, Any, str, Any]]:
    """All state rows as data, step by step, sources first: step, kind, what the step keeps, key, part, value."""
    query = (
        "SELECT step, kind, description, key, part, value "
        "FROM state JOIN step ON step.name = state.step ORDER BY kind = 'sink', kind = 'operator', step"
    )
    for step, kind, description, key, part, value in db.execute(query):
        yield step, kind, description, _decoded(key), part, _decoded(value)


def _decoded(value: bytes) -> Any:
    from rxpipe.aggregations.packing import unpack  # only who lists a state needs it

    try:
        return unpack(value)
    except ValueError:
        return value.decode("utf-8", "replace")
