"""Slots of a group that keep all its values, for results that must survive retractions."""

from __future__ import annotations

from typing import Any

from rxpipe.expressions.packing import pack, unpack


class Extreme:
    """Values with their counts, of which the least or largest is the result.

    Args:
        largest: Whether the largest is the result.
        saved: What `dump` gave; the values are unpacked when they are needed.
    """

    __slots__ = ("_counts", "_largest", "_saved", "_value")

    def __init__(self, *, largest: bool, saved: tuple[Any, bytes] | None = None) -> None:
        self._largest = largest
        self._value: Any = saved[0] if saved else None
        self._saved: bytes | None = saved[1] if saved else None
        self._counts: dict[Any, int] = {}

    def may_add(self, value: Any) -> None:
        """Raise TypeError if a value cannot be compared with those that are there."""
        hash(value)
        present = self._value
        if present is None:
            present = self.read()
        if present is not None:
            _ = value < present  # for the error

    def add(self, value: Any) -> None:
        """Add a value that `may_add` allows."""
        counts = self._counts if self._saved is None else self._loaded()
        counts[value] = counts.get(value, 0) + 1
        present = self._value
        if present is None:
            if len(counts) == 1:
                self._value = value
        elif value > present if self._largest else value < present:
            self._value = value

    def may_retract(self, value: Any) -> None:
        """Raise KeyError if a value is not there."""
        if value not in self._loaded():
            raise KeyError(value)

    def retract(self, value: Any) -> None:
        """Take a value back that is there."""
        counts = self._loaded()
        counts[value] -= 1
        if not counts[value]:
            del counts[value]
            if value == self._value:
                self._value = None  # it is picked again when it is read

    def read(self) -> Any:
        """The result, None without values."""
        if self._value is None and (counts := self._loaded()):
            self._value = max(counts) if self._largest else min(counts)
        return self._value

    def dump(self) -> tuple[Any, bytes]:
        """The result, and the values as they are saved."""
        return self.read(), self._saved if self._saved is not None else pack([*map(list, self._counts.items())])

    def joined(self, other: Extreme) -> Extreme:
        """One of the values of both."""
        made = Extreme(largest=self._largest)
        for counts in (self._loaded(), other._loaded()):
            for value, count in counts.items():
                made._counts[value] = made._counts.get(value, 0) + count
        return made

    def _loaded(self) -> dict[Any, int]:
        if self._saved is not None:
            self._counts = dict(unpack(self._saved))
            self._saved = None
        return self._counts


class History:
    """Values in order of arrival, of which the first or last is the result.

    Args:
        first: Whether the first is the result.
        values: The values.
    """

    __slots__ = ("_first", "_values")

    def __init__(self, *, first: bool, values: list[Any] | None = None) -> None:
        self._first = first
        self._values: list[Any] = [] if values is None else values

    def may_add(self, value: Any) -> None:
        """Any value may be added."""

    def add(self, value: Any) -> None:
        """Add a value."""
        self._values.append(value)

    def may_retract(self, value: Any) -> None:
        """Raise ValueError if a value is not there."""
        if value not in self._values:
            msg = f"{value!r:.80} is not there"
            raise ValueError(msg)

    def retract(self, value: Any) -> None:
        """Take the latest value equal to this one back."""
        values = self._values
        for index in range(len(values) - 1, -1, -1):
            if values[index] == value:
                del values[index]
                return

    def read(self) -> Any:
        """The result, None without values."""
        return self._values[0 if self._first else -1] if self._values else None

    def joined(self, other: History) -> History:
        """One of the values of both, the other's last."""
        return History(first=self._first, values=self._values + other._values)

    def dump(self) -> list[Any]:
        """The values as they are saved."""
        return self._values


def load(kind: str, saved: Any) -> Any:
    """A slot of one kind that keeps values, as it was saved."""
    if kind in ("min*", "max*"):
        return Extreme(largest=kind == "max*", saved=(saved[0], saved[1]))
    return History(first=kind == "first*", values=saved)


def keep(kind: str, value: Any) -> Any:
    """A slot of one kind that has, of all values before it, only the result: they are never taken back."""
    slot = Extreme(largest=kind == "max*") if kind in ("min*", "max*") else History(first=kind == "first*")
    if value is not None:
        slot.add(value)
    return slot
