"""Generated loops over lists of rows, for the operators that compute record by record.

A row is a dict or a msgspec struct. The rows of a list are of one type as a rule, and then a generated loop takes the
whole list at once, as fast as one written by hand. A row for which it raises, or a list of rows of several types, is no
error: the list is then gone through row by row, each with the code for its own type, and every row that fails is handed
to `reject(row, error)` in its order; the others continue in theirs. What was computed before the failure is computed
anew, so `now()` may differ; nothing is rejected twice.

An `ExpressionError` is raised, not rejected: the expression does not fit that type of rows, whatever they hold. An
element that is no row at all is rejected with a TypeError. No function changes the rows or the list it is given.

A filter and values go by the names of fields: rows of several struct types that all have them are no reason to slow
down. A column is added only to rows of the first row's type at full speed, since the others have fields of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cache
from operator import countOf
from typing import Any, NamedTuple

from rxpipe.elements import Row
from rxpipe.expressions import Expression
from rxpipe.expressions.compiler import Compiler
from rxpipe.expressions.fields import field_types, fields_of, row_struct
from rxpipe.expressions.syntax import Code
from rxpipe.fusion.loop import Loop, Write, compile_loop

__all__ = [
    "Fusible",
    "Reject",
    "RowsFunction",
    "ValuesFunction",
    "compile_derive",
    "compile_filter",
    "compile_values",
    "deriving",
    "fields_of",
    "filtering",
    "looping",
    "row_struct",
]

Reject = Callable[[Row, Exception], None]
"""Takes a row that failed, and why."""

RowsFunction = Callable[[list[Row], Reject], list[Row]]
"""From rows to rows; must give the same for the same rows, since retractions pass through it too."""


class Fusible(NamedTuple):
    """A step that can be part of one loop with its neighbours.

    Attributes:
        rows: The step on its own.
        write: What it does to one record of a loop: the same, but it raises where the step on its own would reject.
        prepare: Called before each list of rows; the code is written anew when what it gives has changed.
        takes: The type of the rows, where it takes only one.
    """

    rows: RowsFunction
    write: Write
    prepare: Callable[[], Hashable] | None = None
    takes: type | None = None


ValuesFunction = Callable[[list[Row], Reject], tuple[list[Row], list[Any]]]
"""From rows to those that did not fail, and the values of each."""


class _Loops(NamedTuple):
    """Generated code for one type of rows: the loop over a list, and what it does for one row."""

    whole: Callable[[list[Row]], list[Any]]
    single: Callable[[Row], Any]


def compile_filter(condition: Expression) -> RowsFunction:
    """A function that keeps the rows for which the condition is true.

    Example:
        >>> from rxpipe.expressions import parse
        >>> compile_filter(parse("n > 1"))([{"n": 1}, {"n": 2}], print)
        [{'n': 2}]
    """

    @cache
    def loops(row_type: type) -> _Loops:
        compiler = Compiler(row_type)
        code = compiler.write(condition.tree, condition.text).text
        return _build(compiler, f" return [_r for _r in _rows if {code}]", f" return {code}")

    def keep(rows: list[Row], reject: Reject) -> list[Row]:
        whole = _attempt(loops, rows)
        if whole is not None:
            return whole
        kept, values = _one_by_one(loops, rows, reject)
        return [row for row, value in zip(kept, values, strict=True) if value]

    return keep


def filtering(condition: Expression) -> Fusible:
    """A step that keeps the rows for which the condition is true."""

    def write(loop: Loop) -> None:
        loop.skip_unless(loop.value(condition).text)

    return Fusible(compile_filter(condition), write)


def deriving(columns: Mapping[str, Expression], *, only: bool = False) -> Fusible:
    """A step that adds computed columns, see `compile_derive`."""

    def write(loop: Loop) -> None:
        for name, expression in columns.items():
            loop.put(name, loop.computed(expression))
        if only:
            loop.only([*columns])

    return Fusible(compile_derive(columns, only=only), write)


def looping(write: Write) -> Fusible:
    """A step that is what it writes into a loop, no more: on its own it has a loop to itself."""

    @cache
    def loops(row_type: type) -> _Loops:
        call = compile_loop([write], row_type).call
        return _Loops(lambda rows: call(rows)[0], lambda row: call([row])[0])

    def made(rows: list[Row], reject: Reject) -> list[Row]:
        uniform = not rows or countOf(map(type, rows), type(rows[0])) == len(rows)
        whole = _attempt(loops, rows) if uniform else None
        return [row for own in _one_by_one(loops, rows, reject)[1] for row in own] if whole is None else whole

    return Fusible(made, write)


def compile_derive(columns: Mapping[str, Expression], *, only: bool = False) -> RowsFunction:
    """A function that adds computed columns to each row, in place of fields of the same names.

    A column may use those before it. Of a struct it makes a struct of a new type, in which new fields come last; of a
    dict, a dict.

    Args:
        columns: The expression of each column.
        only: Keep only the columns, not the other fields.

    Example:
        >>> from rxpipe.expressions import parse
        >>> double = compile_derive({"m": parse("n * 2"), "k": parse("m + 1")})
        >>> double([{"n": 1}], print)
        [{'n': 1, 'm': 2, 'k': 3}]
    """

    @cache
    def loops(row_type: type) -> _Loops:
        compiler = Compiler(row_type)
        bound = {} if only else _bind_fields(compiler, columns)
        bound |= _write_columns(compiler, columns)
        made, row = _made_row(row_type, compiler.columns, [*columns], only=only)
        once = "".join(f" for {name} in [{text}]" for name, text in bound.items())  # as fast as an assignment
        return _build(
            compiler,
            f" return [{row} for _r in _rows{once}]",
            "".join(f" {name} = {text}\n" for name, text in bound.items()) + f" return {row}",
            _made=made,
        )

    def derive(rows: list[Row], reject: Reject) -> list[Row]:
        uniform = not rows or countOf(map(type, rows), type(rows[0])) == len(rows)
        whole = _attempt(loops, rows) if uniform else None
        return _one_by_one(loops, rows, reject)[1] if whole is None else whole

    return derive


def compile_values(expressions: Sequence[Expression], *, tuples: bool = False) -> ValuesFunction:
    """A function that computes values of each row: of one expression the value, of several a tuple.

    It returns the rows that did not fail and, at the same places, their values. If no row fails, the rows are the very
    list it was given.

    Args:
        expressions: What to compute.
        tuples: Make a tuple of a single expression's value too.

    Example:
        >>> from rxpipe.expressions import parse
        >>> compile_values([parse("a"), parse("b * 2")])([{"a": 1, "b": 2}], print)
        ([{'a': 1, 'b': 2}], [(1, 4)])
    """

    @cache
    def loops(row_type: type) -> _Loops:
        compiler = Compiler(row_type)
        texts = [compiler.write(expression.tree, expression.text).text for expression in expressions]
        value = texts[0] if len(texts) == 1 and not tuples else f"({''.join(f'{text}, ' for text in texts)})"
        return _build(compiler, f" return [{value} for _r in _rows]", f" return {value}")

    def values(rows: list[Row], reject: Reject) -> tuple[list[Row], list[Any]]:
        whole = _attempt(loops, rows)
        return _one_by_one(loops, rows, reject) if whole is None else (rows, whole)

    return values


def _build(compiler: Compiler, whole: str, single: str, **names: object) -> _Loops:
    built = compiler.build(f"def _whole(_rows):\n{whole}\ndef _single(_r):\n{single}\n", **names)
    return _Loops(built["_whole"], built["_single"])


def _attempt(loops: Callable[[type], _Loops], rows: list[Row]) -> list[Any] | None:
    """What the loop for the first row's type makes of the whole list; None where a row fails or is of another type."""
    if not rows:
        return []
    try:
        whole = loops(type(rows[0])).whole
    except TypeError:  # no row at all
        return None
    try:
        return whole(rows)
    except Exception:
        return None


def _one_by_one(loops: Callable[[type], _Loops], rows: list[Row], reject: Reject) -> tuple[list[Row], list[Any]]:
    """The rows that do not fail, and what the code for each one's type makes of them."""
    kept, values = [], []
    for row in rows:
        try:
            single = loops(type(row)).single
        except TypeError as error:
            reject(row, error)
            continue
        try:
            value = single(row)
        except Exception as error:
            reject(row, error)
            continue
        kept.append(row)
        values.append(value)
    return kept, values


def _bind_fields(compiler: Compiler, columns: Mapping[str, Expression]) -> dict[str, str]:
    """Read once each field of a struct that is both kept and used: names, and the source of their values."""
    used = frozenset[str]().union(*(expression.names for expression in columns.values())) - columns.keys()
    bound = {}
    for name, hint in compiler.fields.items():
        if name in used:
            bound[f"_v_{name}"] = f"_r.{name}"
            compiler.columns[name] = Code(f"_v_{name}", hint)
    return bound


def _write_columns(compiler: Compiler, columns: Mapping[str, Expression]) -> dict[str, str]:
    """Write the columns into `compiler.columns`; of those that later columns use, returns names and source."""
    bound = {}
    left = [*columns.values()]
    for number, (name, expression) in enumerate(columns.items()):
        is_used = any(name in later.names for later in left[number + 1 :])
        code = compiler.write(expression.tree, expression.text, temporaries=not is_used)
        if is_used:
            bound[f"_c{number}"] = code.text
            code = Code(f"_c{number}", code.hint)
        compiler.columns[name] = code
    return bound


def _made_row(row_type: type, columns: Mapping[str, Code], wanted: list[str], *, only: bool) -> tuple[type, str]:
    """The type of a row made of the wanted columns, and the source that makes one of the row `_r`."""
    if issubclass(row_type, dict):
        items = "".join(f"{name!r}: {columns[name].text}, " for name in wanted)
        return dict, f"{{{items}}}" if only else f"{{**_r, {items}}}"
    kept = {} if only else {name: Code(f"_r.{name}", hint) for name, hint in field_types(row_type).items()}
    fields = {**kept, **columns}
    made = row_struct(row_type.__name__, {name: code.hint for name, code in fields.items()})
    return made, f"_made({', '.join(code.text for code in fields.values())})"
