"""What becomes of a task when an attempt at it is over: done, tried again, given up."""

from __future__ import annotations

import math

from msgspec.structs import replace

from rxpipe.context import Context
from rxpipe.elements import ErrorRecord
from rxpipe.faults.transient import asked_of
from rxpipe.log import logger
from rxpipe.tasks.attempt import Outcome
from rxpipe.tasks.kinds import Policy, kind_of
from rxpipe.tasks.outage import Outage, came_through
from rxpipe.tasks.store import Ended, State


class Verdicts:
    """Judges the attempts of one subscription.

    Args:
        context: The step.
        attempts: How often a task is tried in all, at most.

    Attributes:
        down: Whether the service is taken for down.
    """

    def __init__(self, context: Context, attempts: int | None) -> None:
        self._context = context
        self._attempts = math.inf if attempts is None else attempts
        self._policy = Policy()
        self._outage = Outage()
        self.down = False

    @property
    def tried(self) -> float:
        """When to try whether a service that is down is up, in seconds since the epoch."""
        return self._outage.tried

    def of(self, outcome: Outcome, now: float) -> Ended:
        """What becomes of the task."""
        task, policy = outcome.task, outcome.policy or self._policy
        if outcome.until is not None:
            due = 0.0 if outcome.until == math.inf else outcome.until
            state: State = "waiting" if due > now else "pending"
            return Ended(task.id, task.attempt, state, now, outcome.cost, due=due, counted=False)
        if outcome.failure is not None:
            return self._failure(outcome, outcome.failure, policy, now)
        if self._outage.since is not None:
            self._hear(None, "", policy, now)
        if task.failed is not None:
            policy.learn(task.failed, succeeded=True)
        return Ended(task.id, task.attempt, "done", now, outcome.cost)

    def _failure(self, outcome: Outcome, failure: ErrorRecord, policy: Policy, now: float) -> Ended:
        task, cause = outcome.task, outcome.cause
        kind = kind_of(cause)
        away = not came_through(kind, cause)
        self._hear(task.id if away else None, failure.reason, policy, now)
        made = Ended(task.id, task.attempt, "waiting", now, outcome.cost, kind, failure.reason)
        if away and self.down:
            return replace(made, due=max(now, self.tried), counted=False)
        if task.failed is not None:
            policy.learn(task.failed, succeeded=False)
        asked = 0.0 if cause is None else asked_of(cause, now)
        wait = policy.wait(kind, task.attempt, asked) if task.attempt < self._attempts else None
        if wait is None:
            self._context.emit_error(failure)
            return replace(made, state="failed")
        return replace(made, due=now + wait)

    def _hear(self, away: int | None, reason: str, policy: Policy, now: float) -> None:
        """An attempt tells whether the service is there; `away` is the task whose call did not come through."""
        if away is None:
            self._outage.answered()
        else:
            self._outage.longest = self._outage.longest if policy.outage is None else policy.outage
            self._outage.failed(away, now)
        if away is None and not self.down:
            return
        before, self.down = self.down, self._outage.down(now)
        if self.down and not before:
            told = "{}: the service is down: {}; a task is tried now and then, which does not count"
            logger.warning(told, self._context.name, reason)
        elif before and not self.down:
            told = "there again" if away is None else "waited for no more"
            logger.info("{}: the service is {}", self._context.name, told)
