"""What decides about a record: its key, and the values by which it stands against others of its key."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from rxpipe.elements import Row
from rxpipe.expressions import Expression, parse
from rxpipe.fusion.rows import compile_values
from rxpipe.operators.records._contest import Candidate


class Deciding:
    """The expressions of one contest, compiled.

    Args:
        parts: Expressions of key, rank, split, ties and origin; None for those not given.
        by: What `largest` compares.

    Attributes:
        keys_of: Computes the key of each row of a list.
        values_of: Computes key, rank, split, tie, origin and measure of each row of a list.
    """

    _ORIGIN = 4

    def __init__(self, parts: list[str | None], by: list[str]) -> None:
        measure = _tuple_of([parse(text) for text in by]) if len(by) > 1 else parse(by[0] if by else "None")
        expressions = [*(parse(text or "None") for text in parts), measure]
        self.keys_of = compile_values(expressions[:1])
        self.values_of = compile_values(expressions)
        self._decisive = _tuple_of(expressions[1:])
        self._origin = expressions[self._ORIGIN]
        self._bound: dict[type, Callable[[Row], tuple[Any, ...]]] = {}
        self._origins: dict[type, Callable[[Row], Any]] = {}

    def candidate(self, row: Row) -> Candidate:
        """A row with what decides about it."""
        kind = type(row)
        deciding = self._bound.get(kind)
        if deciding is None:
            deciding = self._bound[kind] = self._decisive.bind(kind)
        return Candidate(row, *deciding(row))

    def origin(self, row: Row) -> Any:
        """Where a row came from."""
        kind = type(row)
        origin = self._origins.get(kind)
        if origin is None:
            origin = self._origins[kind] = self._origin.bind(kind)
        return origin(row)


def _tuple_of(expressions: list[Expression]) -> Expression:
    """One expression for the tuple of what several give."""
    text = f"({', '.join(f'({expression.text})' for expression in expressions)},)"
    names = frozenset[str]().union(*(expression.names for expression in expressions))
    return Expression(text, names, ast.Tuple([expression.tree for expression in expressions], ast.Load()))
