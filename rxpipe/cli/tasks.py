"""`rxpipe tasks`: look at the tasks of a batch, and change what becomes of them, also while a run works on them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rxpipe.tasks.manage import Tasks

WIDTH = 60
"""Characters that a line shows of an error."""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "tasks",
        help="list the tasks of a batch, try them again, cancel, pause",
        description="Look at the tasks of a store, and change what becomes of them. A run may work on them meanwhile: "
        "it learns of changes within a second.",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    made = {name: actions.add_parser(name, help=text) for name, text in _ACTIONS.items()}
    for action in made.values():
        action.add_argument("store", metavar="STORE", help="the store, or the graph: its name or its YAML file")
        action.add_argument("--of", metavar="STREAM", help="the stream whose tasks are meant, where several have some")
        action.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="as the run has it")
        action.add_argument("--json", action="store_true", help="print JSON, one object a line")
    made["show"].add_argument("key", nargs="?", help="a task's key; without it, how far all of them are")
    made["requeue"].add_argument("key", nargs="+", help="a task's key")
    made["requeue"].add_argument("--forget", action="store_true", help="forget what was paid for: it is paid again")
    for name in ("retry", "cancel"):
        made[name].add_argument("key", nargs="*", help="a task's key; without any, all that are meant")
    for name in ("list", "export", "cancel"):
        made[name].add_argument("--state", action="append", default=[], metavar="STATE", help="those in this state")
    for name in ("list", "export", "retry"):
        made[name].add_argument("--kind", action="append", default=[], metavar="KIND", help="that failed for this kind")
    made["list"].add_argument("--limit", type=int, metavar="N", help="the first so many")
    made["export"].add_argument("--csv", action="store_true", help="print CSV in place of JSON")


_ACTIONS = {
    "list": "list tasks",
    "show": "show all about a task, or how far all of them are",
    "retry": "have tasks that failed tried again",
    "cancel": "cancel tasks that are not over",
    "requeue": "have tasks done again, whatever became of them",
    "export": "print all tasks with what they were answered",
    "pause": "have no task begun any more",
    "resume": "let tasks be begun",
}


def execute(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    from rxpipe.tasks.manage import Tasks

    tasks = Tasks(store_path(args.store, args.set, args.of))
    if args.action in ("list", "export", "show"):
        _look(args, tasks)
    else:
        told = _changed(args, tasks)
        _print_json(told) if args.json else print(f"{tasks.path}: {told['told']}")
    return 0


def store_path(given: str, sets: list[str], of: str | None) -> Path:
    """The store that is meant: a file, or that of the step `tasks` of a graph.

    Raises:
        RxpipeError: The graph has no such step, or several.
    """
    from rxpipe.language.config import load
    from rxpipe.language.shipped import names
    from rxpipe.language.values import read_sets
    from rxpipe.tasks.dryrun import places
    from rxpipe.tasks.reading import store_of

    path = Path(given).expanduser()
    if path.suffix not in (".yaml", ".yml") and (given not in names() or path.is_file()):
        return path
    graph = load(given, sets=sets)
    plan = graph.plan(**read_sets(graph, sets))
    store = store_of(places(plan), of or "")
    if store is None:
        from rxpipe.errors import RxpipeError

        msg = f"{given}: must have a step 'tasks'; got none"
        raise RxpipeError(msg)
    return store


def _changed(args: argparse.Namespace, tasks: Tasks) -> dict[str, Any]:
    """Do it, and say what was done."""
    from rxpipe.errors import counted
    from rxpipe.tasks.store import OPEN

    if args.action == "pause":
        tasks.pause()
        return {"told": "paused: what is worked on may end; `rxpipe tasks resume` lets tasks be begun again"}
    if args.action == "resume":
        return {"told": "resumed" if tasks.resume() else "was not paused"}
    if args.action == "retry":
        count, what = tasks.retry(args.key, args.kind), "will be tried again"
    elif args.action == "requeue":
        count, what = tasks.requeue(args.key, forget=args.forget), "will be done again"
    else:
        count, what = tasks.cancel(args.key, args.state or OPEN), "cancelled"
    return {"tasks": count, "told": f"{counted(count, 'task')} {what}"}


def _look(args: argparse.Namespace, tasks: Tasks) -> None:
    import msgspec

    if args.action == "list":
        _list(args, tasks)
    elif args.action == "export":
        exported = tasks.export(args.state, args.kind)
        if args.csv:
            _csv(exported)
        else:
            for task in exported:
                _print_json(task)
    elif args.key is not None:
        print(msgspec.json.format(msgspec.json.encode(tasks.show(args.key)), indent=2).decode())
    elif args.json:
        _print_json(tasks.progress())
    else:
        from rxpipe.operators.tasks._words import line

        print(line(tasks.progress()))


def _list(args: argparse.Namespace, tasks: Tasks) -> None:
    """A line for each task; what is no task, the heading and how many they are, stands on standard error."""
    from rxpipe.errors import counted

    count, more = 0, False
    for task in tasks.select(args.state, args.kind):
        more = count == args.limit
        if more:
            break
        if args.json:
            _print_json(task)
        else:
            if not count:
                print(f"{'state':<9}  {'tries':>5}  {'cost':>9}  task", file=sys.stderr)
            print(_line(task))
        count += 1
    if not args.json:
        sys.stdout.flush()
        print(f"the first {count:,}; there are more" if more else counted(count, "task"), file=sys.stderr)


def _line(task: dict[str, Any]) -> str:
    from rxpipe.errors import shortened
    from rxpipe.tasks.report import money

    cost = money(task["cost"]) if task["cost"] else "-"
    why = f"{task['kind']}: {task['error']}" if task["kind"] else ""
    text = f"{task['state']:<9}  {task['attempts']:>5}  {cost:>9}  {task['key']}"
    shown = "".join(char if char.isprintable() else " " for char in f"{text}  {shortened(why, WIDTH)}")
    return shown.rstrip()


def _csv(tasks: Iterable[dict[str, Any]]) -> None:
    """The tasks as CSV; what is no text or number in it is JSON."""
    import csv

    import orjson

    from rxpipe.tasks.reading import COLUMNS

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*COLUMNS, "answers"])
    for task in tasks:
        writer.writerow([*(task[column] for column in COLUMNS), orjson.dumps(task["answers"]).decode()])


def _print_json(value: Any) -> None:
    import msgspec

    print(msgspec.json.encode(value).decode())
