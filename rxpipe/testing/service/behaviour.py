"""How a service behaves: how long it takes, what it allows, how often it fails, and what the words of a prompt do."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Literal, NamedTuple

import msgspec

from rxpipe.errors import RxpipeError
from rxpipe.parameters.units import seconds

Fault = Literal["", "cut", "wrong", "invalid", "hang"]
"""What is wrong with an answer: nothing, it breaks off, is no JSON, does not satisfy the schema, or never comes."""

_MARK = re.compile(r"\[\[(?:(status) (\d{3})|(cut|wrong|invalid|hang)|(slow) (\w+))(?: x(\d+))?\]\]")


class Fate(NamedTuple):
    """What is to become of one request: a status, what is wrong with the answer, and how long it takes."""

    status: int = 200
    fault: Fault = ""
    latency: float = 0.0


class Behaviour(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a service behaves.

    A prompt can ask for more: in `[[status 500]]`, `[[cut]]`, `[[wrong]]`, `[[invalid]]`, `[[hang]]` and `[[slow 2s]]`
    it says what is to become of it, and with a number of times, as `[[status 500 x2]]`, of the first so many requests.

    Attributes:
        latency: How long an answer takes: `50ms`, `uniform 10ms 90ms`, `normal 1s 200ms`, `lognormal 1s 0.5` (median
            and sigma) or `exponential 1s`.
        word: Time between two words of an answer that is streamed.
        requests_per_minute: In any minute.
        tokens_per_minute: In any minute; those of the request, and what its answer may have at most.
        requests_per_day: From one beginning of a day to the next.
        day: How long a day is.
        statuses: How probable the statuses of failures are, such as `{500: 0.05}`.
        faults: How probable the faults are, such as `{"cut": 0.02}`.
        capacity: How many requests are worked on at a time: pairs of a second since the start, and from then on how
            many. What is more waits in line. None: any number.
        line: How many wait in line; more get a 503.
        seed: Decides what becomes of the n-th request with one prompt.
        key: The key that must be sent, if any.
    """

    latency: str = "0s"
    word: str = "0s"
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    requests_per_day: int | None = None
    day: str = "1d"
    statuses: dict[int, float] = {}
    faults: dict[Fault, float] = {}
    capacity: list[tuple[float, int]] | None = None
    line: int = 1000
    seed: int = 0
    key: str | None = None

    def fate(self, prompt: str, times: int) -> Fate:
        """What is to become of a request.

        Args:
            prompt: Its text.
            times: How often it was asked before.
        """
        chance = random.Random(f"{self.seed} {times} {prompt}")  # a test's dice
        latency, drawn = latency_of(self.latency)(chance), chance.random()
        for mark in _MARK.finditer(prompt):
            _, status, fault, slow, long, most = mark.groups()
            if most is None or times < int(most):
                if slow:
                    latency = seconds(long)
                    continue
                return Fate(int(status), latency=latency) if status else Fate(200, fault, latency)  # type: ignore[arg-type]  # one of the pattern's
        for status, share in self.statuses.items():
            if drawn < share:
                return Fate(status, latency=latency)
            drawn -= share
        for name, share in self.faults.items():
            if drawn < share:
                return Fate(200, name, latency)
            drawn -= share
        return Fate(latency=latency)

    def capacity_at(self, since: float) -> tuple[float, float | None]:
        """How many requests are worked on at a time, and when that changes next, in seconds since the start."""
        if self.capacity is None:
            return float("inf"), None
        now = [many for at, many in self.capacity if at <= since]
        later = [at for at, _ in self.capacity if at > since]
        return float(now[-1] if now else 0), min(later, default=None)


def latency_of(text: str) -> Callable[[random.Random], float]:
    """A function that draws from a distribution of latencies.

    Raises:
        RxpipeError: The text names none.

    Example:
        >>> latency_of("50ms")(random.Random(1))
        0.05
    """
    name, *given = text.split()
    made: dict[tuple[str, int], Callable[[random.Random, float, float], float]] = {
        ("uniform", 2): lambda chance, low, high: chance.uniform(low, high),
        ("normal", 2): lambda chance, mean, deviation: chance.gauss(mean, deviation),
        ("lognormal", 2): lambda chance, median, sigma: median * chance.lognormvariate(0, sigma),
        ("exponential", 1): lambda chance, mean, _: chance.expovariate(1 / mean) if mean else 0.0,
    }
    if not given:
        fixed = seconds(name)
        return lambda _: fixed
    draw = made.get((name, len(given)))
    if draw is None:
        msg = (
            f"latency: must be a duration, or 'uniform', 'normal', 'lognormal' or 'exponential' with its; got {text!r}"
        )
        raise RxpipeError(msg)
    first, second = seconds(given[0]), seconds(given[-1])
    return lambda chance: max(0.0, draw(chance, first, second))
