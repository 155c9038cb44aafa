"""The functions that an expression may call: one table, from which the reference is generated too."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import PurePath
from typing import Any, NamedTuple

import msgspec

from rxpipe.expressions import times

Number = int | float | None
Computed = int | float
"""The result of arithmetic, which fails where an operand is null."""
Text = str | None
Truth = bool | None

_LONGEST_TEXT = 16 * 2**20
_POWER_BITS = 4096
_ROUND_DIGITS = 30
_LONGEST_PATTERN = 1000
_CACHED_PATHS = 8192


class Function(NamedTuple):
    """A function of the expression language.

    Args:
        signature: How it is called: `=` marks an optional argument, `...` more of them; after `*` come keywords.
        doc: What it gives, in one sentence.
        example: A call without fields.
        result: What the example gives; None where that depends on the moment.
        call: Does it; None if everything but the first argument must be constant.
        gives: The type of the result; None: that of the arguments, if they agree.
        prepare: Given the constant arguments after the first, makes a function of the first, once per expression.
        form: How the call is written in the generated code.
        takes_generator: Whether the first argument may be a generator.
    """

    signature: str
    doc: str
    example: str
    result: object
    call: Callable[..., Any] | None
    gives: Any = Any
    prepare: Callable[..., Callable[[Any], Any]] | None = None
    form: str = "{call}({arguments})"
    takes_generator: bool = False

    @property
    def name(self) -> str:
        """The name it is called by."""
        return self.signature.partition("(")[0]

    @property
    def arguments(self) -> tuple[int, float]:
        """The least and the greatest number of arguments by position."""
        names = self._names(0)
        least = sum("=" not in name and name != "..." for name in names)
        return least, math.inf if "..." in names else len(names)

    @property
    def places(self) -> frozenset[str]:
        """The names of the arguments that are given by position."""
        return frozenset(name.rstrip("=") for name in self._names(0))

    @property
    def keywords(self) -> frozenset[str]:
        """The names of the arguments that are given by keyword."""
        return frozenset(name.partition("=")[0] for name in self._names(1))

    def _names(self, part: int) -> list[str]:
        parts = [*self.signature.partition("(")[2].rstrip(")").split("*"), ""]
        return [name.strip() for name in parts[part].split(",") if name.strip()]


def member(value: object, name: str) -> Any:
    """A part of a nested object by its name: a dict's value or a struct's field; None if it is missing."""
    if isinstance(value, dict):
        return value.get(name)
    if isinstance(value, msgspec.Struct) and name in value.__struct_fields__:
        return getattr(value, name)
    return None


def power(base: Any, exponent: Any) -> Any:
    """`base ** exponent`, for numbers whose result is real and stays below 4096 bits."""
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * exponent > _POWER_BITS:
        msg = f"power must stay below {_POWER_BITS} bits"
        raise OverflowError(msg)
    result = base**exponent
    if isinstance(result, complex):
        msg = f"power must be real; got {base!r} ** {exponent!r}"
        raise ValueError(msg)
    return result


def coalesce(*values: object) -> Any:
    """The first of the values that is not None."""
    return next((value for value in values if value is not None), None)


def _get(value: object, key: Any, default: object = None) -> Any:
    found: object = None
    if isinstance(value, list | tuple):
        if isinstance(key, int) and -len(value) <= key < len(value):
            found = value[key]
    elif isinstance(value, dict):
        found = value.get(key)
    else:
        found = member(value, key)
    return default if found is None else found


def _bounded(length: int) -> None:
    if length > _LONGEST_TEXT:
        msg = f"text must stay below {_LONGEST_TEXT} characters; got {length}"
        raise ValueError(msg)


def _replace(text: str, old: str, new: str) -> str:
    if len(new) > len(old):
        _bounded(len(text) + str.count(text, old) * (len(new) - len(old)))
    return str.replace(text, old, new)


def _join(texts: Sequence[str], separator: str) -> str:
    _bounded(len(texts) * len(separator) + sum(map(len, texts)))
    return str.join(separator, texts)


def _round(digits: int | None = None) -> Callable[[Any], Any]:
    if digits is None:
        return round
    if type(digits) is not int or abs(digits) > _ROUND_DIGITS:
        msg = f"digits must be a whole number of -{_ROUND_DIGITS} to {_ROUND_DIGITS}; got {digits!r}"
        raise ValueError(msg)
    return partial(round, ndigits=digits)


def _pattern(pattern: object) -> re.Pattern[str]:
    if not isinstance(pattern, str) or len(pattern) > _LONGEST_PATTERN:
        msg = f"pattern must be a text of up to {_LONGEST_PATTERN} characters; got {pattern!r:.80}"
        raise ValueError(msg)
    if "\b" in pattern:
        msg = r"pattern must be written as r'...' where it has a '\b'; got a backspace character"
        raise ValueError(msg)
    try:
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        msg = f"pattern must be a regular expression; got {pattern!r}: {error}"
        raise ValueError(msg) from error


def _extract(pattern: str, group: int | str | None = None) -> Callable[[str], str | None]:
    compiled = _pattern(pattern)
    wanted = min(compiled.groups, 1) if group is None else group
    if wanted not in (*range(compiled.groups + 1), *compiled.groupindex):
        msg = f"group must be one of the pattern's groups; got {group!r}"
        raise ValueError(msg)
    search = compiled.search

    def extract(text: str) -> str | None:
        match = search(text)
        return None if match is None else match[wanted]

    return extract


@lru_cache(maxsize=_CACHED_PATHS)
def _stem(path: str) -> str:
    return PurePath(path).stem


@lru_cache(maxsize=_CACHED_PATHS)
def _name(path: str) -> str:
    return PurePath(path).name


@lru_cache(maxsize=_CACHED_PATHS)
def _parent(path: str) -> str:
    return str(PurePath(path).parent)


@lru_cache(maxsize=_CACHED_PATHS)
def _components(path: str) -> tuple[str, ...]:
    return PurePath(path).parts


def _parts(path: str) -> list[str]:
    return list(_components(path))


_F = Function
_MOMENT = "'2026-01-31T23:30:00.5Z'"

FUNCTIONS: dict[str, Function] = {
    function.name: function
    for function in (
        _F("abs(number)", "The number without its sign.", "abs(-2)", 2, abs, Number),
        _F("round(number, digits=)", "The nearest whole number, or number of so many digits; halves go to even.",
           "round(2.675, 1)", 2.7, None, Number, _round),
        _F("floor(number)", "The greatest whole number that is not above.", "floor(-1.5)", -2, math.floor, Number),
        _F("ceil(number)", "The least whole number that is not below.", "ceil(-1.5)", -1, math.ceil, Number),
        _F("min(value, ..., *, default)", "The least of the arguments, or of one list; `default` if that is empty.",
           "min(3, 1, 2)", 1, min, None, takes_generator=True),
        _F("max(value, ..., *, default)", "The greatest of the arguments, or of one list; `default` if that is empty.",
           "max([], default=0)", 0, max, None, takes_generator=True),
        _F("sum(numbers)", "The sum of a list.", "sum([1, 2.5])", 3.5, sum, Number, takes_generator=True),
        _F("len(value)", "The number of items or characters.", "len('abc')", 3, len, Number, takes_generator=True),
        _F("any(values)", "Whether one of them is true.", "any([False, 1])", True, any, Truth, takes_generator=True),
        _F("all(values)", "Whether all of them are true.", "all([True, 0])", False, all, Truth, takes_generator=True),
        _F("int(value)", "A number without its fraction, or a text read as a whole number.", "int('42')", 42,
           int, Number),
        _F("float(value)", "A number or text as a floating-point number.", "float('1.5')", 1.5, float, Number),
        _F("str(value)", "The value as a text.", "str(1.5)", "1.5", str, Text),
        _F("bool(value)", "Whether it is not 0, empty, False or None.", "bool('')", False, bool, Truth),
        _F("lower(text)", "In lower case.", "lower('Ab')", "ab", str.lower, Text),
        _F("upper(text)", "In upper case.", "upper('Ab')", "AB", str.upper, Text),
        _F("strip(text, characters=)", "Without white space, or those characters, at both ends.",
           "strip(' ab ')", "ab", str.strip, Text),
        _F("startswith(text, prefix)", "Whether it starts with the prefix, or one of a tuple of them.",
           "startswith('abc', 'ab')", True, str.startswith, Truth),
        _F("endswith(text, suffix)", "Whether it ends with the suffix, or one of a tuple of them.",
           "endswith('a.txt', ('.txt', '.md'))", True, str.endswith, Truth),
        _F("contains(value, item)", "Whether a text has that part, a list that item, an object that key.",
           "contains('abc', 'b')", True, operator.contains, Truth),
        _F("replace(text, old, new)", "With each `old` replaced; up to 16 million characters.",
           "replace('a-b', '-', '+')", "a+b", _replace, Text),
        _F("split(text, separator=)", "The list of parts between separators, or between white space.",
           "split('a,b', ',')", ["a", "b"], str.split, list[str] | None),
        _F("join(texts, separator)", "The texts in one, with the separator between; up to 16 million characters.",
           "join(['a', 'b'], '/')", "a/b", _join, Text, takes_generator=True),
        _F("matches(text, pattern)", "Whether a part of the text matches the constant regular expression.",
           "matches('job-17', r'-\\d+$')", True, None, Truth, lambda pattern: _pattern(pattern).search,
           "({call}({arguments}) is not None)"),
        _F("extract(text, pattern, group=)",
           "The constant pattern's first group (or the given one, or all) where it first matches; None if it does not.",
           "extract('job-17', r'-(\\d+)')", "17", None, Text, _extract),
        _F("coalesce(value, ...)", "The first that is not None; those after it are not computed.",
           "coalesce(None, 0, 1)", 0, coalesce, None),
        _F("get(object, key, default=)", "A part by its key, field name or index; `default` if it is missing or None.",
           "get([1, 2], 5, 0)", 0, _get),
        _F("stem(path)", "The last component of a path without its suffix.", "stem('a/b.txt')", "b", _stem, Text),
        _F("name(path)", "The last component of a path.", "name('a/b.txt')", "b.txt", _name, Text),
        _F("parent(path)", "The path without its last component.", "parent('a/b.txt')", "a", _parent, Text),
        _F("parts(path)", "The list of a path's components.", "parts('/a/b')", ["/", "a", "b"],
           _parts, list[str] | None),
        _F("now()", "The time of the run's clock, in seconds since the epoch.", "now()", None, times.now, Number),
        _F("timestamp(time, format=, zone=)",
           "A time in seconds since the epoch. A text is RFC 3339, or of a format of Python's `strptime` that has `%z` "
           "or comes with a zone.",
           "timestamp('31/Jan/2026:23:30:00 +0000', '%d/%b/%Y:%H:%M:%S %z')", 1769902200.0,
           times.timestamp, Number, times.timestamps_as),
        _F("date(time, zone=)", "The local date in an IANA zone, or the system's.",
           f"date({_MOMENT}, 'Europe/Berlin')", "2026-02-01", times.date, Text, times.dates_in),
        _F("format_time(time, zone=)", "As an RFC 3339 text to the millisecond, in an IANA zone, or the system's.",
           f"format_time({_MOMENT}, 'Asia/Tokyo')", "2026-02-01T08:30:00.500+09:00",
           times.format_time, Text, times.formats_in),
        _F("floor_time(time, step)", "The last multiple of a duration that is not after the time, in seconds.",
           "floor_time(1000, '15min')", 900.0, times.floor_time, Number, times.floors_to),
        _F("ceil_time(time, step)", "The first multiple of a duration that is not before the time, in seconds.",
           "ceil_time(1000, '15min')", 1800.0, times.ceil_time, Number, times.ceils_to),
    )
}  # fmt: skip
"""The functions by name."""
