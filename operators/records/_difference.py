"""What a change of winners is for those who read them: records that count from now on, or no longer."""

from __future__ import annotations

from itertools import count

from rxpipe.elements import Row
from rxpipe.operators.records._contest import Candidate


class Difference:
    """What changes downstream: a record that comes and goes within one batch was never there.

    Attributes:
        added: Records that count from now on.
        retracted: Records that no longer count.
    """

    __slots__ = ("_unkeyed", "added", "retracted")

    def __init__(self) -> None:
        self.added: dict[int, Row] = {}
        self.retracted: dict[int, Row] = {}
        self._unkeyed = count(1)

    def add(self, row: Row) -> None:
        """Note a record that counts."""
        number = id(row)
        if not self.retracted or self.retracted.pop(number, None) is None:
            self.added[number] = row

    def retract(self, row: Row) -> None:
        """Note a record that no longer counts."""
        number = id(row)
        if self.added.pop(number, None) is None:
            self.retracted[number] = row

    def replace(self, old: Row, new: Row) -> None:
        """Note a record that counts instead of another one."""
        number = id(old)
        if self.added.pop(number, None) is None:
            self.retracted[number] = old
        number = id(new)
        if not self.retracted or self.retracted.pop(number, None) is None:
            self.added[number] = new

    def add_unkeyed(self, row: Row) -> None:
        """Note a record that counts however often it comes."""
        self.added[-next(self._unkeyed)] = row

    def retract_unkeyed(self, row: Row) -> None:
        """Note that a record no longer counts once."""
        self.retracted[-next(self._unkeyed)] = row

    def between(self, before: list[Candidate], after: list[Candidate]) -> None:
        """Note the difference between two sets of winners."""
        old = {id(candidate.row) for candidate in before}
        new = {id(candidate.row) for candidate in after}
        for candidate in before:
            if id(candidate.row) not in new:
                self.retract(candidate.row)
        for candidate in after:
            if id(candidate.row) not in old:
                self.add(candidate.row)
