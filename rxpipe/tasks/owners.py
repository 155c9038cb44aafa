"""The processes that work on a task store: whose heart does not beat any more is gone, and others have its tasks."""

from __future__ import annotations

import os
import secrets
import socket
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rxpipe.errors import StateError

SILENT = 30.0
"""Seconds without a heartbeat after which a process is taken for dead, where nothing else tells."""


class Owners:
    """The processes that work on one store. All but `own` is asked within a transaction.

    Args:
        db: The open store.
        clock: Seconds since the epoch.

    Attributes:
        own: The number of this one; 0 while it does not work on the store.
    """

    def __init__(self, db: sqlite3.Connection, clock: Callable[[], float]) -> None:
        self.own = 0
        self._db = db
        self._clock = clock
        self._beats: dict[int, tuple[float, float]] = {}
        """The last heartbeat of each process, and since when it was the last."""

    def require_none(self, path: Path) -> None:
        """Nobody may work on a store of an older format while it is brought up to date.

        Args:
            path: Where the store is.

        Raises:
            StateError: Somebody does.
        """
        for pid, host, beat in self._db.execute("SELECT pid, host, beat FROM owner").fetchall():
            if self._clock() - beat <= SILENT and (host != socket.gethostname() or _alive(pid)):
                msg = (
                    f"task store {path}: must not be worked on while it is brought up to date; got process {pid} "
                    f"on {host}, of an older version of rxpipe: let it end first"
                )
                raise StateError(msg)

    def join(self) -> int:
        """Begin to work on the store; returns how many tasks were taken over from processes that are gone."""
        now = self._clock()
        self.own = secrets.randbits(62) + 1  # none that another process had: it may only sleep, and go on
        self._db.execute(
            "INSERT INTO owner (id, pid, host, joined, beat) VALUES (?, ?, ?, ?, ?)",
            (self.own, os.getpid(), socket.gethostname(), now, now),
        )
        return self.take_over()

    def beat(self) -> int:
        """Tell that this process is alive; returns how many tasks were taken over from others that are gone.

        If it was itself taken for dead, it joins again; what it had belongs to others, see `TaskStore.held`.
        """
        now = self._clock()
        self._follow(now)
        if not self._db.execute("UPDATE owner SET beat = ? WHERE id = ?", (now, self.own)).rowcount:
            return self.join()
        return self.take_over()

    def _follow(self, now: float) -> None:
        """Where the clock was set back since somebody beat, have tasks that wait not wait longer for that."""
        last = self._db.execute("SELECT max(beat) FROM owner").fetchone()[0]
        if last is not None and last > now:
            self._db.execute("UPDATE task SET due = due - ? WHERE state = 'waiting'", (last - now,))
            self._db.execute("UPDATE owner SET beat = ? WHERE beat > ?", (now, now))

    def take_over(self) -> int:
        """Give back what belongs to processes that are gone; what they had begun counts as an attempt."""
        host, looked = socket.gethostname(), time.monotonic()
        gone = []
        for number, pid, where, beat in self._db.execute("SELECT id, pid, host, beat FROM owner").fetchall():
            told, since = self._beats.get(number, (None, looked))
            if told != beat:
                since = looked
            self._beats[number] = (beat, since)
            silent = looked - since > SILENT  # by a clock that nobody sets
            if number != self.own and (silent or (where == host and not _alive(pid))):
                gone.append(number)
        return self._give_back(gone, counted=True) if gone else 0

    def leave(self) -> None:
        """Give back what this process has taken, and work on the store no more."""
        self._give_back([self.own], counted=False)

    def _give_back(self, owners: Sequence[int], *, counted: bool) -> int:
        given = 0
        for owner in owners:
            if counted:
                self._db.execute(
                    "INSERT OR REPLACE INTO attempt SELECT id, attempts, started, ?, 'interrupted', "
                    "'the process that made it is gone', 0 FROM task WHERE state = 'running' AND owner = ? AND begun",
                    (self._clock(), owner),
                )
            given += self._db.execute(
                "UPDATE task SET state = 'pending', attempts = attempts - NOT (? AND begun), owner = NULL "
                "WHERE state = 'running' AND owner = ?",
                (counted, owner),
            ).rowcount
            self._db.execute("DELETE FROM owner WHERE id = ?", (owner,))
        return given


def _alive(pid: int) -> bool:
    """Whether there is a process on this host."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
