"""The screen: the latest rows of each table in panels, with a head and a foot, as lines of a given size."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from rxpipe.elements import Batch, Row
from rxpipe.errors import counted
from rxpipe.operators.sinks._cells import RICH_STYLES, Line, cut, pad, width
from rxpipe.operators.sinks._footer import COMPACT, foot, head
from rxpipe.operators.sinks._layout import Placed, arrange, bottom, draw
from rxpipe.operators.sinks._panel import Panel
from rxpipe.operators.sinks._view import View
from rxpipe.table import Table
from rxpipe.views.document import RECORDS

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

KEPT = 1000
TALL = 30
MARGIN = 1


class Tables:
    """The latest table of each name; batches become the table of the last records."""

    def __init__(self) -> None:
        self._tables: dict[str, Table] = {}
        self._records: deque[Row] = deque(maxlen=KEPT)
        self._count = 0

    def take(self, element: Any) -> bool:
        """Keep an element; returns whether anything is to be shown of it."""
        if isinstance(element, Table):
            self._tables[element.name] = element
            return True
        if isinstance(element, Batch):
            for row in element.retracted:
                if row in self._records:
                    self._records.remove(row)
            self._records.extend(element.rows)
            self._count += 1
            return True
        return False

    def names(self) -> list[str]:
        """The names of what came so far."""
        return [*self._tables, *([RECORDS] if self._count and RECORDS not in self._tables else [])]

    def version(self, name: str) -> tuple[int, int]:
        """Changes when the rows do."""
        table = self._tables.get(name)
        if table is not None:
            return id(table), table.version
        return 0, self._count

    def rows(self, name: str) -> Sequence[Row]:
        """The rows as they are now; a table that never came has none."""
        table = self._tables.get(name)
        if table is not None:
            return table.rows()
        return list(self._records) if name == RECORDS else []

    def all_rows(self) -> dict[str, Sequence[Row]]:
        """The rows of every table."""
        return {name: self.rows(name) for name in self.names()}


class Screen:
    """Panels over tables, drawn at any size.

    It can be printed by Rich: `console.print(screen)`.

    Args:
        tables: Where the rows are.
        panels: What is shown; every table that comes, by default.
        title: The head's text.
        zone: The time zone of times; None is the system's.
    """

    def __init__(
        self, tables: Tables, panels: Sequence[Panel] = (), title: str = "", zone: ZoneInfo | None = None
    ) -> None:
        self.tables = tables
        self.title = title
        self.zone = zone
        self.status: Any = None
        self.message = ""
        self.now = 0.0
        self._declared = [View(panel, zone) for panel in panels]
        self._found: dict[str, View] = {}
        self._versions: dict[int, tuple[int, int]] = {}
        self._places: tuple[Any, list[Placed]] = (None, [])

    def refresh(self, *, force: bool = False) -> None:
        """Read the tables that changed; with `force` all of them, for what depends on the time."""
        read: dict[str, Sequence[Row]] = {}
        for view in self._views():
            table = view.panel.table
            version = self.tables.version(table)
            if force or self._versions.get(id(view)) != version:
                if table not in read:  # once for all of its panels
                    read[table] = self.tables.rows(table)
                view.update(read[table])
                self._versions[id(view)] = version

    def _views(self) -> list[View]:
        if self._declared:
            return self._declared
        for name in self.tables.names():
            if name not in self._found:
                self._found[name] = View(
                    Panel(table=name, title=name.replace("_", " ").capitalize(), empty="no rows"), self.zone
                )
        return list(self._found.values())

    def _visible(self) -> list[View]:
        """The panels that have something to show: a declared table without rows and without a text for that has not."""
        found = self._views()
        if not self._declared:
            return found
        return [view for view in found if view.count or view.panel.empty or view.panel.kind != "table"]

    def _arrange(self, views: list[View], cells: int, lines: int) -> list[Placed]:
        """Where the panels stand; found anew only when their number of rows or the space changed."""
        key = (cells, lines, [(id(view), view.shape) for view in views])
        if self._places[0] != key:
            self._places = (key, arrange(views, cells, lines))
        return self._places[1]

    def live(self, cells: int, lines: int) -> list[Line]:
        """The whole screen: exactly `lines` lines of at most `cells` cells."""
        inner = max(10, cells - 2 * MARGIN)
        clock = datetime.fromtimestamp(self.now, UTC).astimezone(self.zone).strftime("%H:%M:%S")
        top = [head(self.title, self.status, clock, inner)]
        views = self._visible()
        placed: list[Placed] = []
        for most in (None, COMPACT) if lines >= TALL else (COMPACT,):
            end = foot(self.status, inner, most=most, message=self.message)
            room = max(1, lines - len(top) - len(end) - bool(end))
            placed = self._arrange(views, inner, room)
            if len(placed) == len(views) and all(item.rows == item.view.most for item in placed):
                break
        spaced = bottom(placed) < room
        body = draw(placed)
        if not views:
            body = [[("waiting for data …", "dim")]]
        made = [*top, *([[]] if spaced else []), *body]
        made += [[] for _ in range(lines - len(made) - len(end))]
        made = [*made[: lines - len(end)], *end][:lines]
        return [cut([(" " * MARGIN, ""), *line], cells) if line else [] for line in made]

    def final(self, cells: int | None) -> list[Line]:
        """All panels with all rows, one below the other where there is no limit to the width."""
        lines: list[Line] = [[(self.title, "bold")], []] if self.title else []
        views = self._visible()
        if cells is not None:
            lines += draw(arrange(views, max(10, cells - 1), None))
        else:
            for number, view in enumerate(views):
                lines += [[]] if number else []
                lines += view.lines(view.most, max(view.natural(), width(view.panel.title), width(view.panel.empty)))
        errors = int(getattr(self.status, "errors", 0) or 0)
        if errors:
            lines += [[], [(f"{counted(errors, 'record')} could not be handled", "bad")]]
        return lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the screen in the size that Rich offers."""
        from rich.segment import Segment  # only who prints with Rich needs it

        self.refresh()
        height = options.height or console.height
        for line in self.live(options.max_width, height):
            for text, style in pad(line, options.max_width):
                ink = text.lstrip()  # a picture would lose the spaces that a segment begins with
                yield Segment(text[: len(text) - len(ink)])
                yield Segment(ink, console.get_style(RICH_STYLES[style] or "none"))
            yield Segment.line()
