"""A graph as one self-contained SVG: streams as groups from left to right, their steps as boxes from top to bottom."""

from __future__ import annotations

from dataclasses import dataclass
from xml.sax.saxutils import escape

from rxpipe.views.show import Arrow, Box, Drawing

_BOX_HEIGHT = 30
_LINE_HEIGHT = 15
_GAP = 34
_PADDING = 16
_TITLE = 30
_COLUMN_GAP = 110
_ROW_GAP = 28
_MARGIN = 20
_EDGE = 2
_SANS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
_MONO = "ui-monospace, 'SF Mono', Menlo, 'DejaVu Sans Mono', monospace"
_LINE = 'fill="none" stroke="#66738c" stroke-width="1.4"'
_COLOURS = {
    "source": ("#e7f6ee", "#2f9e6b"),
    "step": ("#ffffff", "#9aa7bd"),
    "sink": ("#fdf1e2", "#d98a2b"),
    "errors": ("#fdecec", "#d05a5a"),
}


@dataclass
class _Rectangle:
    x: float
    y: float
    width: float
    height: float


@dataclass
class _Layout:
    """Where everything is."""

    groups: dict[str, _Rectangle]
    boxes: dict[Box, _Rectangle]
    width: float
    height: float


def svg(drawn: Drawing) -> str:
    """Draw it; the result needs no script, style sheet, font file or network."""
    layout = _lay_out(drawn)
    width, height = layout.width, layout.height
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" font-family="{_SANS}">'
        ),
        f"<title>{escape(drawn.title)}</title>",
        (
            '<defs><marker id="rxpipe-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto">'
            '<path d="M0,0.5 L8,4 L0,7.5 z" fill="#66738c"/></marker></defs>'
        ),
        f'<rect width="{width:.0f}" height="{height:.0f}" rx="10" fill="#ffffff"/>',
    ]
    across = [arrow for arrow in drawn.arrows if arrow.start.stream != arrow.end.stream]
    inside = [arrow for arrow in drawn.arrows if arrow.start.stream == arrow.end.stream]
    places = _ports(across, layout)
    parts += [_curve(arrow, layout, places) for arrow in across]
    parts += [_group(name, rectangle) for name, rectangle in layout.groups.items()]
    parts += [_straight(arrow, layout) for arrow in inside]
    parts += [_box(box, rectangle) for box, rectangle in layout.boxes.items()]
    labelled: set[tuple[Box, str]] = set()  # what comes from several boxes is named once, above the topmost arrow
    for arrow in sorted(across, key=lambda arrow: places[id(arrow)][1]):
        fresh = (arrow.end, arrow.label) not in labelled
        parts.append(_curve_label(arrow, layout, places, arrow.label if fresh else ""))
        labelled.add((arrow.end, arrow.label))
    return "\n".join([*parts, "</svg>"])


def _lay_out(drawn: Drawing) -> _Layout:
    """Streams in columns by how many streams are before them; in a column below each other, near what they read."""
    reads = {
        name: [a.start.stream for a in drawn.arrows if a.end.stream == name != a.start.stream] for name in drawn.groups
    }
    column: dict[str, int] = {}
    for name in drawn.groups:  # a stream stands behind all that it reads
        column[name] = max((column[source] + 1 for source in reads[name]), default=0)
    columns = [[n for n in drawn.groups if column[n] == c] for c in range(max(column.values(), default=-1) + 1)]
    groups: dict[str, _Rectangle] = {}
    boxes: dict[Box, _Rectangle] = {}
    x: float = _MARGIN
    heights = []
    for names in columns:
        widths = {name: max(_box_width(box) for box in drawn.groups[name]) + 2 * _PADDING for name in names}
        width = max(*widths.values(), *(8.0 * len(name) + 2 * _PADDING for name in names))
        names.sort(key=lambda name: _middle_of(reads[name], groups))
        y: float = _MARGIN
        for name in names:
            height = _TITLE + _PADDING + sum(_box_height(box) for box in drawn.groups[name])
            height += _GAP * (len(drawn.groups[name]) - 1)
            groups[name] = _Rectangle(x, y, width, height)
            _place_boxes(drawn.groups[name], groups[name], boxes)
            y += height + _ROW_GAP
        heights.append(y - _ROW_GAP + _MARGIN)
        x += width + _COLUMN_GAP
    total = max(heights, default=2 * _MARGIN)
    for names, height in zip(columns, heights, strict=True):  # columns are centred
        for name in names:
            _move_down(groups[name], [boxes[box] for box in drawn.groups[name]], (total - height) / 2)
    return _Layout(groups, boxes, x - _COLUMN_GAP + _MARGIN, total)


def _place_boxes(group: list[Box], rectangle: _Rectangle, boxes: dict[Box, _Rectangle]) -> None:
    y = rectangle.y + _TITLE
    for box in group:
        height = _box_height(box)
        boxes[box] = _Rectangle(rectangle.x + _PADDING, y, rectangle.width - 2 * _PADDING, height)
        y += height + _GAP


def _move_down(group: _Rectangle, boxes: list[_Rectangle], by: float) -> None:
    for rectangle in (group, *boxes):
        rectangle.y += by


def _middle_of(sources: list[str], groups: dict[str, _Rectangle]) -> float:
    known = [groups[name] for name in sources]
    return sum(r.y + r.height / 2 for r in known) / len(known) if known else 0.0


def _box_width(box: Box) -> float:
    return max(8.2 * len(box.name), 6.4 * len(box.detail), 5.8 * len(box.guarantee), 80.0) + 24


def _box_height(box: Box) -> float:
    return _BOX_HEIGHT + _LINE_HEIGHT * (bool(box.detail) + bool(box.guarantee))


def _ports(arrows: list[Arrow], layout: _Layout) -> dict[int, tuple[float, float]]:
    """The heights at which each arrow leaves and arrives, so that several at one box stand apart."""
    places: dict[int, tuple[float, float]] = {}
    for arrow in arrows:
        outgoing = sorted((a for a in arrows if a.start == arrow.start), key=lambda a: layout.boxes[a.end].y)
        incoming = sorted((a for a in arrows if a.end == arrow.end), key=lambda a: layout.boxes[a.start].y)
        start, end = layout.boxes[arrow.start], layout.boxes[arrow.end]
        places[id(arrow)] = (
            start.y + start.height * (outgoing.index(arrow) + 1) / (len(outgoing) + 1),
            end.y + end.height * (incoming.index(arrow) + 1) / (len(incoming) + 1),
        )
    return places


def _curve(arrow: Arrow, layout: _Layout, places: dict[int, tuple[float, float]]) -> str:
    """From the border of one group to that of another, around the groups between them."""
    start, end = layout.boxes[arrow.start], layout.boxes[arrow.end]
    y1, y2 = places[id(arrow)]
    x1, x2 = start.x + start.width + _PADDING, end.x - _PADDING
    between = [r for r in layout.groups.values() if r.x > x1 and r.x + r.width < x2]
    path = f"M{x1:.1f},{y1:.1f}"
    if between:
        left, right = min(r.x for r in between), max(r.x + r.width for r in between)
        lane = _lane(between, (y1 + y2) / 2, layout, list(places).index(id(arrow)))
        path += _bend(x1, y1, left, lane) + f" H{right:.1f}"
        x1, y1 = right, lane
    path += _bend(x1, y1, x2, y2)
    return f'<path d="{path}" {_LINE}/>'


def _bend(x1: float, y1: float, x2: float, y2: float) -> str:
    half = (x2 - x1) / 2
    return f" C{x1 + half:.1f},{y1:.1f} {x2 - half:.1f},{y2:.1f} {x2:.1f},{y2:.1f}"


def _lane(between: list[_Rectangle], wanted: float, layout: _Layout, number: int) -> float:
    """A height near the wanted one at which a line passes all the groups in its way."""
    spread = 5.0 * (number % 4)
    candidates = [wanted]
    for r in between:
        candidates += [r.y - 10 - spread, r.y + r.height + 10 + spread]
    free = [
        y
        for y in candidates
        if _EDGE < y < layout.height - _EDGE and not any(r.y - 6 < y < r.y + r.height + 6 for r in between)
    ]
    return min(free, key=lambda y: abs(y - wanted), default=wanted)


def _curve_label(arrow: Arrow, layout: _Layout, places: dict[int, tuple[float, float]], label: str) -> str:
    """The ends of a curve that lie over its groups, and its label before the box it goes to."""
    start, end = layout.boxes[arrow.start], layout.boxes[arrow.end]
    y1, y2 = places[id(arrow)]
    x1, x2 = start.x + start.width, end.x
    ends = f'<path d="M{x1:.1f},{y1:.1f} h{_PADDING}" {_LINE}/>'
    ends += f'<path d="M{x2 - _PADDING - 1:.1f},{y2:.1f} h{_PADDING}" {_LINE} marker-end="url(#rxpipe-arrow)"/>'
    return ends + (_label(label, x2 - _PADDING - 6, y2 - 6, "end") if label else "")


def _straight(arrow: Arrow, layout: _Layout) -> str:
    start, end = layout.boxes[arrow.start], layout.boxes[arrow.end]
    x = start.x + start.width / 2
    line = f'<path d="M{x:.1f},{start.y + start.height:.1f} V{end.y - 1:.1f}" {_LINE} marker-end="url(#rxpipe-arrow)"/>'
    return line + _label(arrow.label, x + 8, start.y + start.height + _GAP / 2 + 3, "start")


def _label(text: str, x: float, y: float, anchor: str) -> str:
    """A text with a light rim, so that it can be read over a line: drawn before it, as few know `paint-order`."""
    attributes = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="11" font-style="italic"'
    rim = 'fill="#f6f8fb" stroke="#f6f8fb" stroke-width="3" aria-hidden="true"'
    shown = escape(text)
    return f'<text {attributes} {rim}>{shown}</text><text {attributes} fill="#4c5870">{shown}</text>'


def _group(name: str, rectangle: _Rectangle) -> str:
    r = rectangle
    return (
        f'<rect x="{r.x:.1f}" y="{r.y:.1f}" width="{r.width:.1f}" height="{r.height:.1f}" rx="10" '
        f'fill="#f6f8fb" stroke="#d5dce8"/>'
        f'<text x="{r.x + _PADDING:.1f}" y="{r.y + 20:.1f}" font-size="13" font-weight="600" fill="#33415c">'
        f"{escape(name)}</text>"
    )


def _box(box: Box, rectangle: _Rectangle) -> str:
    fill, stroke = _COLOURS[box.kind]
    r = rectangle
    middle = r.x + r.width / 2
    text = f'text-anchor="middle" x="{middle:.1f}"'
    parts = [
        (
            f'<rect x="{r.x:.1f}" y="{r.y:.1f}" width="{r.width:.1f}" height="{r.height:.1f}" rx="7" '
            f'fill="{fill}" stroke="{stroke}" stroke-width="1.3"/>'
        ),
        f'<text {text} y="{r.y + 19:.1f}" font-size="13" font-weight="600" fill="#1c2740">{escape(box.name)}</text>',
    ]
    y = r.y + 20
    for words, form in ((box.detail, f'font-family="{_MONO}"'), (box.guarantee, 'font-style="italic"')):
        if words:
            y += _LINE_HEIGHT
            parts.append(f'<text {text} y="{y:.1f}" font-size="10.5" {form} fill="#5a6781">{escape(words)}</text>')
    return "".join(parts)
