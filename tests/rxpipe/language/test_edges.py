"""Types on edges."""

from __future__ import annotations

from typing import Any, Literal, NewType, TypeVar

import pytest

from rxpipe.elements import Batch, FileEvent, LineDelta, OriginGone
from rxpipe.language.edges import emitted, fits, type_name, union
from rxpipe.table import Table

T = TypeVar("T")
Records = TypeVar("Records", Batch, Table)
Number = TypeVar("Number", bound=float)
Meters = NewType("Meters", int)


@pytest.mark.parametrize(
    ("flowing", "accepted", "fit"),
    [
        (Batch, Batch, True),
        (Batch, Table, False),
        (Any, Table, True),
        (Batch, Any, True),
        (Batch, object, True),
        (Batch, Batch | Table, True),
        (Batch | Table, Batch, False),
        (Batch | Table, Batch | Table | None, True),
        (LineDelta | OriginGone, LineDelta, True),
        (OriginGone, Batch, True),
        (FileEvent, tuple, True),
        (bool, int, True),
        (int, float, True),
        (float, int, False),
        (Meters, int, True),
        (Literal["a"], str, True),
        (Literal[1], str, False),
        (str, Literal["a"], False),
        (list[int], list[int], True),
        (list[int], list[str], False),
        (list[int], list[Any], True),
        (list[int], list, True),
        (dict[str, int], list[int], False),
        (Batch, Records, True),
        (Batch | Table, Records, True),
        (LineDelta, Records, False),
        (LineDelta | OriginGone, LineDelta | Records, True),
        (int, Number, True),
        (str, Number, False),
        (None, type(None), True),
    ],
)
def test_fits(flowing: object, accepted: object, fit: bool) -> None:
    assert fits(flowing, accepted) is fit


@pytest.mark.parametrize(
    ("flowing", "accepted", "emits", "out"),
    [
        (Batch, T, T, Batch),
        (Batch | Table, Records, Records, Batch | Table),
        (Batch, T, list[T], list[Batch]),  # type: ignore[valid-type]  # the hint of an operator
        (Batch, T, T | None, Batch | None),
        (list[int], list[T], T, int),  # type: ignore[valid-type]  # likewise
        (Batch, Any, T, Any),
        (Batch, Batch, Table, Table),
    ],
)
def test_type_variables(flowing: object, accepted: object, emits: object, out: object) -> None:
    bindings: dict[Any, Any] = {}
    assert fits(flowing, accepted, bindings)
    assert emitted(emits, bindings) == out


@pytest.mark.parametrize(
    ("hint", "name"),
    [
        (Batch, "Batch"),
        (Batch | Table, "Batch | Table"),
        (Records, "Batch | Table"),
        (T, "Any"),
        (Number, "float"),
        (Any, "Any"),
        (Batch | None, "Batch | None"),
        (list[Batch], "list[Batch]"),
        (tuple[int, ...], "tuple[int, ...]"),
        (Literal["a", 1], "Literal['a', 1]"),
    ],
)
def test_names(hint: object, name: str) -> None:
    assert type_name(hint) == name


def test_union() -> None:
    assert union([Batch, Table | Batch]) == Batch | Table
    assert union([Batch, Any]) is Any
    assert union([]) is Any
