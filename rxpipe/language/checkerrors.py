"""A step's `on_error`, checked."""

from __future__ import annotations

from rxpipe.errors import ParameterError
from rxpipe.faults.handling import KEY, read
from rxpipe.faults.retrying import OnError, Retry
from rxpipe.graph import FROM, StepSpec
from rxpipe.language.checkparameters import Note
from rxpipe.language.variables import Scope
from rxpipe.operator import Operator


def checked(spec: StepSpec, operator: Operator | None, scope: Scope, note: Note) -> OnError | None:
    """What a step does with what it cannot handle; None where it does not say, or says nothing that can be used.

    Args:
        spec: The step as written.
        operator: Its operator, if it has one.
        scope: Where variables are looked up.
        note: Takes each problem.
    """
    if spec.on_error is None:
        return None
    place = spec.places.at((KEY,), name=True)
    if operator is None:
        what = "'from' has" if spec.operator == FROM else f"{spec.operator}, which exists only in Python, has"
        note(f"{KEY}: {what} no errors of its own; give it to the step that has", place)
        return None
    filled = scope.fill({KEY: spec.on_error})
    for path, message, column in filled.problems:
        at = spec.places.at(path)
        note(f"{'.'.join(map(str, path))}: {message}", at and at.moved(column))
    if filled.problems or filled.unset:
        return None
    try:
        found = read(filled.value[KEY])
    except ParameterError as error:
        for problem in error.problems:
            path = (KEY, *problem.path)
            at = spec.places.at(path, name=problem.on_name)
            moved = at.moved(problem.column) if at is not None and problem.column and path not in filled.changed else at
            note(f"{'.'.join(map(str, path))}: {filled.safe(problem.message, path)}", moved)
        return None
    if operator.is_source and isinstance(found, Retry):
        note(f"{KEY}: a source has nothing before it to try again; got retry, which any step behind it may have", place)
        return None
    return found
