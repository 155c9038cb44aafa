"""Which of the records with one key count: a contest that gives the same winners in whatever order records arrive."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

import msgspec

from rxpipe.elements import Row, as_dict

Keep = Literal["first", "last", "largest"]


class Candidate(msgspec.Struct, gc=False, eq=False):
    """A record in the contest, with what decides about it.

    Attributes:
        row: The record.
        rank: Of one key, only candidates of the highest rank compete.
        split: Each distinct value has a winner of its own.
        tie: Of equal measures the smallest of these wins, then the first to arrive.
        origin: Where the record came from; with the origin, the record goes.
        measure: What `largest` compares.
    """

    row: Row
    rank: Any
    split: Any
    tie: Any
    origin: Any
    measure: Any

    def same(self, other: Candidate) -> bool:
        """Whether the other is the same record, of whatever type of rows."""
        return (
            self.origin == other.origin
            and self.measure == other.measure
            and self.split == other.split
            and self.rank == other.rank
            and self.tie == other.tie
            and (self.row is other.row or as_dict(self.row) == as_dict(other.row))
        )


Beats = Callable[[Any, Any, Any, Any], bool]
"""Whether a later candidate beats an earlier one of the same rank and split: takes measure and tie of each, the later
one's first. TypeError if they cannot be compared."""


def better(keep: Keep) -> Beats:
    """What decides between two candidates."""
    if keep == "first":
        return lambda *_: False
    if keep == "last":
        return lambda *_: True
    return _larger


def _larger(measure: Any, tie: Any, other: Any, other_tie: Any) -> bool:
    try:  # most are compared once
        if measure > other:
            return True
        if measure < other:
            return False
    except TypeError:
        pass
    if measure != other and (mine := _nulls_least(measure)) != (theirs := _nulls_least(other)):
        return bool(mine > theirs)
    if tie == other_tie or tie is None:
        return False
    return other_tie is None or bool(tie < other_tie)


def _above(value: Any, other: Any) -> bool:
    """Whether a value is larger; null is least, and so is NaN, also inside a tuple."""
    try:
        if value > other:
            return True
        if value < other:
            return False
    except TypeError:
        pass
    return bool(_nulls_least(value) > _nulls_least(other))


def _nulls_least(value: Any) -> tuple[Any, ...]:
    if value is None or value != value:  # NaN alone
        return (False,)
    return (True, tuple(map(_nulls_least, value)) if isinstance(value, tuple) else value)


class Contest:
    """The candidates of one key, in order of arrival, and those of them that count.

    Args:
        first: The first candidate.
    """

    __slots__ = ("candidates", "winners")

    def __init__(self, first: Candidate) -> None:
        self.candidates = [first]
        self.winners = [first]

    def enter(self, new: Candidate, beats: Beats, *, all_stay: bool) -> bool:
        """Let a candidate in; returns whether it is one that stays.

        Args:
            new: The candidate.
            beats: What decides.
            all_stay: Whether one candidate may be taken back without the others of its origin. If not, a worse one of
                the same origin, rank and split can never win, since it goes with the better one: only the better one
                stays.

        Raises:
            TypeError: It cannot be compared with the others; nothing has changed then.
        """
        winners = _challenged(self.winners, new, beats)
        if not all_stay:
            for index, old in enumerate(self.candidates):
                if old.origin == new.origin and old.rank == new.rank and old.split == new.split:
                    if not beats(new.measure, new.tie, old.measure, old.tie):
                        return False
                    del self.candidates[index]
                    break
        self.candidates.append(new)
        self.winners = winners
        return True

    def leave(self, gone: Callable[[Candidate], bool], beats: Beats) -> int:
        """Take candidates back; returns how many there were."""
        left = [candidate for candidate in self.candidates if not gone(candidate)]
        count = len(self.candidates) - len(left)
        if count:
            self.candidates = left
            self.winners = left[:1]
            for candidate in left[1:]:
                with suppress(TypeError):  # of those that cannot be compared the first to arrive counts
                    self.winners = _challenged(self.winners, candidate, beats)
        return count


def _challenged(winners: list[Candidate], new: Candidate, beats: Beats) -> list[Candidate]:
    """The candidates that count after a new one came; the very list if it is none of them."""
    highest = winners[0].rank
    if new.rank != highest:
        return [new] if _above(new.rank, highest) else winners
    for index, old in enumerate(winners):
        if old.split == new.split:
            wins = beats(new.measure, new.tie, old.measure, old.tie)
            return [*winners[:index], new, *winners[index + 1 :]] if wins else winners
    return [*winners, new]
