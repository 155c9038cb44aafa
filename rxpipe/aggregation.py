"""Aggregations such as `sum(tokens)`: their syntax, and the code that adds a value to a group, takes it back and reads it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import msgspec

from rxpipe.errors import ExpressionError, nearest
from rxpipe.expressions import Expression, parse

_FORM = re.compile(r"\s*(?P<name>\w+)\s*\((?P<inner>.*)\)\s*\Z", re.DOTALL)


@dataclass(frozen=True)
class Aggregation:
    """One parsed aggregation: the function's name and the expression it is computed of (None: of the rows themselves)."""

    function: str
    expression: Expression | None


@dataclass(frozen=True)
class Kind:
    """How one function is kept in a group `g`, a list of slots, of which it has slot `{i}`; `{v}` is the value.

    `add` and `retract` are statements; `fresh` makes an empty slot, `read` turns the slot into the result. `exact` names the
    kind to use where rows may be retracted, for functions whose result cannot be taken back from the result alone.
    """

    text: str
    fresh: str
    add: str
    retract: str
    read: Callable[[Any], Any]
    exact: str | None = None


class Multiset:
    """The values of a group with their counts, for a minimum or maximum that must survive retractions.

    Args:
        pick: `min` or `max`.
        saved: A saved multiset, decoded when it first changes.
        value: The saved result.
    """

    __slots__ = ("_counts", "_pick", "_saved", "_value")

    def __init__(self, pick: Callable[[Any], Any], saved: bytes | None = None, value: Any = None) -> None:
        self._pick = pick
        self._saved = saved
        self._counts: dict[Any, int] = {}
        self._value = value

    def _load(self) -> dict[Any, int]:
        if self._saved is not None:
            self._counts = dict(msgspec.msgpack.decode(self._saved))
            self._saved = None
        return self._counts

    def add(self, value: Any) -> None:
        """Add a value."""
        counts = self._counts if self._saved is None else self._load()
        counts[value] = counts.get(value, 0) + 1
        if self._value is None and len(counts) > 1:
            return  # the result is computed when it is read
        self._value = value if self._value is None else self._pick((self._value, value))

    def remove(self, value: Any) -> None:
        """Take a value back; one that is not there is ignored."""
        counts = self._load()
        left = counts.get(value, 0) - 1
        if left > 0:
            counts[value] = left
        elif left == 0:
            del counts[value]
            if value == self._value:
                self._value = None

    def read(self) -> Any:
        """The least or largest value, None without values."""
        if self._value is None and (counts := self._load()):
            self._value = self._pick(counts)
        return self._value

    def dump(self) -> tuple[Any, bytes]:
        """The result, and the values in their saved form."""
        saved = self._saved if self._saved is not None else msgspec.msgpack.encode(list(self._counts.items()))
        return self.read(), saved


class History:
    """The values of a group in order of arrival, for a first or last value that must survive retractions."""

    __slots__ = ("values",)

    def __init__(self, values: list[Any] | None = None) -> None:
        self.values: list[Any] = [] if values is None else values

    def add(self, value: Any) -> None:
        """Add a value."""
        self.values.append(value)

    def remove(self, value: Any) -> None:
        """Take the latest equal value back; one that is not there is ignored."""
        for index in range(len(self.values) - 1, -1, -1):
            if self.values[index] == value:
                del self.values[index]
                return


def _mean(slot: list[Any]) -> Any:
    return slot[0] / slot[1] if slot[1] else None


def _identity(slot: Any) -> Any:
    return slot


KINDS: dict[str, Kind] = {
    "count": Kind("Number of rows, or of values that are not null.", "0", "g[{i}] += 1", "g[{i}] -= 1", _identity),
    "sum": Kind("Sum of the values, 0 without any.", "0", "g[{i}] += {v}", "g[{i}] -= {v}", _identity),
    "mean": Kind(
        "Mean of the values.",
        "[0, 0]",
        "s = g[{i}]; s[0] += {v}; s[1] += 1",
        "s = g[{i}]; s[0] -= {v}; s[1] -= 1",
        _mean,
    ),
    "min": Kind("Least value.", "None", "if g[{i}] is None or {v} < g[{i}]: g[{i}] = {v}", "pass", _identity, "min*"),
    "max": Kind("Largest value.", "None", "if g[{i}] is None or {v} > g[{i}]: g[{i}] = {v}", "pass", _identity, "max*"),
    "first": Kind("First value to arrive.", "None", "if g[{i}] is None: g[{i}] = {v}", "pass", _identity, "first*"),
    "last": Kind("Last value to arrive.", "None", "g[{i}] = {v}", "pass", _identity, "last*"),
    "min*": Kind("", "least()", "g[{i}].add({v})", "g[{i}].remove({v})", Multiset.read),
    "max*": Kind("", "largest()", "g[{i}].add({v})", "g[{i}].remove({v})", Multiset.read),
    "first*": Kind("", "history()", "g[{i}].add({v})", "g[{i}].remove({v})", lambda s: s.values[0] if s.values else None),
    "last*": Kind("", "history()", "g[{i}].add({v})", "g[{i}].remove({v})", lambda s: s.values[-1] if s.values else None),
}
"""The functions, by name; those with a star keep all values and are used where rows may be retracted."""

FUNCTIONS = tuple(name for name in KINDS if not name.endswith("*"))


@cache
def parse_aggregation(text: str) -> Aggregation:
    """Parse `function(expression)`.

    Raises:
        ExpressionError: With the column of the problem.
    """
    match = _FORM.match(text)
    if match is None:
        msg = f"an aggregation must be one of {', '.join(f'{name}(…)' for name in FUNCTIONS)}; got {text!r}"
        raise ExpressionError(msg, text=text)
    name, inner = match["name"], match["inner"]
    if name not in FUNCTIONS:
        msg = f"unknown aggregation {name!r}; there are {', '.join(FUNCTIONS)}"
        raise ExpressionError(msg, text=text, column=match.start("name"), guess=nearest(name, FUNCTIONS))
    if not inner.strip():
        if name != "count":
            msg = f"{name!r} needs an expression, as {name}(tokens)"
            raise ExpressionError(msg, text=text, column=match.start("inner"))
        return Aggregation(name, None)
    try:
        return Aggregation(name, parse(inner))
    except ExpressionError as error:
        column = match.start("inner") + error.column
        raise ExpressionError(error.message, text=text, column=column, guess=error.guess) from error


Update = Callable[[list[tuple[Any, ...]], dict[tuple[Any, ...], list[Any]], set[tuple[Any, ...]]], None]
"""Takes values (key columns, then one per expression), the groups, and a set that notes the groups touched."""


class Updates(NamedTuple):
    """Generated code for groups: the loops that add values and take them back, and a group without rows."""

    add: Update
    retract: Update
    fresh: Callable[[], list[Any]]


@cache
def compile_updates(keys: int, functions: tuple[tuple[str, bool], ...]) -> Updates:
    """Generate the loops that add values to groups and take them back.

    Slot 0 of a group counts its rows; a group without rows is deleted.

    Args:
        keys: How many columns the key has.
        functions: For each result the kind's name, and whether it has an expression.
    """
    kinds = [KINDS[name] for name, _ in functions]
    fresh = ", ".join(["0", *(kind.fresh for kind in kinds)])
    columns = [f"k{n}" for n in range(keys)] + [f"v{n}" for n, (_, has) in enumerate(functions) if has]
    key = "(" + "".join(f"k{n}, " for n in range(keys)) + ")"

    def loop(name: str, verb: str) -> list[str]:
        lines = [f"def {name}(values, groups, touched):", f"    for {', '.join(columns) or '_'}{',' * bool(columns)} in values:"]
        lines += [f"        key = {key}", "        g = groups.get(key)", "        if g is None:"]
        if verb == "add":
            lines += ["            g = groups[key] = fresh()", "        g[0] += 1"]
        else:
            lines += ["            continue", "        g[0] -= 1"]
        for index, ((_, has), kind) in enumerate(zip(functions, kinds, strict=True), start=1):
            statement = getattr(kind, verb).format(i=index, v=f"v{index - 1}")
            lines += [f"        if v{index - 1} is not None:", f"            {statement}"] if has else [f"        {statement}"]
        lines += ["        touched.add(key)"]
        if verb == "retract":
            lines += ["        if g[0] <= 0:", "            del groups[key]"]
        return lines

    scope: dict[str, Any] = {
        "least": lambda: Multiset(min),
        "largest": lambda: Multiset(max),
        "history": History,
    }
    source = "\n".join([f"def fresh(): return [{fresh}]", *loop("add", "add"), *loop("retract", "retract")])
    exec(compile(source, "<aggregate>", "exec"), scope)  # noqa: S102  # the text is made above, of numbers and the kinds' code
    return Updates(scope["add"], scope["retract"], scope["fresh"])


def dump_slot(slot: Any) -> Any:
    """A slot in the form it is saved in."""
    if isinstance(slot, Multiset):
        return slot.dump()
    return slot.values if isinstance(slot, History) else slot


def load_slot(kind: str, saved: Any) -> Any:
    """A slot from its saved form."""
    if kind in ("min*", "max*"):
        return Multiset(min if kind == "min*" else max, saved=saved[1], value=saved[0])
    return History(saved) if kind in ("first*", "last*") else saved
