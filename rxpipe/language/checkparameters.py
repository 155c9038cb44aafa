"""The parameters of a step, checked: their variables replaced, and converted to what the operator takes."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from rxpipe.errors import ParameterError, ParameterProblem, Place
from rxpipe.graph import StepSpec
from rxpipe.language.variables import Path, Scope
from rxpipe.operator import Operator

Note = Callable[[str, Place | None], None]
"""Takes a problem of a step, and its place."""


class StepParameters:
    """The parameters of one step, with their variables replaced.

    Args:
        spec: The step as written.
        operator: Its operator.
        scope: Where variables are looked up.
        note: Takes each problem.

    Attributes:
        filled: The parameters.
    """

    def __init__(self, spec: StepSpec, operator: Operator, scope: Scope, note: Note) -> None:
        self._spec = spec
        self._operator = operator
        self._note = note
        self.filled = scope.fill(dict(spec.parameters), skip=lambda path: path[0] in operator.inputs)
        for path, message, column in self.filled.problems:
            place = spec.places.at(path)
            note(f"{_dotted(path)}: {message}", place and place.moved(column))

    def converted(self, folder: pathlib.Path) -> Mapping[str, Any] | None:
        """The converted parameters; None where they cannot be used.

        Args:
            folder: Where data files are looked for.
        """
        try:
            return self._validated(folder)
        except ParameterError as error:
            for problem in error.problems:
                self.note(problem)
        except TypeError as error:  # the operator itself is at fault
            self._note(str(error), self._spec.places.at(()))
        return None

    def _validated(self, folder: pathlib.Path) -> dict[str, Any]:
        try:
            return self._operator.validate(self.filled.value, folder)
        except ParameterError:
            if not self.filled.texts:
                raise
        return self._operator.validate(self.filled.with_texts(), folder)

    def note(self, problem: ParameterProblem) -> None:
        """Tell of a problem, unless it is about a value that is not known."""
        filled, path = self.filled, problem.path
        if any(path == unset[: len(path)] for unset in filled.unset if path) or path in filled.unset:
            return
        place = self._spec.places.at(path, name=problem.on_name)
        if place is not None and problem.column and path not in filled.changed:
            place = place.moved(problem.column)
        message = filled.safe(problem.message, path) if not problem.on_name else problem.message
        inner = _dotted(path[:-1] if problem.on_name else path)
        head = f"{self._operator.name}: {inner}: " if inner else f"{self._operator.name}: "
        self._note(head + message, place)


def _dotted(path: Path) -> str:
    return ".".join(str(part) for part in path)
