"""The source of a call in an expression."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from rxpipe.errors import nearest
from rxpipe.expressions.fields import common
from rxpipe.expressions.functions import FUNCTIONS, Function
from rxpipe.expressions.syntax import VARIABLE, Code, constant_value

if TYPE_CHECKING:
    from rxpipe.expressions.compiler import Compiler


ELSEWHERE = {
    "downcase": "lower",
    "fillna": "coalesce",
    "ifnull": "coalesce",
    "length": "len",
    "parse_time": "timestamp",
    "parse_timestamp": "timestamp",
    "parsetime": "timestamp",
    "strftime": "format_time",
    "strptime": "timestamp",
    "to_datetime": "timestamp",
    "trim": "strip",
    "upcase": "upper",
}
"""What Python, pandas, SQL and Vector call functions, where no name here is like it."""


def write_call(compiler: Compiler, node: ast.Call) -> Code:
    """The source of a call of a function of the table."""
    if isinstance(node.func, ast.Attribute):
        guess = f"{node.func.attr}(...)" if node.func.attr in FUNCTIONS else None
        compiler.refuse(node.func, f"a function must be called by its bare name; got method {node.func.attr!r}", guess)
    if not isinstance(node.func, ast.Name):
        compiler.refuse(node, "a function must be called by its bare name")
    name = node.func.id
    if name not in FUNCTIONS:
        compiler.refuse(node, f"unknown function {name!r}", ELSEWHERE.get(name) or nearest(name, FUNCTIONS))
    function = FUNCTIONS[name]
    _check_arguments(compiler, node, function)
    if name == "coalesce":
        return _coalesce(compiler, node)
    if function.prepare is not None:
        prepared = _prepare(compiler, node, function)
        if prepared is not None:
            return prepared
    arguments = [_argument(compiler, argument, function) for argument in node.args]
    texts = [argument.text for argument in arguments]
    texts += [f"{keyword.arg}={compiler.part(keyword.value).text}" for keyword in node.keywords]
    hint = function.gives
    if hint is None:
        hint = common(*(argument.hint for argument in arguments)) if len(arguments) > 1 else Any
    return Code(function.form.format(call=f"_f_{name}", arguments=", ".join(texts)), hint)


def _check_arguments(compiler: Compiler, node: ast.Call, function: Function) -> None:
    least, most = function.arguments
    if not least <= len(node.args) <= most:
        compiler.refuse(node, f"arguments must be as in {function.signature}; got {len(node.args)}")
    for keyword in node.keywords:
        if keyword.arg not in function.keywords:
            shown = f"{keyword.arg}=" if keyword.arg else "**"
            if keyword.arg in function.places:
                shown += ", which is given by its place alone"
            compiler.refuse(keyword, f"arguments must be as in {function.signature}; got {shown}")


def _argument(compiler: Compiler, node: ast.expr, function: Function) -> Code:
    if not (isinstance(node, ast.GeneratorExp) and function.takes_generator):
        return compiler.part(node)
    loop = compiler.loop(node)
    return Code(f"({loop})" if function.name in ("any", "all") else f"[{loop}]")  # only these two may stop early


def _prepare(compiler: Compiler, node: ast.Call, function: Function) -> Code | None:
    """A call of a function made once of the constant arguments after the first; None where they are not constant."""
    constants = [constant_value(argument) for argument in node.args[1:]]
    if VARIABLE in constants:
        if function.call is None:
            message = f"arguments after the first must be constant in {function.signature}"
            compiler.refuse(node.args[1 + constants.index(VARIABLE)], message)
        return None
    try:
        call = function.prepare(*constants) if function.prepare else None
    except (ValueError, TypeError) as error:
        compiler.refuse(node.args[-1], str(error))
    arguments = compiler.part(node.args[0]).text
    return Code(function.form.format(call=compiler.keep(call), arguments=arguments), function.gives)


def _coalesce(compiler: Compiler, node: ast.Call) -> Code:
    codes = [compiler.part(argument) for argument in node.args]
    hint = common(*(code.hint for code in codes))
    text = codes[-1].text
    for code in codes[-2::-1]:
        once = compiler.once(code)
        if once is None:
            return Code(f"_coalesce({', '.join(code.text for code in codes)})", hint)
        first, again = once
        text = f"({again} if {first} is not None else {text})"
    return Code(text, hint)
