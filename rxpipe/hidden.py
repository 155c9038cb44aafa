"""Text whose value must not be shown: it came from the environment or from a secret parameter."""

from __future__ import annotations


class Hidden(str):
    """A text that shows how it was written instead of what it is.

    Only its `repr` is guarded, which is what messages and logs print; as a text it is itself.

    Args:
        value: The text.
        written: What to show, such as `${API_KEY}`.
    """

    __slots__ = ("written",)
    written: str

    def __new__(cls, value: str, written: str) -> Hidden:
        """Make the text."""
        made = super().__new__(cls, value)
        made.written = written
        return made

    def __repr__(self) -> str:
        return repr(self.written)
