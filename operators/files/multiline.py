"""Several lines of a file as one record."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable

from rxpipe.context import current
from rxpipe.elements import LineDelta
from rxpipe.errors import ParameterError, ParameterProblem
from rxpipe.operator import operator
from rxpipe.operators.files._boundaries import Boundaries, before, before_unindented, behind
from rxpipe.operators.files._joiner import Joiner
from rxpipe.parameters.types import Ge, Gt
from rxpipe.parameters.units import Duration, Size, nbytes, seconds
from rxpipe.promises import Inflow, Lint, lints_of, pattern_lint


@operator
def multiline(
    source: Observable[LineDelta],
    start: str | None = None,
    end: str | None = None,
    indented: bool = False,
    timeout: Annotated[Duration, Gt(0)] = "1s",
    max_lines: Annotated[int, Ge(1)] = 500,
    max_bytes: Annotated[Size, Gt(0)] = "1MB",
    join: str = " ",
) -> Observable[LineDelta]:
    r"""Join the lines of a file that belong to one record into one line, byte for byte.

    One of three says where records begin: a line in which the regular expression `start` is found begins one; a line in
    which `end` is found ends one; with `indented` each line begins one that does not begin with a blank or a tab. The
    line breaks inside a record become `join`, one byte for each byte, so that the byte range of a block, and of
    whatever an operator behind reports, stays that of the file. What comes out is a block of lines again: `parse_json`
    reads objects that were written over several lines, `parse_text` a whole stack trace.

    The last record of a file is held until it is known to be whole, or until nothing was added for `timeout`. One that
    would have more than `max_lines` lines or `max_bytes` bytes is cut before the line that is too many, and goes on as
    the next record; a single line is never cut. What is held goes out before `OriginGone` of its path, before a block
    that does not continue it, and before completion or an error; where a run with saved state is stopped it stays, and
    the next run goes on with it.

    Args:
        start: A pattern for the first line of a record, as `^\d{4}-` or `^\S`.
        end: A pattern for the last line of a record, as `;$`.
        indented: Whether lines that begin with a blank or a tab continue a record.
        timeout: How long a record is held that may go on.
        max_lines: The most lines of one record.
        max_bytes: The most bytes of one record of several lines.
        join: The character that stands for a line break inside a record; a blank keeps JSON what it is, and `\v` can be
            told from what was there.

    Example:
        >>> lines = LineDelta("app.log", "1", 0, 29, b"ERROR no\n  at f\n  at g\nINFO\n")
        >>> rx.of(lines).pipe(multiline(indented=True), ops.map(lambda block: block.data), ops.to_list()).run()
        [b'ERROR no   at f   at g\n', b'INFO\n']

    State: for each file the lines held; they go on after a restart.
    """
    boundaries = _boundaries(start, end, indented=indented)
    if len(join) != 1 or not join.isascii() or join == "\n":
        problem = ParameterProblem(("join",), f"must be one ASCII character, and no line break; got {join!r}")
        raise ParameterError("multiline", [problem])

    def subscribe(observer: ObserverBase[Any], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        state = Joiner(
            observer,
            context,
            context.scheduler(scheduler),
            boundaries,
            seconds(timeout),
            max_lines,
            nbytes(max_bytes),
            join,
        )
        upstream = source.subscribe(state.on_next, state.on_error, state.on_completed, scheduler=scheduler)
        return CompositeDisposable(upstream, state.alarm)

    return Observable(subscribe)


@lints_of(multiline)
def _lints(_: Inflow, /, start: str | None, end: str | None, **__: object) -> Iterator[Lint]:
    for name, pattern in (("start", start), ("end", end)):
        yield from pattern_lint(pattern or "", name)


def _boundaries(start: str | None, end: str | None, *, indented: bool) -> Boundaries:
    given = {name: text for name, text in {"start": start, "end": end}.items() if text is not None}
    if len(given) + indented != 1:
        got = " and ".join([*map(repr, given), *["'indented'"] * indented]) or "none"
        problem = ParameterProblem((), f"one of 'start', 'end' and 'indented' must be given; got {got}")
        raise ParameterError("multiline", [problem])
    for name, text in given.items():
        try:
            pattern = re.compile(text.encode(), re.MULTILINE)
        except re.error as error:
            problem = ParameterProblem((name,), f"must be a regular expression; got {text!r}: {error}")
            raise ParameterError("multiline", [problem]) from error
        return before(pattern) if name == "start" else behind(pattern)
    return before_unindented
