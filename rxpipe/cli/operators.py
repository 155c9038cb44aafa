"""`rxpipe operators`: all operators by family, or the reference of one."""

from __future__ import annotations

import argparse


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "operators",
        help="list the operators, or explain one",
        description="List the operators by family, or explain one: what it does, what goes in and out, its parameters.",
    )
    parser.add_argument("name", nargs="?", help="an operator; 'rx' lists those of reactivex")
    parser.add_argument("--markdown", action="store_true", help="write Markdown")
    parser.add_argument(
        "--plugins", action="append", default=[], metavar="FOLDER", help="a folder with further operators"
    )


def execute(args: argparse.Namespace) -> int:
    """Run the command; returns the exit code."""
    from pathlib import Path

    from rxpipe.cli.show import columns
    from rxpipe.errors import RxpipeError
    from rxpipe.registry import REACTIVE, registry
    from rxpipe.views import reference

    for folder in args.plugins:
        if not Path(folder).is_dir():
            msg = f"--plugins: no folder {folder!r}"
            raise RxpipeError(msg)
        registry.load_folder(Path(folder))
    if args.name is None:
        print(reference.listing_markdown() if args.markdown else reference.listing(columns()))
    elif args.name == REACTIVE.rstrip("."):
        print(reference.reactive_listing(columns()))
    else:
        operator = reference.find(args.name)
        print(reference.markdown(operator) if args.markdown else reference.text(operator, columns()))
    return 0
