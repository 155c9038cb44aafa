"""Aggregations such as `sum(tokens)`: their syntax, and how each function is kept in a group; see `groupcode`."""

from __future__ import annotations

import math
import re
from functools import cache
from importlib.util import find_spec
from typing import Any

import msgspec

from rxpipe.errors import ExpressionError, nearest
from rxpipe.expressions import Expression, parse
from rxpipe.expressions.parser import CUT

_FORM = re.compile(r"\s*(?P<name>\w+)\s*\((?P<inner>.*)\)\s*\Z", re.DOTALL)


class Aggregation(msgspec.Struct, frozen=True):
    """A parsed aggregation.

    Attributes:
        function: The function's name.
        expression: What it is computed of; None: of the rows.
        argument: The number that it was given besides.
    """

    function: str
    expression: Expression | None
    argument: float | None = None

    @property
    def kind(self) -> str:
        """The name of the kind in which it is kept."""
        return "rows" if self.expression is None else self.function


class Kind(msgspec.Struct, frozen=True):
    """How one function is kept in the slots of a group.

    In its code `{s}`, `{s2}` and `{s3}` are the slots, `{v}` is a value, and `{a}` the function's argument.

    Attributes:
        text: What it gives.
        fresh: Expressions for the slots of a group without values.
        add: For each slot, an expression for what it is after a value was added; none sees what another becomes.
        when: The condition under which a value changes the slot at all; empty for always.
        retract: The same for a value taken back.
        read: An expression for the result.
        join: For each slot, an expression for what it is when those of later records, `{o}`, `{o2}` and `{o3}`, are
            joined to it; empty where they are added.
        exact: The kind to use where rows may be retracted, if a value cannot be taken back from the slots alone.
        gather: Of a slot that is an object: an expression for what a loop gathers its values in, and a statement that
            gathers one, where `{k}` is the table of keepers. Empty where no loop does.
        keeper: What the slot is, if it is an object that changes in place and is told of the values: one of `KEEPERS`.
        argument: What the function's argument is, for messages; empty if it takes none.
        package: The package that it needs, and the extra that has it.
    """

    text: str
    fresh: tuple[str, ...]
    add: tuple[str, ...] = ()
    retract: tuple[str, ...] = ()
    read: str = "{s}"
    join: tuple[str, ...] = ()
    exact: str | None = None
    keeper: str = ""
    when: str = ""
    gather: tuple[str, str] = ("", "")
    argument: str = ""
    package: tuple[str, str] | None = None


def _simple(text: str, when: str, exact: str) -> Kind:
    later = when.format(s="{s}", v="{o}")
    join = f"{{o}} if {{o}} is not None and ({later or True}) else {{s}}"
    return Kind(text, ("None",), ("{v}",), exact=exact, when=when, join=(join,))


def _kept(keeper: str, text: str = "", read: str = "{s}.read()", **more: Any) -> Kind:
    """The kind of a slot that is an object."""
    return Kind(text, (f"keepers[{keeper!r}]()",), read=read, keeper=keeper, join=("{s}.joined({o})",), **more)


def _spread(text: str, read: str, exact: str) -> Kind:
    """Count, mean and sum of the squares of the distances from the mean, as by Welford, and by Chan where joined."""
    mean = "({o2} - {s2}) * {o} / ({s} + {o})"
    squares = f"({{o2}} - {{s2}}) * {{s}} * {mean}"
    return Kind(
        text,
        ("0", "0.0", "0.0"),
        ("{s} + 1", "{s2} + ({v} - {s2}) / ({s} + 1)", "{s3} + ({v} - {s2}) * ({v} - {s2}) * {s} / ({s} + 1)"),
        read=f"{read} if {{s}} > 1 else None",
        join=(
            "{s} + {o}",
            f"{{s2}} + {mean} if {{o}} else {{s2}}",
            f"{{s3}} + {{o3}} + {squares} if {{o}} else {{s3}}",
        ),
        exact=exact,
    )


_GATHERED = ("[]", "{s}.append({v})")
_GATHERED_SKETCH = ("[]", "{s}.append({k}['quantile'].may_add({v}))")

KINDS: dict[str, Kind] = {
    "rows": Kind("", (), read="n"),
    "count": Kind("Number of rows, or of values that are not null.", ("0",), ("{s} + 1",), ("{s} - 1",)),
    "sum": Kind("Sum of the values, 0 without any.", ("0",), ("{s} + {v}",), ("{s} - {v}",)),
    "mean": Kind("Mean of the values.", ("0", "0"), ("{s} + {v}", "{s2} + 1"), ("{s} - {v}", "{s2} - 1"),
                 "quotient({s}, {s2}) if {s2} else None"),
    "min": _simple("Least value.", "({s} is None or {v} < {s}) and {v} == {v}", "min*"),
    "max": _simple("Largest value.", "({s} is None or {v} > {s}) and {v} == {v}", "max*"),
    "first": _simple("First value to arrive.", "{s} is None", "first*"),
    "last": _simple("Last value to arrive.", "", "last*"),
    "variance": _spread("Sample variance of the values, null below two.", "{s3} / ({s} - 1)", "variance*"),
    "stddev": _spread("Sample standard deviation of the values, null below two.", "({s3} / ({s} - 1)) ** 0.5",
                      "stddev*"),
    "distinct": _kept("distinct", "Number of different values, exact: all of them are kept.", exact="distinct*",
                      gather=("{{*()}}", "{s}.add({v})")),
    "approx_distinct": _kept("approx_distinct", "Number of different values by HyperLogLog, in at most 4 KB: the "
                             "standard error is 1.6 %. Needs the extra `sketches`.", exact="approx_distinct*",
                             gather=("{{}}", "{s}[{v}] = None"), package=("datasketches", "sketches")),
    "median": _kept("quantile", "Median of the values, as `quantile(x, 0.5)`.", "{s}.read(0.5)",
                    gather=_GATHERED_SKETCH),
    "quantile": _kept("quantile", "The value at the fraction `q` of the way from the least to the largest, as "
                      "0.99, by DDSketch: at most 1 % off.", "{s}.read({a})", gather=_GATHERED_SKETCH,
                      argument="a fraction from 0 to 1"),
    "min*": _kept("min*", gather=_GATHERED),
    "max*": _kept("max*", gather=_GATHERED),
    "first*": _kept("first*"),
    "last*": _kept("last*"),
    "distinct*": _kept("distinct*"),
    "approx_distinct*": _kept("approx_distinct*"),
    "variance*": _kept("variance*"),
    "stddev*": _kept("variance*", read="{s}.deviation()"),
}  # fmt: skip
"""The functions, by name; those with a star keep all values and are used where rows may be retracted. `rows` is what
`count()` becomes: how many records a group has is known of every group."""

FUNCTIONS = tuple(name for name in KINDS if not name.endswith("*") and name != "rows")


def form(name: str) -> str:
    """How a function is written, as `sum(x)`."""
    return f"{name}(x, q)" if KINDS[name].argument else f"{name}(x)"


@cache
def parse_aggregation(text: str) -> Aggregation:
    """Parse `function(expression)`, or `function(expression, number)` where the function takes one.

    Raises:
        ExpressionError: With the column of the problem.
    """
    match = _FORM.match(text)
    if match is None:
        msg = f"an aggregation must be one of {', '.join(f'{name}(…)' for name in FUNCTIONS)}; got {text!r}"
        if text.count("(") > text.count(")"):
            msg += CUT
        guess = "count()" if text == "count" else form(text) if text in FUNCTIONS else None
        raise ExpressionError(msg, text=text, guess=guess)
    name, inner = match["name"], match["inner"]
    if name not in FUNCTIONS:
        msg = f"unknown aggregation {name!r}; there are {', '.join(FUNCTIONS)}"
        raise ExpressionError(msg, text=text, column=match.start("name"), guess=nearest(name, FUNCTIONS))
    kind = KINDS[name]
    if not inner.strip():
        if name != "count":
            msg = f"{name!r} needs an expression, as {name}({'tokens, 0.99' if kind.argument else 'tokens'})"
            raise ExpressionError(msg, text=text, column=match.start("inner"))
        return Aggregation(name, None)
    if kind.package is not None and find_spec(kind.package[0]) is None:
        package, extra = kind.package
        msg = f"{name}(…) needs the package {package!r}: pip install 'rxpipe-graphs[{extra}]'"
        raise ExpressionError(msg, text=text, column=match.start("name"))
    argument = None
    if kind.argument:
        inner, argument = _with_argument(text, name, inner, match.start("inner"))
    try:
        return Aggregation(name, parse(inner), argument)
    except ExpressionError as error:
        column = match.start("inner") + error.column
        raise ExpressionError(error.message, text=text, column=column, guess=error.guess) from error


def _with_argument(text: str, name: str, inner: str, start: int) -> tuple[str, float]:
    """An expression and the fraction behind its last comma."""
    expression, comma, last = inner.rpartition(",")
    wanted = f"{name!r} needs an expression and {KINDS[name].argument}, as {name}(tokens, 0.99)"
    if not comma:
        msg = f"{wanted}; got {inner.strip()!r} alone"
        raise ExpressionError(msg, text=text, column=start)
    try:
        argument = float(last)
    except ValueError:
        argument = math.nan
    if not 0 <= argument <= 1:
        column = start + len(inner) - len(last.lstrip())
        msg = f"{wanted}; got {last.strip()!r}"
        raise ExpressionError(msg, text=text, column=column)
    return expression, argument
