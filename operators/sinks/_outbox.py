"""Writes in order, with patience: what cannot be written now is kept, upstream is held, and it is tried again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable, SerialDisposable

from rxpipe.context import Change, Context, Cut, Saved
from rxpipe.errors import RxpipeError, StateError
from rxpipe.faults.retrying import Breaker
from rxpipe.faults.transient import asked_of, transient
from rxpipe.lease import Lease
from rxpipe.log import logger
from rxpipe.operators.sinks._records import records_of
from rxpipe.operators.sinks._versions import Versions

_END: Any = object()
"""Stands for the completion among the elements and jobs."""


class Taking(Protocol):
    """A sink with an outbox."""

    @property
    def outbox(self) -> Outbox:
        """What it has to write."""

    def take(self, element: Any, /) -> None:
        """Write an element."""

    def close(self) -> None:
        """Give up what is open."""


def feed(
    sink: Taking, source: Observable[Any], observer: ObserverBase[Any], scheduler: SchedulerBase | None
) -> DisposableBase:
    """Have the sink take what the source emits; it is closed with the subscription, or where that fails at once."""
    try:
        upstream = source.subscribe(sink.take, observer.on_error, sink.outbox.complete, scheduler=scheduler)
    except BaseException:
        sink.close()
        raise
    return CompositeDisposable(upstream, Disposable(sink.close))


class Outbox:
    """What one sink has to write.

    While something waits the sources are held, the run is degraded, and a lease is held, so that no checkpoint counts
    what is not written. When it is tried again, and whether it is given up, the step's `on_error` says; unless it says
    anything, what may pass is tried as long as it takes, and any other error is raised.

    Args:
        context: The step's context.
        scheduler: Where the waits come from.
        observer: Takes each element once its job is done.
        write: Does a job; may raise, and is then called with the same job again.
        changes: What there is to save of the sink, see `Context.state`; the sink makes its data durable there.
        fatal: Errors of `write` that are raised whatever `on_error` says, beside those that rxpipe raises on purpose.
        done: Called when all is written, before anybody is told: where no state is kept, whoever waits for the
            completion may open the same file at once.
    """

    def __init__(
        self,
        context: Context,
        scheduler: SchedulerBase | None,
        observer: ObserverBase[Any],
        write: Callable[[Any], None],
        changes: Callable[[], Iterable[Change]] = tuple,
        fatal: tuple[type[Exception], ...] = (),
        done: Callable[[], None] | None = None,
    ) -> None:
        self._context = context
        self._scheduler = context.scheduler(scheduler)
        self._observer = observer
        self._write = write
        self._fatal: tuple[type[Exception], ...] = (RxpipeError, *fatal)
        self._retry = context.retry()
        self._breaker = Breaker(self._retry, self._scheduler)
        self._waiting: deque[tuple[Any, Any]] = deque()
        self._changes = changes
        self._done = done
        self._persistent = False
        self._versions = Versions()
        self._persistent = False
        self._last: list[Change] | None = None
        self._reason: str | None = None
        self._last_error = ""
        self._lease: Lease | None = None
        self._tried = 0
        self._timer = SerialDisposable()
        self._closed = False
        context.describe("degraded", lambda: self._reason)
        context.gauge("queue_depth", lambda: sum(job is not _END for _, job in self._waiting))
        context.gauge("breaker", lambda: self._breaker.level)

    def state(self, holds: str) -> Saved:
        """Take part in checkpoints; what was saved. `holds` says what that is, see `Context.state`."""
        saved = self._context.state("sink", self.changes, holds)
        self._persistent = saved.persistent
        self._versions.restore(saved)
        return saved

    def behind(self, what: object, holds: str) -> None:
        """Tell that the sink appends to what no state knows of, since that may be what a lost state knew of."""
        if self._persistent and holds:
            logger.warning(
                "{}: {} holds {} that the state does not know of: it appends to them. If earlier runs wrote them and "
                "their state is gone, all is written again: stop, and move them away",
                self._context.name,
                what,
                holds,
            )

    def news(self, element: Any) -> bool:
        """Whether an element that comes to a sink which appends is to be written, see `Versions.news`."""
        return self._versions.news(element)

    def put(self, element: Any, job: Any) -> None:
        """Do a job, then emit its element; now, if nothing waits and it can be done."""
        if not self._waiting and self._breaker.state != "closed":
            self._hold(self._last_error)
            self._waiting.append((element, job))
            self._breaker.enter(self._again)
        elif self._waiting or not self._attempt(element, job):
            self._waiting.append((element, job))
        else:
            self._emit(element)

    def complete(self) -> None:
        """The source is complete: pass that on when everything is written."""
        self.put(_END, _END)

    def changes(self) -> Iterable[Change] | Cut:
        """What there is to save.

        The last checkpoint comes when the sink is closed: what that will ask for is noted when the source is complete.

        Raises:
            StateError: Something waits to be written.
        """
        if self._last is not None:
            return self._last
        if self._waiting:
            msg = f"{self._context.name}: {len(self._waiting)} elements must be written first; {self._reason}"
            raise StateError(msg)
        return self._all_changes()

    def _all_changes(self) -> Iterable[Change] | Cut:
        """What the sink has to save, with the versions of the tables that it wrote."""
        made, versions = self._changes(), list(self._versions.changes())
        if isinstance(made, Cut):
            made.told += versions
            return made
        return [*made, *versions]

    def _now(self) -> list[Change]:
        """What there is to save, with the data made durable here and now."""
        made = self._all_changes()
        rows = [*made]
        if isinstance(made, Cut):
            try:
                made.sync()
            except BaseException:
                made.failed()
                raise
            made.saved()
        return rows

    def close(self) -> None:
        """Stop trying, and let the sources go."""
        self._closed = True
        self._timer.dispose()
        self._breaker.close()
        self._waiting.clear()
        self._free()

    def _attempt(self, element: Any, job: Any) -> bool:
        """Whether a job is done, or given up."""
        try:
            if job is not _END:
                self._write(job)
            else:
                self._last = self._now()
        except self._fatal:
            raise
        except Exception as error:
            self._tried += 1
            wait = self._retry.wait(self._tried, error, self._context.now())
            if wait is not None:
                self._postpone(error, wait)
                return False
            if job is _END or not self._context.gives_up:
                raise
            self._tried = 0
            self._give_up(element, error)
            if transient(error, self._retry.also):  # what was given up tells of the sink all the same
                self._last_error = f"{type(error).__name__}: {error}"
                self._breaker.failed(asked_of(error, self._context.now()))
                return True
        self._tried = 0
        self._breaker.succeeded()
        return True

    def _give_up(self, element: Any, error: Exception) -> None:
        leases = getattr(element, "leases", ())
        for row in records_of(element)[1]:
            self._context.reject(error, row, leases=leases)

    def _postpone(self, error: Exception, wait: float) -> None:
        self._hold(f"{type(error).__name__}: {error}")
        self._breaker.failed(asked_of(error, self._context.now()))
        self._timer.disposable = self._scheduler.schedule_relative(wait, lambda *_: self._breaker.enter(self._again))

    def _hold(self, reason: str) -> None:
        """Hold the sources and checkpoints for a reason."""
        if self._lease is None:
            logger.warning("{}: cannot write, trying again: {}", self._context.name, reason)
            self._context.flow.hold()
            self._lease = Lease(self._context.flow, 0)
        self._reason = reason

    def _again(self) -> None:
        while self._waiting and not self._closed:
            if self._breaker.state == "open":
                self._breaker.enter(self._again)
                return
            if not self._attempt(*self._waiting[0]):
                return
            self._emit(self._waiting.popleft()[0])
        if not self._closed:
            logger.info("{}: writing again", self._context.name)
        self._free()

    def _emit(self, element: Any) -> None:
        if element is _END:
            if self._done is not None and not self._persistent:
                self._done()
            self._observer.on_completed()
        else:
            self._observer.on_next(element)

    def _free(self) -> None:
        if self._lease is not None:
            self._reason = None
            self._lease = None
            self._context.flow.release()
