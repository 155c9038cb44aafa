"""Whether this machine has anything to spare for more calls."""

from __future__ import annotations

import time
from pathlib import Path

_EVERY = 2.0
_BUSY = 0.9
"""The share of one core above which the thread of the dataflow is taken for busy."""

_LEAST_MEMORY = 0.05
"""The share of the memory that must be available."""


class Pressure:
    """Looks at most every two seconds."""

    def __init__(self) -> None:
        self._looked, self._used = time.monotonic(), time.thread_time()
        self._high = False

    def high(self) -> bool:
        """Whether this thread had no time to spare lately, or there is nearly no memory left."""
        now = time.monotonic()
        if now - self._looked >= _EVERY:
            used = time.thread_time()
            self._high = used - self._used > _BUSY * (now - self._looked) or _available() < _LEAST_MEMORY
            self._looked, self._used = now, used
        return self._high


def _available(path: str = "/proc/meminfo") -> float:
    """The share of the memory that is available; all of it where nobody tells."""
    try:
        lines = dict(line.split(":", 1) for line in Path(path).read_text(encoding="ascii").splitlines())
        total, available = (int(lines[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
    except (OSError, ValueError, KeyError):
        return 1.0
    return available / total
