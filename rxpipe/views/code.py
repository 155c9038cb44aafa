"""The generated code of a graph: the loop of each run of record-wise steps that are fused into one pass."""

from __future__ import annotations

import keyword
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import reactivex
from msgspec.structs import replace
from reactivex import Observable
from reactivex.scheduler import HistoricalScheduler

from rxpipe.context import void
from rxpipe.fusion.rows import row_struct
from rxpipe.language.hidden import masked
from rxpipe.language.plan import Plan, PlannedStep
from rxpipe.operator import steps_in
from rxpipe.runtime.engine import Engine
from rxpipe.runtime.options import Options

if TYPE_CHECKING:
    from rxpipe.fusion.fused import Run


class LoopCode(NamedTuple):
    """One generated loop.

    Attributes:
        steps: The names of the steps that it does.
        rows: What it takes, for people.
        source: Its source.
    """

    steps: tuple[str, ...]
    rows: str
    source: str

    def __str__(self) -> str:
        lines = [f"# {', '.join(self.steps)}", f"# _rows: {self.rows}", self.source]
        return "\n".join(lines)


def loops(plan: Plan) -> list[LoopCode]:
    """The loop of each run of fused steps, in the order of the data; nothing is read or written for it.

    The code is written for the types of rows that come; where these are known only when data comes, it is written here
    for what is known before: the names of the fields, or else dicts. What must not be shown is replaced in it.

    Raises:
        RunError: A step cannot be subscribed.
    """
    inert = _inert(plan)
    scheduler = HistoricalScheduler()
    engine = Engine(inert, scheduler, lambda: 0.0, lambda call: call(), void, Options())
    engine.begin()
    engine.stop()
    if engine.failure is not None:
        raise engine.failure
    order = [step.name for stream in inert.streams.values() for step in stream.steps]
    steps = {step.name: step for stream in inert.streams.values() for step in stream.steps}
    made = [_code(run, steps) for run in sorted(engine.runs.values(), key=lambda run: order.index(run.steps[0]))]
    return [code for code in made if code is not None]


def text(plan: Plan) -> str:
    """All loops of a plan, one below the other."""
    found = loops(plan)
    if not found:
        return "# no two record-wise steps stand side by side: there is nothing to fuse"
    return "\n\n\n".join(map(str, found))


def _code(run: Run, steps: dict[str, PlannedStep]) -> LoopCode | None:
    """A run's loop; None where its steps are not fused."""
    row_type = run.takes or _known(steps[run.steps[0]].fields)
    fused = run.source(row_type)
    return None if fused is None else LoopCode(tuple(run.steps), _described(row_type), masked(fused.source))


def _known(fields: tuple[str, ...] | None) -> type:
    """A type of rows with these fields; dicts where they are not known, or cannot be those of a struct."""
    usable = fields is not None and all(f.isidentifier() and not keyword.iskeyword(f) and f[0] != "_" for f in fields)
    return row_struct("Row", dict.fromkeys(fields or (), Any)) if usable else dict


def _described(row_type: type) -> str:
    """A type of rows with its fields, objects inside it likewise."""
    if not issubclass(row_type, msgspec.Struct):
        return row_type.__name__
    parts = []
    for field in msgspec.structs.fields(row_type):
        inner = next((kind for kind in _members(field.type) if _is_struct(kind)), None)
        name = field.name if field.encode_name == field.name else f"{field.name}={field.encode_name}"
        parts.append(name if inner is None else f"{name}: {_described(inner)}")
    return f"{row_type.__name__}({', '.join(parts)})"


def _members(kind: Any) -> tuple[Any, ...]:
    return getattr(kind, "__args__", (kind,))


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _inert(plan: Plan) -> Plan:
    """The plan with sources that emit nothing and without sinks; what is done in workers is done here."""
    streams = {
        name: replace(stream, steps=[made for step in stream.steps for made in _inert_step(step)])
        for name, stream in plan.streams.items()
    }
    return replace(plan, streams=streams)


def _inert_step(step: PlannedStep) -> Iterator[PlannedStep]:
    operator = step.operator
    inside = [inner for value in step.parameters.values() for inner in steps_in(value)]
    if isinstance(step.function, Observable) or (operator is not None and operator.is_source):
        yield replace(step, operator=None, function=reactivex.never())
    elif inside:
        fields = step.fields  # of the others nothing is known but what they do
        for inner in inside:
            name = f"{step.name} > {inner.operator.name}"
            yield replace(step, name=name, operator=inner.operator, parameters=inner.parameters, fields=fields)
            fields = None
    elif operator is None or operator.delivery is None:
        yield step
