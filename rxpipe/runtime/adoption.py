"""A graph takes over a state file: what is unchanged goes on, what is new starts afresh, the rest is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from rxpipe.errors import StateError, did_you_mean, nearest
from rxpipe.language.lineage import Lineage, lineages
from rxpipe.log import logger
from rxpipe.runtime.statepath import described, own_values

if TYPE_CHECKING:
    from rxpipe.language.plan import Plan
    from rxpipe.runtime.state import StateFile

_STEPS = "steps"
"""The fact under which a state file has the lineages of the graph that wrote it."""


def adopt(file: StateFile, plan: Plan, reset: Iterable[str] = ()) -> None:
    """Make a state file this graph's.

    A step goes on with its state if its stream has the same name, and it and all before it do the same. A state that
    belongs to no step is refused, but for that of a graph in which nothing has written anything lasting, which is
    dropped. In the streams named in `reset` it is forgotten instead; a sink that itself does the same keeps its
    position: so what a killed run wrote behind it is still taken back.

    Raises:
        StateError: The file is another graph's, a state fits nothing, or `reset` names what is no stream.
    """
    new = lineages(plan)
    saved = file.meta(_STEPS)
    old = {} if saved is None else msgspec.json.decode(saved, type=dict[str, Lineage])
    kept = file.steps()
    asked = set(reset)
    _check(asked, {*plan.streams, *(_stream(name) for name, *_ in kept)})
    same = file.meta("fingerprint") == plan.fingerprint
    lasting = any(kind == "sink" for _, kind, _ in kept)
    changed = old != new if same else lasting
    if old and changed and file.meta("graph") == plan.graph.name:
        _match(file, plan, old, new, asked)
    file.adopt(plan.graph.name, plan.fingerprint, described(own_values(plan)))
    file.note({_STEPS: msgspec.json.encode(new).decode()})


def _check(reset: set[str], streams: set[str]) -> None:
    for name in sorted(reset - streams):
        guess = did_you_mean(nearest(name, streams))
        msg = f"--reset: must name a stream of the graph, or of its state; got {name!r}{guess}"
        raise StateError(msg)


def _match(
    file: StateFile, plan: Plan, old: Mapping[str, Lineage], new: Mapping[str, Lineage], reset: set[str]
) -> None:
    """Give each saved state to the step that it belongs to."""
    names: dict[str, str] = {}
    forgotten: list[str] = []
    unfit: dict[str, list[str]] = {}
    for step, kind, _ in file.steps():
        stream = _stream(step)
        found = _same(stream, old.get(step), new, own=False)
        if found is None and stream in reset and kind == "sink":
            found = _same(stream, old.get(step), new, own=True)
        if found is not None:
            names[step] = found
        elif stream in reset:
            forgotten.append(step)
        else:
            unfit.setdefault(stream, []).append(step)
    if unfit:
        raise _unfit(file.path, plan, unfit, {step for step, kind, _ in file.steps() if kind == "source"})
    _move_spools(file.path, {step: name for step, name in names.items() if step != name})
    file.move(names, forgotten, {"fingerprint": plan.fingerprint})
    for step in forgotten:
        logger.warning("{}: its state is forgotten, it starts afresh", step)
    begun = sorted({_stream(name) for name in new} - {_stream(name) for name in old})
    if begun:
        logger.info("the graph has new streams, which start with what comes from now on: {}", ", ".join(begun))


def _same(stream: str, was: Lineage | None, new: Mapping[str, Lineage], *, own: bool) -> str | None:
    """The step of a stream that does what one did."""
    for name, lineage in new.items():
        if was is not None and _stream(name) == stream and lineage[own] == was[own]:
            return name
    return None


def _unfit(path: Path, plan: Plan, unfit: Mapping[str, list[str]], sources: set[str]) -> StateError:
    told = [
        f"{step} does something else now, or what it reads does" if stream in plan.streams else f"{step} is gone"
        for stream, steps in unfit.items()
        for step in steps
    ]
    flags = " ".join(f"--reset {stream}" for stream in unfit)
    again = sorted(sources.intersection(*[[step for steps in unfit.values() for step in steps]]))
    warned = f"; {', '.join(again)} would then read everything again, and sinks behind it get it twice" if again else ""
    return StateError(
        f"state file {path}: each state must belong to a step of graph {plan.graph.name!r}; got some that fit nothing: "
        f"{'; '.join(told)}. Undo the change; or forget these states, so that the steps start afresh with what comes "
        f"from now on: rxpipe run {plan.graph.file or plan.graph.name} {flags}{warned}"
    )


def _stream(step: str) -> str:
    """The stream that a step is in, by its name."""
    return step.partition("[")[0]


def spool_of(state: Path, step: str | None = None) -> Path:
    """The folder beside a state file for data that is too large for it, of all steps or of one."""
    folder = Path(f"{state}.spool")
    return folder if step is None else folder / quote(step, safe=" []")


def _move_spools(state: Path, names: Mapping[str, str]) -> None:
    """What is beside the state file goes with it; done before the names change, and again where that was cut short."""
    left = dict(names)
    while left:
        step = next((step for step, name in left.items() if name not in left), next(iter(left)))
        name = left.pop(step)
        if spool_of(state, step).exists() and not spool_of(state, name).exists():
            spool_of(state, step).rename(spool_of(state, name))
