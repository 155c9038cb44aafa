"""The service without its network: takes requests, works on some, lets others wait in line."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from rxpipe.testing.service.behaviour import Behaviour, Fate, Fault
from rxpipe.testing.service.ledger import Allowance, Journal, Refusal, key_of, whole_seconds

Later = Callable[[float, Callable[[], None]], Callable[[], object]]
"""Has a call made after some seconds; returns what takes that back."""

_TOO_MANY, _UNAVAILABLE, _OK = 429, 503, 200


class Verdict(NamedTuple):
    """What comes of a request: status, what is wrong with its answer, a message, and headers."""

    status: int = _OK
    fault: Fault = ""
    message: str = ""
    headers: Mapping[str, str] = MappingProxyType({})


class _Visit:
    """A request from its coming to its end."""

    __slots__ = ("done", "fate", "key", "over", "stop", "tokens")

    def __init__(self, key: str, fate: Fate, done: Callable[[Verdict], None]) -> None:
        self.key = key
        self.fate = fate
        self.done = done
        self.stop: Callable[[], object] | None = None
        self.over = False


class Desk:
    """Takes requests.

    Args:
        behaviour: How it behaves; it may be replaced at any time.
        clock: Seconds since the epoch.
        later: Keeps its timers.
        journal: A file in which it notes what it was asked.

    Attributes:
        journal: What it was asked, and what came of it.
        working: How many requests it works on.
        most: How many it ever had at a time, those in line too.
    """

    def __init__(
        self, behaviour: Behaviour, clock: Callable[[], float], later: Later, journal: Path | None = None
    ) -> None:
        self._allowance = Allowance(behaviour, clock)
        self._clock = clock
        self._later = later
        self._since = clock()
        self._line: deque[_Visit] = deque()
        self._wake: Callable[[], object] | None = None
        self.journal = Journal(journal, clock)
        self.working = 0
        self.most = 0

    @property
    def behaviour(self) -> Behaviour:
        """How it behaves."""
        return self._allowance.behaviour

    @behaviour.setter
    def behaviour(self, behaviour: Behaviour) -> None:
        self._allowance.behaviour = behaviour
        self._go_on()

    @property
    def present(self) -> int:
        """How many requests it works on, and has in line."""
        return self.working + len(self._line)

    def ask(self, prompt: str, tokens: int, done: Callable[[Verdict], None]) -> Callable[[], None]:
        """Take a request.

        Args:
            prompt: Its text.
            tokens: How many it counts as.
            done: Told what comes of it, now or later.

        Returns:
            Takes the request back: who asked is gone.
        """
        key = key_of(prompt)
        fate = self.behaviour.fate(prompt, self.journal.times(key))
        self.journal.note("asked", key)
        visit = _Visit(key, fate, done)
        refusal = self._allowance.take(tokens)
        if refusal is not None:
            self._end(visit, "refused", _refused(refusal))
        elif len(self._line) >= self.behaviour.line and self.working >= self._capacity():
            self._end(visit, "refused", Verdict(_UNAVAILABLE, message="The service is overloaded."))
        else:
            self._line.append(visit)
            self.most = max(self.most, self.present)
            self._go_on()
        return lambda: self._leave(visit)

    def answered(self, prompt: str, tokens: tuple[int, int]) -> None:
        """The answer is made, and has to be paid for."""
        self.journal.note("answered", key_of(prompt), tokens)

    def _capacity(self) -> float:
        """How many requests are worked on now; wakes up when that changes."""
        since = self._clock() - self._since
        many, change = self.behaviour.capacity_at(since)
        if self._wake is not None:
            self._wake()
            self._wake = None
        if change is not None and self._line:
            self._wake = self._later(change - since, self._go_on)
        return many

    def _go_on(self) -> None:
        while self._line and self.working < self._capacity():
            visit = self._line.popleft()
            self.working += 1
            if visit.fate.fault != "hang":
                visit.stop = self._later(visit.fate.latency, partial(self._served, visit))

    def _served(self, visit: _Visit) -> None:
        self.working -= 1
        status, fault, _ = visit.fate
        if status != _OK:
            self._end(visit, "failed", Verdict(status, message="The service failed, as it was told to."))
        else:
            self._end(visit, fault, Verdict(fault=fault, headers=self._allowance.headers()))
        self._go_on()

    def _end(self, visit: _Visit, event: str, verdict: Verdict) -> None:
        visit.over = True
        if event:
            self.journal.note(event, visit.key)
        headers = {**self._allowance.headers(), **verdict.headers}
        visit.done(verdict._replace(headers=headers))

    def _leave(self, visit: _Visit) -> None:
        if visit.over:
            return
        visit.over = True
        self.journal.note("gone", visit.key)
        if visit in self._line:
            self._line.remove(visit)
            return
        if visit.stop is not None:
            visit.stop()
        self.working -= 1
        self._go_on()


def _refused(refusal: Refusal) -> Verdict:
    if refusal.wait is None:
        return Verdict(_TOO_MANY, message=refusal.message)
    message = f"{refusal.message} Please try again in {refusal.wait:.3f}s."
    headers = {"Retry-After": whole_seconds(refusal.wait), "retry-after-ms": f"{refusal.wait * 1000:.0f}"}
    return Verdict(_TOO_MANY, message=message, headers=headers)
