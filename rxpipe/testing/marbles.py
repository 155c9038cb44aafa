"""Marble text: a stream over time as one line of characters, read and printed.

    -      one tick passes (100 ms unless said otherwise)
    a 7    one value, and one tick passes
    (ab|)  all of these at the same time, and one tick passes
    |      completion
    #      an error
    ^      time zero: what stands before it happens at negative times
    space  nothing at all; use it to align lines

A group takes one tick however long its text is, so every list of events that lie on ticks has exactly one text. A
letter stands for what the legend `values` says, else for itself; a digit without a legend entry for its `int`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from rxpipe.errors import RxpipeError

TICK = 0.1
"""Seconds of one tick."""

Kind = Literal["next", "error", "completed"]


class MarbleError(RxpipeError, ValueError):
    """Marble text that cannot be read, or events that have no marble text.

    Args:
        message: What must be, and what was found.
        column: Where in the text the problem is, counted from 0.
    """

    def __init__(self, message: str, column: int = 0) -> None:
        super().__init__(message)
        self.column = column


class Event(NamedTuple):
    """Something a stream did: when, in seconds; what; and the value or the exception."""

    time: float
    kind: Kind
    value: Any = None


_EXACT = 1e-6
"""Seconds by which an event may miss its tick: rounding."""


def parse_marbles(  # noqa: C901  # a character has one meaning each
    text: str,
    values: Mapping[str, Any] | None = None,
    *,
    error: Exception | None = None,
    tick: float = TICK,
    convert: Callable[[str], Any] | None = None,
) -> list[Event]:
    """The events of a marble text.

    Args:
        text: The marble text.
        values: What its letters and digits stand for.
        error: What `#` stands for; an `Exception("#")` by default.
        tick: Seconds of one tick.
        convert: Makes a value of a letter or digit that `values` does not have.

    Raises:
        MarbleError: A character that means nothing here, or a group that is not closed.
    """
    convert = convert or plain_value
    events: list[tuple[int, Kind, Any]] = []
    now = origin = 0
    group = False
    for column, char in enumerate(text):
        if char == " ":
            continue
        if char == "(" and not group:
            group = True
            continue
        if char == ")" and group:
            group = False
        elif char == "^" and not group:
            origin = now
        elif char == "|":
            events.append((now, "completed", None))
        elif char == "#":
            events.append((now, "error", error or Exception("#")))
        elif char.isalnum():
            known = values is not None and char in values
            events.append((now, "next", values[char] if known and values is not None else convert(char)))
        elif char != "-" or group:
            place = f"at column {column + 1} of {text!r}"
            msg = f"marble: must be one of - ( ) | # ^, a letter or a digit; got {char!r} {place}"
            raise MarbleError(msg, column)
        now += not group
    if group:
        msg = f"marble: a group must be closed with ')'; got {text!r}"
        raise MarbleError(msg, text.rindex("("))
    return [Event(round((at - origin) * tick, 9), kind, value) for at, kind, value in events]


def format_marbles(events: list[Event], values: Mapping[str, Any] | None = None, *, tick: float = TICK) -> str:
    """The marble text of events that lie on ticks.

    Args:
        events: What a stream did.
        values: The legend: a value that equals one of its values is printed as that letter.
        tick: Seconds of one tick.

    Raises:
        MarbleError: An event lies between two ticks or before zero, or a value has no letter.
    """
    columns: dict[int, str] = {}
    for event in events:
        at = round(event.time / tick)
        if at < 0 or abs(at * tick - event.time) > _EXACT:
            msg = f"marble: events must lie on ticks of {tick:g} s from 0 on; got {event}"
            raise MarbleError(msg)
        columns[at] = columns.get(at, "") + _character(event, values or {})
    texts = [columns.get(at, "-") for at in range(max(columns, default=-1) + 1)]
    return "".join(text if len(text) == 1 else f"({text})" for text in texts)


def plain_value(char: str) -> Any:
    """A digit as its number, a letter as itself."""
    return int(char) if char.isdecimal() else char


def length(text: str, tick: float = TICK) -> float:
    """How many seconds a marble text takes from time zero to its end."""
    ticks = re.sub(r"\([^)]*\)", "-", text.replace(" ", ""))
    return round((len(ticks) - max(ticks.find("^"), 0)) * tick, 9)


def _character(event: Event, values: Mapping[str, Any]) -> str:
    if event.kind == "completed":
        return "|"
    if event.kind == "error":
        return "#"
    for char, value in values.items():
        if type(value) is type(event.value) and value == event.value:
            return char
    text = _letter(event.value)
    if len(text) != 1 or not text.isalnum():
        msg = f"marble: a value must have a letter in the legend or be one letter or digit; got {event.value!r}"
        raise MarbleError(msg)
    return text


def _letter(value: Any) -> str:
    """The letter that `diagrams.convert` would have made this value of."""
    if isinstance(value, str):
        return value
    rows = getattr(value, "rows", None)
    if isinstance(rows, list) and len(rows) == 1 and isinstance(rows[0], dict) and list(rows[0]) == ["value"]:
        return str(rows[0]["value"])
    path = getattr(value, "path", None)
    if isinstance(path, str) and getattr(value, "kind", None) == "modify":
        return path
    return str(value)
