"""`rxpipe show`: a graph as a text tree, as Mermaid, as DOT or as SVG, with the element types on its edges."""

from __future__ import annotations

import argparse


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "show",
        help="draw a graph",
        description="Draw a graph as a text tree, as Mermaid, DOT (Graphviz) or SVG, with the types on its edges.",
    )
    parser.add_argument("graph", help="a YAML file, or the name of a shipped graph")
    parser.add_argument("--format", choices=["text", "mermaid", "dot", "svg"], default="text", help="default: text")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="set a parameter of the graph")


def execute(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    from rxpipe.language.config import load  # noqa: PLC0415  # each command imports only what it needs
    from rxpipe.language.values import read_sets  # noqa: PLC0415
    from rxpipe.views.show import show  # noqa: PLC0415

    graph = load(args.graph, sets=args.set)
    print(show(graph.plan(**read_sets(graph, args.set)), args.format))
    return 0
