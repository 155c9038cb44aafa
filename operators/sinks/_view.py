"""The lines that a panel becomes: its columns fitted into the cells there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from rxpipe.elements import Row, as_dict
from rxpipe.expressions.rowview import Reader, arranged, reader
from rxpipe.operators.sinks._cells import Line, Span, Style, cut, fit, pad, shorten, width
from rxpipe.operators.sinks._format import MISSING, RIGHT, SUMMED, Format, default_format, formatter
from rxpipe.operators.sinks._panel import Column, Panel

GAP = 2
WIDEST_GAP = 4
LEAST_TEXT = 16
BAR = 12
FIGURE = 30
SHORTEST = 2


class _Shown:
    """A column ready to be shown: the `values` of the rows chosen last, and the `texts` of as many as can be shown."""

    __slots__ = ("column", "format", "header", "read", "text", "texts", "values")

    def __init__(self, header: str, column: Column) -> None:
        self.header = header
        self.column = column
        self.read: Reader = reader(column.field or header)
        self.format: Format = column.format or "text"
        self.text: Callable[[Any], str] = str
        self.values: list[Any] = []
        self.texts: list[str] = []

    @property
    def right(self) -> bool:
        return self.format in RIGHT

    @property
    def style(self) -> Style:
        return "money" if self.format == "usd" else ""

    def show(self, rows: Sequence[Row], count: int, zone: ZoneInfo | None) -> None:
        self.values = [self.read(row) for row in rows]
        if self.column.format is None:
            self.format = default_format(next((value for value in self.values if value is not None), ""))
        self.text = formatter(self.format, self.column.unit, zone)
        self.texts = [] if self.format == "bar" else [self.text(value) for value in self.values[:count]]
        if self.column.to is not None and self.texts:
            read, dash = reader(self.column.to), " – " if self.format in ("time", "date") else " → "
            self.texts = [dash.join((text, self.text(read(row)))) for text, row in zip(self.texts, rows, strict=False)]

    def total(self) -> str:
        if self.format not in SUMMED:
            return ""
        numbers = [value for value in self.values if isinstance(value, int | float) and not isinstance(value, bool)]
        return self.text(sum(numbers))


class View:
    """A panel with the rows it shows now.

    Args:
        panel: What is shown.
        zone: The time zone of times; None is the system's.
    """

    def __init__(self, panel: Panel, zone: ZoneInfo | None = None) -> None:
        self.panel = panel
        self.count = 0
        self._zone = zone
        self._declared = [
            _Shown(header, column if isinstance(column, Column) else Column(field=column))
            for header, column in panel.columns.items()
        ]
        self._shown: list[_Shown] = []
        self._made: dict[tuple[int, int], list[Line]] = {}

    def update(self, rows: Sequence[Row]) -> None:
        """Take the rows of the table as they are now."""
        self._made.clear()
        chosen = arranged(rows, self.panel.where, self.panel.sort)
        self._shown = self._declared or [_Shown(name, Column()) for name in (as_dict(chosen[0]) if chosen else ())]
        if self.panel.kind == "table":
            self.count = len(chosen) if self.panel.limit is None else min(len(chosen), self.panel.limit)
        else:
            chosen = chosen[:1]
            self.count = len(chosen)
        for shown in self._shown:
            shown.show(chosen, self.count, self._zone)

    @property
    def shape(self) -> tuple[int, int]:
        """What the panel's height depends on."""
        return self.count, len(self._shown)

    @property
    def most(self) -> int:
        """How many rows the panel would show if there were room."""
        return self.count if self.panel.kind == "table" else 0

    @property
    def least(self) -> int:
        """How many rows it shows at least, or goes."""
        return min(self.most, SHORTEST)

    def height(self, rows: int, cells: int) -> int:
        """How many lines the panel takes when it shows so many rows."""
        if self.panel.kind == "line":
            return 1
        if not self.count and self.panel.empty:
            return 2
        if self.panel.kind == "figures":
            return bool(self.panel.title) + -(-len(self._shown) // _figure_columns(cells))
        return 1 + rows + bool(self.panel.total and self.count > 1)

    def natural(self) -> int:
        """The cells that nothing of the panel would be cut at."""
        if self.panel.kind == "line":
            return sum(width(text) for text, _ in self._line())
        if self.panel.kind == "figures":
            return max((width(shown.header) + 2 + max(_text_widths(shown)) for shown in self._shown), default=FIGURE)
        headers = self._headers()
        widths = [self._natural(shown, header) for shown, header in zip(self._shown, headers, strict=True)]
        return sum(widths) + GAP * max(0, len(widths) - 1)

    def lines(self, rows: int, cells: int) -> list[Line]:
        """The panel in so many cells, with so many rows."""
        made = self._made.get((rows, cells))
        if made is None:
            made = self._made[rows, cells] = self._lines(rows, cells)
        return made

    def _lines(self, rows: int, cells: int) -> list[Line]:
        if self.panel.kind == "line":
            return [cut(self._line(), cells)]
        if not self.count and self.panel.empty:
            return [[(shorten(self.panel.title, cells), "title")], [(shorten(self.panel.empty, cells), "dim")]]
        return self._figures(cells) if self.panel.kind == "figures" else self._table(rows, cells)

    def _line(self) -> Line:
        line: Line = [(self.panel.title, "title")] if self.panel.title else []
        if not self.count and self.panel.empty:
            return [*line, ("  ", ""), (self.panel.empty, "dim")]
        for number, shown in enumerate(self._shown):
            line.append(("  " if not number else "  ·  ", "dim"))
            line += [(f"{shown.header} ", "dim"), *self._value(shown, BAR)]
        return line

    def _value(self, shown: _Shown, cells: int) -> Line:
        if shown.format == "bar":
            return bar(shown.values[0] if shown.values else None, 1.0, shown.column.width or cells)
        return [(shown.texts[0] if shown.texts else MISSING, shown.style or "bold")]

    def _figures(self, cells: int) -> list[Line]:
        lines: list[Line] = [[(shorten(self.panel.title, cells), "title")]] if self.panel.title else []
        columns = _figure_columns(cells)
        space = 3
        each = (cells - space * (columns - 1)) // columns
        rows = -(-len(self._shown) // columns)
        for row in range(rows):
            line: Line = []
            for shown in self._shown[row::rows]:
                if line:
                    line.append((" " * space, ""))
                value = cut(self._value(shown, max(4, each - width(shown.header) - 2)), each)
                label = fit(shown.header, max(0, each - sum(width(text) for text, _ in value)))
                line += [(label, "dim"), *value]
            lines.append(line)
        return lines

    def _headers(self) -> list[str]:
        return [
            self.panel.title if self.panel.title and not number else s.header for number, s in enumerate(self._shown)
        ]

    def _natural(self, shown: _Shown, header: str) -> int:
        if shown.column.width is not None:
            return shown.column.width
        if shown.format == "bar":
            return max(BAR, width(header))
        return max(width(header), *_text_widths(shown), width(shown.total()) if self.panel.total else 0)

    def _fitted(self, cells: int) -> tuple[list[tuple[_Shown, str, int]], int]:
        """The columns that fit with their headers and widths, and the gap between them."""
        headers = self._headers()
        columns = [
            (shown, header, self._natural(shown, header)) for shown, header in zip(self._shown, headers, strict=True)
        ]
        while len(columns) > 1 and self._needed(columns) > cells:
            least = min(column.column.priority for column, _, _ in columns[1:])
            columns.remove([c for c in columns[1:] if c[0].column.priority == least][-1])
        over = sum(wide for _, _, wide in columns) + GAP * (len(columns) - 1) - cells
        for number, (shown, header, wide) in enumerate(columns):
            if over > 0 and _flexible(shown):
                less = min(over, max(0, wide - LEAST_TEXT))
                columns[number] = (shown, header, wide - less)
                over -= less
        spare = cells - sum(wide for _, _, wide in columns)
        gap = max(GAP, min(WIDEST_GAP, spare // max(1, len(columns) - 1)))
        rest = spare - gap * (len(columns) - 1)
        if columns:
            bars = [
                number
                for number, (shown, _, _) in enumerate(columns)
                if shown.format == "bar" and not shown.column.width
            ]
            taker = bars[0] if bars else 0
            shown, header, wide = columns[taker]
            columns[taker] = (shown, header, wide + rest)
        return columns, gap

    def _needed(self, columns: Sequence[tuple[_Shown, str, int]]) -> int:
        widths = [min(wide, LEAST_TEXT) if _flexible(shown) else wide for shown, _, wide in columns]
        return sum(widths) + GAP * (len(widths) - 1)

    def _table(self, rows: int, cells: int) -> list[Line]:
        if not self._shown:
            return [[(shorten(self.panel.title or self.panel.table, cells), "title")]]
        columns, gap = self._fitted(cells)
        space = " " * gap
        heads: list[Line] = [[(fit(header, wide, right=shown.right), "dim")] for shown, header, wide in columns]
        if self.panel.title:
            heads[0] = _title(self.panel.title, f"{rows} of {self.count}" if rows < self.count else "", columns[0][2])
        lines = [_joined(heads, space)]
        largest = {id(s): max((v for v in s.values if isinstance(v, int | float)), default=0) for s, _, _ in columns}
        for row in range(min(rows, self.count)):
            parts: list[Line] = []
            for shown, _, wide in columns:
                if shown.format == "bar":
                    parts.append(pad(bar(shown.values[row], largest[id(shown)], wide), wide))
                else:
                    text = shown.texts[row]
                    parts.append(
                        [(fit(text, wide, right=shown.right), "dim" if text in ("0", MISSING) else shown.style)]
                    )
            lines.append(_joined(parts, space))
        if self.panel.total and self.count > 1:
            totals = [self.panel.total if not number else s.total() for number, (s, _, _) in enumerate(columns)]
            sums: list[Line] = [
                [(fit(t, w, right=s.right), "bold")] for t, (s, _, w) in zip(totals, columns, strict=True)
            ]
            lines.append(_joined(sums, space))
        return lines


def bar(value: Any, whole: float, cells: int) -> list[Span]:
    """A bar that is as much of its cells as `value` is of `whole`."""
    if not isinstance(value, int | float) or whole <= 0:
        return [(MISSING, "dim")]
    full = round(max(0.0, min(1.0, value / whole)) * cells)
    if value > 0 and not full:
        full = 1
    return [("━" * full, "bar"), ("─" * (cells - full), "dim")]


def _title(title: str, note: str, cells: int) -> Line:
    """The title of a table, and behind it, where there is room, how much of it is shown."""
    if not note or width(title) + GAP + width(note) > cells:
        return [(fit(title, cells), "title")]
    return [(title, "title"), (fit(f"{' ' * GAP}{note}", cells - width(title)), "dim")]


def _figure_columns(cells: int) -> int:
    return max(1, cells // (FIGURE + 3))


def _flexible(shown: _Shown) -> bool:
    return shown.column.width is None and not shown.right


def _text_widths(shown: _Shown) -> list[int]:
    return [width(text) for text in shown.texts] or [BAR if shown.format == "bar" else 1]


def _joined(parts: Sequence[Line], space: str) -> Line:
    line: Line = []
    for part in parts:
        if line:
            line.append((space, ""))
        line += part
    return line
