"""A terminal drawn on: the alternate screen, only lines that changed, and everything as it was at the end."""

from __future__ import annotations

import atexit
import contextlib
import sys
from collections.abc import Callable
from typing import Any

from rxpipe.operators.sinks._cells import Line, encode
from rxpipe.runtime.output import Output

ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"


class Terminal:
    """Owns the terminal between `show` and `close`.

    Args:
        output: The terminal.
    """

    def __init__(self, output: Output) -> None:
        self.output = output
        self.shown = False
        self._lines: list[str] = []
        self._size = (0, 0)
        self._give_back: Callable[[], None] | None = None

    def show(self, lines: list[Line], size: tuple[int, int]) -> None:
        """Draw a frame; only lines that differ from the last frame are written."""
        texts = [encode(line, colour=self.output.colour, unicode=self.output.unicode) for line in lines]
        parts = []
        if not self.shown:
            parts.append(ENTER)
            self._enter()
        if size != self._size:
            self._lines = []
            if self.shown and self._size != (0, 0):
                parts.append("\x1b[2J")
        for number, text in enumerate(texts):
            if number >= len(self._lines) or self._lines[number] != text:
                parts.append(f"\x1b[{number + 1};1H{text}\x1b[K")
        self._lines, self._size = texts, size
        if parts:
            self.output.stream.write("".join(parts))
            self.output.stream.flush()

    def _enter(self) -> None:
        self.shown = True
        self.output.enter_screen()
        self._give_back = silent_keys(sys.stdin)
        atexit.register(self.close)

    def close(self) -> None:
        """Give the terminal back as it was."""
        if not self.shown:
            return
        self.shown = False
        self._lines, self._size = [], (0, 0)
        atexit.unregister(self.close)
        if self._give_back is not None:
            self._give_back()
        with contextlib.suppress(OSError, ValueError):  # a terminal that is gone needs nothing back
            self.output.stream.write(LEAVE)
            self.output.stream.flush()
        self.output.leave_screen()


def silent_keys(stream: Any) -> Callable[[], None] | None:
    """Stop a terminal from showing what is typed; returns what undoes it, None where there is no terminal."""
    try:
        import termios  # not on every system

        descriptor = stream.fileno()
        before = termios.tcgetattr(descriptor)
        silent = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
        termios.tcsetattr(descriptor, termios.TCSADRAIN, silent)
    except Exception:  # no terminal, closed, or none of this on this system: keys are shown then
        return None

    def undo() -> None:
        with contextlib.suppress(termios.error, ValueError, OSError):
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)

    return undo
