"""Lines of text into batches of records, by a regular expression or as logfmt."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.casting import HINTS, CastType, cast_column
from rxpipe.context import current
from rxpipe.elements import Batch, LineDelta, Row
from rxpipe.errors import ParameterError, ParameterProblem, RxpipeError, did_you_mean, nearest, shortened
from rxpipe.expressions.known import KnownFields
from rxpipe.fusion.rows import row_struct
from rxpipe.operator import fields_of, operator
from rxpipe.operators.records._lines import Parse, parsed
from rxpipe.parameters.plain import Checked, kept
from rxpipe.promises import Inflow, Lint, lints_of, pattern_lint

LOGFMT = "logfmt"

_PAIR = re.compile(r'\s*+([^\s="]++)(?:=(?:"((?:[^"\\]|\\.)*+)"|([^\s"]*+)))?(?=\s|$)')
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r"}


def _pattern(text: str) -> None:
    if text == LOGFMT:
        return
    try:
        names = re.compile(text).groupindex
    except re.error as error:
        msg = f"must be 'logfmt' or a regular expression; got {text!r}: {error}"
        raise ValueError(msg) from error
    if not names:
        msg = f"must have a named group, (?P<name>…), for each field; got {text!r}"
        raise ValueError(msg)
    try:
        row_struct("Row", dict.fromkeys(names, str))
    except RxpipeError as error:
        raise ValueError(str(error)) from error


Pattern = Annotated[str, Checked(kept(_pattern))]
"""A regular expression with named groups, or `logfmt`."""


@operator
def parse_text(
    source: Observable[LineDelta],
    pattern: Pattern,
    types: dict[str, CastType] = {},
) -> Observable[Batch]:
    r"""Turn blocks of text lines into batches of records, one batch a block.

    With a regular expression, which must match a whole line, the named groups are the fields of a typed struct; a group
    that takes no part is null. With `logfmt` a record is a dict of a line's `key=value` pairs; a value with spaces
    stands in double quotes, where a backslash escapes; a key alone is true; of one key twice the last counts.

    Values are texts, unless `types` says otherwise; see `cast`. A line that does not match, is no UTF-8, or has a value
    of another type goes to `errors` with its path and byte range; the lines around it are not harmed. Empty lines, a
    byte order mark at the start of a file, a carriage return at the end of a line, and an unfinished last line that
    does not match (see `read_lines`) are passed over. Completion and errors pass through; nothing is held back.

    A `timestamp` is as in `cast`. A time of another form stays a text and is read in a step behind this one: that of
    nginx and Apache by `derive: {time: "timestamp(time, '%d/%b/%Y:%H:%M:%S %z')"}`.

    Python's regular expressions have no limit of time: one with repetitions inside each other, such as `(\w+\s*)*=`,
    can take longer than anybody waits on a line that does not match. Write it so that only one way leads through a
    line, or give back nothing: `(?>…)`, `*+`, `++`.

    Args:
        pattern: A regular expression with named groups, or `logfmt`.
        types: What fields are: int, float, number, bool, timestamp or str.

    Example:
        >>> lines = LineDelta("a.log", "1", 0, 24, b"GET /a 200\nPOST /b 404\n\n")
        >>> parse = parse_text(r"(?P<method>\w+) (?P<path>\S+) (?P<status>\d+)", types={"status": "int"})
        >>> rx.of(lines).pipe(parse).run().rows[1]
        Row(method='POST', path='/b', status=404)

    Raises:
        ParameterError: A type is given for what is no group.
    """
    parse = _logfmt(types) if pattern == LOGFMT else _matching(pattern, types)

    def subscribe(observer: ObserverBase[Batch], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()

        def on_next(element: Any) -> None:
            made = parsed(element, parse, context) if isinstance(element, LineDelta) else element
            if made is not None:
                observer.on_next(made)

        return source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

    return Observable(subscribe)


@fields_of(parse_text)
def _fields(known: KnownFields, /, pattern: str, **_: object) -> KnownFields:
    return known.unknown() if pattern == LOGFMT else known.only(*re.compile(pattern).groupindex)


@lints_of(parse_text)
def _lints(_: Inflow, /, pattern: str, **__: object) -> Iterable[Lint]:
    return pattern_lint(pattern, "pattern")


def _matching(pattern: str, types: dict[str, CastType]) -> Parse:
    """Rows of what an expression matches."""
    compiled = re.compile(pattern)
    names = [*compiled.groupindex]
    for name in types:
        if name not in names:
            message = f"must be a group of the pattern; got {name!r}{did_you_mean(nearest(name, names))}"
            raise ParameterError("parse_text", [ParameterProblem(("types", name), message, on_name=True)])
    row_type: Any = row_struct("Row", {name: HINTS[types[name]] if name in types else str for name in names})
    numbers = [*compiled.groupindex.values()]
    casts: list[tuple[int, str, CastType]] = [
        (number, name, types[name]) for number, name in enumerate(names) if name in types
    ]
    full, all_named = compiled.fullmatch, compiled.groups == len(numbers)

    def parse(data: bytes) -> list[Row]:
        lines = data.decode().split("\n")
        matches = [*map(full, lines)]  # each on its own: none may look from line to line
        if None in matches:
            msg = f"must match the pattern; got {shortened(lines[matches.index(None)])!r}"
            raise ValueError(msg)
        if all_named:
            columns: list[Any] = [*zip(*[match.groups() for match in matches if match], strict=True)]
        else:
            columns = [[match[number] for match in matches if match] for number in numbers]
        for number, name, kind in casts:
            columns[number] = cast_column(name, kind, columns[number])
        return [row_type(*values) for values in zip(*columns, strict=True)]

    return parse


def _logfmt(types: dict[str, CastType]) -> Parse:
    """Rows of `key=value` pairs."""

    def parse(data: bytes) -> list[Row]:
        rows = [_pairs(line) for line in data.decode().split("\n")]
        for name, kind in types.items():
            having = [row for row in rows if name in row]
            for row, value in zip(having, cast_column(name, kind, [row[name] for row in having]), strict=True):
                row[name] = value
        return rows

    return parse


def _pairs(line: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    at = 0
    end = len(line.rstrip())
    while at < end:
        match = _PAIR.match(line, at)
        if match is None:
            msg = f"must be key=value; got {line[at:].lstrip()!r:.80}"
            raise ValueError(msg)
        key, quoted, plain = match.groups()
        made[key] = plain if quoted is None else _ESCAPE.sub(_unescaped, quoted) if "\\" in quoted else quoted
        if plain is None and quoted is None:
            made[key] = True
        at = match.end()
    if not made:
        msg = f"must have a key=value; got {line!r:.80}"
        raise ValueError(msg)
    return made


def _unescaped(escape: re.Match[str]) -> str:
    return _ESCAPED.get(escape[1], escape[1])
