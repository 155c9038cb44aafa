"""SQLite files of others, to look at."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote


def to_look_at(path: Path) -> sqlite3.Connection:
    """Open a file, also while a run writes it; nothing can be changed.

    It is opened for writing where that is allowed: whoever is the last to close a file in WAL mode and cannot write
    leaves a `-wal` and a `-shm` file beside it.
    """
    db = sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, check_same_thread=False)
    try:
        db.execute("PRAGMA query_only = ON")
    except BaseException:
        db.close()
        raise
    return db
