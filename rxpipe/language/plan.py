"""A checked graph, ready to run: every operator found, every parameter converted, every edge typed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import orjson
from reactivex import Observable

from rxpipe.errors import Place
from rxpipe.faults.retrying import OnError
from rxpipe.graph import ERRORS, Graph, stream_of
from rxpipe.language.datafiles import counting_files, data_files, digest
from rxpipe.language.lineage import as_type, what_it_does
from rxpipe.operator import Operator

STATE_FORMAT = b"2"
"""The form in which operators keep their state; one that was written in another form is computed anew."""


class PlannedStep(msgspec.Struct, frozen=True):
    """One step, ready to be applied.

    Attributes:
        name: For messages and state, as `totals[3] debounce`; steps are counted from 0.
        operator: The operator, or None where `function` (a Python-only step) or `reads` alone says what to do.
        parameters: The converted parameters, stream inputs left out.
        streams: The inputs that are other streams: input name to stream name, or to several for a variadic input.
        previous: Whether the step before is the first input.
        reads: For the `from` step: the stream read.
        accepts: The element type that flows in, for drawing; None for a source.
        emits: The element type that flows out.
        fields: The fields of the records that flow in, as far as they are known.
        outputs: The element types of the outputs beside that one, by name.
        on_error: What it does with what it cannot handle; None leaves that to it.
        fingerprint: The step's operator and parameters as text, with secrets hidden: what its state depends on.
    """

    name: str
    operator: Operator | None
    parameters: Mapping[str, Any]
    streams: Mapping[str, str | list[str]]
    previous: bool
    reads: str | None = None
    function: Callable[[Observable[Any]], Observable[Any]] | Observable[Any] | None = None
    accepts: Any = None
    emits: Any = None
    fields: tuple[str, ...] | None = None
    outputs: Mapping[str, Any] = msgspec.field(default_factory=dict)
    fingerprint: str = ""
    place: Place | None = None
    on_error: OnError | None = None

    def __repr__(self) -> str:  # the converted parameters have secrets in them
        return f"PlannedStep({self.name!r}, {self.fingerprint})"


def targets(streams: Mapping[str, str | list[str]]) -> list[str]:
    """The streams, or outputs `STREAM.OUTPUT`, that inputs name."""
    return [target for named in streams.values() for target in ([named] if isinstance(named, str) else named)]


def reads_of(step: PlannedStep) -> list[str]:
    """What a step reads: streams, and outputs of others' steps."""
    names = [step.reads] if step.reads is not None else []
    return names + targets(step.streams)


class PlannedStream(msgspec.Struct, frozen=True):
    """A stream's steps, and the names of the streams that read it, or the further outputs of its steps."""

    name: str
    steps: list[PlannedStep]
    readers: list[str] = msgspec.field(default_factory=list)
    output_readers: Mapping[str, list[str]] = msgspec.field(default_factory=dict)


class Plan(msgspec.Struct, frozen=True):
    """A graph ready to run.

    Attributes:
        graph: The graph as declared.
        streams: Its streams, each behind all that it reads.
        values: The values of its parameters.
        settings: Its settings, variables replaced.
    """

    graph: Graph
    streams: dict[str, PlannedStream]
    values: Mapping[str, Any]
    settings: Mapping[str, Any] = msgspec.field(default_factory=dict)

    @property
    def lasting(self) -> bool:
        """Whether the graph writes anything that outlasts the run: it has a sink that delivers more than a view."""
        steps = (step for stream in self.streams.values() for step in stream.steps)
        return any(step.operator is not None and step.operator.delivery not in (None, "shown") for step in steps)

    @property
    def fingerprint(self) -> str:
        """A hash of what the graph does; state depends on it.

        How something is shown is no part of it. The contents of data files are, so that what was computed with other
        ones is computed anew; but not where sinks have written it already: there they count for what comes.
        """
        steps = {
            name: [step for step in stream.steps if step.operator is None or step.operator.delivery != "shown"]
            for name, stream in self.streams.items()
        }
        files = [
            name
            for kept in steps.values()
            for step in kept
            if step.operator is not None
            for key, value in step.parameters.items()
            for name in data_files(step.operator.hints.get(key), value)
        ]
        text = STATE_FORMAT + orjson.dumps(
            [[name, [what_it_does(step) for step in kept]] for name, kept in steps.items()],
            default=as_type,
            option=orjson.OPT_NON_STR_KEYS,
        )
        if not self.lasting:
            text += digest(files, self.graph.folder).encode()
        return hashlib.blake2b(text, digest_size=16).hexdigest()


def error_handlers(plan: Plan) -> set[str]:
    """The streams that read `errors`, directly or through others."""
    found: set[str] = set()
    for name, stream in plan.streams.items():
        reads = {stream_of(read) for step in stream.steps for read in reads_of(step)}
        if ERRORS in reads or reads & found:
            found.add(name)
    return found


def definition_of(steps: Sequence[PlannedStep], folder: Path) -> str:
    """A digest of what some steps do with a record, with what is in the files that say it.

    Args:
        steps: The steps.
        folder: The graph's.
    """
    text = "\n".join(step.fingerprint for step in steps)
    files = [
        name
        for step in steps
        if step.operator is not None
        for key, value in step.parameters.items()
        for name in counting_files(step.operator.hints.get(key), value)
    ]
    if files:
        text += digest(files, folder)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def role_of(stream: PlannedStream, place: int) -> str:
    """What a step is known by though others come before it: its stream and operator, and which of these it is.

    Example:
        `results.chat`, and `results.chat 2` for the second one.
    """
    names = [step.operator.name if step.operator is not None else "python" for step in stream.steps[: place + 1]]
    same = names.count(names[-1])
    return f"{stream.name}.{names[-1]}" + (f" {same}" if same > 1 else "")


def step_fingerprint(operator: str, shown: Any) -> str:
    """A step's operator and parameters, as they may be shown, as one text."""
    options = orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS
    try:
        return orjson.dumps([operator, shown], option=options, default=by_type).decode()
    except TypeError:  # an integer of more than 64 bits
        return json.dumps([operator, shown], default=by_type)


def by_type(value: Any) -> str:
    """What stands for a Python object: never its value, which may be secret, nor its address, which changes."""
    return getattr(value, "__qualname__", type(value).__qualname__)
