"""How graphs, tables and runs show themselves in a notebook: as HTML that needs neither network nor scripts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from rxpipe.errors import RxpipeError, counted
from rxpipe.graph import Graph
from rxpipe.views.show import show

if TYPE_CHECKING:
    from rxpipe.runtime.status import RunStatus

ROWS = 50
"""Rows of a table that are shown."""

_TEXT = 100
_DECIMALS = 4
_STYLE = """<style>
.rxpipe table {border-collapse: collapse; margin: 2px 0 10px; font-size: 13px; font-variant-numeric: tabular-nums}
.rxpipe caption, .rxpipe summary {text-align: left; font-weight: 600; padding: 4px 0; caption-side: top; color: inherit}
.rxpipe .note {font-weight: 400; opacity: .65}
.rxpipe th, .rxpipe td {padding: 3px 12px 3px 0; border: 0; border-bottom: 1px solid rgba(128, 128, 128, .25);
  text-align: left !important; white-space: nowrap; background: none}
.rxpipe th {font-weight: 600; opacity: .75; border-bottom-color: rgba(128, 128, 128, .6)}
.rxpipe th.number, .rxpipe td.number {text-align: right !important; padding-left: 12px}
.rxpipe .bad {color: #c0392b}
</style>"""


def graph_bundle(graph: Graph) -> dict[str, str]:
    """The graph's MIME bundle: a text tree, and a drawing; where the graph has problems, they are its text."""
    try:
        plan = graph.plan()
    except RxpipeError as error:
        return {"text/plain": f"graph {graph.name!r}:\n{error}"}
    drawn = show(plan, "svg")
    scrolled = f'<div style="overflow-x: auto; max-width: 100%"><div style="width: max-content">{drawn}</div></div>'
    return {"text/plain": show(plan), "text/html": scrolled, "image/svg+xml": drawn}


def table_html(name: str, rows: Sequence[dict[str, Any]], most: int = ROWS) -> str:
    """Rows as an HTML table: numbers to the right, those of a column with the same decimals.

    Args:
        name: The heading.
        rows: The rows; a column that only some have is there for all.
        most: Rows that are shown; the number of all is told.
    """
    count = f"{len(rows):,} row{'' if len(rows) == 1 else 's'}"
    shown = f", the first {most:,} are shown" if len(rows) > most else ""
    caption = f'{escape(name)} <span class="note">{count}{shown}</span>'
    return _framed(_table(caption, rows[:most]))


def status_html(status: RunStatus) -> str:
    """What a run does: the streams, and, to be opened, the steps, the files and the last errors."""
    passed = f"{max(0.0, status.now - status.started):,.1f} s"
    errors = f', <span class="bad">{counted(status.errors, "error")}</span>' if status.errors else ", no errors"
    head = f'<b>{escape(status.graph)}</b>: {escape(status.state)} <span class="note">after {passed}</span>{errors}'
    if status.degraded:
        head += f'<br><span class="bad">{escape(status.degraded)}</span>'
    streams = [
        {
            "stream": name,
            "records": stream.records,
            **({"records/s": round(stream.records_per_second)} if status.rated else {}),
            "lag (bytes)": int(stream.lag_bytes),
            "errors": stream.errors,
        }
        for name, stream in status.streams.items()
    ]
    steps = [
        {
            "step": step.name,
            "in": step.records_in,
            "out": step.records_out,
            "mean batch": round(step.mean_batch, 1),
            "errors": step.errors,
            "ms": round(step.seconds * 1000, 1),
            "% of time": round(step.share * 100, 1),
        }
        for step in sorted(status.steps, key=lambda step: -step.share)
    ]
    files = [{"file": path, **told} for path, told in sorted(status.files.items())]
    problems = [
        {"step": error.step, "reason": error.reason, "path": error.path, "start": error.start, "end": error.end}
        for error in status.last_errors
    ]
    parts = [f"<div>{head}</div>", _table("", streams)]
    for title, rows in (("steps, by their time", steps), ("files", files), ("last errors", problems)):
        if rows:
            note = f'<span class="note">{len(rows):,}</span>'
            parts.append(f"<details><summary>{title} {note}</summary>{_table('', rows[:ROWS])}</details>")
    return _framed("".join(parts))


def _framed(content: str) -> str:
    return f'<div class="rxpipe">{_STYLE}{content}</div>'


def _table(caption: str, rows: Iterable[dict[str, Any]]) -> str:
    rows = list(rows)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [_column([row.get(name) for row in rows]) for name in columns]
    numeric = [_numeric([row.get(name) for row in rows]) for name in columns]
    titles = zip(columns, numeric, strict=True)
    head = "".join(f"<th{_class(right)}>{escape(str(name))}</th>" for name, right in titles)
    lines = []
    for line in zip(*cells, strict=True):
        written = zip(line, numeric, strict=True)
        lines.append("<tr>" + "".join(f"<td{_class(right)}>{escape(cell)}</td>" for cell, right in written) + "</tr>")
    top = f"<caption>{caption}</caption>" if caption else ""
    return f"<table>{top}<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _class(right: bool) -> str:
    return ' class="number"' if right else ""


def _numeric(values: list[Any]) -> bool:
    present = [value for value in values if value is not None]
    return bool(present) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in present)


def _column(values: list[Any]) -> list[str]:
    """The texts of a column; fractions get as many decimals as the most exact of them needs, up to four."""
    if not _numeric(values):
        return ["" if value is None else _short(value) for value in values]
    fractions = [f"{value:.{_DECIMALS}f}".rstrip("0").partition(".")[2] for value in values if isinstance(value, float)]
    decimals = max(map(len, fractions), default=0)
    form = f",.{decimals}f"
    whole = "," if not decimals else form  # a large whole number must not pass through a float
    return ["" if value is None else format(value, form if isinstance(value, float) else whole) for value in values]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= _TEXT else text[: _TEXT - 1] + "…"
