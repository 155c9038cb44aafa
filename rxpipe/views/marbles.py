"""What streams did, drawn as marbles: one SVG with a line for each, aligned on one axis of time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from rxpipe.testing.marbles import Event

_WIDTH = 880
_LEFT = 24
_RIGHT = 36
_RADIUS = 9
_LETTER = 7.5
_LANE = 2 * _RADIUS + 3
_SPAN = 15
_LABEL = 20
_ROW_GAP = 14
_AXIS = 30
_LINES = 20
_NEAR = 0.1
_SANS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
_MONO = "ui-monospace, 'SF Mono', Menlo, 'DejaVu Sans Mono', monospace"
_FILLS = ("#cfe3fb", "#fbe0bd", "#cdeed9", "#f9d2d6", "#e3d8f7", "#f6efb4", "#cdeef2", "#f6d7ee", "#dfe5ee", "#e2ecc4")


class Span(NamedTuple):
    """A stretch of time, in seconds, and what is in it: a window's, say."""

    start: float
    end: float
    text: str


class Timeline(NamedTuple):
    """What is drawn on one line: its label, what happened, and stretches of time that are drawn below it."""

    label: str
    events: Sequence[Event]
    spans: Sequence[Span] = ()


class _Axis(NamedTuple):
    """Where a second is."""

    until: float

    def x(self, time: float) -> float:
        return _LEFT + time / self.until * (_WIDTH - _LEFT - _RIGHT)


def marbles_svg(timelines: Iterable[Timeline], until: float, name: Callable[[Any], str] = str) -> str:
    """Draw timelines below each other on one axis; the result needs no script, style sheet, font file or network.

    An element is a dot with its letter, or a longer shape with its text; elements that would lie on each other go
    below. A bar is a completion, a cross an error, and a line with an arrow at its end goes on.

    Args:
        timelines: What is drawn, from top to bottom.
        until: The second at which the axis ends; what happened later is left out.
        name: The text of an element.

    Example:
        >>> from rxpipe.testing import parse_marbles
        >>> drawing = marbles_svg([Timeline("source", parse_marbles("-a-b|"))], until=0.5)
        >>> drawing.count("<circle")
        2
    """
    axis = _Axis(until)
    parts: list[str] = []
    y: float = _AXIS
    for timeline in timelines:
        drawn, height = _row(timeline, axis, y, name)
        parts += drawn
        y += height + _ROW_GAP
    return "\n".join([_head(y), *_ruler(axis, y), *parts, "</svg>"])


def _head(height: float) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height:.0f}" '
        f'viewBox="0 0 {_WIDTH} {height:.0f}" role="img" font-family="{_SANS}">'
        '<defs><marker id="rxpipe-goes-on" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0,0.5 L8,4 L0,7.5 z" fill="#66738c"/></marker></defs>'
        f'<rect width="{_WIDTH}" height="{height:.0f}" rx="10" fill="#ffffff"/>'
    )


def _ruler(axis: _Axis, height: float) -> list[str]:
    """A line at each round time, with the time above it: about as many as can be told apart."""
    step = next(step for scale in range(-3, 9) for step in _steps(scale) if axis.until / step <= _LINES)
    parts = []
    for number in range(int(axis.until / step + 1e-9) + 1):
        x = axis.x(number * step)
        parts.append(f'<path d="M{x:.1f},{_AXIS - 8} V{height - 8:.1f}" stroke="#e6ebf3"/>')
        parts.append(
            f'<text x="{x:.1f}" y="{_AXIS - 13}" text-anchor="middle" font-size="10.5" fill="#7a869d">'
            f"{number * step:g}{' s' if number == 0 else ''}</text>"
        )
    return parts


def _steps(scale: int) -> tuple[float, ...]:
    return (1 * 10.0**scale, 2 * 10.0**scale, 5 * 10.0**scale)


def _row(timeline: Timeline, axis: _Axis, top: float, name: Callable[[Any], str]) -> tuple[list[str], float]:
    """The parts of one timeline, and its height."""
    y = top + _LABEL + _RADIUS
    events = [event for event in timeline.events if 0 <= event.time <= axis.until]
    ends = [event for event in events if event.kind != "next"]
    elements = [(axis.x(event.time), name(event.value)) for event in events if event.kind == "next"]
    lanes = _lanes([(x - _half(text), x + _half(text)) for x, text in elements])
    parts = [_label(timeline.label, top + 12)]
    if ends:
        parts.append(_line(axis.x(0), axis.x(ends[0].time), y))
        parts.append(_end(ends[0], axis.x(ends[0].time), y))
    else:
        parts.append(_line(axis.x(0), _WIDTH - 12, y, "url(#rxpipe-goes-on)"))
    placed = [(text, x, y, lane * _LANE) for (x, text), lane in zip(elements, lanes, strict=True)]
    parts += [_tie(x, y, below) for _, x, y, below in placed if below]
    parts += [_element(text, x, y + below) for text, x, y, below in placed]
    bottom = y + _RADIUS + max(lanes, default=0) * _LANE
    spans = [span for span in timeline.spans if span.end > 0 and span.start < axis.until]
    rows = _lanes([(axis.x(span.start), axis.x(span.end)) for span in spans])
    parts += [_span(span, axis, bottom + 6 + row * _SPAN) for span, row in zip(spans, rows, strict=True)]
    return parts, bottom + (6 + (max(rows) + 1) * _SPAN if rows else 0) - top


def _label(text: str, y: float) -> str:
    look = f'font-size="12" font-family="{_MONO}" fill="#33415c" xml:space="preserve"'
    return f'<text x="{_LEFT - 12}" y="{y:.1f}" {look}>{escape(text)}</text>'


def _lanes(extents: Sequence[tuple[float, float]]) -> list[int]:
    """For each stretch, given in the order of their times, the first lane in which it lies on none before it."""
    ends: list[float] = []
    lanes = []
    for left, right in extents:
        lane = next((lane for lane, end in enumerate(ends) if end <= left + _NEAR), len(ends))
        ends[lane:] = [right, *ends[lane + 1 :]]
        lanes.append(lane)
    return lanes


def _half(text: str) -> float:
    """Half the width of an element's shape."""
    return max(_RADIUS, (_LETTER * len(text) + 9) / 2)


def _line(left: float, right: float, y: float, marker: str = "none") -> str:
    return f'<path d="M{left:.1f},{y:.1f} H{right:.1f}" stroke="#66738c" stroke-width="1.4" marker-end="{marker}"/>'


def _end(event: Event, x: float, y: float) -> str:
    if event.kind == "completed":
        return f'<path class="completed" d="M{x:.1f},{y - 14:.1f} v28" stroke="#33415c" stroke-width="2.4"/>'
    cross = f"M{x - 7:.1f},{y - 7:.1f} l14,14 M{x - 7:.1f},{y + 7:.1f} l14,-14"
    return f'<path class="error" d="{cross}" stroke="#c0392b" stroke-width="2.4"/>'


def _tie(x: float, y: float, below: float) -> str:
    """What ties an element that had to go below to its time."""
    return f'<path d="M{x:.1f},{y:.1f} v{below:.1f}" stroke="#4c5870"/>'


def _element(text: str, x: float, y: float) -> str:
    """A dot or a longer shape, with its text."""
    half, look = _half(text), f'fill="{_fill(text)}" stroke="#4c5870" stroke-width="1.2"'
    if half <= _RADIUS:
        shape = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{_RADIUS}" {look}/>'
    else:
        place = f'x="{x - half:.1f}" y="{y - _RADIUS:.1f}" width="{2 * half:.1f}" height="{2 * _RADIUS}"'
        shape = f'<rect class="element" {place} rx="{_RADIUS}" {look}/>'
    letters = f'x="{x:.1f}" y="{y + 4:.1f}" text-anchor="middle" font-size="12" font-family="{_MONO}" fill="#1c2740"'
    return f"{shape}<text {letters}>{escape(text)}</text>"


def _fill(text: str) -> str:
    """A letter's colour, the same on every line; white for all else."""
    return _FILLS[(ord(text) - ord("a")) % len(_FILLS)] if len(text) == 1 and text.isalpha() else "#ffffff"


def _span(span: Span, axis: _Axis, y: float) -> str:
    left, right = axis.x(max(span.start, 0.0)), axis.x(min(span.end, axis.until))
    return (
        f'<rect class="span" x="{left + 1:.1f}" y="{y:.1f}" width="{right - left - 2:.1f}" height="{_SPAN - 3}" rx="3" '
        f'fill="#eef2f9" stroke="#b9c4d8"/><text x="{(left + right) / 2:.1f}" y="{y + 9.5:.1f}" text-anchor="middle" '
        f'font-size="10" font-family="{_MONO}" fill="#4c5870">{escape(span.text)}</text>'
    )
