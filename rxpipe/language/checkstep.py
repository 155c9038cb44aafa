"""The steps of a graph, checked: operators, parameters, stream inputs, and the types between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from reactivex import Observable

from rxpipe.errors import ParameterError, ParameterProblem, Place, did_you_mean, listed, nearest
from rxpipe.expressions.known import KnownFields
from rxpipe.faults.retrying import OnError
from rxpipe.graph import ERRORS, FROM, StepSpec, stream_of
from rxpipe.language.edges import Bindings, emitted, fits, type_name, union
from rxpipe.language.fieldflow import FieldFlow
from rxpipe.language.guesses import between, unknown_operator
from rxpipe.language.plan import PlannedStep, step_fingerprint, targets
from rxpipe.language.variables import Filled, Path
from rxpipe.operator import Operator
from rxpipe.registry import registry

if TYPE_CHECKING:
    from rxpipe.language.check import _Checker


class _Found(msgspec.Struct):
    """What the first pass found out about one step."""

    operator: Operator | None
    streams: dict[str, str | list[str]]
    known: bool
    """Whether the step could be understood well enough for more to be said of it."""


class StepChecker:
    """Checks steps in two passes: what they are and read, then, in the order of the data, what flows between them.

    Args:
        checker: The check of the whole graph.
        types: The element types of the built-in streams; those of the graph's, and of their outputs, are added.

    Attributes:
        outputs: For each stream whose steps are all understood, the names of their outputs beside the main one.
    """

    def __init__(self, checker: _Checker, types: dict[str, Any]) -> None:
        self.checker = checker
        self.graph = checker.graph
        self.types = types
        self.outputs: dict[str, list[str]] = {}
        self.fields = FieldFlow()
        self.found: dict[tuple[str, int], _Found] = {}

    def look_up(self) -> None:
        """First pass: find the operators, and what other streams each step reads."""
        for stream, steps in self.graph.streams.items():
            for index, spec in enumerate(steps):
                known = (stream, index) not in self.checker.broken
                self.found[stream, index] = (
                    self._look_up(spec, stream, index) if known else _Found(None, {}, known=False)
                )

    def stream(self, name: str) -> list[PlannedStep]:
        """Second pass, one stream: its steps with converted parameters, and the types on its edges."""
        planned: list[PlannedStep] = []
        before = len(self.checker.problems)
        flowing: Any = None
        known = KnownFields(None)
        previous = ""
        for index, spec in enumerate(self.graph.streams[name]):
            found = self.found[name, index]
            emits: Any = Any
            parameters: Mapping[str, Any] | None = {}
            shown: Any = dict(spec.parameters)
            outputs: dict[str, Any] = {}
            fields = known.names
            bindings: Bindings = {}
            if found.known:
                self._outputs_read(spec, found, name, index)
                emits, bindings = self._edges(spec, found, name, index, flowing, previous)
            if found.operator is None:
                known = self.fields.of(spec.parameters.get("stream") if spec.operator == FROM else None)
            else:
                filled = self._filled(spec, found.operator, name, index)
                parameters, shown = self._parameters(spec, found.operator, filled, name, index), filled.shown
                emits = self._inside(spec, found.operator, parameters or {}, flowing, emits, name, index)
                if found.known:
                    outputs = self._outputs(spec, found.operator, parameters or {}, bindings, name, index)
                out = self.fields.behind(found.operator, parameters, known if index > 0 else None, found.streams)
                for problem in out.problems:
                    self._parameter_problem(problem, found.operator, filled, spec, name, index)
                known = KnownFields(out.names)
                beside = out.outputs.items()
                self.fields.streams |= {f"{name}.{output}": KnownFields(of.names) for output, of in beside}
            label = f"{name}[{index}] {spec.operator}"
            planned.append(
                PlannedStep(
                    name=label,
                    operator=found.operator,
                    parameters=parameters or {},
                    streams=found.streams if spec.operator != FROM else {},
                    previous=index > 0,
                    reads=str(spec.parameters.get("stream")) if spec.operator == FROM and found.known else None,
                    function=spec.function,
                    accepts=flowing,
                    emits=emits,
                    fields=fields,
                    outputs=outputs,
                    fingerprint=step_fingerprint(spec.operator, shown),
                    place=spec.places.at(()),
                    on_error=self._on_error(spec, found, name, index),
                )
            )
            flowing, previous = emits, label
        self.types[name], self.fields.streams[name] = flowing, known
        for step in planned:
            self.types |= {f"{name}.{output}": kind for output, kind in step.outputs.items()}
        if len(self.checker.problems) == before and all(self.found[name, index].known for index in range(len(planned))):
            self.outputs[name] = [output for step in planned for output in step.outputs]
        return planned

    def _on_error(self, spec: StepSpec, found: _Found, stream: str, index: int) -> OnError | None:
        if spec.on_error is None or not found.known:
            return None
        from rxpipe.language.checkerrors import checked  # few steps say anything of errors

        return checked(spec, found.operator, self.checker.scope, lambda text, at: self._note(text, at, stream, index))

    def _look_up(self, spec: StepSpec, stream: str, index: int) -> _Found:
        if spec.function is not None:
            source = isinstance(spec.function, Observable)
            if source != (index == 0):
                must = "an observable can only be the first step" if source else "the first step must be a source"
                self._note(f"{must}; got {spec.operator}", spec.places.at(()), stream, index)
            return _Found(None, {}, known=True)
        if spec.operator == FROM:
            return self._from(spec, stream, index)
        try:
            operator = registry.get(spec.operator)
        except Exception as error:  # whatever importing an operator's module raises
            message = f"operator {spec.operator!r} cannot be loaded: {type(error).__name__}: {error}"
            self._note(message, spec.places.at(()), stream, index)
            return _Found(None, {}, known=False)
        if operator is None:
            self._note(unknown_operator(spec.operator), spec.places.at(()), stream, index)
            return _Found(None, {}, known=False)
        streams = self._inputs(spec, operator, stream, index)
        self._position(operator, streams, spec, stream, index)
        return _Found(operator, streams, known=True)

    def _from(self, spec: StepSpec, stream: str, index: int) -> _Found:
        place = spec.places.at(())
        known = True
        if index > 0:
            must = "'from' can only be the first step"
            self._note(f"{must}; to add another stream to this one, use 'merge: [NAME]'", place, stream, index)
            known = False
        name = spec.parameters.get("stream")
        others = [other for other in spec.parameters if other != "stream"]
        if others or not isinstance(name, str):
            got = others[0] if others else name
            self._note(f"'from' takes the name of a stream; got {got!r}", spec.places.at(("stream",)), stream, index)
            return _Found(None, {}, known=False)
        known = self._reads(name, spec.places.at(("stream",)), stream, index) and known
        return _Found(None, {"stream": name}, known=known)

    def _inputs(self, spec: StepSpec, operator: Operator, stream: str, index: int) -> dict[str, str | list[str]]:
        """The other streams that a step reads, by input."""
        streams: dict[str, str | list[str]] = {}
        for name in operator.inputs:
            first = name == operator.inputs[0]
            if first or name not in spec.parameters:
                if first and name in spec.parameters:
                    message = f"unknown parameter {name!r}; what {operator.name!r} reads is the step before it"
                    self._note(message, spec.places.at((name,), name=True), stream, index)
                elif not first and name != operator.variadic_input and _required(operator, name):
                    message = f"parameter {name!r} is missing: the name of a stream"
                    self._note(f"{operator.name}: {message}", spec.places.at(()), stream, index)
                continue
            value = spec.parameters[name]
            names = value if name == operator.variadic_input and isinstance(value, list) else [value]
            for position, target in enumerate(names):
                path: Path = (name, position) if isinstance(value, list) else (name,)
                place = spec.places.at(path)
                if not isinstance(target, str):
                    message = f"{operator.name}: {name!r} takes the name of a stream; got {target!r}"
                    self._note(message, place, stream, index)
                else:
                    self._reads(target, place, stream, index)
            streams[name] = [str(target) for target in names] if name == operator.variadic_input else str(value)
        variadic = operator.variadic_input
        if variadic is not None and index == 0 and operator.inputs[0] != variadic:
            named = list(streams.get(variadic, []))
            if named:
                streams = {**streams, operator.inputs[0]: named[0], variadic: named[1:]}
        return streams

    def _reads(self, target: str, place: Place | None, stream: str, index: int) -> bool:
        """Note that a stream reads another, or an output of its steps; whether there is such a stream."""
        if target == ERRORS:
            return True
        if stream_of(target) in self.graph.streams:
            self.checker.reads[stream].append((target, place, index))
            return True
        names = list(dict.fromkeys([*self.graph.streams, ERRORS]))
        guess = nearest(stream_of(target), names)
        tail = did_you_mean(guess) if guess else f"; there are {listed(map(repr, names))}"
        self._note(f"unknown stream {target!r}{tail}", place, stream, index)
        return False

    def _position(
        self, operator: Operator, streams: dict[str, str | list[str]], spec: StepSpec, stream: str, index: int
    ) -> None:
        """A source first, and nowhere else."""
        place = spec.places.at(())
        if operator.is_source and index > 0:
            message = f"{operator.name!r} is a source and can only be the first step; give it a stream and merge that"
            self._note(message, place, stream, index)
        if operator.is_source or index > 0:
            return
        if operator.variadic_input is None:
            takes = type_name(operator.accepts(operator.inputs[0]))
            must = "the first step must be a source, 'from: NAME' or 'merge: [A, B]'"
            self._note(
                f"{must}; got {operator.name!r}, which takes {takes} from a step before it", place, stream, index
            )
        elif not any(streams.values()):
            self._note(f"{operator.name!r} as the first step takes names of streams; got none", place, stream, index)

    def _outputs_read(self, spec: StepSpec, found: _Found, stream: str, index: int) -> None:
        """Check that what is read beside whole streams are outputs of their steps, each of one step."""
        for read in targets(found.streams):
            source, dot, output = read.partition(".")
            there = self.outputs.get(source)
            if not dot or there is None or there.count(output) == 1:
                continue
            if output in there:
                message = f"two steps of {source!r} have an output {output!r}; make one of them a stream of its own"
            else:
                names = [f"{source}.{name}" for name in there]
                guess = nearest(read, names)
                all_of = f"; there are {listed(map(repr, names))}" if names else "; no step of it has one"
                message = f"stream {source!r} has no output {output!r}{did_you_mean(guess) or all_of}"
            self._note(message, spec.places.at(_path_of(spec.parameters, read)), stream, index)

    def _outputs(
        self,
        spec: StepSpec,
        operator: Operator,
        parameters: Mapping[str, Any],
        bindings: Bindings,
        stream: str,
        index: int,
    ) -> dict[str, Any]:
        """The types of the outputs that a step has beside its main one."""
        outputs = operator.outputs(parameters)
        for name in outputs:
            if not (name.isascii() and name.isidentifier()):
                message = f"{operator.name}: an output's name is made of letters, digits and '_'; got {name!r}"
                path = _path_of(spec.parameters, name) or (name,)
                self._note(message, spec.places.at(path, name=True), stream, index)
        return {name: emitted(kind, bindings) for name, kind in outputs.items()}

    def _edges(
        self, spec: StepSpec, found: _Found, stream: str, index: int, flowing: Any, previous: str
    ) -> tuple[Any, Bindings]:
        """Check what flows into a step; the type of what flows out, and what the type variables stand for."""
        operator = found.operator
        bindings: Bindings = {}
        if operator is None:
            read = str(spec.parameters.get("stream"))
            return (self.types.get(read, Any) if spec.operator == FROM else Any), bindings
        incoming: list[tuple[str, Any, str, Path]] = []
        if index > 0 and operator.inputs:
            incoming.append((operator.inputs[0], flowing, previous, ()))
        for name, target in found.streams.items():
            for each in target if isinstance(target, list) else [target]:
                path = _path_of(spec.parameters, each)
                incoming.append((name, self.types.get(each, Any), f"stream {each!r}", path))
        for name, arriving, origin, path in incoming:
            accepted = operator.accepts(name)
            if fits(arriving, accepted, bindings):
                if objection := operator.objection(arriving):
                    self._note(objection, spec.places.at(path), stream, index)
                continue
            which = "" if name == operator.inputs[0] else f" as {name!r}"
            message = f"{operator.name} takes {type_name(accepted)}{which}, got {type_name(arriving)} from {origin}"
            if name == operator.inputs[0]:
                message += between(arriving, accepted)
            self._note(message, spec.places.at(path), stream, index)
        if operator.variadic_input is not None and operator.accepts(operator.inputs[0]) == operator.emits:
            return (union([arriving for _, arriving, _, _ in incoming]) if incoming else Any), bindings
        return emitted(operator.emits, bindings), bindings

    def _inside(
        self,
        spec: StepSpec,
        operator: Operator,
        parameters: Mapping[str, Any],
        flowing: Any,
        emits: Any,
        stream: str,
        index: int,
    ) -> Any:
        """Check what flows between the steps inside a step; the type of what flows out of it."""
        for key in (name for name, hint in operator.hints.items() if "steps" in getattr(hint, "__metadata__", ())):
            if key not in parameters:
                return Any  # something is wrong with them
            for number, step in enumerate(parameters[key]):
                bindings: Bindings = {}
                accepted = step.operator.accepts(step.operator.inputs[0])
                if not fits(flowing, accepted, bindings):
                    takes = f"{step.operator.name} takes {type_name(accepted)}, got {type_name(flowing)}"
                    message = f"{spec.operator}: {key}.{number}: {takes}{between(flowing, accepted)}"
                    self._note(message, spec.places.at((key, number)), stream, index)
                flowing = emits = emitted(step.operator.emits, bindings)
        return emits

    def _filled(self, spec: StepSpec, operator: Operator, stream: str, index: int) -> Filled:
        """The parameters with their variables replaced."""
        inputs = operator.inputs
        filled = self.checker.scope.fill(dict(spec.parameters), skip=lambda path: path[0] in inputs)
        for path, message, column in filled.problems:
            place = spec.places.at(path)
            self._note(f"{_dotted(path)}: {message}", place and place.moved(column), stream, index)
        return filled

    def _parameters(
        self, spec: StepSpec, operator: Operator, filled: Filled, stream: str, index: int
    ) -> Mapping[str, Any] | None:
        """The converted parameters; None where they cannot be used."""
        try:
            return self._validated(operator, filled)
        except ParameterError as error:
            for problem in error.problems:
                self._parameter_problem(problem, operator, filled, spec, stream, index)
        except TypeError as error:  # the operator itself is at fault
            self._note(str(error), spec.places.at(()), stream, index)
        return None

    def _validated(self, operator: Operator, filled: Filled) -> dict[str, Any]:
        try:
            return operator.validate(filled.value, self.graph.folder)
        except ParameterError:
            if not filled.texts:
                raise
        return operator.validate(filled.with_texts(), self.graph.folder)

    def _parameter_problem(
        self, problem: ParameterProblem, operator: Operator, filled: Filled, spec: StepSpec, stream: str, index: int
    ) -> None:
        path = problem.path
        if any(path == unset[: len(path)] for unset in filled.unset if path) or path in filled.unset:
            return
        place = spec.places.at(path, name=problem.on_name)
        if place is not None and problem.column and path not in filled.changed:
            place = place.moved(problem.column)
        message = filled.safe(problem.message, path) if not problem.on_name else problem.message
        inner = _dotted(path[:-1] if problem.on_name else path)
        head = f"{operator.name}: {inner}: " if inner else f"{operator.name}: "
        self._note(head + message, place, stream, index)

    def _note(self, message: str, place: Place | None, stream: str, index: int) -> None:
        self.checker.note(message, place, stream, index)


def _required(operator: Operator, name: str) -> bool:
    parameter = operator.signature.parameters[name]
    return parameter.default is parameter.empty


def _path_of(parameters: Mapping[str, Any], target: str) -> Path:
    """Where in the parameters a stream is named."""
    for name, value in parameters.items():
        if value == target:
            return (name,)
        if isinstance(value, list) and target in value:
            return (name, value.index(target))
    return ()


def _dotted(path: Path) -> str:
    return ".".join(str(part) for part in path)
