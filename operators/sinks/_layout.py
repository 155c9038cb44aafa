"""Where panels stand on a screen: units of 40 to 60 cells side by side, each panel as high up as it fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rxpipe.operators.sinks._cells import Line, line_width, pad
from rxpipe.operators.sinks._view import View

UNIT = 40
WIDEST = 60
SPACE = 3


class Placed(NamedTuple):
    """A panel with its number of rows and its place: column, line, width and height in cells."""

    view: View
    rows: int
    x: int
    y: int
    width: int
    height: int


def units(cells: int) -> int:
    """How many units stand side by side."""
    return max(1, (cells + SPACE) // UNIT)


def place(views: Sequence[tuple[View, int]], cells: int) -> list[Placed]:
    """Place panels with their numbers of rows; each goes where its top is highest, then leftmost.

    Where none of them comes to stand in the last units, the others are wider instead, up to `WIDEST`.
    """
    count = units(cells)
    while True:
        placed, used = _placed(views, cells, count)
        fewer = max(used, -(-(cells + SPACE) // WIDEST))
        if fewer >= count:
            return placed
        count = fewer


def _placed(views: Sequence[tuple[View, int]], cells: int, count: int) -> tuple[list[Placed], int]:
    """The panels on so many units, and how many of these, from the left, they stand in."""
    each = (cells - SPACE * (count - 1)) / count
    heights = [0] * count
    placed = []
    for view, rows in views:
        span = min(count, view.panel.span)
        start = min(range(count - span + 1), key=lambda at: (max(heights[at : at + span]), at))
        top = max(heights[start : start + span])
        y = top + (top > 0)
        x = round(start * (each + SPACE))
        width = round((start + span) * (each + SPACE)) - SPACE - x
        height = view.height(rows, width)
        heights[start : start + span] = [y + height] * span
        placed.append(Placed(view, rows, x, y, width, height))
    return placed, max((number for number, height in enumerate(heights, 1) if height), default=0)


def bottom(placed: Sequence[Placed]) -> int:
    """How many lines the panels take."""
    return max((item.y + item.height for item in placed), default=0)


def arrange(views: Sequence[View], cells: int, lines: int | None) -> list[Placed]:
    """Place the panels in so many lines (None: as many as it takes).

    What does not fit loses rows first, panels of the least priority before others, down to a few; then panels go, again
    those of the least priority first. At last rows are given back where there is room, to the highest priority first.
    """
    kept = list(views)
    rows = {id(view): view.most for view in kept}

    def placed() -> list[Placed]:
        return place([(view, rows[id(view)]) for view in kept], cells)

    if lines is None or bottom(placed()) <= lines:
        return placed()
    ranked = [view for _, view in sorted(enumerate(kept), key=lambda pair: (pair[1].panel.priority, -pair[0]))]
    for view in ranked:
        rows[id(view)] = view.least
        if bottom(placed()) <= lines:
            break
    for view in ranked:
        if bottom(placed()) <= lines or len(kept) == 1:
            break
        kept.remove(view)
    for view in reversed(ranked):
        if view in kept:
            _widen(view, rows, lambda: bottom(placed()) <= lines)
    return placed()


def _widen(view: View, rows: dict[int, int], fits: Callable[[], bool]) -> None:
    """Give a panel the most rows with which everything still fits."""
    low, high = rows[id(view)], view.most
    while low < high:
        middle = (low + high + 1) // 2
        rows[id(view)] = middle
        if fits():
            low = middle
        else:
            high = middle - 1
    rows[id(view)] = low


def draw(placed: Sequence[Placed]) -> list[Line]:
    """The lines of all panels together."""
    canvas: list[list[tuple[int, Line]]] = [[] for _ in range(bottom(placed))]
    for item in placed:
        for offset, line in enumerate(item.view.lines(item.rows, item.width)[: item.height]):
            canvas[item.y + offset].append((item.x, line))
    lines = []
    for parts in canvas:
        made: Line = []
        for x, line in sorted(parts, key=lambda part: part[0]):
            made = [*pad(made, x), *line] if x > line_width(made) else [*made, *line]
        lines.append(made)
    return lines
