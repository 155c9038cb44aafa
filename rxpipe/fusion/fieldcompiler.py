"""The expressions of a loop: over a record whose fields are pieces of source, written where they are used."""

from __future__ import annotations

import re
from collections.abc import Callable

from rxpipe.expressions.compiler import Compiler
from rxpipe.expressions.fields import field_types
from rxpipe.expressions.syntax import Code

LAZY = re.compile("\0(\\d+)\0")
"""What stands for a piece of source: its number."""


class FieldCompiler(Compiler):
    """Writes expressions over a record in a loop: `columns` are its fields, and those of the row unless `closed`."""

    def __init__(self, row_type: type, lazy: Callable[[str], str]) -> None:
        super().__init__(row_type)
        self.closed = False
        self._lazy = lazy

    def restart(self, row_type: type, row: str) -> None:
        """Write over another record from here on."""
        self.columns = {}
        self.closed = False
        self.fields = field_types(row_type)
        self.row = row
        self._row_type = row_type

    def read(self, name: str) -> Code:
        """The source of a field of the record, as `lazy` has it."""
        if not self.closed:
            code = super().read(name)
            return Code(self._lazy(code.text), code.hint)
        return Code("None")

    def knows(self, name: str) -> bool:
        """Whether the record may have a field."""
        return super().knows(name) and (not self.closed or not self.fields)

    def is_field(self, text: str) -> bool:
        """Whether source is a field."""
        return LAZY.fullmatch(text) is not None

    def is_name(self, text: str) -> bool:
        """Whether source is a name, or a field."""
        return super().is_name(text) or self.is_field(text)


def is_plain(text: str) -> bool:
    """Whether source is a name or a literal, that cannot fail and costs nothing to write again."""
    return text.isidentifier() or LAZY.fullmatch(text) is not None or text in ("None", "True", "False")
