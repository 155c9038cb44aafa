"""`rxpipe show`: a graph with the types on its edges and what is guaranteed at its sinks, or its generated code."""

from __future__ import annotations

import argparse
import os
import shutil
import sys


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "show",
        help="draw a graph",
        description="Draw a graph as a text tree, as Mermaid, DOT (Graphviz) or SVG, with the types on its edges; the "
        "tree tells what is guaranteed on each path from a source to a sink, and the step that weakens it.",
    )
    parser.add_argument("graph", help="a YAML file, or the name of a shipped graph")
    parser.add_argument("--format", choices=["text", "mermaid", "dot", "svg"], default="text", help="default: text")
    parser.add_argument("--json", action="store_true", help="print steps, types and guarantees as one JSON object")
    parser.add_argument("--code", action="store_true", help="print the loops that record-wise steps are fused into")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="set a parameter of the graph")


def execute(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    from rxpipe.language.config import load
    from rxpipe.language.values import read_sets
    from rxpipe.views.show import as_json, show

    graph = load(args.graph, sets=args.set)
    plan = graph.plan(**read_sets(graph, args.set))
    if args.code:
        from rxpipe.views.code import text

        _print_code(text(plan))
    else:
        print(as_json(plan) if args.json else show(plan, args.format, columns()))
    return 0


def columns() -> int | None:
    """How wide the terminal is that is printed to; None where there is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _print_code(code: str) -> None:
    """Print Python; on a terminal in colours of its palette, which can be read on a dark ground and on a light one."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        print(code)
        return
    from rich.console import Console
    from rich.style import Style
    from rich.syntax import ANSISyntaxTheme, Syntax

    keyword = Style(color="cyan")
    theme = ANSISyntaxTheme({
        ("Comment",): Style(dim=True), ("Keyword",): keyword, ("Operator", "Word"): keyword,
        ("Literal", "String"): Style(color="green"),
    })  # fmt: skip
    Console().print(Syntax(code, "python", theme=theme, background_color="default", word_wrap=True))
