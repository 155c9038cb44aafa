"""One attempt at a task, as the steps behind `tasks` meet it: the lease of the record that they work on."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import orjson

from rxpipe.elements import ErrorRecord
from rxpipe.lease import Flow, Lease
from rxpipe.tasks.budget import Budget
from rxpipe.tasks.holding import Holding
from rxpipe.tasks.kinds import Policy
from rxpipe.tasks.store import Claimed


class Outcome(msgspec.Struct, frozen=True):
    """What became of an attempt when nobody works on it any more.

    Attributes:
        task: Which it was.
        begun: Whether it counts.
        cost: What was paid.
        failure: The error that it ended in, if it did.
        cause: What was raised, if anything was.
        policy: When the task is tried again, where a step says so.
        until: When to go on with the task, where the attempt was given back and does not count.
        why: Why it was given back.
    """

    task: Claimed
    begun: bool
    cost: float
    failure: ErrorRecord | None
    cause: BaseException | None
    policy: Policy | None
    until: float | None
    why: str


_APART = Flow()
"""Where attempts would be counted: no checkpoint waits for work that takes long."""


class Attempt(Lease):
    """Held by everything derived from the record of one task; when the last holder lets go of it, the attempt is over.

    It is done unless a step has rejected the record, which `Context.reject` tells it, or given it back.

    Args:
        task: The task.
        paid: What was paid for the task before: by step a digest of the request, and the answer.
        tell: Told of steps that begin or were paid for; see `begin` and `remember`.
        ended: Told what became of it, on whatever thread lets go of it last.
        budget: What is spent on, if that is bounded.
        holding: What still belongs to this process; None if everything does.
    """

    __slots__ = (
        "_budget", "_cause", "_ended", "_failure", "_holding", "_paid", "_tell", "_until", "_why", "begun", "cost",
        "policy", "task"
    )  # fmt: skip

    _flow = _APART
    nbytes = start = end = 0
    path = ""

    def __init__(
        self,
        task: Claimed,
        paid: dict[str, tuple[bytes, bytes]],
        tell: Callable[[Any], None],
        ended: Callable[[Outcome], None],
        budget: Budget | None = None,
        holding: Holding | None = None,
    ) -> None:  # not the base class's: nothing is counted
        self.task = task
        self.begun = False
        self.cost = 0.0
        self.policy: Policy | None = None
        self._failure: ErrorRecord | None = None
        self._cause: BaseException | None = None
        self._until: float | None = None
        self._why = ""
        self._paid = paid
        self._tell = tell
        self._ended = ended
        self._budget = budget
        self._holding = holding

    def __del__(self) -> None:
        self._ended(
            Outcome(self.task, self.begun, self.cost, self._failure, self._cause, self.policy, self._until, self._why)
        )

    @property
    def ours(self) -> bool:
        """Whether the task is still this process's; else it was cancelled, or taken over: nothing must come of it."""
        return self._holding is None or self._holding.has(self.task)

    def sure(self, then: Callable[[], None]) -> bool:
        """Whether `ours` can be relied upon; if not, as this process has slept, `then` is called once it can be."""
        return self._holding is None or self._holding.sure(then)

    def reserve(self, estimate: float | None) -> bool:
        """Set money aside for a call; where there is too little, the task is given back, and nothing must be called.

        Args:
            estimate: What the call is expected to cost; None if nobody knows.
        """
        if self._budget is None or self._budget.reserve(self.task.id, estimate):
            return True
        self.give_back(math.inf, f"the budget of {self._budget.most:g} USD would be passed")
        return False

    def begin(self) -> None:
        """A call is about to be made: from now on the attempt counts, also if the process is killed."""
        if not self.begun:
            self.begun = True
            self._tell((self.task.id, self.task.attempt))

    def refuses(self, error: ErrorRecord, cause: BaseException | None) -> bool:
        """A step cannot handle the record; the first error counts, and goes to `errors` once the task has failed."""
        if self._failure is None:
            self._failure, self._cause = error, cause
        return True

    def give_back(self, until: float, why: str) -> None:
        """The task is to go on later, and this attempt does not count.

        Args:
            until: When, in seconds since the epoch; infinite for the next run.
            why: For people.
        """
        self._until, self._why = until, why

    def charge(self, cost: float) -> None:
        """Something was paid for."""
        self.cost += cost

    def recall(self, step: str, request: object) -> Any | None:
        """What a step was answered before, if that was to the same request: it need not be asked, and paid, again."""
        digest, answer = self._paid.get(step, (b"", b""))
        return orjson.loads(answer) if digest and digest == digest_of(request) else None

    def others_have(self, step: str, answer: object) -> bool:
        """Whether another task remembers the same answer; may be asked on any thread."""
        return self._holding is not None and self._holding.others_have(self.task, step, answer)

    def remember(self, step: str, request: object, answer: object) -> None:
        """Keep an answer that was paid for, in a form that JSON has; it outlasts the process."""
        self._tell((self.task.id, step, digest_of(request), orjson.dumps(answer)))


def digest_of(value: object) -> bytes:
    """A digest of anything that has a form in JSON."""
    return hashlib.blake2b(orjson.dumps(value, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()


def attempt_of(leases: Iterable[Lease]) -> Attempt | None:
    """The attempt among some leases, if the record is that of a task."""
    return next((lease for lease in leases if isinstance(lease, Attempt)), None)
