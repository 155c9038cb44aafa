"""Text in terminal cells: widths, shortening, padding; lines of styled spans, and how they are written."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

Style = Literal["", "dim", "bold", "title", "money", "bar", "good", "warn", "bad"]
"""What a span is; colours follow the terminal's own palette."""

Span = tuple[str, Style]
Line = list[Span]

CODES: dict[Style, str] = {
    "": "",
    "dim": "2",
    "bold": "1",
    "title": "1;36",
    "money": "32",
    "bar": "36",
    "good": "32",
    "warn": "33",
    "bad": "1;31",
}

RICH_STYLES: dict[Style, str] = {
    "": "",
    "dim": "dim",
    "bold": "bold",
    "title": "bold cyan",
    "money": "green",
    "bar": "cyan",
    "good": "green",
    "warn": "yellow",
    "bad": "bold red",
}

ASCII = str.maketrans({"–": "-", "…": "~", "·": ".", "━": "=", "─": "-", "●": "*", "▲": "!", "→": ">"})
_NARROW = 0x300
_OWN = frozenset("–…·━─●▲→")


def width(text: str) -> int:
    """How many cells a text takes."""
    if text.isascii() or all(ord(char) < _NARROW or char in _OWN for char in text):
        return len(text)
    from rich.cells import cell_len  # only texts in wide scripts need the tables

    return cell_len(text)


def shorten(text: str, cells: int) -> str:
    """The text in at most so many cells; an ellipsis ends what was cut."""
    if width(text) <= cells:
        return text
    if cells <= 1:
        return "…"[:cells]
    while text and width(text) >= cells:
        text = text[: min(len(text) - 1, cells - 1)]
    return text.rstrip() + "…"


def fit(text: str, cells: int, *, right: bool = False) -> str:
    """The text in exactly so many cells."""
    text = shorten(text, cells)
    space = " " * (cells - width(text))
    return space + text if right else text + space


def line_width(line: Line) -> int:
    """How many cells a line takes."""
    return sum(width(text) for text, _ in line)


def pad(line: Line, cells: int) -> Line:
    """The line in exactly so many cells."""
    missing = cells - line_width(line)
    if missing < 0:
        return cut(line, cells)
    return [*line, (" " * missing, "")] if missing else line


def cut(line: Line, cells: int) -> Line:
    """The line in at most so many cells."""
    made: Line = []
    for text, style in line:
        short = shorten(text, cells)
        made.append((short, style))
        cells -= width(short)
        if cells <= 0 or short != text:
            break
    return made


def encode(line: Line, *, colour: bool, unicode: bool) -> str:
    """A line as it is written; without colour there is no control code in it."""
    parts = []
    for text, style in line:
        code = CODES[style] if colour else ""
        parts.append(f"\x1b[{code}m{text}\x1b[0m" if code and text.strip() else text)
    made = "".join(parts)
    if not unicode:
        made = made.translate(ASCII).encode("ascii", "replace").decode("ascii")
    return made.rstrip()


def plain(lines: Iterable[Line]) -> str:
    """Lines without colour, each ended by a newline."""
    return "".join(encode(line, colour=False, unicode=True) + "\n" for line in lines)
