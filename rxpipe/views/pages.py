"""The files of the project that are generated: `python -m rxpipe.views.pages --write` (or `--check` in CI).

- `operators/__init__.pyi`, from which type checkers and editors know what `rxpipe.operators` holds;
- `docs/operators.md`, the reference of all operators, expression functions and aggregations.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rxpipe.aggregations.aggregation import FUNCTIONS as AGGREGATIONS
from rxpipe.aggregations.aggregation import KINDS, form
from rxpipe.expressions.functions import FUNCTIONS
from rxpipe.registry import built_in, registry
from rxpipe.views.reference import listing_markdown

ROOT = Path(__file__).parents[2]
"""The checkout; an installed package has no pages to write."""


def stubs() -> str:
    """The text of `operators/__init__.pyi`."""
    lines = ["# The operators by name. Made by `python -m rxpipe.views.pages --write`; do not edit.", ""]
    modules = sorted(built_in().items(), key=lambda item: item[1])
    lines += [f"from {module} import {name} as {name}" for name, module in modules]
    lines += ["", "__all__ = [", *(f'    "{name}",' for name in sorted(built_in())), "]"]
    return "\n".join(lines) + "\n"


def operators_page() -> str:
    """The text of `docs/operators.md`."""
    head, operators = listing_markdown().split("\n\n## ", 1)
    lines = [
        "<!-- Made by `python -m rxpipe.views.pages --write`; do not edit. -->",
        head.replace("# Operators\n", f"# Operators\n\n{_INTRODUCTION}\n"),
        "- [Expressions](#expressions) and [aggregations](#aggregations)",
        "- [Operators of reactivex](#operators-of-reactivex)",
        "",
        "## " + operators,
        "",
        "## Expressions",
        "",
        _EXPRESSIONS,
        "",
        "| function | | example |",
        "|---|---|---|",
    ]
    for function in FUNCTIONS.values():
        result = "" if function.result is None else f" = `{function.result!r}`"
        lines.append(_row(f"`{function.signature}`", function.doc, f"`{function.example}`{result}"))
    lines += ["", "## Aggregations", "", _AGGREGATIONS, "", "| function | |", "|---|---|"]
    lines += [
        _row("`count()`, `count(x)`" if name == "count" else f"`{form(name)}`", KINDS[name].text)
        for name in AGGREGATIONS
    ]
    lines += ["", "## Operators of reactivex", "", _REACTIVE, "", "| operator | |", "|---|---|"]
    offered = [found for name in registry.reactive_names() if (found := registry.get(name)) is not None]
    lines += [_row(f"`{operator.name}`", operator.summary) for operator in offered]
    lines += ["", _REFUSED, "", "| operator | |", "|---|---|"]
    lines += [_row(f"`{name}`", reason) for name, reason in registry.reactive_refusals().items()]
    return "\n".join(lines) + "\n"


_INTRODUCTION = (
    "An operator is written `name: {parameter: value}` in YAML and `ops.name(parameter=value)` in Python"
    " (`from rxpipe import operators as ops`). A step may have no parameters (`read_lines`), or give the first alone:"
    " `throttle: 0.75Hz`.\n\n"
    "Of the types below, a `Duration` is written `100ms`, `10s` or `1h`, a `Rate` `0.75Hz` or `60/min`, a `Size` `64KB`"
    " or `1GB`, and an `Expr` is an [expression](#expressions). A parameter with `**` stands for any number of entries,"
    " each with a name of one's own: `derive: {cost: tokens * 3e-6}`. The line below each name says what goes in and"
    " what comes out. An output beside the main one, such as `late: Batch`, is read by `from: STREAM.late`, in Python"
    ' by `stream("STREAM.late")`, and without a graph by `with_outputs(step, late=…)`; it does not pass the steps that'
    " follow in its stream. What cannot be handled goes to the stream `errors`."
)

_REACTIVE = (
    "A graph names an operator of reactivex as `rx.NAME`; `rxpipe operators rx.NAME` explains it. What it works on are"
    " whole elements: a batch, not its records. Functions of an element are expressions over its fields, over the"
    " `rows` of a batch, or over any other element as `value`; those of two over `state` and `value`, or `first` and"
    " `second`. Times are durations, kept by the clock of the run; other streams are given by name. Nothing is kept"
    " across a restart, and an operator that holds elements cannot take batches or blocks of lines, whose leases a"
    " checkpoint waits for. In Python `reactivex.operators` are used as they are."
)
_REFUSED = "The others have no place in a graph:"
_EXPRESSIONS = (
    "A subset of Python's expressions over the fields of a record: literals, names of fields, dotted paths into objects"
    " (null where a part is missing), arithmetic, comparisons, `in`, `is None`, `and`, `or`, `not`, `a if b else c`,"
    " subscripts and slices, `[x for x in items if …]`, and calls of these functions:"
)

_AGGREGATIONS = (
    "What a column of [`aggregate`](#aggregate) is computed by; `x` is an expression, `q` a number from 0 to 1. Values"
    " that are null are left out; without any, the result is null, if nothing else is said."
)


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def pages() -> dict[Path, str]:
    """Each generated file and its text."""
    return {ROOT / "operators" / "__init__.pyi": stubs(), ROOT / "docs" / "operators.md": operators_page()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or tell whether they are fresh; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m rxpipe.views.pages", description="Write the generated files.")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true", help="write the files that are not fresh")
    action.add_argument("--check", action="store_true", help="tell whether all are fresh")
    parsed = parser.parse_args(arguments)
    stale = [file for file, text in pages().items() if not file.is_file() or file.read_text(encoding="utf-8") != text]
    for file in stale:
        if parsed.write:
            file.write_text(pages()[file], encoding="utf-8")
        print(f"{file.relative_to(ROOT)}: {'written' if parsed.write else 'differs; run make docs'}")
    return 1 if stale and parsed.check else 0


if __name__ == "__main__":
    sys.exit(main())
