"""Aggregations such as `sum(tokens)`: their syntax, and how each function is kept in a group; see `groupcode`."""

from __future__ import annotations

import re
from functools import cache

import msgspec

from rxpipe.errors import ExpressionError, nearest
from rxpipe.expressions import Expression, parse

_FORM = re.compile(r"\s*(?P<name>\w+)\s*\((?P<inner>.*)\)\s*\Z", re.DOTALL)


class Aggregation(msgspec.Struct, frozen=True):
    """A parsed aggregation: the function's name, and the expression that it is computed of (None: of the rows)."""

    function: str
    expression: Expression | None

    @property
    def kind(self) -> str:
        """The name of the kind in which it is kept."""
        return "rows" if self.expression is None else self.function


class Kind(msgspec.Struct, frozen=True):
    """How one function is kept in the slots of a group; in its code `{s}` is a slot and `{v}` a value.

    Attributes:
        text: What it gives.
        fresh: Expressions for the slots of a group without values.
        add: For each slot, an expression for what it is after a value was added.
        when: The condition under which a value changes the slot at all; empty for always.
        retract: The same for a value taken back.
        read: An expression for the result.
        join: For each slot, an expression for what it is when those of later records, `{o}`, are joined to it.
        exact: The kind to use where rows may be retracted, if a value cannot be taken back from the slots alone.
        keeps: Whether the slot is an object that keeps the values; it is told of them.
    """

    text: str
    fresh: tuple[str, ...]
    add: tuple[str, ...] = ()
    retract: tuple[str, ...] = ()
    read: str = "{s}"
    join: str = "{s} + {o}"
    exact: str | None = None
    keeps: bool = False
    when: str = ""


def _simple(text: str, when: str, exact: str) -> Kind:
    later = when.format(s="{s}", v="{o}")
    join = f"{{o}} if {{o}} is not None and ({later or True}) else {{s}}"
    return Kind(text, ("None",), ("{v}",), exact=exact, when=when, join=join)


def _kept(fresh: str) -> Kind:
    return Kind("", (fresh,), read="{s}.read()", keeps=True, join="{s}.joined({o})")


KINDS: dict[str, Kind] = {
    "rows": Kind("", (), read="n"),
    "count": Kind("Number of rows, or of values that are not null.", ("0",), ("{s} + 1",), ("{s} - 1",)),
    "sum": Kind("Sum of the values, 0 without any.", ("0",), ("{s} + {v}",), ("{s} - {v}",)),
    "mean": Kind("Mean of the values.", ("0", "0"), ("{s} + {v}", "{s2} + 1"), ("{s} - {v}", "{s2} - 1"),
                 "{s} / {s2} if {s2} else None"),
    "min": _simple("Least value.", "{s} is None or {v} < {s}", "min*"),
    "max": _simple("Largest value.", "{s} is None or {v} > {s}", "max*"),
    "first": _simple("First value to arrive.", "{s} is None", "first*"),
    "last": _simple("Last value to arrive.", "", "last*"),
    "min*": _kept("least()"),
    "max*": _kept("largest()"),
    "first*": _kept("earliest()"),
    "last*": _kept("latest()"),
}  # fmt: skip
"""The functions, by name; those with a star keep all values and are used where rows may be retracted. `rows` is what
`count()` becomes: how many records a group has is known of every group."""

FUNCTIONS = tuple(name for name in KINDS if not name.endswith("*") and name != "rows")


@cache
def parse_aggregation(text: str) -> Aggregation:
    """Parse `function(expression)`.

    Raises:
        ExpressionError: With the column of the problem.
    """
    match = _FORM.match(text)
    if match is None:
        msg = f"an aggregation must be one of {', '.join(f'{name}(…)' for name in FUNCTIONS)}; got {text!r}"
        raise ExpressionError(msg, text=text)
    name, inner = match["name"], match["inner"]
    if name not in FUNCTIONS:
        msg = f"unknown aggregation {name!r}; there are {', '.join(FUNCTIONS)}"
        raise ExpressionError(msg, text=text, column=match.start("name"), guess=nearest(name, FUNCTIONS))
    if not inner.strip():
        if name != "count":
            msg = f"{name!r} needs an expression, as {name}(tokens)"
            raise ExpressionError(msg, text=text, column=match.start("inner"))
        return Aggregation(name, None)
    try:
        return Aggregation(name, parse(inner))
    except ExpressionError as error:
        column = match.start("inner") + error.column
        raise ExpressionError(error.message, text=text, column=column, guess=error.guess) from error
