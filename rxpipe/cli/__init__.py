"""The command line: `rxpipe run|check|test|show|schema|operators|state|dead-letters|tasks`.

Exit codes: 0 done, 1 a run or a test failed, 2 wrong usage, 75 a run that ended while something was not delivered (the
next one goes on with it), 78 a graph that is wrong, 130 ended by Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import os
import sys
from collections.abc import Sequence

COMMANDS = ("run", "check", "test", "show", "schema", "operators", "state", "dead-letters", "tasks")
FAILED = 1
UNDELIVERED = 75
GRAPH_WRONG = 78
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    Args:
        arguments: What stands behind `rxpipe`; that of the process by default.
    """
    _open_standard_streams()
    try:
        return _run(arguments)
    except KeyboardInterrupt:  # also while modules are loaded
        return INTERRUPTED


def _open_standard_streams() -> None:
    """Where somebody closed a standard stream, have one that leads nowhere.

    A file that is opened later would have its number, and hold what is printed.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115  # for good


def _run(arguments: Sequence[str] | None) -> int:
    words = sys.argv[1:] if arguments is None else arguments
    parsed = parser(words[0] if words and words[0] in COMMANDS else None).parse_args(words)
    from rxpipe.errors import GraphError, RxpipeError, escaped
    from rxpipe.language.hidden import masked

    command = importlib.import_module(_module(parsed.command))
    gc.disable()  # what is loaded stays: a run looks for garbage again, see `rxpipe.runtime.memory`
    try:
        code: int = command.execute(parsed)
        sys.stdout.flush()
    except BrokenPipeError:
        return _unheard()
    except GraphError as error:
        from rxpipe.cli._problems import tell_all

        tell_all(error.problems)
        return GRAPH_WRONG
    except RxpipeError as error:
        if isinstance(error.__cause__, BrokenPipeError):
            return _unheard()
        print("\n".join(map(escaped, masked(f"rxpipe: {error}").split("\n"))), file=sys.stderr)
        return FAILED
    except OSError as error:  # a full disk, above all, behind standard output
        what = str(error) if error.filename else f"standard output: {error.strerror}"
        print(f"rxpipe: {escaped(masked(what))}", file=sys.stderr)
        return _unheard()
    finally:
        gc.enable()
    return code


def _module(command: str) -> str:
    return f"rxpipe.cli.{command.replace('-', '_')}"


def _unheard() -> int:
    """Nobody takes our output any more, as behind `head` or on a full disk; the interpreter must not flush it again."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED


def parser(command: str | None = None) -> argparse.ArgumentParser:
    """The parser of the whole command line, or of one command only: the others need not be loaded for it."""
    from rxpipe import __version__

    made = argparse.ArgumentParser(
        prog="rxpipe",
        description="Run reactive dataflow graphs over things that keep changing: log files, queues, APIs, sockets.",
        epilog="exit codes: 0 done, 1 the run or a test failed, 2 wrong usage, 75 the run ended while something "
        "was not delivered, 78 the graph is wrong, 130 Ctrl-C",
    )
    made.add_argument("--version", action="version", version=f"rxpipe {__version__}")
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS if command is None else (command,):
        importlib.import_module(_module(name)).add(commands)
    return made
