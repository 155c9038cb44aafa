"""Records let through as fast as a service allows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable, SerialDisposable

from rxpipe.context import Context, current
from rxpipe.elements import Batch, Row
from rxpipe.errors import ParameterError, ParameterProblem, RxpipeError
from rxpipe.expressions import parse
from rxpipe.expressions.known import KnownFields
from rxpipe.faults.transient import asked_of, transient
from rxpipe.fusion.rows import compile_values
from rxpipe.log import logger
from rxpipe.operator import fields_of, operator
from rxpipe.operators.tasks._slot import Slot
from rxpipe.parameters.types import Expr, Ge
from rxpipe.parameters.units import Allowance, per
from rxpipe.providers.provider import Remaining
from rxpipe.scheduling.stall import Stall
from rxpipe.tasks.adaptive import Adaptive
from rxpipe.tasks.allowed import Limited, limits_of, shared
from rxpipe.tasks.attempt import Attempt, attempt_of
from rxpipe.tasks.kinds import kind_of
from rxpipe.tasks.ledger import DAY, Granted, Ledger
from rxpipe.tasks.pressure import Pressure
from rxpipe.tasks.reading import Worked

_LOOK = 1.0
"""Seconds until a ledger that cannot be written is asked again."""

_LEAST_WAIT = 0.001


@operator
def limit(
    source: Observable[Batch],
    concurrency: Annotated[int, Ge(1)] | Literal["auto"] | None = None,
    rate: Allowance | list[Allowance] = [],
    tokens: Allowance | list[Allowance] = [],
    weight: Expr | None = None,
    quota: Allowance | None = None,
    zone: str = "UTC",
    name: str | None = None,
) -> Observable[Batch]:
    """Let records through, each in a batch of its own, as fast as the service behind allows; what must wait waits.

    A record that was let through is under way until nobody holds anything of it any more: only then its slot is free,
    whatever became of it. So `concurrency` bounds the calls of all steps behind together. `auto` finds by itself how
    many calls the service does without making them wait: more while latencies stay as they are, fewer where calls wait,
    where at least two in a window and a tenth of all fail of overload, or this machine has nothing to spare; the
    detail `limit` of the step's status says what was decided last, and why.

    At most so many requests as `rate` says are let through in any such period, and of `tokens` so many, of which a
    record has `weight`; several rates hold at once. `quota` is what there is for a day, which begins at midnight in
    `zone`. Each is charged durably before the record is let through, in a file beside the run's state, so that neither
    a restart nor a kill lets too many through; with `name` in a file of that name that all graphs of the user share.
    With `concurrency` alone nothing is charged.
    Where a call fails and the service asks to wait (`Retry-After`, a quota that is used up), nothing is let through
    until then; what it says is left is believed, too.

    Where all slots are taken and none was freed for a second, all steps emit what they hold, as before a checkpoint:
    one behind, such as `buffer`, may wait for more, which waits here.

    Records keep their order, and their leases: what waits here holds the sources once there is too much of it. Put it
    behind `tasks` for work that takes long, which holds no checkpoint then. Completion waits for all records; errors
    and all other elements pass at once.

        source                -a-b-|
        limit(concurrency=4)  -a-b-|

    Args:
        concurrency: How many records are under way at a time; `auto` finds out.
        rate: How many in a period, as `60/min`, or several of these.
        tokens: How many tokens in a period, as `90000/min`, or several of these.
        weight: How many tokens a record has, as far as known before.
        quota: How many on a day, as `1000/day`.
        zone: Where the day begins, an IANA name: `America/Los_Angeles`.
        name: What is limited, where several graphs use one service.

    Example:
        >>> rx.of(Batch([{"n": 1}, {"n": 2}])).pipe(limit(concurrency=4)).run()
        Batch([{'n': 2}])

    Raises:
        StateError: The file of the charges cannot be used.
    """
    limits = limits_of(rate, tokens)
    daily = None if quota is None else per(quota)
    if daily is not None and daily[1] != DAY:
        problem = ParameterProblem(("quota",), f"must be a number per day, as 1000/day; got {quota!r}")
        raise ParameterError("limit", [problem])

    def subscribe(observer: ObserverBase[Batch], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        spool = context.spool()
        path = shared(name) if name else spool / "ledger.sqlite" if spool else None
        charged, most = name or context.name, None if daily is None else daily[0]
        ledger = Ledger(path, charged, limits, most, zone, shared=name is not None)
        kept = ledger if path is None else None
        context.board[context.name] = Limited(context.stream, charged, name is not None, limits, most, zone, path, kept)
        limiter = _Limiter(observer, context, context.scheduler(scheduler), ledger, path, concurrency, weight)
        upstream = source.subscribe(limiter.on_next, observer.on_error, limiter.complete, scheduler=scheduler)
        return CompositeDisposable(upstream, context.on_drain(limiter.go_on), Disposable(limiter.close))

    return Observable(subscribe)


@fields_of(limit)
def _fields(known: KnownFields, /, weight: str | None, **_: object) -> KnownFields:
    known.check(weight, "weight")
    return known


class _Waiting(NamedTuple):
    row: Row
    batch: Batch
    tokens: float
    attempt: Attempt | None


class _Limiter:
    """One subscription."""

    def __init__(
        self,
        observer: ObserverBase[Batch],
        context: Context,
        scheduler: SchedulerBase,
        ledger: Ledger,
        path: Path | None,
        concurrency: int | Literal["auto"] | None,
        weight: str | None,
    ) -> None:
        self._observer = observer
        self._context = context
        self._scheduler = scheduler
        self._ledger = ledger
        self._path = path
        self._adaptive = Adaptive() if concurrency == "auto" else None
        self._most = None if concurrency in {None, "auto"} else int(concurrency or 0)
        self._values = None if weight is None else compile_values([parse(weight)])
        self._pressure = Pressure()
        self._post = context.poster(scheduler)
        self._timer = SerialDisposable()
        self._stall = Stall(context, scheduler, self._held_up)
        self._queue: deque[_Waiting] = deque()
        self._ended: deque[tuple[float, BaseException | None, bool]] = deque()
        self._closings: deque[tuple[float, str]] = deque()
        self._running = 0
        self._why = ""
        self._posted = self._busy = self._asking = self._failing = self._completed = self._closed = False
        context.gauge("queue_depth", lambda: len(self._queue))
        context.gauge("running", lambda: self._running)
        context.gauge("concurrency", lambda: self._room() + self._running)
        context.describe("limit", self._told)

    def on_next(self, element: Any) -> None:
        """Take a batch's records; what is none, or is taken back, passes."""
        if not isinstance(element, Batch):
            self._observer.on_next(element)
            return
        if element.retracted:
            self._observer.on_next(element.replace([], element.retracted))
        rows, weights = self._weighed(element)
        attempt = attempt_of(element.leases)
        self._queue += [_Waiting(row, element, weight, attempt) for row, weight in zip(rows, weights, strict=True)]
        del attempt
        self.go_on()

    def complete(self) -> None:
        """The source is complete: so is this when all are let through."""
        self._completed = True
        self.go_on()

    def close(self) -> None:
        """Let nothing through any more."""
        self._closed = True
        self._queue.clear()
        self._timer.dispose()
        self._stall.dispose()
        if not self._asking:
            self._ledger.close()

    def _weighed(self, batch: Batch) -> tuple[list[Row], list[float]]:
        if self._values is None:
            return batch.rows, [0.0] * len(batch.rows)

        def reject(row: Row, error: Exception) -> None:
            self._context.reject(error, row, leases=batch.leases)

        rows, values = self._values(batch.rows, reject)
        good = [isinstance(value, int | float) and value >= 0 for value in values]
        for row, value, fine in zip(rows, values, good, strict=True):
            if not fine:
                self._context.reject(f"weight: must be a number of tokens; got {value!r}", row, leases=batch.leases)
        kept = [(row, float(value)) for row, value, fine in zip(rows, values, good, strict=True) if fine]
        return [row for row, _ in kept], [value for _, value in kept]

    def _room(self) -> int:
        """How many more may be under way."""
        most = self._most if self._adaptive is None else self._adaptive.limit
        return len(self._queue) if most is None else max(0, most - self._running)

    def _told(self) -> dict[str, Any]:
        decided = {} if self._adaptive is None else {"decided": self._adaptive.last.why}
        return {"concurrency": self._room() + self._running, "running": self._running, "waits_for": self._why} | decided

    def _free(self, began: float, cause: BaseException | None, refused: bool) -> None:
        """A slot is free; called on any thread, at any moment, so that it is only noted for later."""
        self._ended.append((began, cause, refused))
        if not self._posted and not self._closed:
            self._posted = True
            self._post(self._freed)

    def _held_up(self) -> bool:
        """Whether what waits here waits for a slot alone."""
        return bool(self._queue) and not self._room()

    def _freed(self) -> None:
        self._posted = False
        self._stall.moved()
        now = self._context.now()
        while self._ended:
            began, cause, refused = self._ended.popleft()
            kind = kind_of(cause) if refused else None
            if self._adaptive is not None:
                overload = kind in {"rate limit", "quota", "server", "timeout"}
                pressure = self._pressure.high()
                self._adaptive.ended(now, now - began, self._running, overload=overload, pressure=pressure)
            self._running -= 1
            asked = 0.0 if cause is None or kind not in {"rate limit", "quota"} else asked_of(cause, now)
            until = max(now + asked, getattr(cause, "until", None) or 0.0)
            if until > now:
                self._closings.append((until, f"the service asked to wait: {cause}"))
        self.go_on()

    def _heard(self, remaining: Remaining) -> None:
        """The service says what is left; nothing is let through where that is nothing, until it is reset."""
        if remaining.reset is not None and 0 in (remaining.requests, remaining.tokens):
            self._closings.append((remaining.reset, "the service says that nothing is left"))

    def _give_back(self) -> None:
        """Give back the tasks that wait, where none is to be begun: the run drains, or they are paused, say."""
        told = [told.order for told in self._context.board.values() if _orders(told, self._context.stream)]
        why = next(iter(told), "the run drains" if self._context.draining else None)
        if why is None:
            return
        waiting, self._queue = self._queue, deque()
        for one in waiting:
            if one.attempt is None:
                self._queue.append(one)
            else:
                one.attempt.give_back(self._context.now(), why)

    def _sure(self, then: Callable[[], None]) -> bool:
        """Whether the first task that waits is known to be this process's; if not, `then` is called when it is."""
        attempt = self._queue[0].attempt if self._queue else None
        return attempt is None or attempt.sure(then)

    def go_on(self) -> None:
        """Let through what may be."""
        if self._busy or self._closed or not self._sure(self.go_on):
            return
        self._give_back()
        while self._queue and not _ours(self._queue[0]):
            self._queue.popleft()
        if not self._queue:
            if self._completed:
                self._completed = False
                self._observer.on_completed()
            return
        count = min(self._room(), len(self._queue))
        if count:
            self._busy = self._asking = True
            weights = [waiting.tokens for waiting, _ in zip(self._queue, range(count), strict=False)]
            closings = [self._closings.popleft() for _ in range(len(self._closings))]
            self._ask(lambda: self._take(weights, closings), written=self._ledger.counts or bool(closings))
        else:
            self._stall.look()

    def _ask(self, call: Callable[[], Granted], *, written: bool) -> None:
        """Ask the ledger: in a thread where that is written to a file."""
        if self._path is None or not written:
            made: Future[Granted] = Future()
            made.set_result(call())
            self._granted(made)
        else:
            self._context.executor().submit(call).add_done_callback(
                lambda future: self._post(lambda: self._granted(future))
            )

    def _take(self, weights: list[float], closings: list[tuple[float, str]]) -> Granted:
        for until, why in closings:
            self._ledger.close_until(until, why)
        return self._ledger.take(self._context.now(), weights)

    def _granted(self, future: Future[Granted]) -> None:
        if self._closed:
            self._ledger.close()
            return
        self._asking = False
        if not self._sure(lambda: self._granted(future)):
            return
        self._busy = False
        error = future.exception()
        if error is not None:
            self._unwritten(error)
            return
        self._failing = False
        granted = future.result()
        self._why = granted.why
        now = self._context.now()
        for _ in range(granted.number):
            waiting = self._queue.popleft()
            if not _ours(waiting):
                continue
            self._running += 1
            slot = Slot(now, self._free, self._heard)
            batch = Batch([waiting.row], leases=(*waiting.batch.leases, slot))
            del slot, waiting
            self._observer.on_next(batch)
            del batch
        self._give_back()
        if self._queue and (granted.wait > 0 or not granted.number):
            self._later(granted.wait)
        else:
            self.go_on()

    def _unwritten(self, error: BaseException) -> None:
        if not isinstance(error, Exception) or not transient(error):
            self._context.fail(error if isinstance(error, Exception) else RxpipeError(str(error)))
            return
        if not self._failing:
            self._failing = True
            logger.warning("{}: {}: {}; trying again", self._context.name, self._path, error)
        self._later(_LOOK)

    def _later(self, seconds: float) -> None:
        wait = max(_LEAST_WAIT, seconds)
        self._timer.disposable = self._scheduler.schedule_relative(wait, lambda *_: self.go_on())


def _orders(told: object, stream: str) -> bool:
    """Whether what is on the run's board says that no task of a stream is to be begun."""
    return isinstance(told, Worked) and told.order is not None and told.stream == stream


def _ours(waiting: _Waiting) -> bool:
    """Whether a record is to go on: not that of a task which was cancelled, or taken over by another process."""
    return waiting.attempt is None or waiting.attempt.ours
