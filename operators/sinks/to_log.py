"""Records told in the log."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from string import Formatter
from typing import Any, Literal, TypeVar

from loguru import logger
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.context import Context, current
from rxpipe.elements import Row
from rxpipe.errors import ExpressionError, ParameterError, ParameterProblem, escaped
from rxpipe.expressions import Expression, parse
from rxpipe.expressions.known import KnownFields
from rxpipe.fusion.rows import compile_values
from rxpipe.operator import fields_of, operator
from rxpipe.operators.sinks._records import records_of
from rxpipe.operators.sinks._text import pairs

T = TypeVar("T")
Level = Literal["trace", "debug", "info", "success", "warning", "error", "critical"]
Part = tuple[str, str]
"""A text as it is, and the format of the value behind it."""


@operator
def to_log(source: Observable[T], message: str | None = None, level: Level = "info") -> Observable[T]:
    """Write a line to the log for each record, and pass each element on.

    The log is where rxpipe itself tells what happens: standard error, at the level and in the form that the command
    line or `loguru` gives it. A batch writes a line for each of its rows, a table for each row every time it comes: put
    `throttle` or `top` before. Of what is taken back nothing is written. What cannot be printed, line breaks and
    control codes above all, is escaped. A record that `message` does not fit goes to `errors`. Completion and an error
    pass at once.

        source    -a-b-|
        to_log()  -a-b-|

    Args:
        message: A text with expressions over the fields of a record in braces, as `{user} took {latency * 1000:.0f} ms`
            (behind a colon the format as Python has it; `{{` is a brace); by default the record as `name=value` pairs.
        level: The level of the lines.

    Example:
        >>> from loguru import logger
        >>> logger.enable("rxpipe")
        >>> number = logger.add(print, format=lambda _: "{level} {message}")
        >>> batch = Batch([{"user": "ann", "seconds": 0.25}, {"user": "bob", "seconds": 1.5}])
        >>> _ = rx.of(batch).pipe(to_log("{user} waited {seconds:.1f} s", level="warning")).run()
        WARNING ann waited 0.2 s
        WARNING bob waited 1.5 s
        >>> logger.remove(number)

    Delivery: shown: what a log was told cannot be taken back, and after a crash the records since the last checkpoint
        are told again.
    """
    tell = None if message is None else _Template(message)

    def subscribe(observer: ObserverBase[T], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        texts = _as_pairs if tell is None else tell.filled(context)

        def on_next(element: T) -> None:
            for text in texts(element):
                logger.log(level.upper(), "{}", escaped(text))
            observer.on_next(element)

        return source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

    return Observable(subscribe)


@fields_of(to_log)
def _fields(known: KnownFields, /, message: str | None, **_: object) -> KnownFields:
    with contextlib.suppress(ParameterError):  # told where the step is made
        for expression in () if message is None else _Template(message).expressions:
            known.check(expression, "message")
    return known


def _as_pairs(element: Any) -> list[str]:
    return [pairs(row) for row in records_of(element)[1]]


class _Template:
    """A text with expressions in it.

    Args:
        text: The text.

    Raises:
        ParameterError: It is no such text.
    """

    def __init__(self, text: str) -> None:
        self._parts: list[Part] = []
        self.expressions: list[Expression] = []
        self._end = ""
        try:
            for literal, name, form, conversion in Formatter().parse(text):
                self._end += literal
                if name is None:  # a brace, or the end
                    continue
                if conversion is not None:
                    _refuse(f"must have an expression and a format in braces; got the conversion '!{conversion}'")
                self._parts.append((self._end, form or ""))
                self._end = ""
                self.expressions.append(parse(name))
        except ExpressionError as error:
            _refuse(f"{error}, in braces")
        except ValueError as error:
            _refuse(f"must be a text with expressions in braces; got {text!r}: {error}")

    def filled(self, context: Context) -> Callable[[Any], list[str]]:
        """What makes texts of the records of an element; those that it does not fit are rejected."""
        values = compile_values(self.expressions, tuples=True)

        def texts(element: Any) -> list[str]:
            made = []

            def reject(row: Row, error: Exception) -> None:
                reason = f"message: {type(error).__name__}: {error}"
                context.reject(reason, row, leases=getattr(element, "leases", ()))

            for row, found in zip(*values(records_of(element)[1], reject), strict=True):
                try:
                    made.append(self._text(found))
                except (TypeError, ValueError, OverflowError) as error:
                    reject(row, error)
            return made

        return texts

    def _text(self, values: tuple[Any, ...]) -> str:
        parts = zip(self._parts, values, strict=True)
        return "".join(f"{literal}{value:{form}}" for (literal, form), value in parts) + self._end


def _refuse(message: str) -> None:
    raise ParameterError("to_log", [ParameterProblem(("message",), message)])
