"""One generated loop for a run of record-wise steps, into which each step writes its code.

A record is not made between two steps: its fields are pieces of source, and only what the last step leaves is built. A
field that is used more than once is read once, before its first use.

Each step writes what it does to one record, so that the loop raises wherever a step on its own would have failed; who
runs it then goes through the same rows step by step, which finds the record and the step. The generated code's own
names start with an underscore, as in `compiler`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from rxpipe.expressions.fields import members, row_struct
from rxpipe.expressions.syntax import Code
from rxpipe.fusion.fieldcompiler import LAZY, FieldCompiler, is_plain

if TYPE_CHECKING:
    from rxpipe.elements import Row
    from rxpipe.expressions.parser import Expression

_SKIP = "continue"
_BODY = 2  # levels of indentation inside the loop


class Write(Protocol):
    """Writes what one step does to a record."""

    def __call__(self, loop: Loop) -> None:
        """Write lines into the loop, and say what the record's fields are from now on."""


class Fused(NamedTuple):
    """A compiled loop.

    Attributes:
        call: Takes the rows (and what else the last step asked for); gives what was made of them, and how many records
            each step let through.
        source: Its source.
        row_type: The type of the rows it makes.
    """

    call: Callable[..., tuple[Any, tuple[int, ...]]]
    source: str
    row_type: type


class _Counter(NamedTuple):
    """Where one step's records are counted: the lines, and whether they leave records out."""

    places: list[int]
    left_out: bool


class Loop:
    """A loop over rows of one type, while it is written; the row is the variable `_r`.

    Args:
        row_type: `dict`, a msgspec struct, or a named tuple.

    Attributes:
        parameters: What the loop takes besides the rows.
        before: Lines that stand before the loop.
        result: What the loop returns, where that is not a list of records.
    """

    def __init__(self, row_type: type) -> None:
        self.parameters: list[str] = []
        self.before: list[str] = []
        self.result: str | None = None
        self._row_type = row_type
        self._lines: list[tuple[int, str]] = []
        self._depth = _BODY
        self._lazy: list[str] = []
        self._compiler = FieldCompiler(row_type, self.lazy)
        self._made_by: Callable[..., Row] | None = None
        self._changed = False
        self._counters: list[_Counter] = []
        self._skips: list[int] = []
        self._steady: dict[str, str] = {}
        self._many = False
        self._names = 0

    def lazy(self, text: str) -> str:
        """Stands for source without effects: written where it is used, or named before, if that is more than once."""
        if text not in self._lazy:
            self._lazy.append(text)
        return f"\0{self._lazy.index(text)}\0"

    def keep(self, value: object) -> str:
        """A name in the loop for a value made at compile time."""
        return self._compiler.keep(value)

    def value(self, expression: Expression) -> Code:
        """The source of an expression over the record as it is now."""
        return self._compiler.write(expression.tree, expression.text)

    def line(self, text: str) -> None:
        """Write a line that is run for each record."""
        self._lines.append((self._depth, text))

    def skip_unless(self, condition: str) -> None:
        """Leave the records out for which a condition is not true."""
        self._skips.append(len(self._lines))
        self.line(f"if not {condition}: {_SKIP}")

    def for_each(self, head: str) -> None:
        """Begin an inner loop: what follows is done for each of its rounds, and so are the records many."""
        self.line(head)
        self._depth += 1
        self._many = True

    def named(self, code: Code) -> Code:
        """The same value, computed here and now; a name or a literal stays as it is."""
        if is_plain(code.text):
            return code
        name = self.variable()
        self.line(f"{name} = {code.text}")
        return Code(name, code.hint)

    def computed(self, expression: Expression) -> Code:
        """The value of an expression, computed here and now.

        One that calls a function of nothing but a text, such as the path that the records of a block share, stays what
        it was while the text is the very object that it was for the record before.
        """
        roots = {self._root(name) for name in expression.names}
        calls = {ast.unparse(node.func) for node in ast.walk(expression.tree) if isinstance(node, ast.Call)}
        if len(roots) != 1 or "" in roots or not calls or "now" in calls:
            return self.named(self.value(expression))
        [root] = roots
        code, name, latest = self.value(expression), self.variable(), self.variable()
        self.before.append(f"{latest} = _len")  # no text
        self.line(f"if {root} is not {latest}:")
        self.line(f"    {name} = {code.text}")
        self.line(f"    {latest} = {root}")
        self._steady[name] = root
        return Code(name, code.hint)

    def _root(self, field: str) -> str:
        """The source of the one text that a field is, or is computed of by `computed`; empty where there is none."""
        compiler = self._compiler
        code = compiler.columns.get(field)
        if code is None:
            code = compiler.read(field) if compiler.knows(field) else Code("None")
        if LAZY.fullmatch(code.text) and str in members(code.hint) <= {str, type(None)}:
            return code.text
        return self._steady.get(code.text, "")

    def variable(self) -> str:
        """A name that nothing else in the loop has."""
        self._names += 1
        return f"_c{self._names}"

    def put(self, name: str, code: Code) -> None:
        """Give the record a field, in place of one of its name."""
        self._changed = True
        self._compiler.columns[name] = code

    def append(self, name: str, code: Code) -> None:
        """Give the record a field behind all others, in place of one of its name."""
        if self._compiler.fields and not self._compiler.closed:
            self._compiler.columns = self._own_fields()
            self._compiler.closed = True
        if self._compiler.closed:
            self._compiler.columns.pop(name, None)
        self.put(name, code)

    def only(self, names: Sequence[str]) -> None:
        """Leave the record these of its fields."""
        columns = self._compiler.columns
        self.replace({name: columns[name] for name in names})

    def begin(self, fields: Mapping[str, Code], made_by: type) -> None:
        """The record is of these fields, not of those of the row; unless that changes, `made_by` takes them all."""
        self._compiler.columns = dict(fields)
        self._compiler.closed = True
        self._row_type = made_by
        self._made_by = made_by

    @property
    def of_dicts(self) -> bool:
        """Whether the record is a dict, which may lack any field."""
        return issubclass(self._row_type, dict)

    @property
    def fields(self) -> dict[str, Code] | None:
        """The record's fields, in order; None where it is a dict, of whose fields no more is known."""
        compiler = self._compiler
        if not compiler.closed and self.of_dicts:
            return None
        return self._compiler.columns if compiler.closed else self._own_fields()

    def replace(self, fields: Mapping[str, Code]) -> None:
        """The record has these fields from here on, in this order, and no others."""
        self._changed = True
        self._compiler.columns = dict(fields)
        self._compiler.closed = True

    def remake(self, function: Callable[[Row], Row], row_type: type) -> None:
        """Make the record here, and have a function make another of it, of a type of rows."""
        _, made = self._materialized()
        row = self.variable()
        self.line(f"{row} = {self.keep(function)}({made})")
        self._compiler.restart(row_type, row)
        self._row_type = row_type
        self._made_by = None
        self._changed = False

    def end_step(self) -> None:
        """A step is written: count what comes through it, or, where it only leaves some out, what does not."""
        if self._many:
            self._counters.append(_Counter([len(self._lines)], left_out=False))
            self.line("")
        else:
            self._counters.append(_Counter(self._skips, left_out=True))
        self._skips, self._many = [], False

    def compiled(self) -> Fused:
        """The loop as it was written.

        Raises:
            ExpressionError: As `value`.
        """
        row_type, made = self._materialized()
        if self.result is None:
            self.before.append("_out = []")
            self.before.append("_append = _out.append")
            self.line(f"_append({made})")
        counts = self._counted()
        lines = [f"def _run({', '.join(['_rows', *self.parameters])}):", *(f"    {line}" for line in self.before)]
        lines += ["    for _r in _rows:", *self._bound()]
        lines.append(f"    return {self.result or '_out'}, ({''.join(f'{count}, ' for count in counts)})")
        source = "\n".join(lines)
        return Fused(self._compiler.build(source + "\n")["_run"], source, row_type)

    def _materialized(self) -> tuple[type, str]:
        """The type of the record, and the source that builds it."""
        columns = self._compiler.columns
        if self.of_dicts:
            items = "".join(f"{name!r}: {code.text}, " for name, code in columns.items())
            if not self._changed:
                return dict, self._compiler.row
            return dict, f"{{{items}}}" if self._compiler.closed else f"{{**{self._compiler.row}, {items}}}"
        if not self._changed and self._made_by is None:
            return self._row_type, self._compiler.row
        if not self._compiler.closed:
            columns = self._own_fields()
        arguments = ", ".join(code.text for code in columns.values())
        if self._made_by is not None and not self._changed:
            return self._row_type, f"{self.keep(self._made_by)}({arguments})"
        made = row_struct(self._row_type.__name__, {name: code.hint for name, code in columns.items()})
        return made, f"{self.keep(made)}({arguments})"

    def _own_fields(self) -> dict[str, Code]:
        """All fields of a record that still has those of the row."""
        compiler = self._compiler
        return {name: compiler.columns.get(name) or compiler.read(name) for name in compiler.fields} | compiler.columns

    def _counted(self) -> list[str]:
        """How many records came through each step; what a step at the end let through is what was made."""
        last = max((number for number, counter in enumerate(self._counters) if counter.places), default=-1)
        counts: list[str] = []
        count = "_len(_rows)"
        for number, (places, left_out) in enumerate(self._counters):
            if number == last and self.result is None:
                count = "_len(_out)"
            elif places:
                name = f"_n{number}"
                self.before.append(f"{name} = 0")
                for place in places:
                    depth, text = self._lines[place]
                    more = f"{name} += 1"
                    self._lines[place] = (depth, f"{text.removesuffix(_SKIP)}{more}; {_SKIP}" if left_out else more)
                count = f"{count} - {name}" if left_out else name
            counts.append(count)
        return counts

    def _bound(self) -> list[str]:
        """The lines, with each lazy piece written in its place, or named before the first line that needs it."""
        uses = [0] * len(self._lazy)
        for _, text in self._lines:
            for found in LAZY.finditer(text):
                uses[int(found[1])] += 1
        named: set[int] = set()
        written: list[str] = []

        def text_of(found: re.Match[str]) -> str:
            number = int(found[1])
            return f"_v{number}" if uses[number] > 1 else self._lazy[number]

        for depth, text in self._lines:
            for found in LAZY.finditer(text):
                number = int(found[1])
                if uses[number] > 1 and number not in named:
                    named.add(number)
                    written.append(f"{'    ' * depth}_v{number} = {self._lazy[number]}")
            if text:
                written.append("    " * depth + LAZY.sub(text_of, text))
        return written


def compile_loop(writes: Sequence[Write], row_type: type) -> Fused:
    """A loop of several steps over rows of one type.

    Raises:
        ExpressionError: An expression does not fit the records; the step on its own says so, too.
        TypeError: It is no type of rows.
    """
    loop = Loop(row_type)
    for write in writes:
        write(loop)
        loop.end_step()
    return loop.compiled()
