"""Slots of a group that keep a summary of its values, of bounded size and with a known error."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from math import ceil, log
from typing import TYPE_CHECKING, Any

from rxpipe.aggregations.packing import canonical

if TYPE_CHECKING:
    from rxpipe.aggregations.keepers import Counts

ACCURACY = 0.01
"""How far a quantile may be off, as a part of itself."""

_GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
_SCALE = 1 / log(_GAMMA)
_MIDDLE = 2 * _GAMMA / (1 + _GAMMA)
_ZERO = 1 << 20
"""Above all numbers of buckets, so that the keys of positive and negative values do not meet."""

_LOG_REGISTERS = 12


class Sketch:
    """How many values are in each of a row of buckets, of which a quantile is the result: a DDSketch.

    Bucket `i` has the values above gamma ** (i - 1) and up to gamma ** i; what is given for it is at most `ACCURACY` of
    itself away from each. As in Masson, Rim and Lee, "DDSketch: a fast and fully-mergeable quantile sketch with
    relative-error guarantees" (2019), without a limit to the buckets: those of all floats are some 70,000, a latency's
    a few hundred. It depends on the values alone, not on their order: they can be taken back, and sketches be joined.
    """

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    @staticmethod
    def may_add(value: Any) -> int:
        """The key of a value's bucket; keys are ordered as the values are. Raises if it is no finite number."""
        number = value + 0.0
        if number > 0:
            return _ZERO + ceil(log(number) * _SCALE)
        if number < 0:
            return -_ZERO - ceil(log(-number) * _SCALE)
        if number == 0:
            return 0
        msg = f"a quantile must be of numbers; got {value!r}"
        raise ValueError(msg)

    def add(self, value: Any) -> None:
        """Add a number; raises as `may_add`."""
        self._counts[self.may_add(value)] += 1

    def may_retract(self, value: Any) -> None:
        """Raise if there is no number in a value's bucket."""
        if self.may_add(value) not in self._counts:
            raise KeyError(value)

    def retract(self, value: Any) -> None:
        """Take a number back."""
        key = self.may_add(value)
        self._counts[key] -= 1
        if not self._counts[key]:
            del self._counts[key]

    def take(self, keys: Iterable[int]) -> None:
        """Add values by the keys of their buckets."""
        self._counts.update(keys)

    def read(self, fraction: float) -> float | None:
        """The value at a fraction of the way from the least to the largest, None without values."""
        counts = self._counts
        left = fraction * (sum(counts.values()) - 1)
        for key in sorted(counts):
            left -= counts[key]
            if left < 0:
                return _value(key)
        return None

    def joined(self, other: Sketch) -> Sketch:
        """See `keepers.Keeper`."""
        made = Sketch()
        made._counts = self._counts + other._counts
        return made

    def dump(self) -> list[Any]:
        """See `keepers.Keeper`."""
        return [*map(list, self._counts.items())]

    def restored(self, saved: list[Any]) -> Sketch:
        """See `keepers.Keeper`."""
        self._counts = Counter(dict(saved))
        return self


def _value(key: int) -> float:
    """The value that stands for those of a bucket."""
    if key == 0:
        return 0.0
    number = min(_GAMMA ** (abs(key) - _ZERO - 1) * _MIDDLE, sys.float_info.max)
    return number if key > 0 else -number


class Approximate:
    """About how many different values there are, by HyperLogLog.

    Args:
        counts: The values since they may be taken back, where they may: nothing leaves a HyperLogLog. Exact, unless
            there were others before.
    """

    __slots__ = ("_counts", "_estimate")

    def __init__(self, counts: Counts | None = None) -> None:
        self._counts = counts
        self._estimate: Any = None

    def begun(self, before: Approximate) -> Approximate:
        """See `keepers.Keeper`."""
        self._estimate = before._estimate
        return self

    may_add = staticmethod(hash)

    def add(self, value: Any) -> None:
        """See `keepers.Keeper`."""
        if self._counts is not None:
            self._counts.add(value)
        else:
            self.take((value,))

    def may_retract(self, value: Any) -> None:
        """See `keepers.Keeper`."""
        if self._counts is None:
            raise KeyError(value)
        self._counts.may_retract(value)

    def retract(self, value: Any) -> None:
        """See `keepers.Keeper`."""
        if self._counts is not None:
            self._counts.retract(value)

    def take(self, values: Iterable[Any]) -> None:
        """Add values, in order: the estimate depends on it a little."""
        if self._estimate is None:
            self._estimate = _new()
        update = self._estimate.update
        for value in values:
            update(_hashed(value))

    def read(self) -> int:
        """See `keepers.Keeper`."""
        if self._counts is None:
            return 0 if self._estimate is None else _estimated(self._estimate)
        if self._estimate is None:
            return self._counts.read()
        both = _copy(self._estimate)
        for value in self._counts.values():
            both.update(_hashed(value))
        return _estimated(both)

    def joined(self, other: Approximate) -> Approximate:
        """See `keepers.Keeper`."""
        both = None
        if self._counts is not None and other._counts is not None:
            both = self._counts.joined(other._counts)
        made = Approximate(both)
        made._estimate = _union(self._estimate, other._estimate)
        return made

    def dump(self) -> list[Any]:
        """See `keepers.Keeper`."""
        return [self._saved(), None if self._counts is None else self._counts.dump()]

    def restored(self, saved: list[Any]) -> Approximate:
        """See `keepers.Keeper`."""
        estimate, counts = saved
        self._estimate = _loaded(estimate)
        if self._counts is not None:
            self._counts.restored(counts)
        return self

    def _saved(self) -> bytes | None:
        return None if self._estimate is None else self._estimate.serialize_compact()

    def __getstate__(self) -> tuple[bytes | None, Counts | None]:
        return self._saved(), self._counts

    def __setstate__(self, state: tuple[bytes | None, Counts | None]) -> None:
        self._estimate, self._counts = _loaded(state[0]), state[1]


def _loaded(saved: bytes | None) -> Any:
    return None if saved is None else _sketches().hll_sketch.deserialize(saved)


def _estimated(estimate: Any) -> int:
    return round(float(estimate.get_estimate()))


def _sketches() -> Any:
    import datasketches  # type: ignore[import-untyped]  # it has no types; only who counts so needs it

    return datasketches


def _new() -> Any:
    sketches = _sketches()
    return sketches.hll_sketch(_LOG_REGISTERS, sketches.tgt_hll_type.HLL_8)


def _copy(estimate: Any) -> Any:
    return _loaded(estimate.serialize_compact())


def _union(*estimates: Any) -> Any:
    """One of all; None if all are."""
    given = [estimate for estimate in estimates if estimate is not None]
    if len(given) <= 1:
        return _copy(given[0]) if given else None
    sketches = _sketches()
    both = sketches.hll_union(_LOG_REGISTERS)
    for estimate in given:
        both.update(estimate)
    return both.get_result(sketches.tgt_hll_type.HLL_8)


def _hashed(value: Any) -> Any:
    """A value in a form that the sketch takes, the same for values that are equal."""
    kind = type(value)
    if kind is str and value:
        return value if value.isascii() or _is_encodable(value) else repr(value)
    value = canonical(value)
    return value if type(value) in (int, float) and abs(value) < 2**63 else repr(value)


def _is_encodable(text: str) -> bool:
    """Whether a text has no half of a surrogate pair in it, as the name of a file may have that is no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
