"""The steps of a graph, checked: operators, parameters, stream inputs, and the types between them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from rxpipe.errors import did_you_mean, listed, nearest
from rxpipe.expressions.known import KnownFields
from rxpipe.faults.retrying import OnError
from rxpipe.graph import FROM, StepSpec
from rxpipe.language.checkbuild import refusals
from rxpipe.language.checkinputs import Found, StepInputs
from rxpipe.language.checkparameters import Note, StepParameters
from rxpipe.language.edges import Bindings, emitted, fits, type_name, union
from rxpipe.language.fieldflow import FieldFlow
from rxpipe.language.guesses import between
from rxpipe.language.plan import PlannedStep, step_fingerprint, targets
from rxpipe.language.variables import Path
from rxpipe.operator import Operator

if TYPE_CHECKING:
    from rxpipe.language.check import _Checker


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
        self.found: dict[tuple[str, int], Found] = {}

    def look_up(self) -> None:
        """First pass: find the operators, and what other streams each step reads."""
        for stream, steps in self.graph.streams.items():
            for index, spec in enumerate(steps):
                known = (stream, index) not in self.checker.broken
                self.found[stream, index] = (
                    StepInputs(self.checker, spec, stream, index).found() if known else Found(None, {}, known=False)
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
            note = partial(self.checker.note, stream=name, step=index)
            if found.known:
                self._outputs_read(spec, found, note)
                emits, bindings = self._edges(spec, found, index, flowing, previous, note)
            if found.operator is None:
                known = self.fields.of(spec.parameters.get("stream") if spec.operator == FROM else None)
            else:
                given = StepParameters(spec, found.operator, self.checker.scope, note)
                parameters, shown = given.converted(self.graph.folder), given.filled.shown
                emits = self._inside(spec, found.operator, parameters or {}, flowing, emits, note)
                if found.known:
                    outputs = self._outputs(spec, found.operator, parameters or {}, bindings, note)
                out = self.fields.behind(found.operator, parameters, known if index > 0 else None, found.streams)
                for problem in out.problems:
                    given.note(problem)
                if parameters is not None and not given.filled.unset and not self._wrong(name, index):
                    for problem in refusals(found.operator, found.streams, parameters, behind=index > 0):
                        given.note(problem)
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
                    on_error=self._on_error(spec, found, note),
                )
            )
            flowing, previous = emits, label
        self.types[name], self.fields.streams[name] = flowing, known
        for step in planned:
            self.types |= {f"{name}.{output}": kind for output, kind in step.outputs.items()}
        if len(self.checker.problems) == before and all(self.found[name, index].known for index in range(len(planned))):
            self.outputs[name] = [output for step in planned for output in step.outputs]
        return planned

    def _on_error(self, spec: StepSpec, found: Found, note: Note) -> OnError | None:
        if spec.on_error is None or not found.known:
            return None
        from rxpipe.language.checkerrors import checked  # few steps say anything of errors

        return checked(spec, found.operator, self.checker.scope, note)

    def _outputs_read(self, spec: StepSpec, found: Found, note: Note) -> None:
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
            note(message, spec.places.at(_path_of(spec.parameters, read)))

    def _outputs(
        self,
        spec: StepSpec,
        operator: Operator,
        parameters: Mapping[str, Any],
        bindings: Bindings,
        note: Note,
    ) -> dict[str, Any]:
        """The types of the outputs that a step has beside its main one."""
        outputs = operator.outputs(parameters)
        for name in outputs:
            if not (name.isascii() and name.isidentifier()):
                message = f"{operator.name}: an output's name is made of letters, digits and '_'; got {name!r}"
                path = _path_of(spec.parameters, name) or (name,)
                note(message, spec.places.at(path, name=True))
        return {name: emitted(kind, bindings) for name, kind in outputs.items()}

    def _edges(
        self, spec: StepSpec, found: Found, index: int, flowing: Any, previous: str, note: Note
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
                    note(objection, spec.places.at(path))
                continue
            which = "" if name == operator.inputs[0] else f" as {name!r}"
            message = f"{operator.name} takes {type_name(accepted)}{which}, got {type_name(arriving)} from {origin}"
            if name == operator.inputs[0]:
                message += between(arriving, accepted)
            note(message, spec.places.at(path))
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
        note: Note,
    ) -> Any:
        """Check what flows between the steps inside a step; the type of what flows out of it."""
        for key in operator.nesting:
            if key not in parameters:
                return Any  # something is wrong with them
            for number, step in enumerate(parameters[key]):
                bindings: Bindings = {}
                accepted = step.operator.accepts(step.operator.inputs[0])
                if not fits(flowing, accepted, bindings):
                    takes = f"{step.operator.name} takes {type_name(accepted)}, got {type_name(flowing)}"
                    message = f"{spec.operator}: {key}.{number}: {takes}{between(flowing, accepted)}"
                    note(message, spec.places.at((key, number)))
                flowing = emits = emitted(step.operator.emits, bindings)
        return emits

    def _wrong(self, stream: str, index: int) -> bool:
        """Whether there is a problem of a step."""
        return any((found.stream, found.step) == (stream, index) for found in self.checker.problems)


def _path_of(parameters: Mapping[str, Any], target: str) -> Path:
    """Where in the parameters a stream is named."""
    for name, value in parameters.items():
        if value == target:
            return (name,)
        if isinstance(value, list) and target in value:
            return (name, value.index(target))
    return ()
