"""The first pass of the check of a step: which operator it is, and what it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from reactivex import Observable

from rxpipe.errors import Place, did_you_mean, listed, nearest
from rxpipe.graph import ERRORS, FROM, StepSpec, stream_of
from rxpipe.language.edges import type_name
from rxpipe.language.guesses import unknown_operator
from rxpipe.language.variables import Path
from rxpipe.operator import Operator
from rxpipe.registry import registry

if TYPE_CHECKING:
    from rxpipe.language.check import _Checker


class Found(msgspec.Struct):
    """What was found out about one step."""

    operator: Operator | None
    streams: dict[str, str | list[str]]
    known: bool
    """Whether the step could be understood well enough for more to be said of it."""


class StepInputs:
    """Finds out what one step is and reads.

    Args:
        checker: The check of the whole graph.
        spec: The step as written.
        stream: The stream it is in.
        index: Where it is in its stream.
    """

    def __init__(self, checker: _Checker, spec: StepSpec, stream: str, index: int) -> None:
        self._checker = checker
        self._spec = spec
        self._stream = stream
        self._index = index

    def found(self) -> Found:
        """What it is, and what it reads; problems are noted."""
        if self._spec.function is not None:
            source = isinstance(self._spec.function, Observable)
            if source != (self._index == 0):
                must = "an observable can only be the first step" if source else "the first step must be a source"
                self._note(f"{must}; got {self._spec.operator}", self._spec.places.at(()))
            return Found(None, {}, known=True)
        if self._spec.operator == FROM:
            return self._from()
        try:
            operator = registry.get(self._spec.operator)
        except Exception as error:  # whatever importing an operator's module raises
            message = f"operator {self._spec.operator!r} cannot be loaded: {type(error).__name__}: {error}"
            self._note(message, self._spec.places.at(()))
            return Found(None, {}, known=False)
        if operator is None:
            self._note(unknown_operator(self._spec.operator), self._spec.places.at(()))
            return Found(None, {}, known=False)
        streams = self._inputs(operator)
        self._position(operator, streams)
        return Found(operator, streams, known=True)

    def _from(self) -> Found:
        place = self._spec.places.at(())
        known = True
        if self._index > 0:
            must = "'from' can only be the first step"
            self._note(f"{must}; to add another stream to this one, use 'merge: [NAME]'", place)
            known = False
        name = self._spec.parameters.get("stream")
        others = [other for other in self._spec.parameters if other != "stream"]
        if others or not isinstance(name, str):
            got = others[0] if others else name
            self._note(f"'from' takes the name of a stream; got {got!r}", self._spec.places.at(("stream",)))
            return Found(None, {}, known=False)
        known = self._reads(name, self._spec.places.at(("stream",))) and known
        return Found(None, {"stream": name}, known=known)

    def _inputs(self, operator: Operator) -> dict[str, str | list[str]]:
        """The other streams that a step reads, by input."""
        streams: dict[str, str | list[str]] = {}
        for name in operator.inputs:
            first = name == operator.inputs[0]
            if first or name not in self._spec.parameters:
                if first and name in self._spec.parameters:
                    message = f"unknown parameter {name!r}; what {operator.name!r} reads is the step before it"
                    self._note(message, self._spec.places.at((name,), name=True))
                elif not first and name != operator.variadic_input and _required(operator, name):
                    message = f"parameter {name!r} is missing: the name of a stream"
                    self._note(f"{operator.name}: {message}", self._spec.places.at(()))
                continue
            value = self._spec.parameters[name]
            names = value if name == operator.variadic_input and isinstance(value, list) else [value]
            for position, target in enumerate(names):
                path: Path = (name, position) if isinstance(value, list) else (name,)
                place = self._spec.places.at(path)
                if not isinstance(target, str):
                    message = f"{operator.name}: {name!r} takes the name of a stream; got {target!r}"
                    self._note(message, place)
                else:
                    self._reads(target, place)
            streams[name] = [str(target) for target in names] if name == operator.variadic_input else str(value)
        variadic = operator.variadic_input
        if variadic is not None and self._index == 0 and operator.inputs[0] != variadic:
            named = list(streams.get(variadic, []))
            if named:
                streams = {**streams, operator.inputs[0]: named[0], variadic: named[1:]}
        return streams

    def _reads(self, target: str, place: Place | None) -> bool:
        """Note that a stream reads another, or an output of its steps; whether there is such a stream."""
        if target == ERRORS:
            return True
        if stream_of(target) in self._checker.graph.streams:
            self._checker.reads[self._stream].append((target, place, self._index))
            return True
        names = list(dict.fromkeys([*self._checker.graph.streams, ERRORS]))
        guess = nearest(stream_of(target), names)
        tail = did_you_mean(guess) if guess else f"; there are {listed(map(repr, names))}"
        self._note(f"unknown stream {target!r}{tail}", place)
        return False

    def _position(self, operator: Operator, streams: dict[str, str | list[str]]) -> None:
        """A source first, and nowhere else."""
        place = self._spec.places.at(())
        if operator.is_source and self._index > 0:
            message = f"{operator.name!r} is a source and can only be the first step; give it a stream and merge that"
            self._note(message, place)
        if operator.is_source or self._index > 0:
            return
        if operator.variadic_input is None:
            takes = type_name(operator.accepts(operator.inputs[0]))
            must = "the first step must be a source, 'from: NAME' or 'merge: [A, B]'"
            self._note(f"{must}; got {operator.name!r}, which takes {takes} from a step before it", place)
        elif not any(streams.values()):
            self._note(f"{operator.name!r} as the first step takes names of streams; got none", place)

    def _note(self, message: str, place: Place | None) -> None:
        self._checker.note(message, place, self._stream, self._index)


def _required(operator: Operator, name: str) -> bool:
    parameter = operator.signature.parameters[name]
    return parameter.default is parameter.empty
