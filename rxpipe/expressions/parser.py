"""Expressions over the fields of a record: a subset of Python's syntax, compiled once for each type of rows.

- A name is a field of the record: `tokens`. A dotted path reaches inside nested objects: `usage.iterations`; it gives
  None where a part is missing or None. So does a field that a dict lacks; a struct must have the field.
- Literals: numbers (whole ones below 2 ** 64), texts, True, False, None, `[a, b]`, `(a, b)`.
- Arithmetic `+ - * / // % **` on numbers, `+` on texts and lists too. `*` and `%` refuse texts and lists, `**` results
  of 4096 bits and more: what an expression makes grows with its own length and with the record, in a loop with the
  lengths of its lists, and not otherwise. Arithmetic with None fails, for that record only.
- `== != < <= > >=` in chains, `in`, `not in`, `is None`, `is not None`, `and`, `or`, `not`, `a if condition else b`.
- Subscripts and slices: `parts[0]`, `usage['type']`, `id[:8]`. A missing item fails; `get(object, key, default)` not.
- A loop: `[i for i in iterations if i.type == 'x']`, or as a generator in any, all, sum, min, max, len, join; two deep.
- Calls by bare name of the functions in `rxpipe.expressions.functions`, with arguments as in their signatures.

All else is refused: methods, lambda, f-strings, `:=`, names that begin with an underscore, more than 4,000 characters,
500 parts or 50 levels. A regular expression is taken as it is: one that backtracks without end is not found out. And a
variable `${name}` in a graph stands in an expression as if its text was written there.
"""

from __future__ import annotations

import ast
import io
import math
import re
import tokenize
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from rxpipe.errors import ExpressionError
from rxpipe.expressions.compiler import Compiler
from rxpipe.expressions.syntax import column_of

_LONGEST = 4000
_MOST_PARTS = 500
_DEEPEST = 50
_INTEGER_LIMIT = 2**64
CUT = "; in YAML a comma ends what is not quoted within {} and []"
"""What a call without its end was cut off by, most times."""

_WORD = re.compile(r"\s*(\w+|[^\w\s]+)")
_OTHER_OPERATORS = {"&": "and", "|": "or", "=": "==", "!": "not"}


class Expression(msgspec.Struct, frozen=True):
    """A parsed expression; equal to another of the same text.

    Attributes:
        text: As it was written.
        names: The fields it reads.
        tree: Its checked syntax tree.
    """

    text: str
    names: frozenset[str]
    tree: ast.expr

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def bind(self, row_type: type) -> Callable[[Any], Any]:
        """The expression as a function of one row of this type: a dict, a msgspec struct or a named tuple.

        The function raises whatever the evaluation raises. Declared number types are taken at their word.

        Raises:
            ExpressionError: The row type has no field of a name that is used.
            TypeError: It is no type of rows.

        Example:
            >>> parse("tokens * 2").bind(dict)({"tokens": 21})
            42
        """
        return _bound(self, row_type)


def parse(text: str) -> Expression:
    """Parse and check an expression.

    Raises:
        ExpressionError: With the column of the problem.

    Example:
        >>> sorted(parse("usage.tokens * price").names)
        ['price', 'usage']
    """
    if not isinstance(text, str):
        msg = f"an expression must be a text; got {text!r:.80}"
        raise ExpressionError(msg, text=str(text))
    return _parsed(text)


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Expression:
    if not text.strip():
        msg = "an expression must not be empty"
        raise ExpressionError(msg, text=text)
    if len(text) > _LONGEST:
        msg = f"an expression must be at most {_LONGEST} characters long; got {len(text)}"
        raise ExpressionError(msg, text=text)
    tree = _tree(text)
    _check(tree, text)
    compiler = Compiler(dict)
    compiler.write(tree, text)
    return Expression(text, frozenset(compiler.names), tree)


@lru_cache(maxsize=4096)
def _bound(expression: Expression, row_type: type) -> Callable[[Any], Any]:
    compiler = Compiler(row_type)
    code = compiler.write(expression.tree, expression.text)
    bound: Callable[[Any], Any] = compiler.build(f"def _value(_r):\n return {code.text}")["_value"]
    return bound


def _tree(text: str) -> ast.expr:
    """The syntax tree of a text, in which line breaks are spaces."""
    line = text.replace("\r", " ").replace("\n", " ")
    source = line.lstrip()
    indent = len(line) - len(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            tree = ast.parse(source, mode="eval").body
        if "#" in source:
            _refuse_comment(source, text, indent)
    except ExpressionError:
        raise
    except SyntaxError as error:
        column = min(indent + error.offset - 1, len(text)) if error.offset else len(text)
        guess = (
            "==" if "'=='" in error.msg else next((new for old, new in _OTHER_OPERATORS.items() if old in text), None)
        )
        reason = "invalid escape in a text; write r'...'" if "escape" in error.msg else error.msg.partition(". ")[0]
        if reason == "invalid syntax":
            word = _WORD.match(text, column)
            reason = f"{word[1]!r} where it cannot stand" if word else "its end where something must follow"
        msg = f"an expression must be valid syntax; got {reason}{CUT if _cut_off(text) else ''}"
        raise ExpressionError(msg, text=text, column=column, guess=guess) from error
    except (ValueError, MemoryError, RecursionError) as error:
        msg = f"an expression must be valid syntax; got {error or 'too many nested parts'}"
        raise ExpressionError(msg, text=text) from error
    return tree


def _cut_off(text: str) -> bool:
    """Whether a call at the end has a beginning only: `max(a`."""
    name, bracket, argument = text.rpartition("(")
    return bool(bracket) and name[-1:].isidentifier() and not {")", ","} & set(argument)


def _refuse_comment(source: str, text: str, indent: int) -> None:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            msg = "an expression must not have a comment"
            raise ExpressionError(msg, text=text, column=indent + token.start[1])


def _check(tree: ast.expr, text: str) -> None:
    """Refuse what is too large, and every private name."""
    left: list[tuple[ast.AST, int]] = [(tree, 1)]
    parts = 0
    while left:
        node, depth = left.pop()
        parts += 1
        name = getattr(node, "id", None) or getattr(node, "attr", None) or getattr(node, "arg", None)
        problem = None
        if depth > _DEEPEST:
            problem = f"an expression must be nested at most {_DEEPEST} deep"
        elif parts > _MOST_PARTS:
            problem = f"an expression must have at most {_MOST_PARTS} parts"
        elif isinstance(name, str) and name.startswith("_"):
            problem = f"a name must not begin with an underscore; got {name!r}"
        elif isinstance(node, ast.Constant) and type(node.value) is int and node.value >= _INTEGER_LIMIT:
            problem = "a whole number must be below 2 ** 64"
        elif isinstance(node, ast.Constant) and isinstance(node.value, float) and math.isinf(node.value):
            problem = "a number must be finite"
        if problem:
            raise ExpressionError(problem, text=text, column=column_of(text, node))
        children = ast.iter_child_nodes(node)
        left += [
            (child, depth + 1) for child in children if isinstance(child, ast.expr | ast.comprehension | ast.keyword)
        ]
