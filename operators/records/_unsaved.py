"""What a checkpoint has to save of contests: the candidates of the keys that changed, and what is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from operator import itemgetter
from typing import Any

import msgspec

from rxpipe.aggregations.packing import pack, pack_around, pack_key, unpack
from rxpipe.context import Change, Cut
from rxpipe.elements import Row
from rxpipe.operators.records._contest import Contest

SEEN = True
"""Held for a key whose first record is through and is never taken back: nothing else needs to be known of it."""

NOTHING = False
"""Held for a key whose records were all taken back, so that the state file is not asked for them again."""


SHAPES = pack(None)
"""The key of the names of the fields of all kinds of rows that are saved: no record has it, since null is no key."""


def part_of(origin: Any) -> str:
    """The part of the state that holds the candidates of an origin; a file's name may be no Unicode, a part must be."""
    text = str(origin or "")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return ascii(text)
    return text


class Unsaved:
    """The keys of contests that changed since the last checkpoint.

    Candidates are saved with their number in order of arrival, and those that are structs as their values, behind the
    number of the names of their fields, which are saved once.

    Args:
        held: What is held for each key, see `Contests`.
        origin: Tells where a row came from.

    Attributes:
        held: For each key that changed what is held for it, where that is a row or says that there is none.
        gone: Keys and origins whose last record is gone.
    """

    def __init__(self, held: dict[Any, Any], origin: Callable[[Row], Any]) -> None:
        self.held: dict[Any, Any] = {}
        self.gone: set[tuple[Any, Any]] = set()
        self._several: dict[Any, None] = {}
        self._all = held
        self._origin = origin
        self._shapes: dict[tuple[str, ...], int] = {}
        self._known = 0

    def restore(self, shapes: bytes | None) -> None:
        """Take over the names of fields that were saved."""
        if shapes is not None:
            self._shapes = {tuple(names): number for number, names in enumerate(unpack(shapes))}
            self._known = len(self._shapes)

    def rows_of(self, saved: Iterable[bytes]) -> list[Row | None]:
        """The rows of a key that were saved, in order of arrival."""
        names = [*self._shapes]
        found = sorted((entry for value in saved for entry in unpack(value)), key=itemgetter(0))
        return [dict(zip(names[row], *values, strict=True)) if values else row for _, row, *values in found]

    def note(self, key: Any) -> None:
        """What is held for a key is another now."""
        found = self._all.get(key)
        if type(found) is Contest or isinstance(found, list):
            self.held.pop(key, None)
            self._several[key] = None
        else:
            self._several.pop(key, None)
            self.held[key] = found

    def cut(self) -> Cut:
        """What to save as of now: keys with several candidates, which change in place, at once, all others later."""
        held, gone = self.held, self.gone
        self.held, self.gone = {}, set()
        given: list[Any] = []
        told = [row for key in self._several for row in self._packed(key, self._all.get(key), gone)]
        self._several.clear()

        def rows() -> Iterator[Change]:
            while held:
                key, found = held.popitem()
                given.append(key)
                yield from self._packed(key, found, gone)
            for key, origin in gone:
                yield pack_key(key), part_of(origin), None
            if len(self._shapes) > self._known:
                yield SHAPES, "", pack([list(names) for names in self._shapes])

        def saved() -> None:
            self._known = len(self._shapes)

        def failed() -> None:
            self.gone |= gone
            for key in (*given, *held):
                if key not in self.held and key not in self._several:
                    self.note(key)
            held.clear()

        return Cut(rows(), saved=saved, failed=failed, told=told)

    def _packed(self, key: Any, found: Any, gone: set[tuple[Any, Any]]) -> Iterable[Change]:
        """A row for each origin that a key has candidates of; those are not gone."""
        if isinstance(found, msgspec.Struct):  # one candidate, as most keys have
            origin, values = self._origin(found), msgspec.structs.astuple(found)
            gone.discard((key, origin))
            shape = self._shapes.setdefault(found.__struct_fields__, len(self._shapes))
            return [(pack_key(key), part_of(origin), pack_around([[0, shape, [*values]]], values))]
        parts: dict[str, list[list[Any]]] = {}
        for number, (origin, row) in enumerate(self._entries(key, found)):
            entry = [number, row]
            if isinstance(row, msgspec.Struct):
                shape = self._shapes.setdefault(row.__struct_fields__, len(self._shapes))
                entry = [number, shape, list(msgspec.structs.astuple(row))]
            parts.setdefault(part_of(origin), []).append(entry)
            gone.discard((key, origin))
        encoded = pack_key(key)
        return [(encoded, part, pack(entries)) for part, entries in parts.items()]

    def _entries(self, key: Any, found: Any) -> Iterable[tuple[Any, Row | None]]:
        """Origin and row of each candidate of a key, in order of arrival."""
        if found is SEEN:
            return [(None, None)]
        if type(found) is Contest:
            return [(candidate.origin, candidate.row) for candidate in found.candidates]
        if isinstance(found, list):
            return [(key[1], row) for row in found]
        return [] if found is None or found is NOTHING else [(self._origin(found), found)]
