"""The tasks of one running graph: what is given out, and what is noted in the store, a group at a time."""

from __future__ import annotations

import math
from collections import deque
from concurrent.futures import Future
from threading import Lock, get_ident
from typing import Any
from uuid import uuid4

import msgspec
import orjson
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable, SerialDisposable

from rxpipe.context import Change, Context
from rxpipe.elements import Batch
from rxpipe.errors import RxpipeError
from rxpipe.faults.transient import transient
from rxpipe.lease import Lease
from rxpipe.log import logger
from rxpipe.operators.tasks._noting import Noted, Noting, Wanted
from rxpipe.operators.tasks._verdicts import Verdicts
from rxpipe.scheduling.stall import Stall
from rxpipe.tasks.attempt import Attempt, Outcome
from rxpipe.tasks.budget import Budget
from rxpipe.tasks.holding import Holding
from rxpipe.tasks.reading import Worked
from rxpipe.tasks.store import Ended, New, TaskStore, used

_LONGEST = 30.0
"""Seconds that a store which cannot be written is left alone, at most."""

_LOOK = 1.0
"""Seconds until the store is asked again whether other processes are done with their tasks."""

_PATIENCE = 30
"""Seconds in which no task was done, while no more may be given out, until steps emit what they hold."""

_MOST_NEW = 4096
"""New tasks that wait for the store, at most, but for those of one block."""

_SOON = 0.001
"""Seconds of a wait at least: a clock of floats does not go on by less."""


_NOTHING: dict[str, tuple[bytes, bytes]] = {}
"""What was paid for most tasks before."""


class Home:
    """One subscription of `tasks`.

    Args:
        observer: Takes the records of tasks that are to be done, each with its `Attempt`.
        context: The step.
        scheduler: Keeps the timers.
        store: The open store.
        ahead: How many tasks are given out at a time.
        attempts: How often a task is tried in all, at most.
        again: Whether tasks that are done are due again when they come again.

    Attributes:
        out: How many tasks are given out.
        coming: How many batches and records are on their way here.
    """

    def __init__(
        self,
        observer: ObserverBase[Batch],
        context: Context,
        scheduler: SchedulerBase,
        store: TaskStore,
        ahead: int,
        attempts: int | None,
        *,
        again: bool,
    ) -> None:
        self._observer = observer
        self._context = context
        self._scheduler = scheduler
        self._store = store
        self._ahead = ahead
        self._verdicts = Verdicts(context, attempts)
        self._held = False
        self._order: str | None = None
        self._definition = context.definition
        self._post = context.poster(scheduler)
        self._aside = context.thread()
        self._timer = SerialDisposable()
        self._stall = Stall(context, scheduler, self._held_up, patience=lambda: 1 if self._ending else _PATIENCE)
        self._new: list[New] = []
        self._leases: list[Lease] = []
        self._writing: list[Lease] = []
        self._told: list[tuple[Any, ...]] = []
        self._outcomes: deque[Outcome] = deque()
        self._wanted: Wanted | None = None
        self._posted = self._busy = self._completed = self._stopping = self._over = self._all_out = False
        self._holding = Holding(store.path)
        self._failures = 0
        self.out = self.coming = self._most = 0
        self._noting: Lease | None = None
        self._thread = get_ident()
        self._lock = Lock()
        self._working = False
        self._budget: Budget | None = None
        self._notice = context.board[context.name] = Worked(context.stream, store.path)
        saved = context.state("source", self._changes, "what was delivered: line, number")
        found = {key: value for key, _, value in saved.items()}
        line, delivery = msgspec.msgpack.decode(found[b""]) if found else (uuid4().hex, 0)
        self._line: str | None = line if saved.persistent else None
        self._notes = Noting(store, self._definition, self._line, again=again)
        self._delivered = self._kept = delivery

    def start(self) -> DisposableBase:
        """Join those who work on the store, in a turn of its own; returns what ends it all.

        Raises:
            StateError: The store cannot be written.
        """
        with used(self._store.path), self._store.transaction():
            taken = self._store.owners.join()
            again = 0 if self._line is None else self._store.deliver_again(self._line, self._delivered)
            spent = self._store.spent()
            redone = 0 if self._context.redo is None else self._store.redo(self._context.redo, self._definition)
            outdated = self._store.outdated(self._definition)
        found = [told for told in self._context.board.values() if isinstance(told, Budget)]
        self._budget = next((budget for budget in found if budget.stream == self._context.stream), None)
        if self._budget is not None:
            self._budget.spent = spent
        if taken:
            logger.info("{}: {} tasks taken over from a run that is gone", self._context.name, taken)
        if redone:
            logger.info("{}: {} tasks are done again", self._context.name, redone)
        if outdated:
            told = (
                "{}: the graph has changed: {} tasks that are done keep their results; --redo changed does them again"
            )
            logger.info(told, self._context.name, outdated)
        if again:
            logger.info("{}: {} results are delivered again; nothing is paid again", self._context.name, again)
        self._timer.disposable = self._scheduler.schedule(lambda *_: self._note())
        return CompositeDisposable(self._context.on_drain(self._drain), Disposable(self.close))

    def take(self, tasks: list[New], leases: tuple[Lease, ...]) -> None:
        """Add tasks; the leases are let go of when they are in the store."""
        self._new += tasks
        self._leases += leases
        self._balance()
        self._note()

    def expect(self, coming: int) -> None:
        """So many batches and records are on their way."""
        self.coming = coming
        self._balance()

    def _balance(self) -> None:
        """Hold the sources while more waits than the store takes at a time."""
        held = not self._over and len(self._new) + self.coming > _MOST_NEW
        if held != self._held:
            self._held = held
            if held:
                self._context.flow.hold()
            else:
                self._context.flow.release()

    def complete(self) -> None:
        """No more tasks will come."""
        self._completed = True
        self._note()

    def fail(self, error: Exception) -> None:
        """The source ended in an error; what is in the store is there for the next run."""
        self.close()
        self._observer.on_error(error)

    def _drain(self) -> None:
        """Give out no more; what is given out may end."""
        self._stopping = True
        self._note()

    def close(self) -> None:
        """Let go of the store, for good: what is given out counts as not done."""
        if not self._over:
            self._timer.dispose()
            self._stall.dispose()
            self._leases.clear()
            self._writing.clear()
            self._noting = None
            self._holding.close()
            with self._lock:
                self._over = True
                self._balance()
                if self._working:
                    return  # whoever works on the store closes it
            self._store.close()

    def _changes(self) -> list[Change]:
        """How far results were delivered; asked when nothing is leased, so that all of them are noted."""
        if self._line is None or self._kept == self._delivered:
            return []
        self._kept = self._delivered
        return [(b"", "", msgspec.msgpack.encode((self._line, self._delivered)))]

    def _tell(self, told: tuple[Any, ...]) -> None:
        """A step began, or was paid for."""
        self._told.append(told)
        self._note_soon()

    def _ended(self, outcome: Outcome) -> None:
        """An attempt is over; called on any thread, at any moment, so that it is only noted for later."""
        if self._over:
            return
        self._outcomes.append(outcome)
        if self._noting is None and get_ident() == self._thread:
            self._noting = Lease(self._context.flow, 0)  # what is not noted must hold a checkpoint
        if not self._posted:
            self._note_soon()

    def _note_soon(self) -> None:
        if not self._posted:
            self._posted = True
            self._post(self._note)

    def _note(self) -> None:
        """Have noted what there is to note, and take tasks that are due; one transaction at a time."""
        self._posted = False
        if self._busy or self._over:
            return
        now = self._context.now()
        ended, strays = self._settle(now)
        most = 0 if self._stopping or not (self._context.flow.open or self._held) else self._ahead - self.out
        if self._budget is not None and self._budget.room() < most:
            most = max(0, int(self._budget.room()))
            if most == self.out == 0:
                self._stop(f"the budget of {self._budget.most:g} USD would be passed")
        if self._verdicts.down:
            most = min(most, 1) if self.out == 0 and now >= self._verdicts.tried else 0
        self._most = most
        self._tell_order()
        new, self._new = self._new, []
        self._writing, self._leases = self._leases, []
        self._balance()
        told, self._told = self._told, []
        self._noting = self._noting or Lease(self._context.flow, 0)
        self._begin(Wanted(new, told, ended, strays, self._holding.given(), most))

    def _settle(self, now: float) -> tuple[list[Ended], list[tuple[float, int]]]:
        """What became of the attempts that are over; and what those have cost whose tasks are no more ours."""
        outcomes = [self._outcomes.popleft() for _ in range(len(self._outcomes))]
        self.out -= len(outcomes)
        if outcomes:
            self._stall.moved()
        ended, strays = list[Ended](), list[tuple[float, int]]()
        for outcome in outcomes:
            if self._budget is not None:
                self._budget.settle(outcome.task.id, outcome.cost)
            if self._holding.end(outcome.task):
                ended.append(self._verdicts.of(outcome, now))
                if outcome.until == math.inf:
                    self._stop(outcome.why)
            elif outcome.cost:
                strays.append((outcome.cost, outcome.task.id))
        return ended, strays

    def _begin(self, wanted: Wanted) -> None:
        self._busy = True
        self._wanted = wanted
        self._working = True
        self._aside.submit(self._notes.note, wanted).add_done_callback(self._worked)

    def _worked(self, future: Future[Noted]) -> None:
        """In a thread: a transaction is over, or was not begun."""
        with self._lock:
            self._working = False
            over = self._over
        if over:
            self._store.close()
        else:
            self._post(lambda: self._noted(future))

    def _noted(self, future: Future[Noted]) -> None:
        self._busy = False
        if self._over:
            return
        error = future.exception()
        if error is not None:
            self._failed(error)
            return
        noted = future.result()
        self._all_out = self._wanted is not None and len(noted.claimed) < self._wanted.most
        self._wanted = None
        if self._failures:
            self._failures = 0
            logger.info("{}: the task store can be written again", self._context.name)
        self._writing.clear()
        self._delivered = noted.delivery
        self._obey(noted.order)
        self._holding.renew(self._notes.beaten, noted.held)
        if noted.lost:
            logger.warning(
                "{}: {} tasks ended that others had taken over, or cancelled, meanwhile", self._context.name, noted.lost
            )
        self._give_out(noted)
        self._go_on(noted)

    def _obey(self, order: str | None) -> None:
        """Take note of what is wanted of all who work on the store."""
        if order != self._order:
            told = "tasks may be begun again" if order is None else "no task is begun until `rxpipe tasks resume`"
            logger.info("{}: {}", self._context.name, told)
        self._order = order
        self._tell_order()

    def _tell_order(self) -> None:
        """Tell the steps behind: while the service is down what waits for it comes back, but for the one task tried."""
        self._notice.order = self._order or ("the service is down" if self._verdicts.down and self.out > 1 else None)

    @property
    def degraded(self) -> str | None:
        """What is wrong, if anything is."""
        if self._failures:
            return f"{self._store.path} cannot be written"
        return "the service is down" if self._verdicts.down else None

    @property
    def _ending(self) -> bool:
        """Whether the run ends with what is given out now: no other task will be."""
        return self._stopping or (self._completed and self._all_out)

    def _held_up(self) -> bool:
        """Whether the steps behind may wait for more tasks than they will be given before these are done."""
        return self.out > 0 and (self._ending or self._most <= 0)

    def _go_on(self, noted: Noted) -> None:
        if self._outcomes or self._told or self._new:
            self._note()
            return
        self._noting = None
        if self.out == self.coming == 0 and (self._stopping or (self._completed and not noted.open)):
            self.close()
            self._observer.on_completed()
            return
        if self._held_up():
            self._stall.look()
        wait = _LOOK if noted.next_due is None else max(_SOON, min(_LOOK, noted.next_due - self._context.now()))
        self._timer.disposable = self._scheduler.schedule_relative(wait, lambda *_: self._note())

    def _give_out(self, noted: Noted) -> None:
        """Emit the tasks that were taken."""
        paid, budget, holding, tell, ended = noted.paid, self._budget, self._holding, self._tell, self._ended
        emit, loads = self._observer.on_next, orjson.loads
        self.out += len(noted.claimed)
        if noted.claimed:
            self._stall.moved()
        holding.give(noted.claimed)
        for task in noted.claimed:
            record = loads(task.input)
            record["task"] = {"id": task.id, "key": task.key, "attempt": task.attempt}
            if budget is not None:
                budget.expect(task.id)
            attempt = Attempt(task, paid.get(task.id, _NOTHING), tell, ended, budget, holding)
            batch = Batch([record], None, (attempt,))
            del attempt
            emit(batch)

    def _stop(self, why: str) -> None:
        """Give out no more."""
        if not self._stopping:
            self._stopping = True
            logger.warning("{}: no more tasks are begun: {}", self._context.name, why)

    def _failed(self, error: BaseException) -> None:
        """The store could not be written: try again later, what was to be noted is kept."""
        if self._wanted is None or not transient(error):
            self._context.fail(error if isinstance(error, Exception) else RxpipeError(str(error)))
            return
        self._failures += 1
        if self._failures == 1:
            logger.warning("{}: {}: {}; trying again", self._context.name, self._store.path, error)
        wanted = self._wanted
        wait = min(_LONGEST, 0.1 * 2 ** min(self._failures, 10))
        self._timer.disposable = self._scheduler.schedule_relative(wait, lambda *_: self._begin(wanted))
        self._busy = True
