"""Problems of graphs on standard error: coloured and as wide as a terminal, plain for anything else."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from rxpipe.errors import Problem, counted
from rxpipe.language.hidden import masked


def tell_all(problems: Sequence[Problem]) -> None:
    """Print the problems of a graph, and how many they are."""
    for problem in problems:
        tell(problem)
    if len(problems) > 1:
        print(counted(len(problems), "problem"), file=sys.stderr)


def tell(problem: Problem) -> None:
    """Print a problem."""
    print(_coloured(masked(problem.told(_columns()))), file=sys.stderr)


def _columns() -> int | None:
    """How wide the terminal is; None where there is none."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or None
    except (OSError, ValueError):
        return None


def _coloured(problem: str) -> str:
    """A problem for a terminal: place dimmed, caret in red; as it is for a pipe or with NO_COLOR."""
    if not sys.stderr.isatty() or os.environ.get("NO_COLOR"):
        return problem
    head, *source = problem.split("\n")
    place, space, message = head.partition(": ")
    lines = [f"\x1b[2m{place}:\x1b[0m {message}" if space else head, *source]
    if source:
        lines[-1] = f"\x1b[31m{lines[-1]}\x1b[0m"
    return "\n".join(lines)
