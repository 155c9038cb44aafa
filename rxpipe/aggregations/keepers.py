"""Slots of a group that are objects: they keep all its values, since some may be taken back, or a sketch of them.

All can be asked, told, read, joined, saved and restored; see `Keeper`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import eq
from typing import Any, Protocol

from rxpipe.aggregations.moments import Moments
from rxpipe.aggregations.packing import pack, unpack
from rxpipe.aggregations.sketches import Approximate, Sketch


class Keeper(Protocol):
    """A slot of a group that changes in place: it is asked whether it can take a value, then told.

    One whose kind has a `gather` also has `take`, for what a loop gathered, and `may_take` if it may refuse that; one
    that replaces another kind has `begun`, for the slots of a group that has values already, none of which will be
    taken back.
    """

    def may_add(self, value: Any) -> object:
        """Raise whatever says that a value is none of those that can be added."""
        ...

    def add(self, value: Any) -> object:
        """Add a value that `may_add` allows."""
        ...

    def may_retract(self, value: Any) -> object:
        """Raise if a value is not there."""
        ...

    def retract(self, value: Any) -> object:
        """Take a value back that is there."""
        ...

    def read(self) -> Any:
        """The result."""
        ...

    def joined(self, other: Any) -> Any:
        """One of the values of both, the other's being later."""
        ...

    def dump(self) -> Any:
        """What is saved of it."""
        ...

    def restored(self, saved: Any) -> Any:
        """Itself, new until now, as it was when it was saved."""
        ...


class Distinct(set[Any]):
    """Different values, whose number is the result."""

    __slots__ = ()

    may_add = staticmethod(hash)

    def may_retract(self, value: Any) -> None:
        """Refuse: where records may be retracted, `Counts` is used."""
        raise KeyError(value)

    retract = may_retract
    read = set.__len__
    take = set.update

    def joined(self, other: Distinct) -> Distinct:
        """See `Keeper`."""
        return Distinct(self | other)

    def dump(self) -> list[Any]:
        """See `Keeper`."""
        return [*self]

    def restored(self, saved: list[Any]) -> Distinct:
        """See `Keeper`."""
        self.update(saved)
        return self


class Counts:
    """Different values, each with how often it is there; how many there are is the result."""

    __slots__ = ("_counts",)

    may_add = staticmethod(hash)

    def __init__(self) -> None:
        self._counts: dict[Any, int] = {}

    def begun(self, values: set[Any]) -> Counts:
        """See `Keeper`."""
        self._counts = dict.fromkeys(values, 1)
        return self

    def add(self, value: Any) -> None:
        """See `Keeper`."""
        self._counts[value] = self._counts.get(value, 0) + 1

    def may_retract(self, value: Any) -> None:
        """See `Keeper`."""
        if value not in self._counts:
            raise KeyError(value)

    def retract(self, value: Any) -> None:
        """See `Keeper`."""
        left = self._counts[value] - 1
        if left:
            self._counts[value] = left
        else:
            del self._counts[value]

    def read(self) -> int:
        """See `Keeper`."""
        return len(self._counts)

    def values(self) -> Iterable[Any]:
        """The values, each once."""
        return self._counts

    def joined(self, other: Counts) -> Counts:
        """See `Keeper`."""
        made = Counts()
        made._counts = dict(self._counts)
        for value, count in other._counts.items():
            made._counts[value] = made._counts.get(value, 0) + count
        return made

    def dump(self) -> list[Any]:
        """See `Keeper`."""
        return [*map(list, self._counts.items())]

    def restored(self, saved: list[Any]) -> Counts:
        """See `Keeper`."""
        self._counts = dict(saved)
        return self


_NUMBERS = ({float}, {int})
_LATE = 256
"""Values that are kept before they are counted: many a group goes before anybody asks how often each is there."""


class Extreme:
    """Values with their counts, of which the least or largest is the result; NaN, which is neither, is left out.

    Args:
        largest: Whether the largest is the result.
    """

    __slots__ = ("_counts", "_largest", "_late", "_saved", "_value")

    def __init__(self, *, largest: bool) -> None:
        self._largest = largest
        self._value: Any = None
        self._saved: bytes | None = None
        self._counts: dict[Any, int] = {}
        self._late: list[Any] = []

    def begun(self, value: Any) -> Extreme:
        """See `Keeper`; a list, say, which could not be taken back, stays the result until one beyond it comes."""
        try:
            hash(value)
        except TypeError:
            self._value = value
            return self
        if value is not None:
            self.add(value)
        return self

    def restored(self, saved: list[Any]) -> Extreme:
        """See `Keeper`; the values are unpacked when they are needed."""
        self._value, self._saved = saved
        return self

    def may_add(self, value: Any) -> None:
        """Raise TypeError if a value cannot be compared with those that are there."""
        if type(value) is float is type(self._value):
            return
        hash(value)  # NaN, too, is compared with them without an error
        present = self.read()
        if present is not None:
            _ = value < present  # for the error

    def add(self, value: Any) -> None:
        """Add a value that `may_add` allows."""
        if value == value:  # but for NaN
            self._put([value])

    def may_take(self, values: list[Any]) -> None:
        """Raise TypeError unless all are numbers of one type, as those that are there; others are fit one by one."""
        kinds = {*map(type, values)}
        present = self.read()
        if present is not None:
            kinds.add(type(present))
        if kinds not in _NUMBERS or (total := sum(values)) != total:  # some are NaN, or infinite
            msg = "these values are compared one by one"
            raise TypeError(msg)

    def take(self, values: list[Any]) -> None:
        """Add values that `may_take` allows."""
        self._put(values)

    def _put(self, values: list[Any]) -> None:
        present = self.read()
        every = values if present is None else [present, *values]
        self._value = max(every) if self._largest else min(every)
        self._late += values
        if len(self._late) > _LATE:
            self._counted()

    def may_retract(self, value: Any) -> None:
        """Raise KeyError if a value is not there."""
        if value == value and value not in self._counted():  # but for NaN
            raise KeyError(value)

    def retract(self, value: Any) -> None:
        """Take a value back that is there."""
        if value != value:  # NaN alone
            return
        counts = self._counted()
        counts[value] -= 1
        if not counts[value]:
            del counts[value]
            if value == self._value:
                self._value = None  # it is picked again when it is read

    def read(self) -> Any:
        """The result, None without values."""
        if self._value is None and (counts := self._counted()):
            self._value = max(counts) if self._largest else min(counts)
        return self._value

    def dump(self) -> tuple[Any, bytes]:
        """The result, and the values as they are saved."""
        if self._saved is not None and not self._late:
            return self.read(), self._saved
        return self.read(), pack([*map(list, self._counted().items())])

    def joined(self, other: Extreme) -> Extreme:
        """One of the values of both."""
        made = Extreme(largest=self._largest)
        for counts in (self._counted(), other._counted()):
            for value, count in counts.items():
                made._counts[value] = made._counts.get(value, 0) + count
        return made

    def _counted(self) -> dict[Any, int]:
        """How often each value is there."""
        if self._saved is not None:
            self._counts = dict(unpack(self._saved))
            self._saved = None
        if self._late:
            counts = self._counts
            for value in self._late:
                counts[value] = counts.get(value, 0) + 1
            self._late.clear()
        return self._counts


class History:
    """Values in order of arrival, of which the first or last is the result.

    Args:
        first: Whether the first is the result.
    """

    __slots__ = ("_first", "_values")

    def __init__(self, *, first: bool) -> None:
        self._first = first
        self._values: list[Any] = []

    def begun(self, value: Any) -> History:
        """See `Keeper`."""
        if value is not None:
            self.add(value)
        return self

    def restored(self, saved: list[Any]) -> History:
        """See `Keeper`."""
        self._values = saved
        return self

    def may_add(self, value: Any) -> None:
        """Any value may be added."""

    def add(self, value: Any) -> None:
        """Add a value."""
        self._values.append(value)

    def may_retract(self, value: Any) -> None:
        """Raise ValueError if a value is not there."""
        if value not in self._values and (value == value or all(map(eq, self._values, self._values))):  # NaN
            msg = f"{value!r:.80} is not there"
            raise ValueError(msg)

    def retract(self, value: Any) -> None:
        """Take the latest value equal to this one back; NaN is equal to NaN here."""
        values, nan = self._values, value != value
        for index in range(len(values) - 1, -1, -1):
            found = values[index]
            if found == value or (nan and found != found):
                del values[index]
                return

    def read(self) -> Any:
        """The result, None without values."""
        return self._values[0 if self._first else -1] if self._values else None

    def joined(self, other: History) -> History:
        """One of the values of both, the other's last."""
        return History(first=self._first).restored(self._values + other._values)

    def dump(self) -> list[Any]:
        """The values as they are saved."""
        return self._values


KEEPERS: dict[str, Callable[[], Any]] = {
    "distinct": Distinct,
    "approx_distinct": Approximate,
    "quantile": Sketch,
    "min*": lambda: Extreme(largest=False),
    "max*": lambda: Extreme(largest=True),
    "first*": lambda: History(first=True),
    "last*": lambda: History(first=False),
    "distinct*": Counts,
    "approx_distinct*": lambda: Approximate(Counts()),
    "variance*": Moments,
}
"""What makes a new slot, by the name of its kind; see `aggregation.KINDS`."""
