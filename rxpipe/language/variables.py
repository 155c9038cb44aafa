"""Variables: `${name}` and `${name:-default}` in string leaves, from the graph's parameters and the environment.

`$$` stands for `$`. A leaf that is nothing but one variable takes its typed value; inside a longer text it is the text.
What came from the environment or a secret parameter is never shown: messages have the text as written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import orjson

from rxpipe.errors import did_you_mean, nearest
from rxpipe.language.hidden import Hidden, note
from rxpipe.language.yamltext import scalar

Path = tuple[str | int, ...]

_REFERENCE = re.compile(r"\$\$|\$\{([^{}]*)\}|\$\{")
_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)


class _Unset:
    """The value of a parameter that must be set and is not, yet."""

    def __repr__(self) -> str:
        return "UNSET"


UNSET = _Unset()


class Value(msgspec.Struct, frozen=True):
    """What a name stands for, and whether it may be shown."""

    value: Any
    hidden: bool = False


class Filled(msgspec.Struct):
    """Data with its variables replaced.

    Attributes:
        value: The data.
        shown: The same for messages and fingerprints: hidden leaves as they were written.
        hidden: Leaves that may not be shown, with their written text.
        texts: Leaves that are one environment variable, as text: what they are where a number or boolean does not fit.
        changed: Leaves with a variable: columns inside them are not the file's.
        unset: Leaves whose value is not known.
        problems: Path, message and column inside the leaf.
    """

    value: Any = None
    shown: Any = None
    hidden: dict[Path, str] = msgspec.field(default_factory=dict)
    texts: dict[Path, str] = msgspec.field(default_factory=dict)
    changed: set[Path] = msgspec.field(default_factory=set)
    unset: set[Path] = msgspec.field(default_factory=set)
    problems: list[tuple[Path, str, int]] = msgspec.field(default_factory=list)

    def safe(self, message: str, path: Path) -> str:
        """A message about `path` without anything of a hidden value in it."""
        concerned = [p for p in self.hidden if p[: len(path)] == path or path[: len(p)] == p]
        if not concerned:
            return message
        head = message.split("; got ", maxsplit=1)[0]
        if any(_shares(head, _at(self.value, p)) or _shares(head, self.texts.get(p, "")) for p in concerned):
            head = "does not fit"
        return f"{head}; got {', '.join(repr(self.hidden[p]) for p in concerned)}"

    def with_texts(self) -> Any:
        """The data with environment variables as text."""
        value = self.value
        for path, text in self.texts.items():
            value = _replaced(value, path, Hidden(text, self.hidden[path]) if path in self.hidden else text)
        return value


class Scope:
    """Where names are looked up: parameters first, then the environment.

    Args:
        values: The parameters' values.
        environ: The environment.
    """

    def __init__(self, values: Mapping[str, Value], environ: Mapping[str, str]) -> None:
        self.values = values
        self.environ = environ

    def fill(self, data: Any, *, skip: Callable[[Path], bool] = lambda _: False) -> Filled:
        """Replace the variables in all string leaves of `data`, those aside whose path is to be skipped."""
        filled = Filled()
        filled.value, filled.shown = self._fill(data, (), filled, skip)
        return filled

    def _fill(self, data: Any, path: Path, filled: Filled, skip: Callable[[Path], bool]) -> tuple[Any, Any]:
        if isinstance(data, str):
            if "$" not in data or skip(path):
                return data, data
            return self._leaf(data, path, filled)
        if isinstance(data, Mapping):
            both = {key: self._fill(item, (*path, key), filled, skip) for key, item in data.items()}
            return {k: v for k, (v, _) in both.items()}, {k: s for k, (_, s) in both.items()}
        if isinstance(data, list):
            pairs = [self._fill(item, (*path, index), filled, skip) for index, item in enumerate(data)]
            return [v for v, _ in pairs], [s for _, s in pairs]
        return data, data

    def _leaf(self, text: str, path: Path, filled: Filled) -> tuple[Any, Any]:
        filled.changed.add(path)
        parts: list[str] = []
        hidden = unset = False
        end = 0
        for match in _REFERENCE.finditer(text):
            parts.append(text[end : match.start()])
            end = match.end()
            if match[0] == "$$":
                parts.append("$")
                continue
            name, default = _reference(match)
            found = self._look_up(name, default) if name else None
            if found is None:
                filled.problems.append((path, self._missing(name, match[0]), match.start()))
                filled.unset.add(path)
                return text, text
            unset = unset or found.value is UNSET
            hidden = hidden or found.hidden
            if match[0] == text:
                return self._whole(
                    found,
                    text,
                    path,
                    filled,
                    from_text=name not in self.values or (default is not None and found.value is default),
                )
            parts.append("" if unset else as_text(found.value))
        value = "".join([*parts, text[end:]])
        if unset:
            filled.unset.add(path)
        if hidden:
            filled.hidden[path] = text
            return Hidden(value, text), text
        return value, value

    def _whole(self, found: Value, text: str, path: Path, filled: Filled, *, from_text: bool) -> tuple[Any, Any]:
        """A leaf that is one variable."""
        if found.value is UNSET:
            filled.unset.add(path)
            return text, text
        value = found.value
        if from_text:
            filled.texts[path] = value
            value = scalar(value)
        if found.hidden:
            filled.hidden[path] = text
            return (Hidden(value, text) if isinstance(value, str) else value), text
        return value, value

    def _look_up(self, name: str, default: str | None) -> Value | None:
        if name in self.values:
            known = self.values[name]
            return Value(default) if known.value is None and default is not None else known
        if name in self.environ and not (default is not None and self.environ[name] == ""):
            note(self.environ[name], f"${{{name}}}")
            return Value(self.environ[name], hidden=True)
        return None if default is None else Value(default)

    def _missing(self, name: str, written: str) -> str:
        if not name:
            must = "a variable is written ${NAME} or ${NAME:-default}, a dollar sign before a brace $${"
            return f"{must}; got {written!r}"
        guess = nearest(name, self.values) or nearest(name, self.environ)
        message = f"variable {name!r} is neither a parameter of the graph nor in the environment"
        return message + (did_you_mean(guess) if guess else f"; set it, or write ${{{name}:-default}}")


def references(data: Any) -> set[str]:
    """The names of all variables in the string leaves of data."""
    if isinstance(data, str):
        return {_reference(match)[0] for match in _REFERENCE.finditer(data)} - {""}
    inner = data.values() if isinstance(data, Mapping) else data if isinstance(data, list) else ()
    return set().union(*map(references, inner))


def _reference(match: re.Match[str]) -> tuple[str, str | None]:
    """Name and default of `${name:-default}`; without a name it is malformed."""
    parts = _NAME.fullmatch(match[1]) if match[1] is not None else None
    return (parts[1], parts[2]) if parts else ("", None)


def as_text(value: Any) -> str:
    """A value inside a longer text."""
    if isinstance(value, str):
        return str.__str__(value)
    if value is None:
        return ""
    if isinstance(value, bool | list | dict):
        return orjson.dumps(value).decode()
    return str(value)


def _at(value: Any, path: Path) -> Any:
    for part in path:
        value = value[part]
    return value


def _replaced(value: Any, path: Path, new: Any) -> Any:
    if not path:
        return new
    changed: Any = list(value) if isinstance(value, list) else dict(value)
    changed[path[0]] = _replaced(changed[path[0]], path[1:], new)
    return changed


def _shares(message: str, value: Any, length: int = 4) -> bool:
    """Whether a piece of the value stands in the message."""
    if isinstance(value, Mapping):
        return any(_shares(message, item) for pair in value.items() for item in pair)
    if isinstance(value, list):
        return any(_shares(message, item) for item in value)
    text = as_text(value)
    pieces = [text[start : start + length] for start in range(max(1, len(text) - length + 1))]
    return any(piece in message for piece in pieces if piece)
