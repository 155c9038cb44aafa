"""`rxpipe state`: look at a graph's state file, or reset it."""

from __future__ import annotations

import argparse
from pathlib import Path


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "state",
        help="list or reset saved offsets, operator states and sink positions",
        description="List what a graph's state file holds: offsets of sources, states of operators, places of sinks.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="list offsets, operator states and sink positions")
    reset = actions.add_parser("reset", help="forget the state of one step, or all of it")
    for action in (listing, reset):
        action.add_argument("graph", help="a graph's name, its YAML file, or a state file")
    listing.add_argument("--json", action="store_true", help="print one JSON object a line")
    reset.add_argument(
        "step", nargs="?", help="a step as the list names it, as 'totals[3] dedupe'; without it, everything"
    )


def execute(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    from rxpipe.runtime.state import StateFile  # noqa: PLC0415  # each command imports only what it needs

    path = _path(args.graph)
    if not path.is_file():
        from rxpipe.errors import StateError  # noqa: PLC0415

        msg = f"no state file {path}: the graph has not run, or its state is elsewhere (--state)"
        raise StateError(msg)
    if args.action == "list":
        return _list(path, as_json=args.json)
    file = StateFile(path)
    try:
        known = [name for name, _, _ in file.steps()]
        if args.step is not None and args.step not in known:
            from rxpipe.errors import StateError, did_you_mean, nearest  # noqa: PLC0415

            guess = did_you_mean(nearest(args.step, known))
            msg = f"{path} has no state of {args.step!r}{guess}; it has: {', '.join(known)}"
            raise StateError(msg)
        count = file.reset(args.step)
    finally:
        file.close()
    print(f"{path}: {count} rows of {args.step or 'all steps'} forgotten")
    return 0


def _path(graph: str) -> Path:
    """The state file of a graph named by its name, its YAML file or the state file itself."""
    from rxpipe.runtime.state import default_path  # noqa: PLC0415

    given = Path(graph).expanduser()
    if given.suffix in (".yaml", ".yml"):
        from rxpipe.language.config import load  # noqa: PLC0415
        from rxpipe.runtime.settings import load_settings  # noqa: PLC0415

        loaded = load(graph)
        settings = load_settings(loaded.plan().settings, {})
        return Path(settings.state).expanduser() if settings.state else default_path(loaded.name, loaded.file)
    if given.exists() or given.suffix:
        return given
    path = default_path(graph)
    found = [path] if path.exists() else sorted(path.parent.glob(f"{graph}-????????.sqlite"))
    if len(found) > 1:
        from rxpipe.errors import StateError  # noqa: PLC0415

        listed = "".join(f"\n    {file}" for file in found)
        msg = f"graph {graph!r} has run from several files or folders; name its YAML file, or one of these:{listed}"
        raise StateError(msg)
    return found[0] if found else path


def _list(path: Path, *, as_json: bool) -> int:
    from rxpipe.errors import shortened  # noqa: PLC0415
    from rxpipe.runtime.state import open_readonly, readable  # noqa: PLC0415

    with open_readonly(path) as file:
        for step, kind, description, key, part, value in readable(file):
            if as_json:
                import orjson  # noqa: PLC0415

                row = {"step": step, "kind": kind, "holds": description, "key": key, "part": part, "value": value}
                print(orjson.dumps(row, default=str).decode())
            else:
                print(f"{kind:8} {step}: {key}{' ' + part if part else ''}  {shortened(str(value), 100)}")
    return 0
