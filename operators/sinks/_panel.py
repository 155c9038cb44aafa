"""Panels: what `to_terminal` shows of a table, as declared."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from rxpipe.expressions.known import KnownFields
from rxpipe.expressions.rowview import check_arranged
from rxpipe.operators.sinks._format import Format
from rxpipe.parameters.types import KNOWN_NAMES_ONLY, Expr


@dataclass
class Column:
    """One column of a panel, or one figure.

    Attributes:
        field: The column of the table, or an expression over its columns; the header by default.
        to: A second value, shown behind the first with a dash (times and dates) or an arrow between them.
        format: How the value is shown; by its type by default.
        width: Exactly so many cells; as many as needed by default.
        unit: Put behind a number, as `/min`.
        priority: Where the panel is narrow, columns of the least priority go first, the rightmost of equal ones.
    """

    __pydantic_config__ = KNOWN_NAMES_ONLY

    field: Expr = ""
    to: Expr | None = None
    format: Format | None = None
    width: int | None = None
    unit: str = ""
    priority: int = 0


@dataclass
class Panel:
    """What the screen shows of one table.

    Attributes:
        table: The table's name: the stream it comes from.
        title: The panel's heading; it stands in the place of the first column's header.
        kind: `table` has a line for each row; `figures` shows the first row as labels and values; `line` the same in
            one line.
        columns: For each header its column: a name, an expression, or more about it; all columns by default.
        where: An expression that chooses rows.
        sort: The column, or columns, to order by; `-cost` puts the largest first.
        limit: At most so many rows.
        total: The label of a last line with the sums of the numbers of all chosen rows; no such line by default.
        size: `wide` takes about 80 columns, `narrow` 40; by default tables are wide, figures narrow.
        priority: Where the screen is small, panels of the least priority lose rows first, and then go; later before
            earlier.
        empty: What is shown where there is no row; a table without rows and without this text is not shown.
    """

    __pydantic_config__ = KNOWN_NAMES_ONLY

    table: str
    title: str = ""
    kind: Literal["table", "figures", "line"] = "table"
    columns: dict[str, Column | Expr] = field(default_factory=dict)
    where: Expr | None = None
    sort: str | list[str] = ""
    limit: int | None = None
    total: str = ""
    size: Literal["wide", "narrow"] | None = None
    priority: int = 0
    empty: str = ""

    def check(self, known: KnownFields, *path: str | int) -> None:
        """Note what the panel, a parameter at `path`, reads of a table that has no such column."""
        check_arranged(known, self.where, self.sort, *path)
        for header, column in self.columns.items():
            at = (*path, "columns", header)
            if isinstance(column, str):
                known.column(column or header, *at)
                continue
            known.column(column.field or header, *at, *(["field"] if column.field else []))
            if column.to is not None:
                known.column(column.to, *at, "to")

    @property
    def span(self) -> int:
        """How many units of 40 cells the panel takes."""
        return {"wide": 2, "narrow": 1, None: 1 if self.kind == "figures" else 2}[self.size]
