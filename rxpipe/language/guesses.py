"""What an error may suggest beside the nearest name."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from rxpipe.errors import did_you_mean, nearest
from rxpipe.graph import FROM
from rxpipe.language.edges import Bindings, emitted, fits
from rxpipe.language.elsewhere import ELSEWHERE
from rxpipe.registry import REACTIVE, registry

_LISTED = "; 'rxpipe operators rx' lists all"


def unknown_operator(name: str) -> str:
    """The message for an operator that does not exist; names the plugins that could not be loaded."""
    if name.startswith(REACTIVE):
        return _unknown_reactive(name)
    guess = ELSEWHERE.get(name)
    if guess is None and f"{REACTIVE}{name}" in registry.reactive_names():
        guess = f"{REACTIVE}{name}"
    if guess is None:
        guess = nearest(name, [*registry.names(), FROM])
    message = f"unknown operator {name!r}{did_you_mean(guess)}"
    failures = registry.failures()
    if failures:
        reasons = "; ".join(f"{where}: {reason}" for where, reason in failures.items())
        message += f" (plugins that could not be loaded: {reasons})"
    elif guess is None:
        message += "; 'rxpipe operators' lists all"
    return message


def _unknown_reactive(name: str) -> str:
    refusal = registry.reactive_refusals().get(name)
    if refusal is not None:
        return f"operator {name!r} of reactivex has no place in a graph: {refusal}"
    guess = did_you_mean(nearest(name, registry.reactive_names()))
    return f"unknown operator {name!r}{guess or _LISTED}"


def between(arriving: Any, accepted: Any) -> str:
    """The end of a message: operators that would make what arrives into what is accepted."""
    if arriving is Any:
        return ""
    names = []
    for name in registry.names():
        operator = None
        with suppress(ImportError):
            operator = registry.get(name)
        if operator is None or operator.is_source or len(operator.inputs) != 1 or operator.emits is Any:
            continue
        takes = operator.accepts(operator.inputs[0])
        bindings: Bindings = {}
        if takes is not Any and fits(arriving, takes, bindings) and fits(emitted(operator.emits, bindings), accepted):
            names.append(operator.name)
    return f"; {' or '.join(map(repr, names[:3]))} could stand between them" if names else ""
