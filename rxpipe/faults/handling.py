"""What a step does with what it cannot handle: `on_error`, in a graph file and in Python."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args

from msgspec.structs import replace
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable, SerialDisposable

from rxpipe.context import Context, current, entered
from rxpipe.elements import Batch
from rxpipe.errors import ParameterError, ParameterProblem, RxpipeError, described, did_you_mean, nearest
from rxpipe.faults.retrying import GivenUp, OnError, Retry
from rxpipe.language.configstep import ON_ERROR
from rxpipe.lease import Lease
from rxpipe.log import logger
from rxpipe.operator import Operator, Source, Step
from rxpipe.outputs import outside
from rxpipe.parameters.calls import Function, function_named
from rxpipe.parameters.types import Ge, Gt
from rxpipe.parameters.units import Duration, seconds

A = TypeVar("A")
B = TypeVar("B")

KEY = ON_ERROR

ACTIONS: tuple[GivenUp, ...] = get_args(GivenUp)
RETRY = "retry"


def retry(
    attempts: Annotated[int, Ge(1)] | None = None,
    first: Annotated[Duration, Gt(0)] = "100ms",
    longest: Annotated[Duration, Gt(0)] = "30s",
    failures: Annotated[int, Ge(1)] = 10,
    rest: Annotated[Duration, Gt(0)] = "30s",
    also: list[Function[Callable[..., Any]]] = [],  # never changed; shown as the default
    then: Literal["dead_letter", "skip", "stop"] = "dead_letter",
) -> dict[str, Any]:
    """Try again what may pass, after waits that are random, up to a limit that doubles each time (full jitter).

    What a server asks for by `Retry-After` comes on top of a wait. Meanwhile the sources are held and the run is
    degraded.

    Args:
        attempts: How often something is tried in all; as often as it takes by default.
        first: How long the first wait is at most.
        longest: How long a wait is at most.
        failures: After how many failures in a row the breaker of a sink opens: nothing is tried for a time, then once.
        rest: How long the breaker stays open.
        also: Classes of errors that may pass too, as `module:Class`.
        then: What becomes of what is given up, or has failed for a reason that does not pass.

    Example:
        >>> retry(attempts=5, first="1s")
        {'retry': {'attempts': 5, 'first': '1s'}}

    Raises:
        ParameterError: With all that is wrong with the parameters.
    """
    given: dict[str, Any] = {
        "attempts": attempts, "first": first, "longest": longest, "failures": failures, "rest": rest,
        "also": also, "then": then,
    }  # fmt: skip
    parameters = SPEC.signature.parameters
    made = {RETRY: {name: value for name, value in given.items() if value != parameters[name].default}}
    read(made)
    return made


SPEC = Operator(retry)
"""The parameters of a retry: checked, and described, as those of an operator are."""


def read(raw: object) -> OnError:
    """What `on_error` says, checked.

    Args:
        raw: As written: `skip`, `dead_letter`, `stop`, `retry`, or `{retry: {…}}`.

    Raises:
        ParameterError: With all problems.
    """
    if isinstance(raw, str) and raw in ACTIONS:
        return raw
    if raw == RETRY:
        raw = {RETRY: {}}
    if not isinstance(raw, Mapping) or [*raw] != [RETRY] or not isinstance(raw[RETRY], Mapping | None):
        told = raw if isinstance(raw, str) else next(iter(raw), None) if isinstance(raw, Mapping) else None
        guess = did_you_mean(nearest(str(told), (*ACTIONS, RETRY))) if told not in {None, RETRY} else ""
        message = f"must be {', '.join(ACTIONS)}, {RETRY} or {{{RETRY}: {{…}}}}; got {described(raw)}{guess}"
        raise ParameterError(KEY, [ParameterProblem((), message)])
    try:
        found = SPEC.with_defaults(SPEC.validate(raw[RETRY] or {}))
    except ParameterError as error:
        inner = [replace(problem, path=(RETRY, *problem.path)) for problem in error.problems]
        raise ParameterError(KEY, inner) from None
    times = {name: seconds(found[name]) for name in ("first", "longest", "rest")}
    kinds = tuple(_exception(index, named) for index, named in enumerate(found["also"]))
    return Retry(found["attempts"], failures=found["failures"], also=kinds, then=found["then"], **times)


def _exception(index: int, named: Any) -> type[BaseException]:
    kind: Any = function_named(named)
    if isinstance(kind, type) and issubclass(kind, BaseException):
        return kind
    message = f"must be a class of exceptions; got {kind!r:.80}"
    raise ParameterError(KEY, [ParameterProblem((RETRY, "also", index), message)])


class Handled(Step):
    """A step with something to do about its errors."""

    def __init__(self, step: Step, raw: Any) -> None:
        super().__init__(step.operator, step.raw)
        self.on_error = raw
        self._policy: OnError = read(raw)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Handled) and super().__eq__(other) and self.on_error == other.on_error

    def __hash__(self) -> int:
        return super().__hash__()

    def __call__(self, source: Observable[Any]) -> Observable[Any]:
        """Apply the operator, outside a graph."""

        def subscribe(observer: ObserverBase[Any], scheduler: SchedulerBase | None = None) -> DisposableBase:
            outer = current()
            context = copy.copy(outer)
            with entered(context):
                before = handling(outside(source, outer), context, self._policy)
                return Step.__call__(self, before).subscribe(observer, scheduler=scheduler)

        return Observable(subscribe)


def on_error(
    step: Callable[[Observable[A]], Observable[B]], do: str | Mapping[str, Any]
) -> Callable[[Observable[A]], Observable[B]]:
    """The same step, which does something else with what it cannot handle: records, lines, elements of a sink.

    `dead_letter`, which is what all steps do unless told, sends it to `errors`; `skip` only counts it; `stop` ends the
    run, with the step's name; `retry` tries again what may pass, as `rxpipe.faults.transient` decides, after waits that
    grow. A record that is tried again comes behind those that came with it; map_async, to_http and all sinks
    that write keep the order. In a graph file `on_error` is a key beside the operator.

    Args:
        step: An operator with its parameters.
        do: `skip`, `dead_letter`, `stop`, `retry`, or what `rxpipe.retry` gives.

    Example:
        >>> from rxpipe import operators as ops
        >>> rx.of(Batch([{"n": 0}, {"n": 2}])).pipe(on_error(ops.where("1 / n > 0"), "skip")).run()
        Batch([{'n': 2}])

    Raises:
        RxpipeError: It is no operator with its parameters, or `do` says nothing.
    """
    if isinstance(step, Source) or not isinstance(step, Step):
        msg = f"on_error: the step must be an operator with its parameters, and no source; got {step!r}"
        raise RxpipeError(msg)
    return Handled(step, do if isinstance(do, str) else dict(do))


def handling(source: Observable[Any], context: Context, do: OnError | None) -> Observable[Any]:
    """What a step reads, once its context knows what to do with errors."""
    context.on_error = do
    return Again(source, context, do) if isinstance(do, Retry) else source


class Again(Observable[Any]):
    """In front of a step: gives it once more what it could not handle for a reason that may pass.

    The sources are held while something waits, and what waits keeps its leases: so there is never more of it than was
    under way, and no checkpoint counts it.

    Args:
        source: What the step reads.
        context: The step; it hands over here what it rejects, unless it tries again itself.
        retry: What is tried again, and when.
    """

    def __init__(self, source: Observable[Any], context: Context, retry: Retry) -> None:
        super().__init__()
        self._source = source
        self._context = context
        self._retry = retry

    def _subscribe_core(self, observer: ObserverBase[Any], scheduler: SchedulerBase | None = None) -> DisposableBase:
        again = _Waiting(self._context, self._retry, observer, self._context.scheduler(scheduler))
        self._context.again = again.takes
        upstream = self._source.subscribe(again.feed, observer.on_error, again.complete, scheduler=scheduler)
        return CompositeDisposable(upstream, Disposable(again.close))


class _Waiting:
    """What one subscription has yet to try again, in the order in which it failed."""

    def __init__(self, context: Context, retry: Retry, observer: ObserverBase[Any], scheduler: SchedulerBase) -> None:
        self._context = context
        self._retry = retry
        self._observer = observer
        self._scheduler = scheduler
        self._waiting: deque[tuple[Any, int]] = deque()
        self._element: Any = None
        self._tried = 0
        self._reason: str | None = None
        self._timer = SerialDisposable()
        self._lease: Lease | None = None
        self._completed = self._closed = False

    def feed(self, element: Any, tried: int = 0) -> None:
        """Give an element to the step."""
        before = self._element, self._tried
        self._element, self._tried = element, tried
        try:
            self._observer.on_next(element)
        finally:
            self._element, self._tried = before

    def takes(self, error: BaseException, record: Any) -> bool:
        """Whether what the step rejects will be tried again: it is of the element that was given last."""
        element, tried = self._element, self._tried + 1
        wait = None if element is None else self._retry.wait(tried, error, self._context.now())
        if wait is None:
            return False
        if isinstance(element, Batch) and record is not element:
            element = element.replace([record])
        self._waiting.append((element, tried))
        if self._lease is None:
            self._lease = Lease(self._context.flow, 0)
            self._context.flow.hold()
            self._context.describe("degraded", lambda: self._reason)
        if self._reason is None:
            logger.warning("{}: trying again: {}: {}", self._context.name, type(error).__name__, error)
        self._reason = f"{type(error).__name__}: {error}"
        if len(self._waiting) == 1:
            self._timer.disposable = self._scheduler.schedule_relative(wait, lambda *_: self._next())
        return True

    def _next(self) -> None:
        """Try all that waits; what fails again waits for the next time."""
        waiting, self._waiting = self._waiting, deque()
        while waiting and not self._closed:
            self.feed(*waiting.popleft())
        if not self._waiting:
            self._free()
            if self._completed and not self._closed:
                self._observer.on_completed()

    def complete(self) -> None:
        """The source is complete: so is this when nothing waits."""
        self._completed = True
        if not self._waiting:
            self._observer.on_completed()

    def close(self) -> None:
        """Try nothing any more."""
        self._closed = True
        self._timer.dispose()
        self._waiting.clear()
        self._free()

    def _free(self) -> None:
        if self._lease is not None:
            self._lease = self._reason = None
            self._context.flow.release()
