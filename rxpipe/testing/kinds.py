"""The kinds of elements that a test gives and expects, and how what is no record is written."""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from rxpipe.elements import Batch, FileEvent, LineDelta, OriginGone
from rxpipe.table import Table

RETRACTED = "_retracted"
"""Marks a record that is taken back, as in the files that sinks write."""

GONE = "_gone"
"""The one key of what stands for an origin that is gone; its value is the path."""


def element_kind(hint: Any) -> Any:
    """The class that an element type stands for: of a union the first, of a type variable its first constraint."""
    if isinstance(hint, TypeVar):
        return element_kind(hint.__constraints__[0]) if hint.__constraints__ else Any
    arguments = get_args(hint)
    if arguments and not isinstance(hint, type):
        return element_kind(arguments[0])
    return hint


def kind_of(hint: Any) -> Any:
    """The kind of the elements that an annotation says; `Any` where there may be several, `OriginGone` aside."""
    if isinstance(hint, UnionType) or get_origin(hint) is Union:
        kinds = {kind_of(part) for part in get_args(hint)} - {OriginGone}
        return kinds.pop() if len(kinds) == 1 else Any
    return element_kind(hint)


def unfit(value: Any, kind: Any) -> str | None:
    """What a given value must be, if it cannot become an element of this kind."""
    records = value if isinstance(value, list) else [value]
    if kind in (Batch, Table) and not all(isinstance(record, Mapping) for record in records):
        return "must be a record or a list of records"
    if kind is LineDelta and not all(isinstance(record, Mapping | str) for record in records):
        return "must be a line, a record or a list of them"
    if kind is FileEvent and not (
        isinstance(value, Mapping) and {"kind", "path"} <= set(value) <= {*FileEvent._fields}
    ):
        return f"must be a file event, with {', '.join(FileEvent._fields)}"
    return None
