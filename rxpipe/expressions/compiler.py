"""From the syntax tree of an expression to Python source for one type of row.

Everything is refused that has no method here: the generated source holds nothing but what these methods write. Every
name of an expression becomes an access to a field; the generated code's own names start with an underscore, which no
name of an expression may, so that neither can reach the other.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from rxpipe.errors import ExpressionError, listed, nearest
from rxpipe.expressions.callcode import write_call
from rxpipe.expressions.fields import DICT_NAMES, as_struct, common, field_types, is_number
from rxpipe.expressions.functions import FUNCTIONS, Computed, Truth, coalesce, member, power
from rxpipe.expressions.syntax import (
    ARITHMETIC,
    COMPARISONS,
    INSTEAD,
    OTHER_ARITHMETIC,
    OTHER_LITERALS,
    REFUSED,
    UNARY,
    VARIABLE,
    Code,
    as_number,
    column_of,
    constant_value,
    is_sequence,
)

_DECIDED = ("True", "False")
"""The source of what is decided when an expression is compiled, as a comparison of a parameter's value with a text."""

_DECIDING = {"and": "False", "or": "True"}

_NESTED_LOOPS = 2
_PLAIN_EXPONENT = 3  # a field's number to a small power cannot grow large


_GLOBALS: Mapping[str, Any] = {
    "__builtins__": {}, "_type": type, "_dict": dict, "_len": len,
    "_member": member, "_power": power, "_coalesce": coalesce,
    **{f"_f_{name}": function.call for name, function in FUNCTIONS.items()},
}  # fmt: skip


def _known_result(node: ast.Compare) -> bool | None:
    """Whether two literal texts are equal, or unequal, if that is what is asked."""
    right = node.comparators[0]
    if len(node.ops) > 1 or not isinstance(node.left, ast.Constant) or not isinstance(right, ast.Constant):
        return None
    if not isinstance(node.left.value, str) or not isinstance(right.value, str):
        return None
    if not isinstance(node.ops[0], ast.Eq | ast.NotEq):
        return None
    return (node.left.value == right.value) is isinstance(node.ops[0], ast.Eq)


class Compiler:
    """Writes the source of expressions over rows of one type.

    Args:
        row_type: `dict`, a msgspec struct, or a named tuple.

    Attributes:
        columns: Columns computed before, which stand in for fields of their names.
        names: The fields that were used.
        fields: The declared fields with their types; none for a dict.
        row: The variable that the row is in.

    Raises:
        TypeError: It is no type of rows.
    """

    row = "_r"

    def __init__(self, row_type: type) -> None:
        self.columns: dict[str, Code] = {}
        self.names: set[str] = set()
        self._row_type = row_type
        self.fields: dict[str, Any] = field_types(row_type)
        self._globals: dict[str, Any] = dict(_GLOBALS)
        self._source = ""
        self._locals: list[str] = []
        self._loops = 0
        self._plain = False
        self._temporaries = 0

    def write(self, tree: ast.expr, text: str, *, temporaries: bool = True) -> Code:
        """The source of an expression.

        Args:
            tree: Its syntax tree.
            text: Its text, for errors.
            temporaries: Whether the source may name values with `:=`, which Python does not allow everywhere.

        Raises:
            ExpressionError: Something in it is not allowed, or a field does not exist.
        """
        self._source = text
        self._plain = not temporaries
        return self.part(tree)

    def build(self, source: str, **names: object) -> dict[str, Any]:
        """Run generated definitions that may use what `write` gave, and these names; returns what they define."""
        scope = self._globals | names
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", SyntaxWarning
            )  # an odd expression, such as 1[0], fails when it is evaluated
            exec(compile(source, "<expression>", "exec"), scope)  # noqa: S102  # the source holds only what is written here
        return scope

    def refuse(self, node: ast.AST, message: str, guess: str | None = None) -> NoReturn:
        """Raise the error that points at a part of the expression."""
        raise ExpressionError(message, text=self._source, column=column_of(self._source, node), guess=guess)

    def part(self, node: ast.AST) -> Code:
        """The source of a part of the expression."""
        name = type(node).__name__.lower()
        method: Callable[[Any], Code] | None = getattr(self, f"_write_{name}", None)
        if method is None:
            self.refuse(node, f"{REFUSED.get(type(node), name)} cannot stand in an expression")
        return method(node)

    def keep(self, value: object) -> str:
        """A name in the generated code for a value made at compile time."""
        name = f"_k{len(self._globals)}"
        self._globals[name] = value
        return name

    def is_field(self, text: str) -> bool:
        """Whether source is that of a field of the row, and no more."""
        return text.startswith("_r.") and "(" not in text.removeprefix("_r.get(")

    def is_name(self, text: str) -> bool:
        """Whether source may be written twice: a variable's name."""
        return text.isidentifier()

    def once(self, code: Code) -> tuple[str, str] | None:
        """Source that computes a value and names it, and the name; None where no name can be given."""
        if self.is_name(code.text):
            return code.text, code.text
        if self._plain:
            return None
        self._temporaries += 1
        name = f"_t{self._temporaries}"
        return f"({name} := {code.text})", name

    def _write_constant(self, node: ast.Constant) -> Code:
        if not (node.value is None or isinstance(node.value, bool | int | float | str)):
            self.refuse(node, f"a literal must be a number, text, True, False or None; got {type(node.value).__name__}")
        return Code(repr(node.value), Any if node.value is None else type(node.value))

    def _write_name(self, node: ast.Name) -> Code:
        name = node.id
        if name in self._locals:
            return Code(name)
        if name in OTHER_LITERALS:
            self.refuse(node, f"unknown name {name!r}", OTHER_LITERALS[name])
        self.names.add(name)
        if name in self.columns:
            return self.columns[name]
        if not self.knows(name):
            guess = nearest(name, self.fields)
            there = "" if guess else f"; there are {listed(self.fields) or 'none'}"
            self.refuse(node, f"unknown field {name!r}{there}", guess)
        return self.read(name)

    def knows(self, name: str) -> bool:
        """Whether the row may have a field."""
        return issubclass(self._row_type, dict) or name in self.fields

    def read(self, name: str) -> Code:
        """The source of a field of the row."""
        if issubclass(self._row_type, dict):
            return Code(f"{self.row}.get({name!r})")
        if name in DICT_NAMES:  # a dict among the rows must fail here, not give its method of that name
            return Code(f"{self.keep(getattr(self._row_type, name).__get__)}({self.row})", self.fields[name])
        return Code(f"{self.row}.{name}", self.fields[name])

    def _write_attribute(self, node: ast.Attribute) -> Code:
        value = self.part(node.value)
        once = self.once(value)
        struct = as_struct(value.hint)
        if struct is not None and node.attr not in field_types(struct):
            fields = field_types(struct)
            self.refuse(node, f"unknown field {node.attr!r} in {struct.__name__!r}", nearest(node.attr, fields))
        if once is None:
            return Code(f"_member({value.text}, {node.attr!r})")
        first, again = once
        if struct is not None and node.attr not in DICT_NAMES:
            return Code(f"(None if {first} is None else {again}.{node.attr})", field_types(struct)[node.attr])
        found = f"{again}.get({node.attr!r})"
        return Code(f"({found} if _type({first}) is _dict else _member({again}, {node.attr!r}))")

    def _write_binop(self, node: ast.BinOp) -> Code:
        kind = type(node.op)
        if kind not in ARITHMETIC:
            got = OTHER_ARITHMETIC.get(kind, kind.__name__)
            self.refuse(node, f"an operator must be one of + - * / // % **; got {got!r}", INSTEAD.get(kind))
        if kind in (ast.Mult, ast.Pow) and any(map(is_sequence, (node.left, node.right))):
            self.refuse(node, f"operands of {ARITHMETIC[kind]!r} must be numbers; got a text or list")
        if kind is ast.Mod and is_sequence(node.left):
            self.refuse(node, "operands of '%' must be numbers; got a text or list")
        left, right = self.part(node.left), self.part(node.right)
        if kind is ast.Pow:
            return self._power(node, left, right)
        numbers = is_number(left.hint), is_number(right.hint)
        hint = Computed if all(numbers) or (kind is ast.Add and any(numbers)) else Any
        if kind is ast.Add and left.hint == right.hint:
            hint = left.hint
        one_float = any(
            isinstance(side, ast.Constant) and type(side.value) is float for side in (node.left, node.right)
        )
        if kind is ast.Mult and one_float:
            hint = Computed
        if kind is ast.Mod or (kind is ast.Mult and not one_float):
            left = left if numbers[0] else as_number(left)
        if kind is ast.Mult and not one_float:
            right = right if numbers[1] else as_number(right)
        return Code(f"({left.text} {ARITHMETIC[kind]} {right.text})", hint)

    def _power(self, node: ast.BinOp, left: Code, right: Code) -> Code:
        base, exponent = constant_value(node.left), constant_value(node.right)
        if self.is_field(left.text) and type(exponent) is int and 0 <= exponent <= _PLAIN_EXPONENT:
            return Code(f"({left.text} ** {exponent})", Computed if is_number(left.hint) else Any)
        if base is not VARIABLE and exponent is not VARIABLE:
            try:
                power(base, exponent)
            except (ArithmeticError, ValueError, TypeError) as error:
                self.refuse(node, str(error))
        return Code(f"_power({left.text}, {right.text})", Computed)

    def _write_unaryop(self, node: ast.UnaryOp) -> Code:
        if type(node.op) not in UNARY:
            self.refuse(node, "an operator must be one of + - not", INSTEAD.get(type(node.op)))
        value = self.part(node.operand)
        hint = Truth if isinstance(node.op, ast.Not) else Computed if is_number(value.hint) else Any
        return Code(f"({UNARY[type(node.op)]}{value.text})", hint)

    def _write_boolop(self, node: ast.BoolOp) -> Code:
        word = "and" if isinstance(node.op, ast.And) else "or"
        values = [self.part(value) for value in node.values]
        while len(values) > 1 and values[0].text in _DECIDED:
            if values[0].text == _DECIDING[word]:
                return values[0]
            del values[0]
        if len(values) == 1:
            return values[0]
        return Code(f"({f' {word} '.join(value.text for value in values)})", common(*(value.hint for value in values)))

    def _write_compare(self, node: ast.Compare) -> Code:
        known = _known_result(node)
        if known is not None:
            return Code(repr(known), Truth)
        text = self.part(node.left).text
        for operator, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(operator, ast.Is | ast.IsNot) and not (
                isinstance(right, ast.Constant) and right.value is None
            ):
                self.refuse(right, "'is' must be followed by None", "==" if isinstance(operator, ast.Is) else "!=")
            text += f" {COMPARISONS[type(operator)]} {self.part(right).text}"
        return Code(f"({text})", Truth)

    def _write_ifexp(self, node: ast.IfExp) -> Code:
        body, test, orelse = self.part(node.body), self.part(node.test), self.part(node.orelse)
        if test.text in _DECIDED:
            return body if test.text == "True" else orelse
        return Code(f"({body.text} if {test.text} else {orelse.text})", common(body.hint, orelse.hint))

    def _write_list(self, node: ast.List) -> Code:
        return Code(f"[{self._items(node.elts)}]")

    def _write_tuple(self, node: ast.Tuple) -> Code:
        return Code(f"({self._items(node.elts)})")

    def _items(self, nodes: list[ast.expr]) -> str:
        return "".join(f"{self.part(node).text}, " for node in nodes)

    def _write_subscript(self, node: ast.Subscript) -> Code:
        index = self._slice(node.slice) if isinstance(node.slice, ast.Slice) else self.part(node.slice).text
        return Code(f"{self.part(node.value).text}[{index}]")

    def _slice(self, node: ast.Slice) -> str:
        parts = (node.lower, node.upper, node.step)
        return ":".join("" if part is None else self.part(part).text for part in parts)

    def _write_listcomp(self, node: ast.ListComp) -> Code:
        return Code(f"[{self.loop(node)}]")

    def loop(self, node: ast.ListComp | ast.GeneratorExp) -> str:
        """The source of a comprehension, without the brackets around it."""
        if len(node.generators) > 1 or node.generators[0].is_async:
            self.refuse(node, "a comprehension must have one 'for'")
        loop = node.generators[0]
        if not isinstance(loop.target, ast.Name):
            self.refuse(loop.target, "the variable of a comprehension must be one name")
        outside, self._plain = (
            self._plain,
            True,
        )  # Python allows no := where a loop's list is made
        items = self.part(loop.iter).text
        self._plain = outside
        self._loops += 1
        if self._loops > _NESTED_LOOPS:
            self.refuse(node, f"comprehensions must be nested at most {_NESTED_LOOPS} deep")
        self._locals.append(loop.target.id)
        text = f"{self.part(node.elt).text} for {loop.target.id} in {items}"
        text += "".join(f" if {self.part(condition).text}" for condition in loop.ifs)
        self._locals.pop()
        self._loops -= 1
        return text

    def _write_call(self, node: ast.Call) -> Code:
        return write_call(self, node)
