"""`rxpipe dead-letters`: list what a graph rejected, show one entry, send entries through the graph again."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rxpipe.faults.letters import Selection
    from rxpipe.language.plan import Plan
    from rxpipe.runtime.replay import Kept
    from rxpipe.runtime.settings import Settings

WIDTH = 100
"""How much of a reason a list shows."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "dead-letters",
        help="list, show or send again what a graph rejected",
        description="What a graph's steps to_dead_letters keep: list it, show an entry, send entries through the graph "
        "again from the step that rejected them, each once.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="list the entries that were not sent again")
    showing = actions.add_parser("show", help="show an entry with all that was rejected")
    sending = actions.add_parser("replay", help="send entries through the graph again; it must not be running")
    for action in (listing, showing, sending):
        action.add_argument("graph", help="a YAML file, or the name of a shipped graph")
        action.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="as the run had it")
        action.add_argument("--state", metavar="FILE", help="the state file of the run, if it was named")
    showing.add_argument("id", help="the entry's id, as the list has it")
    for action in (listing, sending):
        action.add_argument("--stream", metavar="NAME", help="those rejected in this stream")
        action.add_argument("--step", metavar="TEXT", help="those of steps with this text in their name")
        action.add_argument("--reason", metavar="TEXT", help="those with this text in their reason")
        action.add_argument("--since", type=_time, metavar="TIME", help="those since 2026-01-31T12:00, or 2h ago")
        action.add_argument("--until", type=_time, metavar="TIME", help="those before that time")
        action.add_argument("--id", action="append", default=[], help="this entry; may be given several times")
    listing.add_argument("--all", action="store_true", help="list those that were sent again, too")
    listing.add_argument("--json", action="store_true", help="print one JSON object a line")
    sending.add_argument(
        "--reset",
        action="append",
        default=[],
        metavar="STREAM",
        help="where the graph was mended: let what is changed in this stream start afresh",
    )
    sending.add_argument("--dry-run", action="store_true", help="list what would be sent")


def _time(text: str) -> float:
    """A moment: a date with or without a time, in UTC unless it says otherwise, or a duration ago."""
    from rxpipe.parameters.units import seconds

    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        try:
            return datetime.now(UTC).timestamp() - seconds(text)
        except ValueError:
            must = f"must be a time as 2026-01-31T12:00, or a duration ago as 2h; got {text!r}"
            raise argparse.ArgumentTypeError(must) from None
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()


def execute(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    from rxpipe.cli.run import state_path
    from rxpipe.faults.letters import Selection
    from rxpipe.language.config import load
    from rxpipe.language.values import read_sets
    from rxpipe.runtime.replay import dead_letters
    from rxpipe.runtime.settings import load_settings

    graph = load(args.graph, sets=args.set)
    plan = graph.plan(**read_sets(graph, args.set))
    settings = load_settings(plan.settings, {"state": args.state})
    state = state_path(plan, settings, once=False)
    if args.action == "show":
        return _show(_named(plan, state, (args.id,))[0])
    if args.id:
        _tell_sent(_named(plan, state, tuple(args.id)))
    chosen = Selection(args.stream, args.step, args.reason, args.since, args.until, tuple(args.id))
    if args.action == "replay" and not args.dry_run:
        return _replay(plan, settings, state, chosen, args.reset)
    found = dead_letters(plan, state, chosen)
    every = args.action == "list" and args.all
    return _list(
        found if every else [kept for kept in found if kept.sent is None], found, as_json=vars(args).get("json")
    )


def _list(shown: list[Kept], found: list[Kept], *, as_json: bool | None) -> int:
    import msgspec

    for kept in shown:
        if as_json:
            entry = msgspec.to_builtins(kept.found.letter) | {"id": kept.found.id, "sent_again": kept.sent}
            print(msgspec.json.encode(entry).decode())
        else:
            print(_line(kept))
    if not as_json:
        sent = sum(kept.sent is not None for kept in found)
        print(f"{len(found):,} entries, {sent:,} of them sent again", file=sys.stderr)
    return 0


def _line(kept: Kept) -> str:
    from rxpipe.errors import escaped, shortened

    letter = kept.found.letter
    place = "" if letter.path is None else f"  {letter.path}"
    place += "" if letter.start is None else f" [{letter.start}:{letter.end}]"
    again = "" if kept.sent is None else f"  (sent again {_moment(kept.sent)})"
    lasting = "" if letter.kind is not None else "  (cannot be sent again)"
    reason = shortened(" ".join(letter.reason.split()), WIDTH)
    return escaped(f"{kept.found.id}  {_moment(letter.time)}  {letter.step}: {reason}{place}{again}{lasting}")


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _named(plan: Plan, state: Path | None, ids: tuple[str, ...]) -> list[Kept]:
    """The entries with these ids, all of which must be there."""
    from rxpipe.errors import RxpipeError
    from rxpipe.faults.letters import Selection
    from rxpipe.runtime.replay import dead_letters

    found = dead_letters(plan, state, Selection(ids=ids))
    missing = [wanted for wanted in ids if wanted not in {kept.found.id for kept in found}]
    if missing:
        msg = f"there must be an entry {missing[0]!r}; got none: `rxpipe dead-letters list --all` has their ids"
        raise RxpipeError(msg)
    return found


def _tell_sent(named: list[Kept]) -> None:
    """Who names an entry is told why it is not sent, nor listed unless all are."""
    for kept in named:
        if kept.sent is not None:
            print(f"{kept.found.id}: was sent again {_moment(kept.sent)}, which is done once", file=sys.stderr)


def _show(kept: Kept) -> int:
    import msgspec

    entry = {"id": kept.found.id, **msgspec.to_builtins(kept.found.letter)}
    entry["time"] = _moment(kept.found.letter.time)
    entry["sent_again"] = None if kept.sent is None else _moment(kept.sent)
    print(msgspec.json.format(msgspec.json.encode(entry), indent=2).decode())
    return 0


def _replay(plan: Plan, settings: Settings, state: Path | None, chosen: Selection, reset: list[str]) -> int:
    import asyncio

    from rxpipe.cli.run import delivered
    from rxpipe.errors import counted
    from rxpipe.runtime.asyncrun import AsyncRun
    from rxpipe.runtime.logs import configure
    from rxpipe.runtime.replay import keepers

    configure(settings.log_level, settings.log_format)
    keepers(plan)

    async def main() -> AsyncRun:
        async with AsyncRun(plan, state=state, settings=settings, replay=chosen, reset=reset) as run:
            await run.wait()
        return run

    run = asyncio.run(main())
    replay = run.engine.replay
    if replay is not None:
        told = f"{replay.sent:,} entries sent again"
        told += f", {counted(run.status().errors, 'error')} of theirs" if run.status().errors else ""
        print(told + (f"; {len(replay.kept):,} cannot be sent" if replay.kept else ""))
    return delivered(run)
