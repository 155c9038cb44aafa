"""How long what is limited takes at least: by its rates, its quota, and what was charged before."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any
from zoneinfo import ZoneInfo

from rxpipe.errors import StateError
from rxpipe.parameters.units import per
from rxpipe.runtime.statepath import state_folder
from rxpipe.sqlitefile import to_look_at
from rxpipe.tasks.ledger import DAY, Charges, Ledger, Limit, charges, next_day

_NEARLY = 1e-9
"""What is left of tokens by rounding."""


@dataclass(frozen=True, slots=True)
class Limited:
    """What a step `limit` bounds, as it tells on the run's board.

    Attributes:
        stream: Its stream.
        name: Under which name it is charged.
        shared: Whether all who use that name share it; else each process has its own.
        limits: The rates.
        quota: Requests a day.
        zone: Where a day begins.
        path: The file of the charges; None where it is in memory, or not known.
        ledger: The one in memory.
    """

    stream: str
    name: str
    shared: bool
    limits: Sequence[Limit]
    quota: float | None
    zone: str
    path: Path | None = None
    ledger: Ledger | None = None

    def charged(self, now: float) -> Charged:
        """What was charged so far; reads the file, if there is one. In memory it belongs to the dataflow's thread.

        Raises:
            StateError: The file cannot be read.
        """
        if self.ledger is not None:
            return Charged(self, self.ledger.charges(now))
        if self.path is None or not self.path.is_file():
            return Charged(self, Charges([], 0.0, 0.0))
        try:
            with closing(to_look_at(self.path)) as db:
                return Charged(self, charges(db, self.name, self.limits, self.zone, now))
        except sqlite3.Error as error:
            msg = f"ledger {self.path}: must be one that can be read; got {error}"
            raise StateError(msg) from error


@dataclass(frozen=True, slots=True)
class Charged:
    """What is bounded, with what was charged at a moment."""

    limited: Limited
    charges: Charges

    def least(self, count: int, now: float) -> float:
        """Seconds until the last of so many requests is let through, if nothing else keeps them.

        Of tokens a request is taken to have as many as those have had that were charged lately.
        """
        if count <= 0:
            return 0.0
        wait = max(0.0, self.charges.closed - now, self._days(count, now))
        for limit in self.limited.limits:
            held = [(at, tokens) for at, tokens in self.charges.held if at > now - limit.window]
            each = 1.0
            if limit.of == "requests":
                held = [(at, 1.0) for at, _ in held]
            else:
                held = [(at, min(tokens, limit.most)) for at, tokens in held]
                each = fmean(tokens for _, tokens in held) if held else 0.0
            wait = max(wait, _until(count * each, limit, held, now))
        return wait

    def _days(self, count: int, now: float) -> float:
        """Seconds until the day on which the quota is enough for the last one."""
        quota = self.limited.quota
        if quota is None:
            return 0.0
        more = count - max(0, int(quota - self.charges.used))
        if more <= 0:
            return 0.0
        days = math.ceil(more / max(1, int(quota)))
        return next_day(now, ZoneInfo(self.limited.zone)) - now + (days - 1) * DAY


def limits_of(rate: Any, tokens: Any) -> list[Limit]:
    """The limits of a step `limit`, as its parameters say them: one each, or several."""
    requests, weighted = (one if isinstance(one, list) else [one] for one in (rate, tokens))
    return [Limit(*per(one)) for one in requests] + [Limit(*per(one), "tokens") for one in weighted]


def shared(name: str) -> Path:
    """The file of what all graphs of the user charge under a name."""
    return state_folder() / "limits" / f"{name}.sqlite"


def _until(wanted: float, limit: Limit, held: Sequence[tuple[float, float]], now: float) -> float:
    """Seconds until so much more was granted: what was granted is free again a window later, over and over."""
    most = max(1.0, math.floor(limit.most)) if limit.of == "requests" else limit.most
    free = max(0.0, most - sum(amount for _, amount in held))
    missing = wanted - free
    if missing <= _NEARLY:
        return 0.0
    windows = math.ceil(missing / most - _NEARLY) - 1
    missing -= windows * most
    for at, amount in (*held, (now, free)):
        missing -= amount
        if missing <= _NEARLY:
            return at - now + (windows + 1) * limit.window
    return (windows + 1) * limit.window
