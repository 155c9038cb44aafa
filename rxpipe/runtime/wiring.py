"""From planned steps to observables: each with its context, measured, and joined to the streams that it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reactivex import Observable
from reactivex.subject import Subject

from rxpipe.errors import RxpipeError
from rxpipe.graph import ERRORS
from rxpipe.meter import Meter, blame
from rxpipe.runtime.stage import Inlet, StepContext, staged

if TYPE_CHECKING:
    from rxpipe.language.plan import Plan, PlannedStep, PlannedStream
    from rxpipe.runtime.engine import Engine


class Wiring:
    """Builds the observables of one run.

    Args:
        engine: The run; it is given the contexts of all steps.
        subjects: Where the streams that others read are heard, and the stream `errors`.
        handlers: The streams that read `errors`, directly or through others.
    """

    def __init__(self, engine: Engine, subjects: dict[str, Subject[Any]], handlers: set[str]) -> None:
        self._engine = engine
        self._subjects = subjects
        self._handlers = handlers
        self._last: dict[str, Meter | None] = {ERRORS: None}

    def build(self, stream: PlannedStream) -> Observable[Any]:
        """A stream's observable; the streams that it reads must have been built.

        Raises:
            RxpipeError: A step has nothing to run; whatever else an operator raises carries its step's name.
        """
        observable: Observable[Any] | None = None
        handles_errors = False
        self._last[stream.name] = None
        for step in stream.steps:
            reads = reads_of(step)
            handles_errors = handles_errors or any(read == ERRORS or read in self._handlers for read in reads)
            if step.reads is not None:
                observable = self._subjects[step.reads]
                self._last[stream.name] = self._last[step.reads]
                continue
            context = StepContext(self._engine, step.name, stream.name, handles_errors=handles_errors)
            self._engine.contexts.append(context)
            try:
                observable = self._apply(step, observable, context)
            except Exception as error:
                blame(error, step.name)
                raise
            self._last[stream.name] = context.meter
        if observable is None:
            msg = f"stream {stream.name!r} has no steps"
            raise RxpipeError(msg)
        return observable

    def _apply(self, step: PlannedStep, before: Observable[Any] | None, context: StepContext) -> Observable[Any]:
        dynamic, source = step.function is not None, self._last[context.stream]
        inlet = Inlet(before, context, source, dynamic=dynamic) if before is not None else None
        if isinstance(step.function, Observable):
            return staged(step.function, None, context, root=True)
        if step.function is not None and inlet is not None:
            return staged(step.function(inlet), inlet, context)
        if step.operator is None:
            msg = f"{step.name}: nothing to run"
            raise RxpipeError(msg)
        inputs: dict[str, Any] = {}
        if inlet is not None:
            inputs[step.operator.inputs[0]] = inlet
        for name, read in step.streams.items():
            inputs[name] = (
                [self._read(s, context) for s in read] if isinstance(read, list) else self._read(read, context)
            )
        return staged(step.operator.apply(inputs, step.parameters), inlet, context, root=step.operator.is_source)

    def _read(self, stream: str, context: StepContext) -> Observable[Any]:
        return Inlet(self._subjects[stream], context, self._last[stream])


def reads_of(step: PlannedStep) -> list[str]:
    """The streams that a step reads."""
    names = [step.reads] if step.reads is not None else []
    for read in step.streams.values():
        names += read if isinstance(read, list) else [read]
    return names


def error_handlers(plan: Plan) -> set[str]:
    """The streams that read `errors`, directly or through others."""
    found: set[str] = set()
    for name, stream in plan.streams.items():
        reads = {read for step in stream.steps for read in reads_of(step)}
        if ERRORS in reads or reads & found:
            found.add(name)
    return found
