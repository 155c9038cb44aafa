"""`rxpipe schema`: the JSON Schema of graph files, for editors."""

from __future__ import annotations

import argparse


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "schema",
        help="print the JSON Schema of graph files",
        description="Print the JSON Schema (draft 2020-12) of graph files with every operator, those of installed "
        "plugins too, and with a graph those of its plugin folders. An editor that knows YAML by schema completes and "
        "checks a graph whose first line is '# yaml-language-server: $schema=FILE', where FILE is what was printed.",
    )
    parser.add_argument("graph", nargs="?", help="a YAML file, or the name of a shipped graph, whose plugins count")


def execute(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    import orjson

    from rxpipe.language import config, shipped
    from rxpipe.views.schema import graph_schema

    if args.graph is not None:  # also of a graph that is wrong, which is what it is wanted for
        path = shipped.find(args.graph)
        config.read(path.read_text(encoding="utf-8-sig"), file=str(path), folder=path.parent)
    print(orjson.dumps(graph_schema(), option=orjson.OPT_INDENT_2).decode())
    return 0
