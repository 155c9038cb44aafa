"""What is known of the records on an edge of a graph before any is seen: the names of their fields."""

from __future__ import annotations

import keyword
from collections.abc import Iterable, Mapping
from typing import Any

from rxpipe.errors import ExpressionError, ParameterProblem, did_you_mean, nearest
from rxpipe.expressions import Expression, parse
from rxpipe.fusion.rows import row_struct


class KnownFields:
    """The fields of the records that come to a step; the problems of expressions over them are gathered.

    Args:
        names: Their names, or more than there are; None: not known, and then nothing is refused.

    Attributes:
        names: The names, each once.
        problems: What was found: where in the step's parameters an unknown field is read.
        outputs: The fields of the records of the step's outputs beside the main one, by name.
        streams: Those of the streams that were checked before, by name: of each table that may come to a step.

    Example:
        >>> known = KnownFields(["level", "text"]).plus("day")
        >>> known.check("leve == 'x'", "condition")
        >>> print(known.problems[0])
        condition: unknown field 'leve', did you mean 'level'?
    """

    def __init__(self, names: Iterable[str] | None, problems: list[ParameterProblem] | None = None) -> None:
        self.names = None if names is None else tuple(dict.fromkeys(names))
        self.problems: list[ParameterProblem] = [] if problems is None else problems
        self.outputs: dict[str, KnownFields] = {}
        self.streams: Mapping[str, KnownFields] = {}

    def check(self, expression: str | Expression | None, *path: str | int, column: int = 0) -> None:
        """Note a problem if an expression reads a field that no record has.

        Args:
            expression: The expression; None is none.
            path: The parameter it was given as.
            column: Where in the parameter's text it begins.
        """
        parsed = parse(expression) if isinstance(expression, str) else expression
        if parsed is None or self.names is None or parsed.names <= {*self.names}:
            return
        usable = [name for name in self.names if name.isidentifier() and not keyword.iskeyword(name) and name[0] != "_"]
        try:
            parsed.bind(row_struct("Record", dict.fromkeys(usable, Any)))
        except ExpressionError as error:
            self.problems.append(ParameterProblem(path, str(error), column + error.column))

    def field(self, name: str, *path: str | int) -> None:
        """Note a problem if no record has a field of this name."""
        if self.names is not None and name not in self.names:
            guess = did_you_mean(nearest(name, self.names)) or f"; there are {', '.join(self.names)}"
            self.problems.append(ParameterProblem(path, f"unknown field {name!r}{guess}"))

    def column(self, text: str, *path: str | int) -> None:
        """Note a problem if a column, the one of exactly this name or else an expression, is one that no record has."""
        if text not in (self.names or ()):
            self.check(text, *path)

    def of_table(self, name: str) -> KnownFields:
        """The columns of one of the tables among what comes to the step; its problems are gathered with the others."""
        found = self.streams.get(name)
        return KnownFields(None if found is None else found.names, self.problems)

    def of_history(self, of: str, by: list[str] | None, time: str | None = None) -> KnownFields:
        """Check the expressions of a value, its key and its time, by the parameters that these are given as."""
        self.check(of, "of")
        for index, text in enumerate(by or []):
            self.check(text, "by", index)
        self.check(time, "time")
        return self

    def plus(self, *names: str) -> KnownFields:
        """With more fields."""
        return KnownFields(None if self.names is None else (*self.names, *names), self.problems)

    def only(self, *names: str) -> KnownFields:
        """With these fields and no others."""
        return KnownFields(names, self.problems)

    def unknown(self) -> KnownFields:
        """With whatever fields."""
        return KnownFields(None, self.problems)

    def beside(self, **outputs: KnownFields) -> KnownFields:
        """The same, with the fields of outputs beside the main one."""
        made = KnownFields(self.names, self.problems)
        made.outputs = outputs
        return made
