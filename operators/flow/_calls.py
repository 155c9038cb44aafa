"""Calls that take their time, several at once: begun in order, bounded, each with its own end."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import OrderedDict, deque
from itertools import groupby
from typing import Any

from reactivex.abc import ObserverBase, SchedulerBase

from rxpipe.context import Context
from rxpipe.faults.retrying import Breaker, Retry
from rxpipe.faults.transient import asked_of, transient
from rxpipe.lease import Lease
from rxpipe.log import logger
from rxpipe.operators.flow._call import AnyFuture, Call, leases_of
from rxpipe.tasks.attempt import attempt_of


class Calls(ABC):
    """The calls of one subscription; what is called, and what becomes of it, is for the subclasses to say.

    Args:
        context: The step's context.
        scheduler: The scheduler of the subscription.
        observer: Takes what is made.
        most: How many calls run at a time, and how many more may be done, waiting for earlier ones.
        timeout: Seconds that a call may take.
        room: How many blocks may wait for calls to begin before the sources are held; as many as `most` by default.

    Attributes:
        patient: Whether a call that may succeed later is tried again unless the step's `on_error` says something else;
            it keeps its place, since who is in trouble should get no more calls than who is not.
    """

    patient = False

    def __init__(
        self,
        context: Context,
        scheduler: SchedulerBase | None,
        observer: ObserverBase[Any],
        most: int,
        timeout: float | None,
        room: int | None = None,
    ) -> None:
        self._context = context
        self._scheduler = context.scheduler(scheduler)
        self._post = context.poster(scheduler)
        self._observer = observer
        self._most = most
        self._room = room or most
        self._timeout = timeout
        self._calls: OrderedDict[Call, None] = OrderedDict()
        self._waiting: deque[Call] = deque()
        self._running: set[Call] = set()
        self._ended: deque[Call] = deque()
        self._early: list[Call] = []
        self._posted = False
        self._blocks = 0
        self._passing = 0
        self._held = False
        self._completed = False
        self._closed = False
        self._retry = context.retry() if self.patient or isinstance(context.on_error, Retry) else None
        self._breaker = Breaker(self._retry or Retry(), self._scheduler)
        self._failing: dict[Call, str] = {}
        if self._retry is not None:
            context.describe("degraded", lambda: next(iter(self._failing.values()), None))
            context.gauge("breaker", lambda: self._breaker.level)
        context.gauge("queue_depth", lambda: self._blocks)
        context.gauge("calls", lambda: len(self._running))

    @abstractmethod
    def _made_of(self, element: Any) -> list[Call]:
        """The calls for an element; none if it only keeps its place."""

    @abstractmethod
    def _begun(self, call: Call) -> AnyFuture:
        """Begin a call."""

    @abstractmethod
    def _results(self, call: Call, result: Any) -> list[Any]:
        """What a call made; raises what is wrong with it."""

    @abstractmethod
    def _elements(self, calls: list[Call]) -> list[Any]:
        """What to emit for calls of one element that ended together."""

    def _may_overtake(self, call: Call) -> bool:
        """Whether the results may be emitted before those of earlier calls."""
        return False

    def take(self, element: Any) -> None:
        """Begin the calls for an element, as soon as there is room."""
        made = self._made_of(element)
        attempt = attempt_of(leases_of(element))
        if made:
            made[-1].last = True
            self._blocks += attempt is None  # as many tasks wait as their store gives out: they hold no source
        else:
            made = [Call(element, passes=True)]
            self._passing += 1
        if attempt is None and not any(lease.holds(self._context.flow) for lease in leases_of(element)):
            hold = Lease(self._context.flow, 0)  # an element without leases must hold a checkpoint too
            for call in made:
                call.hold = hold
            del hold
        for call in made:
            call.attempt = attempt
        del attempt
        self._waiting += [call for call in made if not call.passes]
        self._calls.update(dict.fromkeys(made))
        self._go_on()

    def complete(self) -> None:
        """The source is complete: so is this when all calls are."""
        self._completed = True
        self._go_on()

    def fail(self, error: Exception) -> None:
        """The source ended in an error."""
        self.close()
        self._observer.on_error(error)

    def close(self) -> None:
        """Cancel what runs, drop what waits; a task is not done then, and goes on later."""
        self._closed = True
        for call in self._calls:
            if call.attempt is not None:
                call.attempt.give_back(0.0, "its call was cancelled")
        self._waiting.clear()
        self._breaker.close()
        self._failing.clear()
        self._calls.clear()
        running, self._running = self._running, set()
        for call in running:
            self._abandon(call)
            call.clear()
        self._blocks = self._passing = 0
        self._gate()

    def _go_on(self) -> None:
        """Begin what there is room for, emit what is to be emitted, and see whether that was all."""
        turn = self._turn()
        while self._waiting and len(self._running) < self._most and self._begun_calls < 2 * self._most:
            if not self._waiting[0].sure(self._go_on):
                break
            self._begin(self._waiting.popleft())
        self._gate()
        self._emit(turn)
        del turn
        if self._completed and not self._calls and not self._closed:
            self._observer.on_completed()

    @property
    def _begun_calls(self) -> int:
        """How many calls run, or are done and wait for those before them."""
        return len(self._calls) - len(self._waiting) - self._passing

    def _gate(self) -> None:
        """Hold the sources while as much waits as may."""
        if self._held != (self._blocks + self._passing >= self._room):
            self._held = not self._held
            if self._held:
                self._context.flow.hold()
            else:
                self._context.flow.release()

    def _begin(self, call: Call) -> None:
        self._blocks -= call.last and call.attempt is None
        if call.ours:
            self._running.add(call)
            self._start(call)
        else:
            del self._calls[call]
            call.clear()

    def _start(self, call: Call) -> None:
        self._breaker.enter(lambda: self._launch(call))

    def _launch(self, call: Call) -> None:
        call.late = None
        call.future = self._begun(call)
        if self._timeout is not None:
            call.timer = self._scheduler.schedule_relative(self._timeout, lambda *_: self._expire(call))
        call.future.add_done_callback(lambda _: self._over(call))

    def _over(self, call: Call) -> None:
        """The call has ended; maybe on another thread, maybe many at once: one turn of the dataflow takes them all."""
        if self._closed:
            return  # nobody may hold what a cancelled call has at hand
        self._ended.append(call)
        if not self._posted:
            self._posted = True
            self._post(self._collect)

    def _collect(self) -> None:
        self._posted = False
        while self._ended:
            if not self._closed and not self._ended[0].sure(self._collect):
                return
            call = self._ended.popleft()
            self._running.discard(call)
            if call.timer is not None:
                call.timer.dispose()
            if not call.done and not self._closed:
                self._finish(call)
        if not self._closed:
            self._go_on()

    def _finish(self, call: Call) -> None:
        try:
            if call.ours:
                call.made = self._results(call, call.result())
            else:  # nothing comes of a call for a task that is no more this process's
                call.ignore()
        except (Exception, asyncio.CancelledError) as error:  # whatever it raises concerns this call
            if self._retry is not None and self._tries_again(call, error, self._retry):
                return
            self._reject(call, error)
        else:
            self._breaker.succeeded()
        if self._failing.pop(call, None) is not None and not self._failing:
            logger.info("{}: no call is in trouble any more", self._context.name)
        call.done = True
        call.future = None
        if self._may_overtake(call):
            del self._calls[call]
            self._early.append(call)

    def _tries_again(self, call: Call, error: BaseException, retry: Retry) -> bool:
        """Whether a call that failed will be tried again."""
        call.tried += 1
        now = self._context.now()
        wait = retry.wait(call.tried, error, now)
        if transient(error, retry.also):
            self._breaker.failed(asked_of(error, now))
        else:
            self._breaker.succeeded()  # who refuses is there
        if wait is None:
            return False
        reason = self._reason(error)
        if not self._failing:
            logger.warning("{}: trying again: {}", self._context.name, reason)
        self._failing[call] = reason
        self._running.add(call)
        call.future = None
        call.timer = self._scheduler.schedule_relative(wait, lambda *_: self._start(call))
        error.__traceback__ = None
        return True

    def _reason(self, error: BaseException) -> str:
        """An error as people are told of it."""
        return f"{type(error).__name__}: {error}"

    def _expire(self, call: Call) -> None:
        """A call takes too long: what it is about is rejected; its place is free when it has really ended.

        Where it is to be tried again it must have ended first, lest it be under way twice.
        """
        if call.done or self._closed:
            return
        late = TimeoutError(f"must be done within {self._timeout:g} s")
        if self._retry is not None:
            call.late = late
            self._abandon(call)
            return
        call.done = True
        self._reject(call, late)
        self._abandon(call)
        if self._may_overtake(call):
            del self._calls[call]
            call.clear()
        self._go_on()

    @staticmethod
    def _abandon(call: Call) -> None:
        if call.timer is not None:
            call.timer.dispose()
        if call.future is not None:
            call.future.cancel()

    def _reject(self, call: Call, error: BaseException) -> None:
        self._context.reject(error, call.row, leases=leases_of(call.element))

    def _turn(self) -> list[Call]:
        """The calls whose turn it is to be emitted."""
        turn, self._early = self._early, []
        while self._calls and (call := next(iter(self._calls))).done:
            del self._calls[call]
            self._passing -= call.passes
            turn.append(call)
        return turn

    def _emit(self, turn: list[Call]) -> None:
        """Emit what calls made, those of one element together."""
        for _, together in groupby(turn, key=lambda call: id(call.element)):
            calls = list(together)
            elements = [calls[0].element] if calls[0].passes else self._elements(calls)
            hold = calls[0].hold
            for call in calls:
                call.clear()
            for element in elements:
                self._observer.on_next(element)
            del elements, hold
