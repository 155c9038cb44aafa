"""From the syntax tree of an expression to Python source for one type of row.

Everything is refused that has no method here: the generated source holds nothing but what these methods write. Every name
of an expression becomes an access to a field; the generated code's own names start with an underscore, which no name of
an expression may, so that neither can reach the other.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

from rxpipe.errors import ExpressionError, nearest
from rxpipe.fields import DICT_NAMES, as_struct, common, field_types, is_number
from rxpipe.functions import FUNCTIONS, Function, Number, Truth, coalesce, member, power

_ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**",
}  # fmt: skip
_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
    ast.In: "in", ast.NotIn: "not in", ast.Is: "is", ast.IsNot: "is not",
}  # fmt: skip
_UNARY: dict[type[ast.unaryop], str] = {ast.Not: "not ", ast.USub: "-", ast.UAdd: "+"}
_INSTEAD = {ast.BitAnd: "and", ast.BitOr: "or", ast.Invert: "not"}
_REFUSED = {
    ast.Lambda: "lambda", ast.NamedExpr: "':='", ast.JoinedStr: "an f-string", ast.Starred: "'*' before an argument",
    ast.Await: "await", ast.Yield: "yield", ast.YieldFrom: "yield", ast.Dict: "{...}", ast.Set: "{...}",
    ast.SetComp: "{...}", ast.DictComp: "{...}", ast.GeneratorExp: "a generator outside any, all, sum, min, max, len, join",
}  # fmt: skip
_OTHER_LITERALS = {"true": "True", "false": "False", "null": "None", "none": "None"}
_NESTED_LOOPS = 2
_PLAIN_EXPONENT = 16


class Code(NamedTuple):
    """Source of a part of an expression, and the type of its value as far as it is known."""

    text: str
    hint: Any = Any


class Compiler:
    """Writes the source of expressions over rows of one type; the row is the variable `_r`.

    Args:
        row_type: `dict`, a msgspec struct, or a named tuple.

    Attributes:
        columns: Columns computed before, which stand in for fields of their names.
        names: The fields that were used.

    Raises:
        TypeError: It is no type of rows.
    """

    def __init__(self, row_type: type) -> None:
        self.columns: dict[str, Code] = {}
        self.names: set[str] = set()
        self._row_type = row_type
        self._fields = None if issubclass(row_type, dict) else field_types(row_type)
        self._globals: dict[str, Any] = dict(_GLOBALS)
        self._source = ""
        self._locals: list[str] = []
        self._loops = 0
        self._only_expressions = False
        self._temporaries = 0

    def write(self, tree: ast.expr, text: str) -> Code:
        """The source of an expression.

        Raises:
            ExpressionError: Something in it is not allowed, or a field does not exist.
        """
        self._source = text
        return self._write(tree)

    def build(self, source: str, **names: object) -> dict[str, Any]:
        """Run generated definitions that may use what `write` gave, and these names; returns what they define."""
        scope = self._globals | names
        exec(compile(source, "<expression>", "exec"), scope)  # noqa: S102 - the source holds only what is written here
        return scope

    def _refuse(self, node: ast.AST, message: str, guess: str | None = None) -> NoReturn:
        raise ExpressionError(message, text=self._source, column=column_of(self._source, node), guess=guess)

    def _write(self, node: ast.AST) -> Code:
        method = _METHODS.get(type(node))
        if method is None:
            what = _REFUSED.get(type(node), type(node).__name__.lower())
            self._refuse(node, f"{what} cannot stand in an expression")
        return method(self, node)

    def _keep(self, value: object) -> str:
        """A name in the generated code for a value made at compile time."""
        name = f"_k{len(self._globals)}"
        self._globals[name] = value
        return name

    def _once(self, code: Code) -> tuple[str, str] | None:
        """Source that computes a value and names it, and the name; None where no name can be given."""
        if code.text.isidentifier():
            return code.text, code.text
        if self._only_expressions:
            return None
        self._temporaries += 1
        name = f"_t{self._temporaries}"
        return f"({name} := {code.text})", name

    def _constant(self, node: ast.Constant) -> Code:
        if not (node.value is None or isinstance(node.value, bool | int | float | str)):
            self._refuse(node, f"a literal must be a number, text, True, False or None; got {type(node.value).__name__}")
        return Code(repr(node.value), type(node.value))

    def _name(self, node: ast.Name) -> Code:
        name = node.id
        if name in self._locals:
            return Code(name)
        if name in _OTHER_LITERALS:
            self._refuse(node, f"unknown name {name!r}", _OTHER_LITERALS[name])
        self.names.add(name)
        if name in self.columns:
            return self.columns[name]
        if self._fields is None:
            return Code(f"_r.get({name!r})")
        if name not in self._fields:
            guess = nearest(name, self._fields)
            there = "" if guess else f"; there are {', '.join(self._fields) or 'none'}"
            self._refuse(node, f"unknown field {name!r}{there}", guess)
        if name in DICT_NAMES:  # a dict among the rows must fail here, not give its method of that name
            return Code(f"{self._keep(getattr(self._row_type, name).__get__)}(_r)", self._fields[name])
        return Code(f"_r.{name}", self._fields[name])

    def _attribute(self, node: ast.Attribute) -> Code:
        value = self._write(node.value)
        once = self._once(value)
        struct = as_struct(value.hint)
        if struct is not None and node.attr not in field_types(struct):
            fields = field_types(struct)
            self._refuse(node, f"unknown field {node.attr!r} in {struct.__name__!r}", nearest(node.attr, fields))
        if once is None:
            return Code(f"_member({value.text}, {node.attr!r})")
        first, again = once
        if struct is not None and node.attr not in DICT_NAMES:
            return Code(f"(None if {first} is None else {again}.{node.attr})", field_types(struct)[node.attr])
        found = f"{again}.get({node.attr!r})"
        return Code(f"({found} if _type({first}) is _dict else _member({again}, {node.attr!r}))")

    def _binary(self, node: ast.BinOp) -> Code:
        kind = type(node.op)
        if kind not in _ARITHMETIC:
            self._refuse(node, "an operator must be one of + - * / // % **", _INSTEAD.get(kind))
        if kind in (ast.Mult, ast.Pow) and any(map(_is_sequence, (node.left, node.right))):
            self._refuse(node, f"operands of {_ARITHMETIC[kind]!r} must be numbers; got a text or list")
        if kind is ast.Mod and _is_sequence(node.left):
            self._refuse(node, "operands of '%' must be numbers; got a text or list")
        left, right = self._write(node.left), self._write(node.right)
        if kind is ast.Pow:
            return self._power(node, left, right)
        numbers = is_number(left.hint), is_number(right.hint)
        hint = Number if all(numbers) or (kind is ast.Add and any(numbers)) else Any
        if kind is ast.Add and left.hint == right.hint:
            hint = left.hint
        one_float = any(isinstance(side, ast.Constant) and type(side.value) is float for side in (node.left, node.right))
        if kind is ast.Mod or (kind is ast.Mult and not one_float):
            left = left if numbers[0] else _as_number(left)
        if kind is ast.Mult and not one_float:
            right = right if numbers[1] else _as_number(right)
        return Code(f"({left.text} {_ARITHMETIC[kind]} {right.text})", hint)

    def _power(self, node: ast.BinOp, left: Code, right: Code) -> Code:
        base, exponent = _constant_value(node.left), _constant_value(node.right)
        if isinstance(node.left, ast.Name) and type(exponent) is int and 0 <= exponent <= _PLAIN_EXPONENT:
            return Code(f"({left.text} ** {exponent})", Number if is_number(left.hint) else Any)
        if base is not None and exponent is not None:
            try:
                power(base, exponent)
            except (ArithmeticError, ValueError, TypeError) as error:
                self._refuse(node, str(error))
        return Code(f"_power({left.text}, {right.text})", Number)

    def _unary(self, node: ast.UnaryOp) -> Code:
        if type(node.op) not in _UNARY:
            self._refuse(node, "an operator must be one of + - not", _INSTEAD.get(type(node.op)))
        value = self._write(node.operand)
        hint = Truth if isinstance(node.op, ast.Not) else Number if is_number(value.hint) else Any
        return Code(f"({_UNARY[type(node.op)]}{value.text})", hint)

    def _boolean(self, node: ast.BoolOp) -> Code:
        values = [self._write(value) for value in node.values]
        word = " and " if isinstance(node.op, ast.And) else " or "
        return Code(f"({word.join(value.text for value in values)})", common(*(value.hint for value in values)))

    def _compare(self, node: ast.Compare) -> Code:
        text = self._write(node.left).text
        for operator, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(operator, ast.Is | ast.IsNot) and not (isinstance(right, ast.Constant) and right.value is None):
                self._refuse(right, "'is' must be followed by None", "==" if isinstance(operator, ast.Is) else "!=")
            text += f" {_COMPARISONS[type(operator)]} {self._write(right).text}"
        return Code(f"({text})", Truth)

    def _conditional(self, node: ast.IfExp) -> Code:
        body, test, orelse = self._write(node.body), self._write(node.test), self._write(node.orelse)
        return Code(f"({body.text} if {test.text} else {orelse.text})", common(body.hint, orelse.hint))

    def _sequence(self, node: ast.List | ast.Tuple) -> Code:
        items = "".join(f"{self._write(item).text}, " for item in node.elts)
        return Code(f"[{items}]" if isinstance(node, ast.List) else f"({items})")

    def _subscript(self, node: ast.Subscript) -> Code:
        return Code(f"{self._write(node.value).text}[{self._write(node.slice).text}]")

    def _slice(self, node: ast.Slice) -> Code:
        parts = (node.lower, node.upper, node.step)
        return Code(":".join("" if part is None else self._write(part).text for part in parts))

    def _list(self, node: ast.ListComp) -> Code:
        return Code(f"[{self._loop(node)}]")

    def _loop(self, node: ast.ListComp | ast.GeneratorExp) -> str:
        if len(node.generators) > 1 or node.generators[0].is_async:
            self._refuse(node, "a comprehension must have one 'for'")
        loop = node.generators[0]
        if not isinstance(loop.target, ast.Name):
            self._refuse(loop.target, "the variable of a comprehension must be one name")
        outside, self._only_expressions = self._only_expressions, True  # Python allows no := where a loop's list is made
        items = self._write(loop.iter).text
        self._only_expressions = outside
        self._loops += 1
        if self._loops > _NESTED_LOOPS:
            self._refuse(node, f"comprehensions must be nested at most {_NESTED_LOOPS} deep")
        self._locals.append(loop.target.id)
        text = f"{self._write(node.elt).text} for {loop.target.id} in {items}"
        text += "".join(f" if {self._write(condition).text}" for condition in loop.ifs)
        self._locals.pop()
        self._loops -= 1
        return text

    def _call(self, node: ast.Call) -> Code:
        if isinstance(node.func, ast.Attribute):
            guess = f"{node.func.attr}(...)" if node.func.attr in FUNCTIONS else None
            self._refuse(node, f"a function must be called by its bare name; got method {node.func.attr!r}", guess)
        if not isinstance(node.func, ast.Name):
            self._refuse(node, "a function must be called by its bare name")
        name = node.func.id
        if name not in FUNCTIONS:
            self._refuse(node, f"unknown function {name!r}", nearest(name, FUNCTIONS))
        function = FUNCTIONS[name]
        least, most = function.arguments
        if not least <= len(node.args) <= most:
            self._refuse(node, f"arguments must be as in {function.signature}; got {len(node.args)}")
        for keyword in node.keywords:
            if keyword.arg not in function.keywords:
                shown = f"**{'' if keyword.arg is None else ''}" if keyword.arg is None else f"{keyword.arg}="
                self._refuse(keyword, f"arguments must be as in {function.signature}; got {shown}")
        if function.prepare is not None and (len(node.args) > 1 or function.name not in _PLAIN_ALONE):
            prepared = self._prepared(node, function)
            if prepared is not None:
                return prepared
        if name == "coalesce":
            return self._coalesce(node)
        arguments = [self._argument(argument, function) for argument in node.args]
        texts = [argument.text for argument in arguments]
        texts += [f"{keyword.arg}={self._write(keyword.value).text}" for keyword in node.keywords]
        hint = function.gives
        if hint is None:
            hint = common(*(argument.hint for argument in arguments)) if len(arguments) > 1 else Any
        return Code(function.form.format(call=f"_f_{name}", arguments=", ".join(texts)), hint)
