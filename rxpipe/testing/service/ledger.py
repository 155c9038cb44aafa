"""What a service counts: what it was asked and what came of it, by prompt; and what it allows in a minute and a day."""

from __future__ import annotations

import hashlib
import math
import os
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from rxpipe.parameters.units import format_duration, seconds
from rxpipe.testing.service.behaviour import Behaviour

MINUTE = 60.0

_LONGEST_KEY = 120


class Refusal(NamedTuple):
    """Why a request is not taken: a message, and the seconds after which it would be; None where it never would."""

    message: str
    wait: float | None


class Allowance:
    """The requests and tokens of the last minute, and the requests of the day.

    Args:
        behaviour: Says how many there may be.
        clock: Seconds since the epoch; a day begins at a multiple of its length.
    """

    def __init__(self, behaviour: Behaviour, clock: Callable[[], float]) -> None:
        self.behaviour = behaviour
        self._clock = clock
        self._taken: deque[tuple[float, int]] = deque()
        self._tokens = 0
        self._day = -1
        self.today = 0

    def take(self, tokens: int) -> Refusal | None:
        """Count a request, or say why it is not taken."""
        now = self._forget()
        refusal = self._refusal(now, tokens)
        if refusal is None:
            self._taken.append((now, tokens))
            self._tokens += tokens
            self.today += 1
        return refusal

    def headers(self) -> dict[str, str]:
        """What is left, as OpenAI's headers say it."""
        now = self._forget()
        most = self.behaviour
        made: dict[str, str] = {}
        resets = format_duration(round(self._taken[-1][0] + MINUTE - now, 3)) if self._taken else "0s"
        for name, limit, used in (
            ("requests", most.requests_per_minute, len(self._taken)),
            ("tokens", most.tokens_per_minute, self._tokens),
        ):
            if limit is not None:
                made[f"x-ratelimit-limit-{name}"] = str(limit)
                made[f"x-ratelimit-remaining-{name}"] = str(max(0, limit - used))
                made[f"x-ratelimit-reset-{name}"] = resets
        return made

    def _forget(self) -> float:
        """Forget what is older than a minute, and yesterday; gives the time."""
        now = self._clock()
        while self._taken and self._taken[0][0] <= now - MINUTE:
            self._tokens -= self._taken.popleft()[1]
        day = int(now // seconds(self.behaviour.day))
        if day != self._day:
            self._day, self.today = day, 0
        return now

    def _refusal(self, now: float, tokens: int) -> Refusal | None:
        most = self.behaviour
        length = seconds(most.day)
        if most.requests_per_day is not None and self.today >= most.requests_per_day:
            wait = (self._day + 1) * length - now if most.requests_per_day else None
            return Refusal(_told("requests per day (RPD)", most.requests_per_day, self.today, 1), wait)
        if most.requests_per_minute is not None and len(self._taken) >= most.requests_per_minute:
            wait = self._taken[-most.requests_per_minute][0] + MINUTE - now if most.requests_per_minute else None
            return Refusal(_told("requests per min (RPM)", most.requests_per_minute, len(self._taken), 1), wait)
        if most.tokens_per_minute is not None and self._tokens + tokens > most.tokens_per_minute:
            told = _told("tokens per min (TPM)", most.tokens_per_minute, self._tokens, tokens)
            return Refusal(told, self._wait_for(tokens, now))
        return None

    def _wait_for(self, tokens: int, now: float) -> float | None:
        """Seconds until so many tokens may be used; None where that is never."""
        most = self.behaviour.tokens_per_minute or 0
        used = self._tokens
        for at, taken in self._taken:
            used -= taken
            if used + tokens <= most:
                return at + MINUTE - now
        return None


def _told(of: str, limit: int, used: int, requested: int) -> str:
    return f"Rate limit reached on {of}: Limit {limit}, Used {used}, Requested {requested}."


class Journal:
    """What was asked and what came of it: in memory, and line by line in a file, which a later one reads.

    Args:
        path: The file, if there is to be one.
        clock: Seconds since the epoch.

    Attributes:
        totals: How often what happened: `asked`, `answered`, `refused`, `failed`, `cut`, `wrong`, `invalid`, `gone`.
        keys: The same for each key.
        tokens: Those of answered requests, and of their answers.
    """

    def __init__(self, path: Path | None, clock: Callable[[], float]) -> None:
        self.totals: Counter[str] = Counter()
        self.keys: dict[str, Counter[str]] = {}
        self.tokens = [0, 0]
        self._clock = clock
        self._asked: deque[float] = deque()
        self._most = 0
        self._file: int | None = None
        if path is not None:
            if path.exists():
                for line in path.read_bytes().splitlines():
                    found = orjson.loads(line)
                    self._count(found["event"], found["key"], found["tokens"])
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def note(self, event: str, key: str, tokens: tuple[int, int] = (0, 0)) -> None:
        """Something happened to a request."""
        now = self._clock()
        self._count(event, key, tokens)
        if event == "asked":
            self._asked.append(now)
            while self._asked[0] <= now - MINUTE:
                self._asked.popleft()
            self._most = max(self._most, len(self._asked))
        if self._file is not None:
            line = {"at": now, "event": event, "key": key, "tokens": tokens}
            os.write(self._file, orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def times(self, key: str) -> int:
        """How often something was asked."""
        return self.keys[key]["asked"] if key in self.keys else 0

    def stats(self) -> dict[str, Any]:
        """The totals; what was answered more than once; and the most that was asked in any minute."""
        return {
            **self.totals,
            "prompts": len(self.keys),
            "twice": [key for key, counts in self.keys.items() if counts["answered"] > 1],
            "most_in_a_minute": self._most,
            "input_tokens": self.tokens[0],
            "output_tokens": self.tokens[1],
        }

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _count(self, event: str, key: str, tokens: tuple[int, int]) -> None:
        self.totals[event] += 1
        self.keys.setdefault(key, Counter())[event] += 1
        if event == "answered":
            self.tokens = [have + more for have, more in zip(self.tokens, tokens, strict=True)]


def key_of(prompt: str) -> str:
    """What a prompt is counted under: itself, or of a long one its beginning and a digest."""
    if len(prompt) <= _LONGEST_KEY:
        return prompt
    return f"{prompt[:_LONGEST_KEY]}… {hashlib.blake2b(prompt.encode(), digest_size=8).hexdigest()}"


def whole_seconds(wait: float) -> str:
    """Seconds as `Retry-After` has them."""
    return str(math.ceil(wait))
