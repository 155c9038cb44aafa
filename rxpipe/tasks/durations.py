"""How long tasks take, learnt from those that ended and from those that have not yet: a survival curve.

A mean over the tasks that ended tells too little: short ones end first. Kaplan and Meier's estimator counts the others
for as long as they are known to last; https://doi.org/10.1080/01621459.1958.10501452.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

_STEPS = 100
"""Steps of the integrals over the longest of several tasks."""


class Observed(NamedTuple):
    """One task: from which age on it was watched, at which age that ended, and whether the task ended with it."""

    entry: float
    age: float
    ended: bool


class Durations:
    """The curve: which share of the tasks lasts longer than so many seconds.

    A task that lasts longer than any that has ended is taken to last as long again as it is overdue.

    Args:
        observed: The tasks; one at least has ended.

    Attributes:
        mean: Seconds that a task lasts.
        variation: The standard deviation as a share of the mean.
    """

    def __init__(self, observed: Sequence[Observed]) -> None:
        self._ages, self._shares = _curve(observed)
        areas = [
            (after - before) * share for (before, after), share in zip(pairwise(self._ages), self._shares, strict=False)
        ]
        self._beyond = [*accumulate(reversed(areas), initial=0.0)][::-1]
        self.mean = self._beyond[0]
        squares = sum(
            (after**2 - before**2) * share
            for (before, after), share in zip(pairwise(self._ages), self._shares, strict=False)
        )
        self.variation = math.sqrt(max(0.0, squares - self.mean**2)) / self.mean if self.mean > 0 else 0.0

    def longer(self, age: float) -> float:
        """The share of the tasks that last longer."""
        return self._shares[bisect_right(self._ages, age) - 1]

    def _area(self, age: float) -> float:
        """What is below the curve beyond an age."""
        at = bisect_right(self._ages, age) - 1
        if at >= len(self._ages) - 1:
            return 0.0
        return self._beyond[at] - (age - self._ages[at]) * self._shares[at]

    def rest(self, age: float) -> float:
        """The seconds that a task of an age has still to go, on average."""
        share = self.longer(age)
        return self._area(age) / share if share > 0 else 0.0

    def longest(self, ages: Sequence[float]) -> float:
        """The seconds until the last one of several tasks of these ages ends, on average."""
        known = [(age, share) for age in ages if (share := self.longer(age)) > 0]
        step = self._ages[-1] / _STEPS

        def over(seconds: float) -> float:
            return math.prod([1 - self.longer(age + seconds) / share for age, share in known], start=1.0)

        return step * sum(1 - over((n + 0.5) * step) for n in range(_STEPS))

    def last_of(self, workers: float) -> float:
        """The same of as many tasks as there are workers, each somewhere in the midst of its task."""
        if self.mean <= 0:
            return 0.0
        step = self._ages[-1] / _STEPS
        last: float = step * sum(1 - (1 - self._area((n + 0.5) * step) / self.mean) ** workers for n in range(_STEPS))
        return last


def _curve(observed: Sequence[Observed]) -> tuple[list[float], list[float]]:
    """Ages at which tasks ended, from 0 on, and the shares that lasted longer."""
    entries, exits = sorted(one.entry for one in observed), sorted(one.age for one in observed)
    ages, shares = [0.0], [1.0]
    for age, over in sorted(Counter(one.age for one in observed if one.ended).items()):
        watched = bisect_left(entries, age) - bisect_left(exits, age)
        shares.append(shares[-1] * (1 - over / max(watched, over)))
        ages.append(age)
    if shares[-1] > 0:
        ages.append(2 * exits[-1] - ages[-1])
        shares.append(0.0)
    return ages, shares
