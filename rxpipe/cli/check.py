"""`rxpipe check`: all problems of a graph at once."""

from __future__ import annotations

import argparse
import os
import sys


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "check",
        help="check graphs and tell all their problems",
        description="Check graphs and tell all their problems at once, with their places. Exits 78 if there are any. "
        "The Python functions and plugins that a graph names are imported, as running it does.",
    )
    parser.add_argument("graph", nargs="+", help="a YAML file, or the name of a shipped graph")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="set a parameter of the graph")


def execute(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    from rxpipe.cli import GRAPH_WRONG  # noqa: PLC0415  # each command imports only what it needs
    from rxpipe.errors import GraphError  # noqa: PLC0415
    from rxpipe.language.config import load  # noqa: PLC0415
    from rxpipe.runtime.logs import configure  # noqa: PLC0415

    configure("ERROR")
    count = 0
    for source in args.graph:
        try:
            graph = load(source, sets=args.set, tests=True)
        except GraphError as error:
            count += len(error.problems)
            for problem in error.problems:
                print(coloured(str(problem)), file=sys.stderr)
        else:
            steps = sum(len(stream) for stream in graph.streams.values())
            counts = [counted(len(graph.streams), "stream"), counted(steps, "step")]
            counts += [counted(len(graph.tests), "test")] * bool(graph.tests)
            print(f"{source}: good ({', '.join(counts)})")
    if count:
        print(counted(count, "problem"), file=sys.stderr)
    return GRAPH_WRONG if count else 0


def coloured(problem: str) -> str:
    """A problem for a terminal: place dimmed, caret in red; as it is for a pipe or with NO_COLOR."""
    if not sys.stderr.isatty() or os.environ.get("NO_COLOR"):
        return problem
    head, *source = problem.split("\n")
    place, space, message = head.partition(": ")
    lines = [f"\x1b[2m{place}:\x1b[0m {message}" if space else head, *source]
    if source:
        lines[-1] = f"\x1b[31m{lines[-1]}\x1b[0m"
    return "\n".join(lines)


def counted(count: int, what: str) -> str:
    """A number of things."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
