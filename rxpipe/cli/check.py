"""`rxpipe check`: all problems of a graph at once, and what is seldom meant."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rxpipe.errors import Problem
    from rxpipe.graph import Graph


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "check",
        help="check graphs and tell all their problems",
        description="Check graphs and tell all their problems at once, with their places. Exits 78 if there are any. "
        "Warns of what is allowed and seldom meant; what is meant is said in the graph, as in "
        "'allow: {unread: STREAM}'. The Python functions and plugins that a graph names are imported, as running it "
        "does.",
    )
    parser.add_argument("graph", nargs="+", help="a YAML file, or the name of a shipped graph")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="set a parameter of the graph")
    parser.add_argument("--strict", action="store_true", help="exit 78 also if there are warnings only")
    parser.add_argument("--json", action="store_true", help="print one JSON object, for editors and scripts")


def execute(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    from rxpipe.cli import GRAPH_WRONG
    from rxpipe.cli._problems import tell
    from rxpipe.errors import GraphError, counted
    from rxpipe.language.config import load
    from rxpipe.runtime.logs import configure

    configure("ERROR")
    problems: dict[str, Sequence[Problem]] = {}
    warnings: dict[str, Sequence[Problem]] = {}
    for source in args.graph:
        problems[source], warnings[source], good = (), (), ""
        try:
            graph = load(source, sets=args.set, tests=True)
            warnings[source] = _warnings(graph, args.set)
            good = _good(source, graph, len(warnings[source]))
        except GraphError as error:
            problems[source] = error.problems
        if not args.json:
            for found in (*problems[source], *warnings[source]):
                tell(found)
            if good:
                print(good)
    count = sum(map(len, problems.values()))
    if args.json:
        print(_json(problems, warnings))
    elif count:
        print(counted(count, "problem"), file=sys.stderr)
    return GRAPH_WRONG if count or (args.strict and any(warnings.values())) else 0


def _warnings(graph: Graph, sets: list[str]) -> Sequence[Problem]:
    """The warnings of a graph without problems; one whose required parameters are not set cannot be said much of."""
    from rxpipe.language.lints import lint
    from rxpipe.language.values import read_sets

    values = read_sets(graph, sets)
    if any(param.required and name not in values for name, param in graph.params.items()):
        return ()
    return lint(graph.plan(**values))


def _good(source: str, graph: Graph, warnings: int) -> str:
    from rxpipe.errors import counted

    steps = sum(len(stream) for stream in graph.streams.values())
    counts = [counted(len(graph.streams), "stream"), counted(steps, "step")]
    counts += [counted(len(graph.tests), "test")] * bool(graph.tests)
    counts += [counted(warnings, "warning")] * bool(warnings)
    return f"{source}: good ({', '.join(counts)})"


def _json(problems: dict[str, Sequence[Problem]], warnings: dict[str, Sequence[Problem]]) -> str:
    """What was found, by graph."""
    import orjson

    made = {
        source: {
            "good": not problems[source],
            "problems": [_plain(found) for found in problems[source]],
            "warnings": [_plain(found) for found in warnings[source]],
        }
        for source in problems
    }
    return orjson.dumps(made, option=orjson.OPT_INDENT_2).decode()


def _plain(found: Problem) -> dict[str, Any]:
    place = found.place
    at = {"file": place.file, "line": place.line, "column": place.column} if place is not None else {}
    lint = getattr(found, "lint", None)
    return {
        **at,
        "stream": found.stream,
        "step": found.step,
        "message": found.message,
        **({"lint": lint} if lint else {}),
    }
