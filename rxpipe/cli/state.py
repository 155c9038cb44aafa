"""`rxpipe state`: look at a graph's state file, reset it, or copy its last checkpoint to a savepoint."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rxpipe.errors import StateError


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "state",
        help="list, reset or copy saved offsets, operator states and sink positions",
        description="List what a graph's state file holds: offsets of sources, states of operators, places of sinks.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="list offsets, operator states and sink positions")
    reset = actions.add_parser("reset", help="forget the state of one step, or all of it")
    saving = actions.add_parser(
        "savepoint", help="copy the last checkpoint to a file that `rxpipe run --from-savepoint` goes back to"
    )
    for action in (listing, reset, saving):
        action.add_argument("graph", help="a graph's name, its YAML file, or a state file")
        action.add_argument(
            "--set", action="append", default=[], metavar="NAME=VALUE", help="the state of a run with this value"
        )
    saving.add_argument("to", metavar="FILE", help="the savepoint, a new file")
    listing.add_argument("--json", action="store_true", help="print one JSON object a line, for every row")
    reset.add_argument(
        "step", nargs="?", help="a step as the list names it, as 'totals[3] dedupe'; without it, everything"
    )


def execute(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    from rxpipe.errors import StateError, did_you_mean, nearest
    from rxpipe.runtime.state import StateFile

    path, others = _path(args.graph, args.set)
    if not path.is_file():
        msg = f"no state file {path}: the graph has not run, or its state is elsewhere (--state)"
        raise StateError(msg)
    if args.action == "list":
        return _list(path, others, as_json=args.json)
    if args.action == "savepoint":
        return _save(path, Path(args.to))
    file = StateFile(path)
    try:
        known = [name for name, _, _ in file.steps()]
        if args.step is not None and args.step not in known:
            guess = did_you_mean(nearest(args.step, known))
            msg = f"{path} has no state of {args.step!r}{guess}; it has: {', '.join(known)}"
            raise StateError(msg)
        count = file.reset(args.step)
    finally:
        file.close()
    print(f"{path}: {count} rows of {args.step or 'all steps'} forgotten")
    return 0


def _save(path: Path, to: Path) -> int:
    from rxpipe.runtime.savepoint import savepoint

    savepoint(path, to)
    print(f"{to}: the last checkpoint of {path}; `rxpipe run GRAPH --from-savepoint {to}` goes back to it")
    return 0


def _path(graph: str, sets: list[str]) -> tuple[Path, list[Path]]:
    """The state file that a run of the graph has, or the only one of that name, or the file itself; and others."""
    from rxpipe.language.shipped import names
    from rxpipe.runtime.statepath import files_of, state_folder

    given = Path(graph).expanduser()
    if given.suffix in (".yaml", ".yml") or graph in names():
        path, found = _of_run(graph, sets)
        if path.is_file() or sets:
            return path, [other for other in found if other != path]
    elif given.is_file() or given.suffix:
        return given, []
    else:
        path, found = state_folder() / f"{graph}.sqlite", files_of(graph)
    if len(found) > 1:
        raise _several(graph, found)
    return found[0] if found else path, []


def _of_run(graph: str, sets: list[str]) -> tuple[Path, list[Path]]:
    """The state file of a run with these values, and all that there are of runs with others."""
    from rxpipe.language.config import load
    from rxpipe.language.values import read_sets
    from rxpipe.runtime.settings import load_settings
    from rxpipe.runtime.statepath import default_path, files_with_any_values

    loaded = load(graph, sets=sets)
    plan = loaded.plan(**read_sets(loaded, sets))
    settings = load_settings(plan.settings, {})
    if settings.state:
        return Path(settings.state).expanduser(), []
    return default_path(plan), files_with_any_values(plan)


def _several(graph: str, found: list[Path]) -> StateError:
    from rxpipe.errors import StateError

    listed = "".join(f"\n    {_named(file)}" for file in found)
    return StateError(
        f"graph {graph!r} has run from several files or folders, or with several values; name its YAML file, give the "
        f"values with --set, or name one of these:{listed}"
    )


def _named(path: Path) -> str:
    """A state file with the values that it belongs to."""
    from rxpipe.errors import StateError
    from rxpipe.runtime.statereading import meta_of, open_readonly

    values = ""
    with contextlib.suppress(StateError), open_readonly(path) as db:  # it is told of when it is chosen
        values = meta_of(db, "values")
    return f"{path}  {values}" if values else str(path)


def _list(path: Path, others: list[Path], *, as_json: bool) -> int:
    from rxpipe.runtime.statereading import open_readonly, readable

    with open_readonly(path) as file:
        if as_json:
            from rxpipe.views.document import json_text

            for step, kind, description, key, part, value in readable(file):
                row = {"step": step, "kind": kind, "holds": description, "key": key, "part": part, "value": value}
                print(json_text(row))
            return 0
        from rxpipe.views.states import listing

        print(_named(path))
        for line in listing(readable(file)):
            print(line)
    if others:
        print("the graph has further states, of runs with other values:", file=sys.stderr)
        for other in others:
            print(f"    {_named(other)}", file=sys.stderr)
    return 0
