"""A call for each record, on the run's loop: what `chat`, `http` and `shell` have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable

from rxpipe.context import Context, current, void
from rxpipe.elements import Batch, as_dict
from rxpipe.lease import Lease
from rxpipe.operators.flow._call import AnyFuture, Call, leases_of, running_loop
from rxpipe.operators.flow._calls import Calls
from rxpipe.operators.tasks._slot import Slot
from rxpipe.providers.provider import CallError, Remaining
from rxpipe.tasks.attempt import attempt_of


class Ticket:
    """What a call tells of itself to the task that its record is; of a record that is none, nobody is told.

    Args:
        step: What the step is known by, under which its answers are remembered.
        leases: Those of the record.
        tell: Takes the parts of its answer.
    """

    def __init__(self, step: str, leases: tuple[Lease, ...], tell: Callable[[str], None]) -> None:
        self.tell = tell
        self._step = step
        self._leases = leases
        self._attempt = attempt_of(leases)

    def begin(self, estimate: float | None = None) -> bool:
        """A call is about to be made that may cost so much, None if nobody knows; returns whether it may be made.

        Where it may not, the task goes on in a later run, and this attempt does not count.
        """
        if self._attempt is None:
            return True
        if not self._attempt.reserve(estimate):
            return False
        self._attempt.begin()
        return True

    def charge(self, cost: float) -> None:
        """Something was paid for."""
        if self._attempt is not None:
            self._attempt.charge(cost)

    def recall(self, request: object, number: int = 0) -> Any | None:
        """What was answered before to the same request of this step; `number` tells its requests apart."""
        return None if self._attempt is None else self._attempt.recall(self._key(number), request)

    def remember(self, request: object, answer: object, number: int = 0) -> None:
        """Keep an answer that was paid for; None forgets it."""
        if self._attempt is not None:
            self._attempt.remember(self._key(number), request, answer)

    def _key(self, number: int) -> str:
        return f"{self._step} #{number + 1}" if number else self._step

    def hears(self, remaining: Remaining | None) -> None:
        """Pass on what a service says is left to the limits before."""
        for lease in self._leases:
            if remaining is not None and isinstance(lease, Slot):
                lease.hears(remaining)

    def close(self) -> None:
        """The call is over: let go of the leases, whoever keeps the ticket, as the frames of an error do."""
        self._leases, self._attempt = (), None


class Work(Protocol):
    """What an operator does with a record; made for a subscription, or for a call where it runs in a thread."""

    async def do(self, record: dict[str, Any], ticket: Ticket) -> dict[str, Any] | None:
        """The fields to add to a record; None to drop it, since its task was given back."""
        ...

    async def close(self) -> None:
        """Close what is open."""
        ...


class Asking(Calls):
    """The calls of one subscription; results come as they are ready.

    Args:
        make: Makes what they do.
        context: The step's context.
        scheduler: The scheduler of the subscription.
        observer: Takes the records with what was added.
        concurrency: How many run at a time.
        timeout: Seconds that one may take.
        parts: The output for the parts of answers, if they are told.
    """

    def __init__(
        self,
        make: Callable[[Context], Work],
        context: Context,
        scheduler: SchedulerBase | None,
        observer: ObserverBase[Batch],
        concurrency: int,
        timeout: float | None,
        parts: str | None,
    ) -> None:
        super().__init__(context, scheduler, observer, concurrency, timeout)
        self._make = make
        self._emit_part = void if parts is None else context.emitter(parts)
        self._loop = running_loop()
        self._work = None if self._loop is None else make(context)
        self._closing: asyncio.Task[None] | None = None

    def take(self, element: Any) -> None:
        """Begin the calls for an element, as soon as there is room."""
        if isinstance(element, Batch) and element.retracted:
            for row in element.retracted:
                reason = "a record cannot be taken back: what was asked of it is done"
                self._context.reject(reason, row, leases=element.leases)
            element = element.replace(element.rows)
        super().take(element)

    def _made_of(self, element: Any) -> list[Call]:
        return [Call(element, row) for row in element.rows] if isinstance(element, Batch) else []

    def _begun(self, call: Call) -> AnyFuture:
        record = as_dict(call.row)
        ticket = Ticket(self._context.role, leases_of(call.element), lambda text: self._tell_part(record, text))
        if self._loop is not None and self._work is not None:
            return self._loop.create_task(_done(self._work, record, ticket))
        return self._context.executor().submit(asyncio.run, self._alone(record, ticket))

    def _tell_part(self, record: dict[str, Any], text: str) -> None:
        """A part of an answer is there, on whatever thread."""
        self._post(lambda: None if self._closed else self._emit_part(Batch([{**record, "part": text}])))

    async def _alone(self, record: dict[str, Any], ticket: Ticket) -> dict[str, Any] | None:
        """A call on a loop of its own, where the dataflow has none."""
        work = self._make(self._context)
        try:
            async with asyncio.timeout(self._timeout):
                return await _done(work, record, ticket)
        finally:
            await work.close()

    def _results(self, call: Call, result: dict[str, Any] | None) -> list[Any]:
        return [] if result is None else [as_dict(call.row) | result]

    def _may_overtake(self, call: Call) -> bool:
        return True

    def _elements(self, calls: list[Call]) -> list[Any]:
        rows = [row for call in calls for row in call.made]
        return [calls[0].element.replace(rows)] if rows else []

    def close(self) -> None:
        """Cancel what is under way, and close what is open."""
        super().close()
        work, self._work = self._work, None
        if work is not None and self._loop is not None and not self._loop.is_closed():
            self._closing = self._loop.create_task(work.close())


async def _done(work: Work, record: dict[str, Any], ticket: Ticket) -> dict[str, Any] | None:
    try:
        return await work.do(record, ticket)
    except CallError as error:
        ticket.hears(error.remaining)
        raise
    finally:
        ticket.close()


def asking(
    source: Observable[Batch],
    make: Callable[[Context], Work],
    concurrency: int,
    timeout: float | None,
    parts: str | None = None,
) -> Observable[Batch]:
    """Add to each record what a call makes of it; see `Asking`."""

    def subscribe(observer: ObserverBase[Batch], scheduler: SchedulerBase | None = None) -> DisposableBase:
        calls = Asking(make, current(), scheduler, observer, concurrency, timeout, parts)
        try:
            upstream = source.subscribe(calls.take, calls.fail, calls.complete, scheduler=scheduler)
        except BaseException:
            calls.close()
            raise
        return CompositeDisposable(upstream, Disposable(calls.close))

    return Observable(subscribe)
