"""Draw `docs/screen.svg`: the live screen of the usage graph on its sample data, at a fixed time under virtual time.

python docs/make_screen.py [FILE]
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.terminal_theme import TerminalTheme

import rxpipe
from rxpipe.graph import StepSpec
from rxpipe.graphs.usage_sample import sessions
from rxpipe.operators.sinks._screen import Screen, Tables
from rxpipe.testing.graphs import VirtualRun
from rxpipe.testing.virtual import VirtualTimeScheduler

COLUMNS, LINES = 100, 34
BEGIN = datetime(2026, 11, 20, 13, 12, tzinfo=UTC).timestamp()
BUSY = 110 * 60.0
"""Seconds of activity before the run begins."""

PACE = 6.0
"""How much slower than live that activity goes: the sample is made to be watched, people think."""

WATCHED = 40.0
FRAME = 1.33
SEED = 4

THEME = TerminalTheme(
    (13, 17, 23),
    (214, 221, 230),
    [(72, 79, 88), (255, 123, 114), (86, 211, 140), (227, 179, 65), (121, 192, 255), (210, 168, 255), (94, 200, 216),
     (214, 221, 230)],
    [(110, 118, 129), (255, 161, 152), (126, 231, 160), (242, 204, 96), (165, 214, 255), (226, 197, 255),
     (120, 220, 232), (240, 246, 252)],
)  # fmt: skip

FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{
  font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: {char_height}px; line-height: {line_height}px;
}}
.{unique_id}-title {{ font-size: 16px; font-weight: 600; font-family: system-ui, "DejaVu Sans", sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def played(steps: Iterator[float], clock: list[float], until: float, pace: float = 1.0) -> None:
    """Let the sample's changes happen up to a time."""
    while clock[0] < until:
        clock[0] += next(steps) * pace


def screen(folder: Path) -> Screen:
    """The screen as it is after a while, on sample data in a folder."""
    graph = rxpipe.load("usage")
    # Looking at the files at fixed times makes the same picture everywhere; notifications come when they come.
    watch, *others = graph.streams["lines"]
    polled = StepSpec("watch", {**watch.parameters, "backend": "polling", "poll": "300ms"})
    graph = graph.replaced("lines", [polled, *others])
    clock = [BEGIN]
    steps = sessions(folder, seed=SEED, now=lambda: clock[0])
    played(steps, clock, BEGIN + BUSY, PACE)
    virtual = VirtualTimeScheduler()
    virtual.advance_to(BEGIN + BUSY)
    with VirtualRun(graph, values={"paths": [str(folder)], "timezone": "UTC"}, virtual=virtual) as run:
        while virtual.time < BEGIN + BUSY + WATCHED:
            run.advance(FRAME)
            played(steps, clock, virtual.time)
            run.status()
        shown = run.engine.plan.streams["screen"].steps[-1].parameters
        made = Screen(Tables(), shown["panels"], shown["title"], ZoneInfo("UTC"))
        for table in run.engine.tables.values():
            made.tables.take(table)
        made.status, made.now = run.status(), virtual.time
        made.refresh(force=True)
        made.refresh = lambda **_: None  # type: ignore[method-assign]  # the run is over by the time it is drawn
        return made


def main(file: Path) -> None:
    """Draw it."""
    with tempfile.TemporaryDirectory() as folder:
        made = screen(Path(folder))
    console = Console(record=True, width=COLUMNS, height=LINES, file=io.StringIO(), force_terminal=True)
    console.print(made, end="")
    text = console.export_svg(title="rxpipe run usage", theme=THEME, code_format=FORMAT, unique_id="screen")
    file.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "screen.svg")
