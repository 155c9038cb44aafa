"""Where the state of a graph is kept unless told otherwise: one file for each graph and each set of its values."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from rxpipe.language.hidden import masked
from rxpipe.language.shipped import is_shipped
from rxpipe.language.values import resolve
from rxpipe.language.variables import as_text, references

if TYPE_CHECKING:
    from rxpipe.language.plan import Plan, PlannedStep

_HASH = "-????????"


def default_path(plan: Plan) -> Path:
    """The state file of a graph with its values, in the user's state directory (XDG).

    It is named by the graph; by its file and the folder that it is run from, which its relative paths start from, if
    it is not a shipped graph; and by the values that have a state of their own, with that folder if they tell sources a
    relative path.
    """
    stem, own = _stem(plan), own_values(plan)
    if own:
        here = str(Path.cwd()) if any(map(_is_relative, _texts(_at_sources(plan, own)))) else ""
        text = orjson.dumps([own, here], default=str, option=orjson.OPT_SORT_KEYS)
        stem += f"-{_hash(text.decode())}"
    return state_folder() / f"{stem}.sqlite"


def files_with_any_values(plan: Plan) -> list[Path]:
    """The state files of a graph, whatever its values."""
    return _found(_stem(plan), f"{_stem(plan)}{_HASH}")


def files_of(graph: str) -> list[Path]:
    """The state files of all graphs of a name."""
    return _found(graph, f"{graph}{_HASH}", f"{graph}{_HASH}{_HASH}")


def _found(*stems: str) -> list[Path]:
    return sorted(path for stem in stems for path in state_folder().glob(f"{stem}.sqlite"))


def _stem(plan: Plan) -> str:
    name, file = plan.graph.name, plan.graph.file or ""
    return name if is_shipped(file) else f"{name}-{_hash(f'{Path(file).resolve()}{os.linesep}{Path.cwd()}')}"


def own_values(plan: Plan) -> dict[str, Any]:
    """The values of parameters that have a state of their own: it depends on them, and they are not the defaults.

    Where sinks write something that lasts, only those values have that say where each of them writes: else two states
    would belong to one file, and each run would take back what the other one wrote. Nor have secrets, which a file's
    name must not tell of.
    """
    params = plan.graph.params
    defaults, _ = resolve(plan.graph, {}, {}, lenient=True)
    uses = [(step.operator and step.operator.delivery, names) for step, names in _uses(plan)]
    read = set().union(*(names for delivery, names in uses if delivery != "shown"))
    wanted = read.intersection(*(names for delivery, names in uses if delivery in ("exactly-once", "idempotent")))
    return {
        name: value
        for name, value in plan.values.items()
        if name in wanted and params[name].type != "secret" and value != defaults[name].value
    }


def _uses(plan: Plan) -> Iterator[tuple[PlannedStep, set[str]]]:
    """Each step, with the names of the variables in its parameters."""
    for name, stream in plan.streams.items():
        for step, spec in zip(stream.steps, plan.graph.streams[name], strict=True):
            yield step, references(spec.parameters)


def _at_sources(plan: Plan, own: Mapping[str, Any]) -> list[Any]:
    """The values among these that say where sources read."""
    read = set().union(*(names for step, names in _uses(plan) if step.operator and step.operator.is_source))
    return [value for name, value in own.items() if name in read]


def _is_relative(path: str) -> bool:
    return not path.startswith(("/", "~"))


def described(own: Mapping[str, Any]) -> str:
    """Values for a person who looks for a state, without those that must not be shown."""
    return masked(" ".join(f"{name}={','.join(_texts(value))}" for name, value in own.items()))


def state_folder() -> Path:
    """The user's state directory (XDG)."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "rxpipe"


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()


def _texts(value: Any) -> Iterator[str]:
    """All texts in a value, and other values as texts."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _texts(item)
    else:
        yield as_text(value)
