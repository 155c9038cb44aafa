"""Which regular expressions may take time without end on a text that does not match."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

_parser: Any = importlib.import_module("re._parser")  # where Python keeps its own
_MANY = 16
"""How often a repetition may go round without counting as one."""

_GREEDY = ("MAX_REPEAT", "MIN_REPEAT")
_REPEATS = (*_GREEDY, "POSSESSIVE_REPEAT")


def backtracks(pattern: str) -> bool:
    r"""Whether a repetition holds another and nothing that parts its rounds, so that all ways through a text are tried.

    These are the plain cases; what is not found may take long, too.

    Example:
        >>> [backtracks(pattern) for pattern in (r"(\w+\s*)*=", r"(\w+\s+)*=", r"(?>\w+\s*)*=", r"(a|b*)+")]
        [True, False, False, True]
    """
    return any(name in _GREEDY and _many(value) and _blurs(value[2]) for name, value in _inside(_parser.parse(pattern)))


def _inside(pattern: Any) -> Iterator[tuple[str, Any]]:
    """All parts of a pattern, at whatever depth."""
    for kind, value in pattern:
        name = str(kind)
        yield name, value
        for inner in _parts(name, value):
            yield from _inside(inner)


def _parts(name: str, value: Any) -> list[Any]:
    if name in _REPEATS:
        return [value[2]]
    if name == "SUBPATTERN":
        return [value[3]]
    if name == "BRANCH":
        return list(value[1])
    if name == "ATOMIC_GROUP":
        return [value]
    if name in ("ASSERT", "ASSERT_NOT"):
        return [value[1]]
    return [inner for inner in value[1:] if inner] if name == "GROUPREF_EXISTS" else []


def _many(repetition: Any) -> bool:
    return bool(repetition[1] >= _MANY)


def _blurs(pattern: Any) -> bool:
    """Whether a pattern is a repetition, beside what may be empty."""
    items = list(pattern)
    for at, (kind, value) in enumerate(items):
        name = str(kind)
        if _parser.SubPattern(pattern.state, items[:at] + items[at + 1 :]).getwidth()[0]:
            continue
        if name in _GREEDY and (_many(value) or _blurs(value[2])):
            return True
        if name in ("SUBPATTERN", "BRANCH") and any(map(_blurs, _parts(name, value))):
            return True
    return False
