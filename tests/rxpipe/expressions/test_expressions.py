"""Expressions: what they compute, and where their errors point."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxpipe.errors import ExpressionError
from rxpipe.expressions import Expression, parse
from rxpipe.expressions.functions import FUNCTIONS


class Usage(msgspec.Struct):
    tokens: int | None = None
    items: list[Any] | None = None


class Line(msgspec.Struct):
    model: str | None = None
    tokens: int | None = None
    price: float | None = None
    usage: Usage | None = None
    extra: Any = None
    items: list[Any] | None = None


class Event(NamedTuple):
    kind: str
    path: str


def value(text: str, /, **fields: Any) -> Any:
    """What an expression makes of a dict."""
    return parse(text).bind(dict)(fields)


@given(st.data())
def test_what_is_decided_when_it_is_compiled_is_what_python_decides(data: st.DataObject) -> None:
    texts = st.sampled_from(["'a' == 'a'", "'a' == 'b'", "'a' != 'a'", "'a' != 'b'", "n", "0", "''", "None", "n > 1"])
    parts = st.recursive(
        texts,
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda part: f"({' '.join(part)})"),
            st.tuples(inner, inner, inner).map(lambda part: f"({part[0]} if {part[1]} else {part[2]})"),
            inner.map(lambda part: f"(not {part})"),
        ),
        max_leaves=8,
    )
    text, n = data.draw(parts), data.draw(st.sampled_from([0, 1, 2]))
    expected = eval(text, {"n": n})
    found = value(text, n=n)
    assert (type(found), found) == (type(expected), expected)


def test_a_branch_that_is_never_taken_must_be_right_too() -> None:
    with pytest.raises(ExpressionError, match="unknown field 'mdel'"):
        parse("mdel if 'a' == 'b' else model").bind(Line)


NESTED = {"usage": {"iterations": [{"type": "x", "n": 1}, {"type": "y", "n": 2}, {"n": 3}], "tokens": 7}}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3 - 4 / 2", 5.0),
        ("7 // 2 + 7 % 4", 6),
        ("-2 ** 2", -4),
        ("2 ** -1", 0.5),
        ("(2 + 3) * 4", 20),
        ("1 < 2 <= 2 != 3", True),
        ("1 < 2 > 5", False),
        ("'a' in ['a', 'b'] and 3 not in (1, 2)", True),
        ("missing is None", True),
        ("usage is not None", True),
        ("None or 0 or 'x'", "x"),
        ("not 1", False),
        ("1 if usage else 2", 1),
        ("usage.tokens", 7),
        ("usage.tokens.deeper.still", None),
        ("missing.part", None),
        ("usage['tokens']", 7),
        ("usage.iterations[0].type", "x"),
        ("usage.iterations[-1]['n']", 3),
        ("[i for i in usage.iterations if i.type == 'x']", [{"type": "x", "n": 1}]),
        ("[i.n * 2 for i in usage.iterations if i.n > 1 if i.type]", [4]),
        ("sum(i.n for i in usage.iterations)", 6),
        ("len(i for i in usage.iterations if i.type)", 2),
        ("any(i.n == 3 for i in usage.iterations)", True),
        ("all(i.type for i in usage.iterations)", False),
        ("max(i.n for i in usage.iterations)", 3),
        ("max((i.n for i in []), default=-1)", -1),
        ("join((i.type for i in usage.iterations if i.type), '+')", "x+y"),
        ("[[a + b for a in 'xy'] for b in '12']", [["x1", "y1"], ["x2", "y2"]]),
        ("[usage for usage in [1, 2]]", [1, 2]),
        ("[coalesce(i.n, 0) for i in [j for j in usage.iterations if coalesce(j.type, 'y') == 'y']]", [2, 3]),
        ("'abcdef'[1:3] + 'abc'[::-1] + 'abc'[-1]", "bccbac"),
        ("[1, 2, 3][1:]", [2, 3]),
        ("(1, 'a', None, True)", (1, "a", None, True)),
        ("'a' 'b'", "ab"),
        ("coalesce(missing, usage.nothing, usage.tokens, 1)", 7),
        ("coalesce(1, 1 / 0)", 1),
        ("coalesce(missing)", None),
        ("get(usage, 'tokens', 0) + get(usage, 'none', 1)", 8),
        ("get(missing, 'a')", None),
        ("get([1], -1)", 1),
        ("split(' a b ')", ["a", "b"]),
        ("matches('ab', 'b$')", True),
        ("matches('ab', '^b')", False),
        ("extract('a1b2', '[a-z]([0-9])$')", "2"),
        ("extract('a1b2', 'c')", None),
        ("extract('a1b2', '[0-9]b')", "1b"),
        ("extract('a1', '(a)(?P<n>1)', 'n')", "1"),
        ("extract('a1', '(a)(1)', 2)", "1"),
        ("round(2.5)", 2),
        ("round(1234, -2)", 1200),
        ("round(1.26, 1)", 1.3),
        ("min(3, 2)", 2),
        ("startswith('abc', ('x', 'a'))", True),
        ("strip('--a-', '-')", "a"),
        ("parts('/a/b')[-1]", "b"),
        ("floor_time('1970-01-01T00:10:00Z', 3600)", 0.0),
        ("ceil_time(3600, '1h')", 3600.0),
        ("ceil_time(3601, usage.tokens * 600)", 4200.0),
        ("(0 - 2) ** 2 + 2 ** (1 + 1) + (2 ** 0.5) ** 2", 10.0),
        ("(usage.tokens ** 2) ** 2", 2401),
        ("ceil_time(3600.5, '1h')", 7200.0),
        ("\n  1\n  + 2\n", 3),
        ("'ü' + 'ö'", "üö"),
    ],
)
def test_values(text: str, expected: Any) -> None:
    assert value(text, **NESTED) == expected


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=lambda function: function.name)
def test_examples_of_functions(function: Any) -> None:
    result = value(function.example)
    if function.result is None:
        assert isinstance(result, float)
    else:
        assert result == function.result
        assert type(result) is type(function.result)
    assert function.doc.endswith(".")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("missing + 1", TypeError),
        ("1 / 0", ZeroDivisionError),
        ("usage['none']", KeyError),
        ("[1][5]", IndexError),
        ("lower(missing)", TypeError),
        ("int('x')", ValueError),
        ("[1][missing]", TypeError),
        ("1[0]", TypeError),
        ("text * 3", TypeError),
        ("3 * text", TypeError),
        ("text * count", TypeError),
        ("usage.list * 3", TypeError),
        ("coalesce(text, 1) * 3", TypeError),
        ("text % 3", TypeError),
        ("text ** 2", TypeError),
        ("count ** count", OverflowError),
        ("(0 - count) ** 0.5", ValueError),
        ("2 ** (count + 0)", OverflowError),
        ("replace(long, 'a', long)", ValueError),
        ("join([long for i in long], '')", ValueError),
        ("join(split(long), long) * 2", TypeError),
        ("timestamp('2026-01-31T12:00:00')", ValueError),
        ("timestamp('yesterday')", ValueError),
        ("timestamp(True)", TypeError),
        ("timestamp(missing)", TypeError),
        ("date(count, text)", ValueError),
        ("floor_time(1, count - count)", ValueError),
    ],
)
def test_failures(text: str, error: type[Exception]) -> None:
    fields = {"text": "%99d", "count": 10**6, "long": "a" * 100_000, "usage": {"list": [1]}}
    with pytest.raises(error):
        value(text, **fields)


def test_structs() -> None:
    line = Line("opus", 5, 0.5, Usage(3, [1]), {"a": {"b": 1}}, [2])
    for text, expected in [
        ("tokens * price", 2.5),
        ("usage.tokens", 3),
        ("usage.items", [1]),
        ("items", [2]),
        ("extra.a.b", 1),
        ("extra.b.a", None),
        ("[u.tokens for u in [usage, None, extra]]", [3, None, None]),
        ("get(usage, 'tokens')", 3),
        ("get(usage, '__class__', 0)", 0),
        ("tokens ** 2", 25),
    ]:
        assert parse(text).bind(Line)(line) == expected
    assert parse("usage.tokens").bind(Line)(Line()) is None


def test_named_tuples() -> None:
    assert parse("kind + path").bind(Event)(Event("a", "b")) == "ab"


class Unreadable(msgspec.Struct):
    count: Nowhere  # type: ignore[name-defined]  # noqa: F821  # declared where it cannot be found
    other: Any = None


def test_declarations_that_cannot_be_read() -> None:
    assert parse("count * 2").bind(Unreadable)(Unreadable(3)) == 6
    with pytest.raises(TypeError):
        parse("count * other").bind(Unreadable)(Unreadable("a", 3))


def test_declared_numbers_need_no_guard() -> None:
    kind = msgspec.defstruct("Kind", [("a", Annotated[int, "count"]), ("b", "int | None", None)])
    assert parse("a * b").bind(kind)(kind(2, 3)) == 6


def test_a_dict_is_not_taken_for_a_struct() -> None:
    with pytest.raises(TypeError, match="doesn't apply"):
        parse("items").bind(Line)({"items": 1})


@pytest.mark.parametrize(
    ("text", "column", "guess", "message"),
    [
        ("tokns + 1", 0, "tokens", "unknown field 'tokns', did you mean 'tokens'?"),
        ("1 + tokns", 4, "tokens", "unknown field 'tokns'"),
        ("usage.tokns", 6, "tokens", "unknown field 'tokns' in 'Usage'"),
        ("zzzzzz", 0, None, "unknown field 'zzzzzz'; there are model, tokens"),
    ],
)
def test_fields_that_a_struct_lacks(text: str, column: int, guess: str | None, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text).bind(Line)
    assert (caught.value.column, caught.value.guess, caught.value.text) == (column, guess, text)
    assert str(caught.value).startswith(message)


def test_what_is_no_row_type() -> None:
    with pytest.raises(TypeError, match="a row must be a dict, a msgspec struct or a named tuple; got int"):
        parse("a").bind(int)


@pytest.mark.parametrize(
    ("text", "column", "guess", "message"),
    [
        ("", 0, None, "an expression must not be empty"),
        ("  ", 0, None, "an expression must not be empty"),
        ("a +", 3, None, "an expression must be valid syntax; got its end where something must follow"),
        ("a b", 2, None, "an expression must be valid syntax; got 'b' where it cannot stand"),
        ("  a b", 4, None, "an expression must be valid syntax; got "),
        ("a = 1", 2, "==", "an expression must be valid syntax; got "),
        ("a && b", 3, "and", "an expression must be valid syntax; got '&' where it cannot stand, did you mean 'and'?"),
        ("(a", 0, None, "an expression must be valid syntax; got '(' was never closed"),
        ("max(a", 3, None, "an expression must be valid syntax; got '(' was never closed; in YAML a comma ends "),
        ("a & b", 0, "and", "an operator must be one of"),
        ("~a", 0, "not", "an operator must be one of"),
        (r"matches(a, '\d')", 11, None, "an expression must be valid syntax; got invalid escape"),
        ("a # b", 2, None, "an expression must not have a comment"),
        ("x + lowr(a)", 4, "lower", "unknown function 'lowr', did you mean 'lower'?"),
        ("strptime(a)", 0, "timestamp", "unknown function 'strptime', did you mean 'timestamp'?"),
        ("a >> 1", 0, None, "an operator must be one of + - * / // % **; got '>>'"),
        ("'é' + lowr(a)", 6, "lower", "unknown function 'lowr'"),
        ("1 +\n lowr(a)", 5, "lower", "unknown function 'lowr'"),
        ("zzzzzz(a)", 0, None, "unknown function 'zzzzzz'"),
        ("a.lower()", 2, "lower(...)", "a function must be called by its bare name; got method 'lower'"),
        ("lower(a)(b)", 0, None, "a function must be called by its bare name"),
        ("lower()", 0, None, "arguments must be as in lower(text); got 0"),
        ("lower(a, b)", 0, None, "arguments must be as in lower(text); got 2"),
        ("max(a, key=b)", 7, None, "arguments must be as in max(value, ..., *, default); got key="),
        ("lower(**a)", 0, None, "arguments must be as in lower(text); got 0"),
        ("max(a, **b)", 7, None, "arguments must be as in max(value, ..., *, default); got **"),
        ("max(*a)", 4, None, "'*' before an argument cannot stand"),
        ("[i for i in a for j in b]", 0, None, "a comprehension must have one 'for'"),
        ("[i for i, j in a]", 7, None, "the variable of a comprehension must be one name"),
        ("[[[i for i in a] for j in b] for k in c]", 2, None, "comprehensions must be nested at most 2 deep"),
        ("(i for i in a)", 0, None, "a generator outside any"),
        ("lower(i for i in a)", 5, None, "a generator outside any"),
        ("a is 1", 5, "==", "'is' must be followed by None"),
        ("a is not 'x'", 9, "!=", "'is' must be followed by None"),
        ("true", 0, "True", "unknown name 'true'"),
        ("a == null", 5, "None", "unknown name 'null'"),
        ("matches(a, b)", 11, None, "arguments after the first must be constant in matches"),
        ("matches(a, '(')", 11, None, "pattern must be a regular expression"),
        ("matches(a, '\b')", 11, None, "pattern must be written as r'...'"),
        ("matches(a, 5)", 11, None, "pattern must be a text"),
        ("extract(a, 'b', 1)", 16, None, "group must be one of the pattern's groups; got 1"),
        ("round(a, 99)", 9, None, "digits must be a whole number of -30 to 30; got 99"),
        ("round(a, b)", 9, None, "arguments after the first must be constant in round"),
        ("timestamp(a, '%d.%m.%Y %H:%M')", 13, None, "zone must be given where the format has no %z; got none"),
        ("timestamp(a, '%Y-%m-%d %z', 'UTC')", 28, None, "zone must be left out where the format has %z; got 'UTC'"),
        ("timestamp(a, '%b %d %H:%M:%S', 'UTC')", 31, None, "format must tell year, month and day; got '%b %d"),
        (
            "timestamp(a, '%Y-%m-%d %Q', 'UTC')",
            28,
            None,
            "format must be one of Python's strptime; got '%Y-%m-%d %Q': ",
        ),
        ("timestamp(a, '%d%d', 'UTC')", 21, None, "format must be one of Python's strptime; got '%d%d': "),
        ("timestamp(a, 5)", 13, None, "format must be a text such as '%d/%b/%Y:%H:%M:%S %z'; got 5"),
        ("timestamp(a, '%Y%m%d', 'Mars')", 23, None, "zone must be an IANA name such as "),
        (
            "timestamp(a, format='%Y')",
            13,
            None,
            "arguments must be as in timestamp(time, format=, zone=); got format=, wh",
        ),
        ("date(a, 'Europe/Berln')", 8, None, "zone must be an IANA name such as 'Europe/Berlin', or 'local'; got "),
        ("date(a, '../../etc/passwd')", 8, None, "zone must be an IANA name"),
        ("floor_time(a, '1 hour')", 14, None, "duration must be "),
        ("floor_time(a, 0)", 14, None, "step must be a duration above 0"),
        ("18446744073709551616", 0, None, "a whole number must be below 2 ** 64"),
        ("1e999", 0, None, "a number must be finite"),
        ("1j", 0, None, "a literal must be a number, text, True, False or None; got complex"),
        ("b'a'", 0, None, "a literal must be a number, text, True, False or None; got bytes"),
        ("...", 0, None, "a literal must be a number, text, True, False or None; got ellipsis"),
        ("a" * 4001, 0, None, "an expression must be at most 4000 characters long; got 4001"),
        ("[" + "1, " * 500 + "]", 0, None, "an expression must have at most 500 parts"),
        ("- " * 51 + "1", 100, None, "an expression must be nested at most 50 deep"),
        ("(" * 500 + ")" * 500, 200, None, "an expression must be valid syntax; got too many nested parentheses"),
    ],
)
def test_errors(text: str, column: int, guess: str | None, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert str(caught.value).startswith(message)
    assert caught.value.text == text
    if "500 parts" not in message and "too many" not in message:
        assert (caught.value.column, caught.value.guess) == (column, guess)


def test_not_a_text() -> None:
    with pytest.raises(ExpressionError, match="an expression must be a text; got 5"):
        parse(5)  # type: ignore[arg-type]  # that is the point


def test_expressions() -> None:
    expression = parse("usage.tokens * price + len(i for i in items if i.price > limit)")
    assert expression.names == {"usage", "price", "items", "limit"}
    assert expression is parse(expression.text)
    assert expression.bind(dict) is expression.bind(dict)
    assert parse("a") == Expression("a", frozenset(), expression.tree) != parse("b")
    assert hash(parse("a")) == hash(Expression("a", frozenset(), expression.tree))
    assert repr(parse("a + 'b'")) == "Expression(\"a + 'b'\")"
    with pytest.raises(AttributeError):
        expression.text = "b"  # type: ignore[misc]  # that is the point


numbers = st.integers(-1000, 1000) | st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: round(x, 3))
operands = st.sampled_from(["a", "b", "c"]) | numbers.map(lambda number: f"({number!r})")
arithmetic = st.recursive(
    operands,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner).map(lambda t: f"({' '.join(t)})"),
        st.tuples(inner, st.sampled_from(["<", "<=", "==", "!=", ">", ">="]), inner).map(lambda t: f"({' '.join(t)})"),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda t: f"({' '.join(t)})"),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} if {t[1]} else {t[2]})"),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} < {t[1]} <= {t[2]})"),
        inner.map(lambda text: f"(-{text})"),
        inner.map(lambda text: f"(not {text})"),
        st.tuples(inner, st.integers(0, 4)).map(lambda t: f"(abs({t[0]}) ** {t[1]})"),
        st.tuples(inner, inner).map(lambda t: f"max({t[0]}, min({t[1]}, 5))"),
    ),
    max_leaves=12,
)


def outcome(function: Any, *arguments: Any) -> tuple[str, str]:
    try:
        return "value", repr(function(*arguments))
    except (ArithmeticError, ValueError, TypeError) as error:
        return "error", type(error).__name__


@given(arithmetic, numbers, numbers, numbers)
def test_agrees_with_python(text: str, a: float, b: float, c: float) -> None:
    struct = msgspec.defstruct("Numbers", [(name, int | float | None, None) for name in "abc"])
    fields = {"a": a, "b": b, "c": c}
    expected = outcome(eval, text, {"max": max, "min": min, "abs": abs}, fields)
    if expected == ("error", "OverflowError"):
        return
    found = outcome(parse(text).bind(dict), fields)
    assert found == outcome(parse(text).bind(struct), struct(**fields))
    if found != ("error", "OverflowError"):  # powers of 4096 bits and more
        assert found == expected
