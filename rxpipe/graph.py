"""The graph as inert data: named streams of steps, typed parameters, settings. It does nothing until it runs."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import astuple
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.errors import Place, RxpipeError, did_you_mean, nearest
from rxpipe.operator import Source, Step
from rxpipe.parameters.units import format_duration

if TYPE_CHECKING:
    from rxpipe.language.plan import Plan
    from rxpipe.runtime.asyncrun import AsyncRun
    from rxpipe.runtime.run import Run

FROM = "from"
"""The one step that is not an operator: it starts a stream from another."""

ERRORS = "errors"
"""The built-in stream of records that could not be handled."""


def stream_of(read: str) -> str:
    """The stream of what is read: `totals` of `totals`, and of `totals.late`, which is one of its further outputs."""
    return read.partition(".")[0]


class Places(msgspec.Struct, frozen=True):
    """Where a step and its parameters stand in the file: `at()` gives the nearest known place of a path.

    Keys of `values` and `names` are paths inside the step's parameters; the empty path is the step itself.
    """

    values: Mapping[tuple[str | int, ...], Place] = msgspec.field(default_factory=dict)
    names: Mapping[tuple[str | int, ...], Place] = msgspec.field(default_factory=dict)

    def __eq__(self, other: object) -> bool:
        """Where something stands in a file does not make it something else."""
        return isinstance(other, Places)

    def __hash__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "Places()"

    def at(self, path: tuple[str | int, ...], *, name: bool = False) -> Place | None:
        """The place of a parameter's value, or of its name; where unknown, of what it is in."""
        if name and path in self.names:
            return self.names[path]
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path)


class StepSpec(msgspec.Struct, frozen=True):
    """One step of a stream: an operator's name and its parameters as written, variables not yet replaced.

    Inputs other than the step before are parameters too, given as names of streams. `function` holds a step that exists
    only in Python (a reactivex operator, an observable), which has no YAML form. `on_error` says, as written, what it
    does with what it cannot handle, see `rxpipe.faults.handling`.
    """

    operator: str
    parameters: Mapping[str, Any] = msgspec.field(default_factory=dict)
    places: Places = msgspec.field(default_factory=Places)
    function: Callable[[Observable[Any]], Observable[Any]] | Observable[Any] | None = None
    on_error: Any = None


class Param(msgspec.Struct, frozen=True):
    """A declared parameter of a graph.

    `type` is one of str, int, float, bool, list, mapping, date, duration, rate, size, secret.

    Where there are `choices`, its value is one of them.
    """

    type: str
    default: Any = None
    description: str = ""
    required: bool = False
    choices: tuple[Any, ...] = ()
    place: Place | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Param) and astuple(self)[:-1] == astuple(other)[:-1]  # wherever it is declared

    def __hash__(self) -> int:
        return hash((self.type, self.description))


class Sample(msgspec.Struct, frozen=True):
    """How a graph makes data to try it on.

    Attributes:
        call: A function `module:name` of a folder, which fills it.
        sets: The parameter that is pointed there.
        path: Where in that folder.
        files: Which files are data: where the parameter's folders have none, there is nothing but samples to see.
        values: Values of other parameters on sample data, such as where its results go; those given go before them.
    """

    call: str
    sets: str
    path: str = "."
    files: str = "*.jsonl"
    values: dict[str, Any] = {}


@dataclass(init=False)
class Graph:
    """Named streams of steps.

    Build it from operators in Python, or load it from YAML with `rxpipe.load`; either way it is the same data.

    Args:
        name: The graph's name; it names the state file.
        streams: For each stream its steps: operators, `stream("name")` for another stream, or reactivex operators.
        params: Declared parameters, which `${name}` in string parameters stands for.
        settings: Settings of the run, see `rxpipe.runtime.settings`.
        plugins: Folders with further operators, relative to `folder`.
        sample: How to make sample data, if the graph can.
        description: What the graph does, in a sentence.
        tests: Test cases of the graph, kept as they are written.
        allow: Warnings that are meant: for each lint's name streams, `STREAM.OPERATOR` or `STREAM.OUTPUT`.
        folder: What relative paths in the graph are relative to.
        file: The file that the graph was read from.
        places: Where the parts of the graph stand in the file; keys are paths such as `("settings", "checkpoint")`.
    """

    name: str
    streams: dict[str, list[StepSpec]]
    params: dict[str, Param] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    plugins: list[str] = field(default_factory=list)
    sample: Sample | None = None
    description: str = ""
    tests: list[Any] = field(default_factory=list)
    allow: dict[str, list[str]] = field(default_factory=dict)
    folder: Path = field(default_factory=Path, compare=False)
    file: str | None = field(default=None, compare=False)
    places: Places = field(default_factory=Places, compare=False, repr=False)

    def __init__(
        self,
        name: str,
        streams: Mapping[str, Iterable[Any]],
        *,
        params: Mapping[str, Param] | None = None,
        settings: Mapping[str, Any] | None = None,
        plugins: Iterable[str] = (),
        sample: Sample | None = None,
        description: str = "",
        tests: Iterable[Any] = (),
        allow: Mapping[str, str | Iterable[str]] | None = None,
        folder: Path | str = ".",
        file: str | None = None,
        places: Places | None = None,
    ) -> None:
        self.name = name
        self.streams = {stream: _specs(stream, steps) for stream, steps in streams.items()}
        self.params = dict(params or {})
        self.settings = dict(settings or {})
        self.plugins = list(plugins)
        self.sample = sample
        self.description = description
        self.tests = list(tests)
        self.allow = {lint: [of] if isinstance(of, str) else list(of) for lint, of in (allow or {}).items()}
        self.folder = Path(folder)
        self.file = file
        self.places = places or Places()

    def replaced(self, stream: str, steps: Iterable[Any]) -> Graph:
        """A graph that differs in the steps of one stream; this one stays as it is.

        `[*graph.streams["models"], ops.top(3, by="cost")]` are the stream's steps and one more.

        Args:
            stream: A stream of the graph.
            steps: Its new steps, as for `Graph`.

        Raises:
            RxpipeError: There is no such stream; the nearest name is suggested. Or something is no step.
        """
        if stream not in self.streams:
            guess = did_you_mean(nearest(stream, self.streams))
            msg = f"replaced: must name a stream of the graph; got {stream!r}{guess}"
            raise RxpipeError(msg)
        made = copy.copy(self)
        made.streams = {**self.streams, stream: _specs(stream, steps)}
        return made

    def plan(self, **values: Any) -> Plan:
        """The graph with its variables replaced, checked: ready to run.

        Args:
            values: Values of declared parameters.

        Raises:
            GraphError: With all problems of the graph.
        """
        from rxpipe.language.check import plan  # definition does not depend on execution

        return plan(self, values)

    def run(self, **options: Any) -> Run:
        """Run the graph in a thread of its own: `with graph.run() as run: …`; see `rxpipe.runtime.run.Run`."""
        from rxpipe.runtime.run import Run  # definition does not depend on execution

        return Run(self, **options)

    def start(self, **options: Any) -> AsyncRun:
        """Run the graph on the running loop: `async with graph.start() as run: …`; takes what `AsyncRun` takes."""
        from rxpipe.runtime.asyncrun import AsyncRun  # definition does not depend on execution

        return AsyncRun(self, **options)

    def to_yaml(self) -> str:
        """The graph as a file's text; loading it gives an equal graph.

        Raises:
            RxpipeError: A step exists only in Python.
        """
        from rxpipe.language.dump import dump  # YAML is needed only by those who write it

        return dump(self)

    def _repr_mimebundle_(
        self,
        include: object = None,  # notebooks pass them
        exclude: object = None,
    ) -> dict[str, str]:
        from rxpipe.views.notebook import graph_bundle  # only notebooks call this

        return graph_bundle(self)


class StreamReference(Observable[Any]):
    """Another stream of the same graph; it can be read only as part of a graph."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def __repr__(self) -> str:
        return f"stream({self.name!r})"

    def _subscribe_core(
        self,
        observer: ObserverBase[Any],  # it never comes to that
        scheduler: SchedulerBase | None = None,
    ) -> DisposableBase:
        msg = f"stream({self.name!r}) is a part of a graph: put it into Graph(…) and run that"
        raise RxpipeError(msg)


def stream(name: str) -> Observable[Any]:
    """Refer to another stream of the graph, or with `NAME.OUTPUT` to an output of its steps, as `from` does in YAML."""
    return StreamReference(name)


def _specs(stream: str, steps: Iterable[Any]) -> list[StepSpec]:
    if isinstance(steps, Observable | str | Mapping) or not isinstance(steps, Iterable):
        # an observable is no list, but can be iterated, without end
        msg = f"stream {stream!r} must be a list of steps; got {steps!r}, which belongs into one: [{steps!r}]"
        raise RxpipeError(msg)
    return [as_spec(step) for step in steps]


def as_spec(step: Any) -> StepSpec:
    """What a Python user may write as a step, as a `StepSpec`.

    Raises:
        RxpipeError: It is no step.
    """
    if isinstance(step, StepSpec):
        return step
    if isinstance(step, StreamReference):
        return StepSpec(FROM, {"stream": step.name})
    if isinstance(step, Step | Source):
        parameters = {name: _as_written(value) for name, value in step.raw.items()}
        return StepSpec(step.operator.name, parameters, on_error=_as_written(step.on_error))
    function: Any = step
    if isinstance(step, Observable) or callable(step):
        return StepSpec(_readable(function), function=function)
    msg = f"a step must be an operator, a stream(…) or a function of an observable; got {step!r}"
    raise RxpipeError(msg)


def _readable(function: Any) -> str:
    """The name of a step that exists only in Python: its function's, if that says anything; else `python`.

    The operators of reactivex are closures around the function that has the name.
    """
    if getattr(function, "__module__", "") == "reactivex.internal.curry":
        inner = inspect.getclosurevars(function).nonlocals.get("fun")
        return getattr(inner, "__name__", "python").strip("_")
    name = getattr(function, "__name__", "python")
    return name if name.isidentifier() else "python"


def _as_written(value: Any) -> Any:
    """A parameter as a graph file would hold it: names of streams, texts for durations and paths, lists for tuples."""
    if isinstance(value, StreamReference):
        return value.name
    if isinstance(value, Step):
        return {value.operator.name: _as_written(value.raw)} if value.raw else value.operator.name
    if isinstance(value, timedelta | Path):
        return str(value) if isinstance(value, Path) else format_duration(value.total_seconds())
    if isinstance(value, list | tuple):
        return [_as_written(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _as_written(item) for key, item in value.items()}
    return value
