"""What the compiler of expressions knows of Python's syntax: what it writes for operators, and what it refuses."""

from __future__ import annotations

import ast
from typing import Any, NamedTuple

from rxpipe.expressions.functions import power

ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**",
}  # fmt: skip
COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
    ast.In: "in", ast.NotIn: "not in", ast.Is: "is", ast.IsNot: "is not",
}  # fmt: skip
UNARY: dict[type[ast.unaryop], str] = {ast.Not: "not ", ast.USub: "-", ast.UAdd: "+"}
OTHER_ARITHMETIC: dict[type[ast.operator], str] = {
    ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^", ast.LShift: "<<", ast.RShift: ">>", ast.MatMult: "@",
}  # fmt: skip
INSTEAD: dict[type[ast.AST], str] = {ast.BitAnd: "and", ast.BitOr: "or", ast.Invert: "not"}
REFUSED: dict[type[ast.AST], str] = {
    ast.Lambda: "lambda", ast.NamedExpr: "':='", ast.JoinedStr: "an f-string", ast.Starred: "'*' before an argument",
    ast.Await: "await", ast.Yield: "yield", ast.YieldFrom: "yield", ast.Dict: "{...}", ast.Set: "{...}",
    ast.SetComp: "{...}", ast.DictComp: "{...}",
    ast.GeneratorExp: "a generator outside any, all, sum, min, max, len, join",
}  # fmt: skip
OTHER_LITERALS = {"true": "True", "false": "False", "null": "None", "none": "None"}


class Code(NamedTuple):
    """Source of a part of an expression, and the type of its value as far as it is known."""

    text: str
    hint: Any = Any


def column_of(text: str, node: ast.AST) -> int:
    """Where in the text a node begins, in characters; the tree was made of the text without the space before it."""
    source = text.lstrip()
    offset: int = getattr(node, "col_offset", 0)
    if isinstance(node, ast.Attribute) and node.end_col_offset:
        offset = node.end_col_offset - len(node.attr.encode())
    return len(text) - len(source) + len(source.encode()[:offset].decode(errors="ignore"))


def is_sequence(node: ast.expr) -> bool:
    """Whether it is plain that the value is a text or list."""
    return isinstance(node, ast.List | ast.Tuple | ast.ListComp) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def as_number(code: Code) -> Code:
    """The value, but TypeError for a text or list, where `*` would repeat and `%` format it; costs next to nothing."""
    return Code(f"+{code.text}", code.hint)


VARIABLE: Any = object()
"""Stands for what is not constant."""


def constant_value(node: ast.expr) -> Any:
    """The value of a literal, or of a negative number or power of literals; `VARIABLE` for anything else."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = constant_value(node.operand)
        return -value if isinstance(value, int | float) else VARIABLE
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        try:
            return power(constant_value(node.left), constant_value(node.right))
        except (ArithmeticError, ValueError, TypeError):
            return VARIABLE
    return node.value if isinstance(node, ast.Constant) else VARIABLE
