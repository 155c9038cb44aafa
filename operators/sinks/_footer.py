"""The lower end of the screen: what the run says of itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rxpipe.operators.sinks._cells import Line, Span, Style, cut, fit, pad, shorten
from rxpipe.operators.sinks._format import MISSING, bytes_text, duration, si
from rxpipe.operators.sinks._layout import SPACE, units
from rxpipe.operators.sinks._view import bar

COMPACT = 2
"""Lines of streams on a small screen."""

BEHIND = 1.0
"""Seconds of delay from which on a stream is shown before busier ones."""

STATES: dict[str, Style] = {"running": "good", "paused": "warn", "draining": "warn", "failed": "bad", "stopped": "warn"}
_Row = Callable[[int], Line]
_COLUMNS = (("rec/s", 6), ("lag", 8), ("delay", 6), ("err", 3))


def head(title: str, status: Any, clock: str, cells: int) -> Line:
    """The first line: the title at the left, state and time of the last change at the right."""
    state = str(getattr(status, "state", "") or "")
    right: Line = []
    if state:
        right = [("● ", STATES.get(state, "dim")), (state, STATES.get(state, "dim")), ("  ", "")]
    right.append((clock, "dim"))
    room = cells - sum(len(text) for text, _ in right) - 1
    return [*pad([(shorten(title, max(0, room)), "bold")], room + 1), *right]


def foot(status: Any, cells: int, *, most: int | None, message: str = "") -> list[Line]:
    """The last lines: what is wrong, streams, the backlog.

    Args:
        status: The run's status, or None.
        cells: Columns.
        most: Lines of streams at most.
        message: A line of the log.
    """
    lines: list[Line] = []
    degraded = getattr(status, "degraded", None) or getattr(status, "message", None)
    if degraded:
        lines.append([(shorten(f"▲ {' '.join(str(degraded).split())}", cells), "bad")])
    elif message:
        lines.append([(shorten(message, cells), "warn")])
    streams = getattr(status, "streams", None) or {}
    if streams:
        lines += _streams(streams, cells, most, rated=getattr(status, "rated", True))
    backlog = getattr(status, "backlog", None)
    if backlog is not None:
        lines.append(_backlog(backlog, cells))
    return lines


def _streams(streams: dict[str, Any], cells: int, most: int | None, *, rated: bool) -> list[Line]:
    columns = min(units(cells), len(streams))
    items = list(streams.items())
    if most is not None and len(items) > most * columns:
        shown = {name for name, _ in sorted(items, key=_quiet)[: most * columns]}
        items = [item for item in items if item[0] in shown]  # as declared: a stream keeps its place
    rows = -(-len(items) // columns)
    columns = -(-len(items) // rows)
    ends = [round(number * (cells + SPACE) / columns) - SPACE for number in range(1, columns + 1)]
    title = _row("Stream", "title", [(text, "dim") for text, _ in _COLUMNS])
    lines = [_beside([title] * columns, ends)]
    lines += [_beside([_stream(*item, rated=rated) for item in items[row::rows]], ends) for row in range(rows)]
    return lines


def _quiet(item: tuple[str, Any]) -> tuple[bool, bool, float]:
    """Orders streams: those with errors first, then those that are behind, then those that handled the most records.

    What changes from one frame to the next, as rates do, has no say: rows would come and go.
    """
    stream = item[1]
    return (not _number(stream, "errors"), _number(stream, "lag_seconds") < BEHIND, -_number(stream, "records"))


def _stream(name: str, stream: Any, *, rated: bool) -> _Row:
    errors = int(_number(stream, "errors"))
    rate, lag, delay = (_number(stream, key) for key in ("records_per_second", "lag_bytes", "lag_seconds"))
    figures: list[Span] = [
        (si(round(rate, 1) if 0 < rate < 10 else int(rate)) if rated else MISSING, "" if rate else "dim"),
        (bytes_text(lag), "" if lag else "dim"),
        (duration(round(delay, 1)), "" if delay else "dim"),
        (si(errors), "bad" if errors else "dim"),
    ]
    return _row(name, "", figures)


def _row(name: str, style: Style, figures: list[Span]) -> _Row:
    """What makes the row of a stream in so many cells."""
    spans: list[Span] = [(" " + fit(t, w, right=True), s) for (t, s), (_, w) in zip(figures, _COLUMNS, strict=True)]
    taken = sum(wide + 1 for _, wide in _COLUMNS)
    return lambda cells: [(fit(name, cells - taken), style), *spans]


def _number(stream: Any, name: str) -> float:
    return float(getattr(stream, name, 0) or 0)


def _beside(rows: list[_Row], ends: list[int]) -> Line:
    """Rows beside each other, each up to its end."""
    line: Line = []
    start = 0
    for row, end in zip(rows, ends, strict=False):
        line = [*pad(line, start), *row(end - start)]
        start = end + SPACE
    return line


def _backlog(backlog: Any, cells: int) -> Line:
    read, known = _number(backlog, "read_bytes"), _number(backlog, "known_bytes")
    eta = getattr(backlog, "eta_seconds", None)
    done = min(1.0, read / known) if known else 0.0
    text = f" {done:4.0%}  {bytes_text(read):>7} of {bytes_text(known):>7}"
    rate = "" if eta is None else f"{bytes_text(_number(backlog, 'bytes_per_second'))}/s"
    text += (
        f"  {rate:>9}  {'' if eta is None else duration(int(eta) + 1) + ' left':>12}"  # so that the bar stays as long
    )
    return cut([("Reading ", "title"), *bar(read, known, max(4, cells - 8 - len(text))), (text, "")], cells)
