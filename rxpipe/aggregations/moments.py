"""Sums of numbers and of their squares without rounding, so that what was added can be taken back to the last bit."""

from __future__ import annotations

import math
from typing import Any


class Moments:
    """How many numbers there are, their sum and the sum of their squares, of which the sample variance is the result.

    A float is a whole number divided by a power of two, and so are sums and squares of them. The sums are kept as whole
    numbers of one such unit, which gets finer when a number needs it.
    """

    __slots__ = ("_bits", "_squares", "_sum", "count")

    def __init__(self) -> None:
        self.count = 0
        self._sum = self._squares = self._bits = 0

    def begun(self, count: int, mean: float, squares: float) -> Moments:
        """See `keepers.Keeper`: of the count, the mean, and the sum of the squares of the distances from it.

        Where that is no finite number, nothing can be told of those before.
        """
        if not math.isfinite(squares):
            return self
        distances, unit = squares.as_integer_ratio()
        value, bits = _ratio(mean)
        self._refine(max(bits, unit.bit_length() // 2))
        value <<= self._bits - bits
        self.count, self._sum = count, count * value
        self._squares = count * value * value + distances * ((1 << 2 * self._bits) // unit)
        return self

    def may_add(self, value: Any) -> None:
        """Raise if a value is no finite number."""
        (value + 0.0).as_integer_ratio()

    def add(self, value: float) -> None:
        """Add a number."""
        self._change(1, value)

    def may_retract(self, value: Any) -> None:
        """Raise if a value is no finite number, or there is none."""
        self.may_add(value)
        if not self.count:
            raise KeyError(value)

    def retract(self, value: float) -> None:
        """Take a number back."""
        self._change(-1, value)

    def mean(self) -> float | None:
        """The mean, None without numbers; correctly rounded, as a quotient of whole numbers is."""
        return self._sum / (self.count << self._bits) if self.count else None

    def read(self) -> float | None:
        """The sample variance, None below two numbers."""
        if self.count < 2:  # one number has no spread
            return None
        above = self.count * self._squares - self._sum * self._sum
        try:
            return above / (self.count * (self.count - 1) << 2 * self._bits)
        except OverflowError:  # of numbers whose squares are no floats
            return math.inf

    def deviation(self) -> float | None:
        """The sample standard deviation, None below two numbers."""
        variance = self.read()
        return None if variance is None else math.sqrt(variance)

    def joined(self, other: Moments) -> Moments:
        """See `keepers.Keeper`."""
        made = Moments()
        made.restored(self.dump())
        made._refine(max(self._bits, other._bits))
        count, total, squares, bits = other.dump()
        finer = made._bits - bits
        made.count += count
        made._sum += total << finer
        made._squares += squares << 2 * finer
        return made

    def dump(self) -> list[int]:
        """See `keepers.Keeper`."""
        return [self.count, self._sum, self._squares, self._bits]

    def restored(self, saved: list[int]) -> Moments:
        """See `keepers.Keeper`."""
        self.count, self._sum, self._squares, self._bits = saved
        return self

    def _change(self, sign: int, value: float) -> None:
        number, bits = _ratio(value)
        if bits > self._bits:
            self._refine(bits)
        number <<= self._bits - bits
        self.count += sign
        self._sum += sign * number
        self._squares += sign * number * number

    def _refine(self, bits: int) -> None:
        """Count in units of two to the power of minus `bits`."""
        self._sum <<= bits - self._bits
        self._squares <<= 2 * (bits - self._bits)
        self._bits = bits


def _ratio(value: float) -> tuple[int, int]:
    """A number as a whole one, and how many bits of it are behind the point."""
    number, unit = value.as_integer_ratio()
    return number, unit.bit_length() - 1
