"""The lower end of the screen: what the run says of itself."""

from __future__ import annotations

from typing import Any

from rxpipe.operators.sinks._cells import Line, Span, Style, cut, fit, pad, shorten
from rxpipe.operators.sinks._format import bytes_text, duration, si
from rxpipe.operators.sinks._layout import SPACE, units
from rxpipe.operators.sinks._view import bar

COMPACT = 2
"""Lines of streams on a small screen."""

STATES: dict[str, Style] = {"running": "good", "paused": "warn", "draining": "warn", "failed": "bad", "stopped": "warn"}
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
        lines += _streams(streams, cells, most)
    backlog = getattr(status, "backlog", None)
    if backlog is not None:
        lines.append(_backlog(backlog, cells))
    return lines


def _streams(streams: dict[str, Any], cells: int, most: int | None) -> list[Line]:
    columns = min(units(cells), len(streams))
    each = (cells - SPACE * (columns - 1)) // columns
    items = list(streams.items())
    if most is not None and len(items) > most * columns:
        items = sorted(items, key=_quiet)[: most * columns]
    rows = -(-len(items) // columns)
    columns = -(-len(items) // rows)
    name = each - sum(wide + 1 for _, wide in _COLUMNS)
    title: Line = [(fit("Stream", name), "title"), *((" " + fit(text, w, right=True), "dim") for text, w in _COLUMNS)]
    lines = [_beside([title] * columns, each)]
    lines += [_beside([_stream(*item, name) for item in items[row::rows]], each) for row in range(rows)]
    return lines


def _quiet(item: tuple[str, Any]) -> tuple[bool, float, float]:
    """Orders streams: those with errors first, then those far behind, then the busy ones."""
    stream = item[1]
    return (not _number(stream, "errors"), -_number(stream, "lag_bytes"), -_number(stream, "records_per_second"))


def _stream(name: str, stream: Any, cells: int) -> Line:
    errors = int(_number(stream, "errors"))
    rate, lag, delay = (_number(stream, key) for key in ("records_per_second", "lag_bytes", "lag_seconds"))
    texts: list[tuple[str, Style]] = [
        (si(round(rate, 1) if 0 < rate < 10 else int(rate)), "" if rate else "dim"),
        (bytes_text(lag), "" if lag else "dim"),
        (duration(round(delay, 1)), "" if delay else "dim"),
        (si(errors), "bad" if errors else "dim"),
    ]
    spans: list[Span] = [(" " + fit(t, w, right=True), s) for (t, s), (_, w) in zip(texts, _COLUMNS, strict=True)]
    return [(fit(name, cells), ""), *spans]


def _number(stream: Any, name: str) -> float:
    return float(getattr(stream, name, 0) or 0)


def _beside(parts: list[Line], cells: int) -> Line:
    line: Line = []
    for number, part in enumerate(parts):
        line = [*pad(line, number * (cells + SPACE)), *part] if number else list(part)
    return line


def _backlog(backlog: Any, cells: int) -> Line:
    read, known = _number(backlog, "read_bytes"), _number(backlog, "known_bytes")
    eta = getattr(backlog, "eta_seconds", None)
    done = min(1.0, read / known) if known else 0.0
    text = (
        f" {done:4.0%}  {bytes_text(read)} of {bytes_text(known)}  {bytes_text(_number(backlog, 'bytes_per_second'))}/s"
    )
    text += f"  {duration(int(eta) + 1)} left" if eta is not None else ""
    return cut([("Reading ", "title"), *bar(read, known, max(4, cells - 8 - len(text))), (text, "")], cells)
