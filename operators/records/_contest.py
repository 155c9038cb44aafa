"""Which of the records with one key count: a contest that gives the same winners in whatever order records arrive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from rxpipe.elements import Row

Keep = Literal["first", "last", "largest"]


class Candidate(NamedTuple):
    """A record in the contest, with what decides about it.

    Attributes:
        row: The record.
        rank: Of one key, only candidates of the highest rank compete.
        split: Each distinct value has a winner of its own.
        measure: What `largest` compares.
        tie: Of equal measures the smallest of these wins, then the first to arrive.
        origin: Where the record came from; with the origin, the record goes.
    """

    row: Row
    rank: Any
    split: Any
    measure: Any
    tie: Any
    origin: Any


def better(keep: Keep) -> Callable[[Candidate, Candidate], bool]:
    """Whether a later candidate beats an earlier one of the same rank and split."""
    if keep == "first":
        return lambda new, old: False
    if keep == "last":
        return lambda new, old: True
    return _larger


def _larger(new: Candidate, old: Candidate) -> bool:
    if new.measure != old.measure:
        return bool(new.measure > old.measure)
    if new.tie == old.tie or new.tie is None:
        return False
    return old.tie is None or bool(new.tie < old.tie)


def admit(candidates: list[Candidate], new: Candidate, beats: Callable[[Candidate, Candidate], bool]) -> bool:
    """Enter a candidate: of one origin, rank and split only the best is kept. Returns whether it was admitted.

    A worse one of the same origin can never win: it comes and goes with the better one.
    """
    for index, old in enumerate(candidates):
        if old.origin == new.origin and old.rank == new.rank and old.split == new.split:
            if not beats(new, old):
                return False
            candidates[index] = new
            return True
    candidates.append(new)
    return True


def winners(candidates: list[Candidate], beats: Callable[[Candidate, Candidate], bool]) -> list[Candidate]:
    """The candidates that count: of the highest rank, the best of each split."""
    if len(candidates) < 2:  # noqa: PLR2004  # nothing to compare
        return candidates
    highest = max((candidate.rank for candidate in candidates), key=_orderable)
    best: dict[Any, Candidate] = {}
    for candidate in candidates:
        if candidate.rank != highest:
            continue
        old = best.get(candidate.split)
        if old is None or beats(candidate, old):
            best[candidate.split] = candidate
    return list(best.values())


def _orderable(value: Any) -> tuple[bool, Any]:
    return (value is not None, value if value is not None else 0)
