"""`rxpipe test`: the tests of graphs, under virtual time."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rxpipe.testing.graphtest import Outcome

_COLOURS = {"passed": "32", "failed": "31"}


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "test",
        help="run the tests of graphs",
        description="Run the tests in the `tests:` sections of graphs, under virtual time and in folders of their own. "
        "Exits 1 if one failed, 78 if a graph or one of its tests is wrong.",
    )
    parser.add_argument(
        "graph", nargs="*", help="a YAML file, or the name of a shipped graph; by default all shipped graphs"
    )
    parser.add_argument(
        "-k",
        dest="names",
        action="append",
        default=[],
        metavar="TEXT",
        help="run the tests with this text in their name",
    )
    parser.add_argument("--junit", metavar="FILE", help="write what became of the tests as JUnit XML, too")


def execute(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    from rxpipe.cli import FAILED, GRAPH_WRONG
    from rxpipe.cli._problems import tell
    from rxpipe.errors import GraphError, counted
    from rxpipe.language import shipped
    from rxpipe.runtime.logs import configure

    configure("ERROR")
    outcomes: dict[str, list[Outcome]] = {}
    problems = 0
    for source in args.graph or shipped.names():
        try:
            outcomes[source] = _tested(source, args.names)
        except GraphError as error:
            problems += len(error.problems)
            for problem in error.problems:
                tell(problem)
    if args.junit is not None:
        _write(args.junit, outcomes)
    every = [outcome for found in outcomes.values() for outcome in found]
    failed = sum(bool(outcome.failures) for outcome in every)
    if args.names and not every and not problems:
        print(f"no test is named like {' or '.join(map(repr, args.names))}", file=sys.stderr)
        return FAILED
    seconds = sum(outcome.seconds for outcome in every)
    print(f"{counted(len(every), 'test')}, {failed} failed, in {seconds:.2f} s")
    if problems:
        print(counted(problems, "problem"), file=sys.stderr)
    return GRAPH_WRONG if problems else FAILED if failed else 0


def _tested(source: str, names: list[str]) -> list[Outcome]:
    """Run the tests of one graph, and print a line for each.

    Raises:
        GraphError: With all problems of the graph and its tests.
    """
    from rxpipe.language.config import load
    from rxpipe.testing.graphtest import run_case
    from rxpipe.testing.section import cases_of

    graph = load(source, tests=True)
    outcomes = []
    for case in cases_of(graph):
        if names and not any(name in case.name for name in names):
            continue
        outcome = run_case(graph, case)
        outcomes.append(outcome)
        print(f"{_word('failed' if outcome.failures else 'passed')}  {source}: {case.name}")
        for failure in outcome.failures:
            print(*(f"    {line}".rstrip() for line in str(failure).split("\n")), sep="\n")
    return outcomes


def _write(file: str, outcomes: Mapping[str, Sequence[Outcome]]) -> None:
    from rxpipe.errors import RxpipeError
    from rxpipe.views.junit import junit

    try:
        Path(file).write_text(junit(outcomes), encoding="utf-8")
    except OSError as error:
        msg = f"--junit: {file}: must be a file that can be written; got {error.strerror}"
        raise RxpipeError(msg) from error


def _word(word: str) -> str:
    plain = not sys.stdout.isatty() or os.environ.get("NO_COLOR")
    return word if plain else f"\x1b[{_COLOURS[word]}m{word}\x1b[0m"
