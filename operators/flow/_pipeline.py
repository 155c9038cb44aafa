"""Record-wise steps applied to one element at a time, in a world without a run: what a worker does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any, NoReturn

from reactivex import Observable
from reactivex.abc import SchedulerBase
from reactivex.disposable import Disposable
from reactivex.subject import Subject

from rxpipe.context import Change, Context, NoState, StateKind, entered
from rxpipe.elements import ErrorRecord
from rxpipe.errors import RxpipeError
from rxpipe.fusion.lift import Lifted
from rxpipe.lease import Lease
from rxpipe.operator import Step
from rxpipe.runtime.meter import blame

Applied = Callable[[Observable[Any]], Observable[Any]]


class WorkerContext(Context):
    """The context of one step in a worker; what needs a run is refused.

    Args:
        name: The step's name in error records.
        folder: The graph's folder.
        errors: Takes the error records.
        divided: Whether the step is a part of an operator, whose state is kept where the parts are put together.
    """

    def __init__(self, name: str, folder: Path, errors: list[ErrorRecord], *, divided: bool = False) -> None:
        super().__init__()
        self.name = name
        self.folder = folder
        self._errors = errors
        self._divided = divided
        self.flushes: list[Callable[[], None]] = []

    def emit_error(self, error: ErrorRecord, leases: tuple[Lease, ...] = ()) -> None:
        """Keep the record, for the run."""
        self._errors.append(error)

    def state(self, kind: StateKind, changes: Callable[[], Iterable[Change]], description: str = "") -> NoState:
        """Only of a divided operator."""
        return NoState() if self._divided else self._refuse("keeps state")

    def scheduler(self, given: SchedulerBase | None) -> SchedulerBase:
        """Refused."""
        self._refuse("needs a clock")

    def poster(self, scheduler: SchedulerBase | None) -> Callable[[Callable[[], None]], None]:
        """Refused."""
        self._refuse("uses threads")

    def executor(self) -> Executor:
        """Refused."""
        self._refuse("uses threads")

    def on_flush(self, flush: Callable[[], None]) -> None:
        """Only of a divided operator: behind each element."""
        if not self._divided:
            self._refuse("holds records back")
        self.flushes.append(flush)

    def on_drain(self, stop: Callable[[], None]) -> Disposable:
        """Refused."""
        self._refuse("is a source")

    def _refuse(self, why: str) -> NoReturn:
        msg = f"{self.name}: a step in workers must make of each record what it makes of it alone; this one {why}"
        raise RxpipeError(msg)


class Pipeline:
    """Steps behind each other; neighbouring record-wise ones are one pass.

    Args:
        name: The name of the step that they are in.
        steps: The steps; of one that can be divided, which must be the last, its part.
        folder: The graph's folder.

    Raises:
        RxpipeError: A step needs more than the record it is given.
    """

    def __init__(self, name: str, steps: Sequence[Step], folder: Path) -> None:
        self._errors: list[ErrorRecord] = []
        self._out: list[Any] = []
        self._failure: Exception | None = None
        self._source: Subject[Any] = Subject()
        self._flushes: list[Callable[[], None]] = []
        flow: Observable[Any] = self._source
        for index, step in enumerate(steps):
            partial = step.operator.partial
            where = f"{name}, steps[{index}] {step.operator.name}"
            context = WorkerContext(where, folder, self._errors, divided=partial is not None)
            applied: Applied = step
            if partial is not None:
                applied = _part(partial, step)
            self._flushes = context.flushes  # only the last step's may be any
            flow = _behind(flow, applied, context)
        flow.subscribe(self._out.append, self._failed)
        if self._failure is not None:
            raise self._failure

    def run(self, elements: Iterable[Any]) -> tuple[list[Any], list[ErrorRecord]]:
        """What the steps make of some elements together, and what they rejected of them."""
        try:
            for element in elements:
                self._source.on_next(element)
                if self._failure is not None:
                    raise self._failure
        finally:
            for flush in self._flushes:
                flush()
            out, errors = self._out.copy(), self._errors.copy()
            self._out.clear()
            self._errors.clear()
        return out, errors

    def _failed(self, error: Exception) -> None:
        self._failure = error


def _part(partial: Callable[..., Observable[Any]], step: Step) -> Applied:
    return lambda source: partial(source, **step.parameters)


def _behind(flow: Observable[Any], step: Applied, context: WorkerContext) -> Observable[Any]:
    applied = step(flow)
    if isinstance(applied, Lifted) and applied.source is flow:
        stages = [stage._replace(context=context) for stage in applied.stages]
        if isinstance(flow, Lifted):
            return Lifted(flow.source, flow.stages + stages)
        return Lifted(flow, stages)

    def subscribe(observer: Any, scheduler: SchedulerBase | None = None) -> Any:
        def fail(error: Exception) -> None:
            observer.on_error(blame(error, context.name))

        with entered(context):
            return applied.subscribe(observer.on_next, fail, observer.on_completed, scheduler=scheduler)

    return Observable(subscribe)
