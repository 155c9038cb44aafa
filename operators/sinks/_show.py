"""When and where the screen is drawn: live on a terminal, as text, or as a JSON document at the end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from zoneinfo import ZoneInfo

from reactivex.abc import SchedulerBase
from reactivex.disposable import SerialDisposable

from rxpipe.context import Context
from rxpipe.operators.sinks._cells import encode
from rxpipe.operators.sinks._panel import Panel
from rxpipe.operators.sinks._screen import Screen, Tables
from rxpipe.operators.sinks._terminal import Terminal
from rxpipe.runtime.output import Output
from rxpipe.views.document import Part, build_document, json_text, undeclared

FIRST = 0.2
"""Seconds after which a screen is shown even if no table came."""

FIRST_ONCE = 0.5
"""The same for a run that ends by itself: a short one need not flash."""

APART = 0.05
MOVING = 1.33
IDLE = 30.0
SCROLLING = 10.0
SETTLING = 0.5
"""Seconds for which nothing of a backlog may be left to read before tables are printed as text."""


class Show:
    """What one subscription of `to_terminal` does; see there."""

    def __init__(
        self,
        context: Context,
        scheduler: SchedulerBase | None,
        panels: Sequence[Panel],
        document: Mapping[str, Part] | None,
        title: str,
        zone: ZoneInfo | None,
    ) -> None:
        self.context = context
        self.output: Output | None = context.output()
        self.tables = Tables()
        self.screen = Screen(self.tables, panels, self._titled(title), zone)
        self.document = document
        self.terminal: Terminal | None = None
        self._scheduler = scheduler
        self._live = self.output is not None and self.output.interactive
        self._scrolls = (
            self.output is not None
            and self.output.terminal
            and not (self._live or self.output.json or self.output.once)
        )
        self._timer = SerialDisposable()
        self._due: float | None = None
        self._drawn: float | None = None
        self._read: float | None = None
        self._printed = ""
        self._settled = False
        self._unwatch: Callable[[], None] | None = None
        self._closed = False

    def begin(self) -> None:
        """Prepare the first frame; on a terminal also watch its size."""
        if not (self._live or self._scrolls) or self.output is None:
            return
        if self._live:
            self.terminal = Terminal(self.output)
            self._unwatch = on_resize(lambda: self._draw() if self._drawn is not None else None)
        self._draw_in(FIRST_ONCE if self.output.once else FIRST)

    def take(self, element: Any) -> None:
        """Keep a table, and see that it is drawn soon."""
        if not self.tables.take(element) or not (self._live or self._scrolls) or self._closed:
            return
        if self._drawn is None:
            if self.output is not None and not self.output.once:
                self._draw_in(0)
        else:
            self._draw_in(max(APART if self._live else SCROLLING, 0) - (self.context.now() - self._drawn))

    def _draw_in(self, seconds: float) -> None:
        """Draw after some seconds, unless a frame is due before."""
        due = self.context.now() + max(0.0, seconds)
        if self._closed or (self._due is not None and self._due <= due):
            return
        self._due = due
        scheduler = self.context.scheduler(self._scheduler)
        self._timer.disposable = scheduler.schedule_relative(max(0.0, seconds), lambda *_: self._draw())

    def _draw(self) -> None:
        if self._closed or self.output is None:
            return
        self._due = None
        if self.terminal is None:
            self._scroll(self.output)
            return
        now = self._drawn = self.context.now()
        force = self._read is None or now - self._read >= IDLE / 2
        if force:
            self._read = now
        self._look(force=force)
        size = self.output.size()
        self.terminal.show(self.screen.live(*size), size)
        self._draw_in(MOVING if moving(self.screen.status) else IDLE)

    def _titled(self, title: str) -> str:
        return title if self.output is None else self.output.titled(title)

    def _look(self, *, force: bool) -> None:
        screen = self.screen
        screen.status = self.context.status()
        screen.title = screen.title or self._titled(str(getattr(screen.status, "graph", "") or "rxpipe"))
        screen.now = self.context.now()
        screen.message = " ".join(self.output.held[-1].split()) if self.output is not None and self.output.held else ""
        screen.refresh(force=force)

    def _text(self) -> str:
        output = self.output
        if output is None:
            return ""
        lines = self.screen.final(output.size()[0] if output.terminal or output.width else None)
        return "".join(encode(line, colour=output.colour, unicode=output.unicode) + "\n" for line in lines)

    def _scroll(self, output: Output) -> None:
        """Print the tables, unless they are as printed last or a backlog is being read: then look again soon."""
        before, self._settled = self._settled, getattr(self.context.status(), "backlog", None) is None
        if not self.tables.names():
            self._settled = False  # reading has not begun
        elif before and self._settled:
            self._drawn = self.context.now()
            self._print(output, "\n")
        else:
            self._draw_in(SETTLING)

    def _print(self, output: Output, end: str = "") -> None:
        """Print the tables as text, if they are not as printed last."""
        self._look(force=True)
        text = self._text()
        if text != self._printed:
            output.stream.write(text + end)
            output.stream.flush()
            self._printed = text

    def finish(self) -> None:
        """The stream is complete: give the terminal back and print what is final."""
        if self._closed:
            return
        self.close()
        output = self.output
        if output is None:
            return
        if output.json:
            output.stream.write(self._json(output))
            output.stream.flush()
        else:
            self._print(output)

    def _json(self, output: Output) -> str:
        rows = self.tables.all_rows()
        made = undeclared(rows) if self.document is None else build_document(self.document, rows)
        return json_text(made, indent=output.terminal) + "\n"

    def close(self) -> None:
        """Stop drawing and give the terminal back."""
        self._closed = True
        self._timer.dispose()
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        if self.terminal is not None:
            self.terminal.close()


def moving(status: Any) -> bool:
    """Whether the run's figures will differ in a second though no table comes."""
    if status is None:
        return False
    if getattr(status, "backlog", None) is not None:
        return True
    streams = (getattr(status, "streams", None) or {}).values()
    return any(
        getattr(stream, "records_per_second", 0) or getattr(stream, "lag_bytes", 0) or getattr(stream, "lag_seconds", 0)
        for stream in streams
    )


def on_resize(call: Callable[[], None]) -> Callable[[], None] | None:
    """Call when the terminal's size changes; returns what ends that, None where it cannot be told."""
    with suppress(RuntimeError, ValueError, NotImplementedError, AttributeError):
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGWINCH, call)

        def undo() -> None:
            with suppress(RuntimeError, ValueError):
                loop.remove_signal_handler(signal.SIGWINCH)

        return undo
    return None
