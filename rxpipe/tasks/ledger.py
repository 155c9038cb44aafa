"""What was asked of a service, and what may be: rates and quotas in a file, for all who share it, through restarts.

Every attempt is charged before it is made, in a transaction of its own that is durable before the call: a kill at any
moment never leads to a call too many.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from rxpipe.errors import StateError
from rxpipe.private import FILE, make_folder
from rxpipe.transaction import transaction

DAY = 86_400.0

_SLACK = 0.05
_MOST_SLACK = 1.0
"""A period is taken for longer by a twentieth, at most a second: a request arrives later than it was charged, and the
service counts by its own clock."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS charge (name TEXT NOT NULL, at REAL NOT NULL, tokens REAL NOT NULL);
CREATE INDEX IF NOT EXISTS charge_at ON charge (name, at);
CREATE TABLE IF NOT EXISTS quota (name TEXT NOT NULL, day TEXT NOT NULL, used REAL NOT NULL, PRIMARY KEY (name, day));
CREATE TABLE IF NOT EXISTS closed (name TEXT PRIMARY KEY, until REAL NOT NULL, why TEXT NOT NULL);
"""


class Limit(NamedTuple):
    """At most `most` requests, or tokens, in any `period` of seconds."""

    most: float
    period: float
    of: Literal["requests", "tokens"] = "requests"

    @property
    def window(self) -> float:
        """The seconds for which a charge counts."""
        return self.period + min(_MOST_SLACK, self.period * _SLACK)


class Granted(NamedTuple):
    """How many requests were charged, in how many seconds to ask again for the others, and what they wait for."""

    number: int
    wait: float
    why: str


class Charges(NamedTuple):
    """What was charged at a moment.

    Attributes:
        held: When, and with how many tokens, each request was charged that still counts; the first one first.
        used: How much of the day's quota is used.
        closed: Until when nothing is granted, as the service asked for; in seconds since the epoch.
    """

    held: list[tuple[float, float]]
    used: float
    closed: float


class Ledger:
    """One open ledger. Used by one thread at a time.

    Args:
        path: The file; None keeps it in memory.
        name: What is limited; those that use one service share the name.
        limits: The rates.
        quota: Requests a day.
        zone: Where a day begins.
        shared: Whether others may use the name, whose limits count what is asked here.

    Attributes:
        counts: Whether requests are charged; where nothing bounds their number, they need not be.

    Raises:
        StateError: The file cannot be used.
    """

    def __init__(
        self,
        path: Path | None,
        name: str,
        limits: Sequence[Limit],
        quota: float | None = None,
        zone: str = "UTC",
        *,
        shared: bool = False,
    ) -> None:
        self.counts = bool(limits) or quota is not None or shared
        self._name = name
        self._limits = [*limits]
        self._quota = quota
        self._zone = ZoneInfo(zone)
        try:
            if path is not None:
                make_folder(path.parent)
                path.touch(FILE)
            self._db = sqlite3.connect(path or ":memory:", timeout=5.0, isolation_level=None, check_same_thread=False)
            try:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
                self._db.executescript(_SCHEMA)
                self._closed = self._read_closed() or (0.0, "")
            except BaseException:
                self._db.close()
                raise
        except (sqlite3.Error, OSError) as error:
            msg = f"ledger {path}: cannot be used: {error}; name another file"
            raise StateError(msg) from error
        self._seen = 0.0

    def take(self, now: float, weights: Sequence[float]) -> Granted:
        """Charge as many requests as are allowed now, in their order.

        Args:
            now: Seconds since the epoch.
            weights: The tokens of each.
        """
        if not self.counts:
            return self._all(now, len(weights))
        with transaction(self._db) as db:
            longest = max((limit.window for limit in self._limits), default=0.0)
            last = db.execute("SELECT max(at) FROM charge WHERE name = ?", (self._name,)).fetchone()[0]
            if last is not None and last > now:
                self._set_back(db, now, last - now)
            old = (self._name, now - longest, last)  # the last one tells of a clock that is set back
            db.execute("DELETE FROM charge WHERE name = ? AND at <= ? AND at < ?", old)
            closed = self._read_closed()
            if closed is not None and closed[0] > now:
                return Granted(0, closed[0] - now, closed[1])
            count, wait, why = self._allowed(db, now, weights)
            db.executemany("INSERT INTO charge VALUES (?, ?, ?)", [(self._name, now, w) for w in weights[:count]])
            if self._quota is not None and count:
                db.execute(
                    "INSERT INTO quota VALUES (?, ?, ?) "
                    "ON CONFLICT (name, day) DO UPDATE SET used = used + excluded.used",
                    (self._name, _day(now, self._zone), count),
                )
            return Granted(count, wait, why)

    def _all(self, now: float, number: int) -> Granted:
        """Grant all, but for what the service asked for: nobody else charges under the name."""
        until, why = self._closed
        if now < self._seen:  # the clock was set back
            until = max(0.0, until - (self._seen - now))
            self._closed = until, why
        self._seen = now
        return Granted(0, until - now, why) if until > now else Granted(number, 0.0, "")

    def _read_closed(self) -> tuple[float, str] | None:
        """Until when nothing is granted, and why; None where that was never asked for."""
        sql = "SELECT until, why FROM closed WHERE name = ?"
        found: tuple[float, str] | None = self._db.execute(sql, (self._name,)).fetchone()
        return found

    def _set_back(self, db: sqlite3.Connection, now: float, by: float) -> None:
        """The clock was set back: nobody waits longer for that, but for a day that is longer by it."""
        db.execute("UPDATE charge SET at = ? WHERE name = ? AND at > ?", (now, self._name, now))
        db.execute("UPDATE closed SET until = until - ? WHERE name = ?", (by, self._name))

    def close_until(self, until: float, why: str) -> None:
        """Grant nothing until a time: the service asked for that."""
        with transaction(self._db) as db:
            db.execute(
                "INSERT INTO closed VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET "
                "until = excluded.until, why = excluded.why WHERE excluded.until > until",
                (self._name, until, why),
            )
        if until > self._closed[0]:
            self._closed = until, why

    def charges(self, now: float) -> Charges:
        """What was charged so far."""
        return charges(self._db, self._name, self._limits, self._zone.key, now)

    def used_today(self, now: float) -> float:
        """How much of the day's quota is used."""
        return _used(self._db, self._name, _day(now, self._zone))

    def next_day(self, now: float) -> float:
        """When the quota's next day begins, in seconds since the epoch."""
        return next_day(now, self._zone)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def _allowed(self, db: sqlite3.Connection, now: float, weights: Sequence[float]) -> Granted:
        """How many of the requests are allowed now."""
        count, wait, why = len(weights), 0.0, ""
        if self._quota is not None:
            left = int(self._quota - self.used_today(now))
            if left < count:
                count, wait, why = max(0, left), self.next_day(now) - now, f"quota of {self._quota:g} a day"
        for limit in self._limits:
            fits, until = _fitting(db, self._name, limit, now, weights[:count])
            if fits < count:
                count, wait, why = fits, until - now, f"{limit.most:g} {limit.of} in {limit.period:g} s"
        return Granted(count, wait, why)


def charges(db: sqlite3.Connection, name: str, limits: Sequence[Limit], zone: str, now: float) -> Charges:
    """What was charged under a name, as the file of a ledger has it.

    Args:
        db: The file.
        name: What is limited.
        limits: The rates; what was charged before all of their windows is not told.
        zone: Where a day begins.
        now: Seconds since the epoch.
    """
    longest = max((limit.window for limit in limits), default=0.0)
    sql = "SELECT at, tokens FROM charge WHERE name = ? AND at > ? ORDER BY at"
    held = db.execute(sql, (name, now - longest)).fetchall()
    closed = db.execute("SELECT until FROM closed WHERE name = ?", (name,)).fetchone()
    return Charges(held, _used(db, name, _day(now, ZoneInfo(zone))), 0.0 if closed is None else closed[0])


def _used(db: sqlite3.Connection, name: str, day: str) -> float:
    found = db.execute("SELECT used FROM quota WHERE name = ? AND day = ?", (name, day)).fetchone()
    return 0.0 if found is None else found[0]


def _day(now: float, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(now, zone).date().isoformat()


def next_day(now: float, zone: ZoneInfo) -> float:
    """When the next day begins in a zone, in seconds since the epoch."""
    local = datetime.fromtimestamp(now, zone)
    return datetime.combine(local.date() + timedelta(days=1), datetime.min.time(), zone).timestamp()


def _fitting(
    db: sqlite3.Connection, name: str, limit: Limit, now: float, weights: Sequence[float]
) -> tuple[int, float]:
    """How many of the requests fit into the window of a limit, and until when the next one does not."""
    costs = [1.0 if limit.of == "requests" else min(weight, limit.most) for weight in weights]
    cost = "1.0" if limit.of == "requests" else "tokens"
    sql = f"SELECT at, {cost} FROM charge WHERE name = ? AND at > ? ORDER BY at"
    held = db.execute(sql, (name, now - limit.window)).fetchall()
    used = sum(min(one, limit.most) for _, one in held)
    for place, wanted in enumerate(costs):
        if used + wanted > limit.most:
            for at, one in held:
                used -= min(one, limit.most)
                if used + wanted <= limit.most:
                    return place, at + limit.window
            return place, now + limit.window  # what was granted here must be over first
        used += wanted
    return len(costs), now
