"""The tables of a task store, and how one that an older version has made becomes one of today's."""

from __future__ import annotations

import sqlite3

APPLICATION = 0x72787474
"""Marks an SQLite file as a task store: `rxtt`."""

FORMAT = 2

OVER = "state < 'pending'"
"""Of a task that is done, failed or cancelled, as the condition of an index: a comparison costs a tenth of a list."""

BUSY = "state = 'running' AND (begun OR cost <> 0)"
"""Of a task that is shown as worked on, or has cost something; one that was only taken is in no index, which saves one
change of an index for each task."""

_TABLES = f"""
CREATE TABLE IF NOT EXISTS task (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    priority REAL NOT NULL,
    due REAL NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    begun INTEGER NOT NULL DEFAULT 0,
    input BLOB NOT NULL,
    content BLOB NOT NULL,
    owner INTEGER,
    created REAL NOT NULL,
    started REAL,
    finished REAL,
    delivery INTEGER,
    cost REAL NOT NULL DEFAULT 0,
    kind TEXT,
    error TEXT,
    maker INTEGER
);
CREATE INDEX IF NOT EXISTS task_pending ON task (attempts, priority) WHERE state = 'pending';
CREATE INDEX IF NOT EXISTS task_waiting ON task (due) WHERE state = 'waiting';
CREATE INDEX IF NOT EXISTS task_busy ON task (started) WHERE {BUSY};
CREATE INDEX IF NOT EXISTS task_over ON task (finished, state, cost) WHERE {OVER};
CREATE TABLE IF NOT EXISTS maker (id INTEGER PRIMARY KEY, line TEXT, definition TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS attempt (
    task INTEGER NOT NULL, number INTEGER NOT NULL, started REAL, finished REAL NOT NULL, kind TEXT NOT NULL,
    error TEXT NOT NULL, cost REAL NOT NULL, PRIMARY KEY (task, number, finished)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS attempt_finished ON attempt (finished);
CREATE TABLE IF NOT EXISTS paid (
    task INTEGER NOT NULL, step TEXT NOT NULL, request BLOB NOT NULL, answer BLOB NOT NULL,
    PRIMARY KEY (task, step)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS owner (
    id INTEGER PRIMARY KEY, pid INTEGER NOT NULL, host TEXT NOT NULL, joined REAL NOT NULL, beat REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
"""

_CHANGES = {
    1: """
CREATE TABLE maker (id INTEGER PRIMARY KEY, line TEXT, definition TEXT NOT NULL);
INSERT INTO maker (line, definition) SELECT DISTINCT line, definition FROM task WHERE definition IS NOT NULL;
ALTER TABLE task ADD COLUMN maker INTEGER;
UPDATE task SET maker = (SELECT id FROM maker WHERE maker.line IS task.line AND maker.definition = task.definition)
    WHERE definition IS NOT NULL;
ALTER TABLE task DROP COLUMN line;
ALTER TABLE task DROP COLUMN definition;
DROP INDEX task_running;
DROP INDEX task_pending
"""
}
"""What makes of a store of each older format one of the next, but for what is made where it is not there."""


def prepare(db: sqlite3.Connection) -> None:
    """Make the tables of a new store, and bring one of an older format up to date; called within a transaction."""
    if _pragma(db, "application_id") != APPLICATION:
        db.execute(f"PRAGMA application_id = {APPLICATION}")
        db.execute(f"PRAGMA user_version = {FORMAT}")
    for version in range(_pragma(db, "user_version"), FORMAT):
        for statement in _CHANGES[version].split(";\n"):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {version + 1}")
    for statement in _TABLES.split(";\n"):
        db.execute(statement)


def problem(db: sqlite3.Connection, *, empty: bool = False) -> str | None:
    """Why a file is no store that this version can use: what it must be, and what it is; None where it is one.

    Args:
        db: The file.
        empty: Whether a file without tables will do.
    """
    if _pragma(db, "application_id") != APPLICATION:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        if empty and not tables:
            return None
        found = f"a database with {', '.join(tables)}" if tables else "an empty database"
        return f"must be a task store of rxpipe; got {found}"
    version = _pragma(db, "user_version")
    if version > FORMAT:
        return f"format must be {FORMAT} at most; got {version}, of a newer version of rxpipe, which is to be used"
    return None


def old(db: sqlite3.Connection) -> bool:
    """Whether a store is of an older format."""
    return 0 < _pragma(db, "user_version") < FORMAT


def _pragma(db: sqlite3.Connection, name: str) -> int:
    found: int = db.execute(f"PRAGMA {name}").fetchone()[0]
    return found
