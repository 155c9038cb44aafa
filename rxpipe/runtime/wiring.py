"""From planned steps to observables: each with its context, measured, and joined to the streams that it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reactivex import Observable, never

from rxpipe.errors import RxpipeError
from rxpipe.faults.retrying import OnError
from rxpipe.graph import ERRORS, stream_of
from rxpipe.language.plan import definition_of, reads_of, role_of
from rxpipe.runtime.meter import Meter, blame
from rxpipe.runtime.stage import Ending, Inlet, StepContext, staged

if TYPE_CHECKING:
    from rxpipe.language.plan import PlannedStep, PlannedStream
    from rxpipe.runtime.engine import Engine
    from rxpipe.runtime.shared import Shared


def _is_root(step: PlannedStep, before: Observable[Any] | None) -> bool:
    """Whether a step is a source."""
    return before is None and (step.operator is None or step.operator.is_source)


def _handling(before: Observable[Any] | None, context: StepContext, do: OnError) -> Observable[Any] | None:
    """What a step reads, once its context knows what to do with errors."""
    from rxpipe.faults.handling import handling  # few steps say anything of errors

    if before is None:
        context.on_error = do
        return None
    return handling(before, context, do)


class Wiring:
    """Builds the observables of one run.

    Args:
        engine: The run; it is given the contexts of all steps.
        shared: Where the streams and outputs that others read are heard, and the stream `errors`.
        handlers: The streams that read `errors`, directly or through others.
    """

    def __init__(self, engine: Engine, shared: dict[str, Shared], handlers: set[str]) -> None:
        self._engine = engine
        self._shared = shared
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
        for index, step in enumerate(stream.steps):
            sources = map(stream_of, reads_of(step))
            handles_errors = handles_errors or any(source in {ERRORS, *self._handlers} for source in sources)
            if step.reads is not None:
                observable = self._shared[step.reads]
                self._last[stream.name] = self._last[step.reads]
                continue
            context = StepContext(
                self._engine,
                step.name,
                stream.name,
                handles_errors=handles_errors,
                definition=definition_of(stream.steps[index + 1 :], self._engine.plan.graph.folder),
                role=role_of(stream, index),
            )
            if step.on_error is not None:
                observable = _handling(observable, context, step.on_error)
            self._engine.contexts.append(context)
            try:
                observable = self._with_outputs(step, self._apply(step, observable, context), context)
            except Exception as error:
                blame(error, step.name)
                raise
            self._last[stream.name] = context.meter
            self._last |= {f"{stream.name}.{output}": context.meter for output in step.outputs}
        if observable is None:
            msg = f"stream {stream.name!r} has no steps"
            raise RxpipeError(msg)
        return observable

    def _apply(self, step: PlannedStep, before: Observable[Any] | None, context: StepContext) -> Observable[Any]:
        dynamic, source = step.function is not None, self._last[context.stream]
        replay = self._engine.replay
        if replay is not None and _is_root(step, before):
            return staged(never(), None, context, root=True)
        if replay is not None and before is not None:
            before = replay.entry(before, context)
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

    def _read(self, read: str, context: StepContext) -> Observable[Any]:
        return Inlet(self._shared[read], context, self._last[read])

    def _with_outputs(self, step: PlannedStep, applied: Observable[Any], context: StepContext) -> Observable[Any]:
        """Give a step the way to its outputs beside the main one, and end those that are read when it ends."""
        names = {output: f"{context.stream}.{output}" for output in step.outputs}
        context.connect({output: self._engine.emitter(name) for output, name in names.items()})
        read = [self._shared[name] for name in names.values() if name in self._shared]
        return Ending(applied, read, self._engine.over) if read else applied
