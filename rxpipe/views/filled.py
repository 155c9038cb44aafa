"""Text of docstrings for a terminal: paragraphs and lists filled to its width, diagrams and examples as they are."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

WIDEST = 100
"""Lines of prose longer than this are hard to read."""

LEAST = 30


def filled(block: str, columns: int | None, indent: int = 4) -> list[str]:
    """The lines of a text, indented; as they were written where there is no terminal (None)."""
    space = " " * indent
    if columns is None or ">>>" in block:
        return [f"{space}{line}" if line else "" for line in block.split("\n")]
    width = max(LEAST, min(columns, WIDEST))
    lines: list[str] = []
    for part in _parts(block):
        if part.startswith("    ") or not part:
            lines.append(f"{space}{part}" if part else "")
        else:
            hanging = "  " if part.startswith("- ") else ""
            lines += textwrap.wrap(
                part, width, initial_indent=space, subsequent_indent=space + hanging,
                break_long_words=False, break_on_hyphens=False,
            )  # fmt: skip
    return lines


def _parts(block: str) -> Iterator[str]:
    """Each paragraph and each item of a list as one line; other lines as they are."""
    held = ""
    for line in block.split("\n"):
        verbatim = not line.strip() or line.startswith("    ")
        if held and (verbatim or line.startswith("- ")):
            yield held
            held = ""
        if verbatim:
            yield line.rstrip()
        else:
            held = f"{held} {line.strip()}" if held else line
    if held:
        yield held
