"""What the command line asks of sinks that print: where to, in which form, and what the place can show."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import msgspec

FALLBACK = (80, 24)
"""Columns and lines of a terminal that does not tell."""


class Output(msgspec.Struct):
    """Where sinks that print write, and how.

    Attributes:
        stream: Where to.
        json: Whether one JSON object is wanted in place of tables.
        once: Whether the run ends when it has read what is there.
        terminal: Whether a person looks at the stream.
        interactive: Whether the stream is a terminal that can be drawn on: cursor codes are allowed.
        colour: Whether colour codes are allowed.
        width: Columns; None takes the terminal's, and no limit where there is no terminal.
        height: Lines; None takes the terminal's.
        progress_file: Where to tell programs how far the tasks of the run are.
        sample: Whether the run is on generated data, which headings then say.
        held: Log lines that came while a screen was shown; printed when it is gone.
    """

    stream: TextIO
    json: bool = False
    once: bool = False
    terminal: bool = False
    interactive: bool = False
    colour: bool = False
    width: int | None = None
    height: int | None = None
    progress_file: Path | None = None
    sample: bool = False
    held: list[str] = msgspec.field(default_factory=list)
    _screens: int = 0

    @classmethod
    def detect(
        cls,
        *,
        json: bool = False,
        once: bool = False,
        stream: TextIO | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Output:
        """Find out what the stream can show.

        Not a terminal, or `NO_COLOR` set: neither colour nor cursor codes. `TERM=dumb` or unset: the same.

        Args:
            json: Whether one JSON object is wanted.
            once: Whether the run ends when it has read what is there.
            stream: Where to write; standard output by default.
            environ: The environment; that of the process by default.
        """
        environ = os.environ if environ is None else environ
        target: TextIO = sys.stdout if stream is None else stream
        terminal = target.isatty()
        plain = bool(environ.get("NO_COLOR")) or environ.get("TERM", "dumb") == "dumb"
        drawn = terminal and not plain
        return cls(target, json=json, once=once, terminal=terminal, interactive=drawn and not json, colour=drawn)

    def titled(self, title: str) -> str:
        """A heading, which says so where the data is generated; none stays none."""
        return f"{title} (sample data)" if self.sample and title else title

    @property
    def unicode(self) -> bool:
        """Whether the stream takes more than ASCII."""
        return (getattr(self.stream, "encoding", None) or "utf-8").lower().replace("-", "") in (
            "utf8",
            "utf16",
            "utf32",
        )

    def size(self) -> tuple[int, int]:
        """Columns and lines, asked anew at each call."""
        width, height = self.width, self.height
        if width is None or height is None:
            columns, lines = self._asked()
            width, height = width or columns, height or lines
        return width, height

    def _asked(self) -> tuple[int, int]:
        try:
            columns, lines = os.get_terminal_size(self.stream.fileno())
        except (OSError, ValueError, AttributeError):
            columns = lines = 0
        return columns or FALLBACK[0], lines or FALLBACK[1]

    @property
    def screen(self) -> bool:
        """Whether a screen is shown now, which other lines would spoil."""
        return self._screens > 0

    def enter_screen(self) -> None:
        """A screen is shown from now on."""
        self._screens += 1

    def leave_screen(self) -> None:
        """The screen is gone: print what was held back."""
        self._screens -= 1
        if not self.screen:
            held, self.held = self.held, []
            for line in held:
                self.log(line)

    @property
    def log_stream(self) -> LogStream:
        """The same as a stream, for `rxpipe.runtime.logs.configure`."""
        return LogStream(self)

    def log(self, line: Any) -> None:
        """A sink for the log: to standard error; while a screen is shown the last 1,000 lines are held back."""
        if self.screen:
            self.held.append(str(line))
            del self.held[:-1000]
        else:
            sys.stderr.write(str(line))
            sys.stderr.flush()


class LogStream:
    """Standard error, whose lines wait while a screen is shown."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def write(self, text: str) -> None:
        """Write a line of the log."""
        self._output.log(text)

    def flush(self) -> None:
        """Every line is flushed already."""

    def isatty(self) -> bool:
        """Whether lines may be coloured: not while they may wait for a screen, which shows the last one."""
        return False
