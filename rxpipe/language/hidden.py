"""Text whose value must not be shown: it came from the environment or from a secret parameter."""

from __future__ import annotations

import json
import os
import re
from typing import Self

SHORTEST = 6
"""Shorter values are not looked for in messages: they stand in any text by chance."""

_PLAIN = re.compile(r"[\w.~-]*", re.ASCII)
"""What is written in the same way everywhere."""

_known: dict[str, str] = {}
"""Each value that must not be shown, with what to show instead."""


def note(value: str, written: str) -> None:
    """Remember a value that must not stand in any message, and what to show instead."""
    if len(value) >= SHORTEST:
        for form in _forms(value):
            _known.setdefault(form, written)


def _forms(value: str) -> set[str]:
    """How a value may stand in a message: as it is, and as Python, JSON and addresses write it."""
    if _PLAIN.fullmatch(value):
        return {value}
    from urllib.parse import quote, quote_plus  # few values need it

    text = value.encode("utf-8", "replace")
    return {value, repr(value)[1:-1], json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]} | {
        quote(text, safe=""), quote(text), quote_plus(text)
    }  # fmt: skip


def masked(text: str) -> str:
    """A message in which values that must not be shown are replaced; names of files that exist stay."""
    for value in sorted((value for value in _known if value in text), key=len, reverse=True):
        if not (value.startswith(("/", "~")) and os.path.exists(os.path.expanduser(value))):
            text = text.replace(value, _known[value])
    return text


class Hidden(str):
    """A text that shows how it was written instead of what it is.

    Its `repr` is guarded, which is what messages print; as a text it is itself. Where the command line and the log
    repeat it all the same, as part of what another library says, `masked` replaces it.

    Args:
        value: The text.
        written: What to show, such as `${API_KEY}`.
    """

    __slots__ = ("written",)
    written: str

    def __new__(cls, value: str, written: str) -> Self:
        """Make the text."""
        made = super().__new__(cls, value)
        made.written = written
        note(value, written)
        return made

    def __repr__(self) -> str:
        return repr(self.written)
