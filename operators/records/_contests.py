"""The contests of all keys: what they remember, what changes downstream, and what a checkpoint keeps of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rxpipe.aggregations.packing import pack_key, unpack
from rxpipe.context import Context
from rxpipe.elements import Batch, Row
from rxpipe.fusion.rows import Reject
from rxpipe.operators.records._contest import Candidate, Contest, Keep, better
from rxpipe.operators.records._deciding import Deciding
from rxpipe.operators.records._difference import Difference
from rxpipe.operators.records._unsaved import NOTHING, SEEN, SHAPES, Unsaved, part_of

_Deciding = tuple[Row, tuple[Any, ...]]
"""A record, and what decides about it: key, rank, split, tie, origin and measure."""

_ORIGIN = 3
"""Where the origin stands behind the key."""

_PLAIN = frozenset((str, int))
"""Types of keys that are compared at little cost, and always can be keys."""

_UNKEYED = "\x00unkeyed"
"""With an origin, the key of the records that have none."""


class Contests:
    """All contests of one subscription.

    Of a key with one candidate only the row is held: what decides about it is computed again when a second one comes.

    Args:
        context: The step's context.
        keep: Which record to keep.
        parts: Expressions of key, rank, split, ties and origin; None for those not given.
        by: What `largest` compares.
    """

    def __init__(self, context: Context, keep: Keep, parts: list[str | None], by: list[str]) -> None:
        self._context = context
        self._beats = better(keep)
        key, rank, split, _, origin = parts
        deciding = Deciding(parts, by)
        self._keys_of, self._values_of, self._candidate = deciding.keys_of, deciding.values_of, deciding.candidate
        self._simple = keep == "first" and origin is None and rank is None and split is None
        self._with_origin = origin is not None
        self._all_stay = False
        self._held: dict[Any, Any] = {}
        """For each key its only row, a `Contest`, `SEEN` or `NOTHING`; for unkeyed records of an origin a list of
        rows."""
        self._origins: dict[Any, set[Any]] = {}
        self._unsaved = Unsaved(self._held, deciding.origin)
        self._saved = context.state("operator", self._unsaved.cut, f"records by {key}")
        self._unsaved.restore(self._saved.get(SHAPES).get(""))
        context.gauge("keys", lambda: len(self._held))

    def apply(self, batch: Batch) -> Batch:
        """What changes downstream because of a batch."""
        if batch.retractable or batch.retracted:
            self._all_stay = True
        difference = Difference()
        if batch.retracted:
            rows, values = self._values_of(batch.retracted, _ignore)
            for row, (key, *deciding) in zip(rows, values, strict=True):
                self._withdraw(key, Candidate(row, *deciding), difference)

        def reject(row: Row, error: Exception) -> None:
            self._context.reject(error, row, leases=batch.leases)

        if self._simple and not self._all_stay:
            self._enter_first(batch.rows, reject, difference)
        else:
            self._enter_all(batch.rows, reject, difference)
        made = batch.replace(list(difference.added.values()), list(difference.retracted.values()))
        made.retractable = batch.retractable or not self._simple
        return made

    def forget(self, path: str) -> Batch | None:
        """Take the records of an origin back; None where nothing changes."""
        keys = self._origins.pop(path, set())
        if self._saved.persistent:
            keys |= {unpack(key) for key in self._saved.keys_of(part_of(path))}
        difference = Difference()
        for key in keys:
            self._remove(key, lambda candidate: candidate.origin == path, difference, path)
        if not difference.added and not difference.retracted:
            return None
        return Batch(list(difference.added.values()), list(difference.retracted.values()), retractable=True)

    def _enter_first(self, rows: list[Row], reject: Reject, difference: Difference) -> None:
        """The first of each key counts, for good."""
        held, unsaved, persistent = self._held, self._unsaved.held, self._saved.persistent
        for row, key in zip(*self._keys_of(rows, reject), strict=True):
            try:
                if key in held:
                    continue
            except TypeError as error:
                reject(row, _unhashable(key, error))
                continue
            if key is None:
                difference.add_unkeyed(row)
                continue
            if persistent:
                if self._recalled(key) is not None:
                    continue
                unsaved[key] = SEEN
            held[key] = SEEN
            difference.added[id(row)] = row

    def _enter_all(  # noqa: C901, PLR0912  # one loop: calls for each record would take twice as long
        self, rows: list[Row], reject: Reject, difference: Difference
    ) -> None:
        held, persistent, with_origin = self._held, self._saved.persistent, self._with_origin
        unsaved = self._unsaved.held
        get, add, retracted = held.get, difference.added.__setitem__, difference.retracted
        latest: Any = self  # no origin yet
        members: set[Any] = set()
        candidates = [*zip(*self._values_of(rows, reject), strict=True)]
        best, starts = (candidates, None) if self._all_stay else self._best_of_runs(candidates)
        for number, (row, (key, *deciding)) in enumerate(best):
            origin = deciding[_ORIGIN]
            try:
                found = get(key)
                if with_origin and origin is not latest:
                    members = self._origins.setdefault(origin, set())
                    latest = origin
                if found is None:
                    if key is None:
                        self._enter_unkeyed(row, origin, difference)
                        continue
                    if persistent:
                        found = self._recalled(key)
                elif found is NOTHING:
                    found = None
            except TypeError as error:
                reject(row, _unhashable(key, error))
                continue
            if with_origin:
                members.add(key)
            if found is None:
                held[key] = row
                if persistent:
                    unsaved[key] = row
                if retracted:
                    difference.add(row)
                else:
                    add(id(row), row)
            elif found is not SEEN:
                try:
                    self._enter(key, found, Candidate(row, *deciding), difference)
                except TypeError as error:
                    run = [] if starts is None else candidates[starts[number] : starts[number + 1]]
                    if len(run) <= 1:
                        reject(row, error)
                    else:
                        self._enter_each(run, reject, difference)

    def _enter_each(self, run: list[_Deciding], reject: Reject, difference: Difference) -> None:
        """Enter candidates of a key that has some, of which the best cannot be compared with those."""
        for row, (key, *deciding) in run:
            try:
                self._enter(key, self._held[key], Candidate(row, *deciding), difference)
            except TypeError as error:
                reject(row, error)

    def _best_of_runs(self, candidates: list[_Deciding]) -> tuple[list[_Deciding], list[int]]:
        """Of candidates that follow each other with one key, rank, split and origin only the best, as most are told.

        Returns:
            The best of each run, and where each begins, and behind them all how many candidates there are. One that
            cannot be compared with the best before it begins a run.
        """
        beats = self._beats
        best: list[_Deciding] = []
        starts: list[int] = []
        last_key = last_rank = last_split = last_tie = last_origin = last_measure = None
        for number, candidate in enumerate(candidates):
            key, rank, split, tie, origin, measure = candidate[1]
            same = key == last_key and origin == last_origin and split == last_split and rank == last_rank
            try:
                if same and type(key) in _PLAIN:
                    if beats(measure, tie, last_measure, last_tie):
                        best[-1] = candidate
                        last_tie, last_measure = tie, measure
                    continue
            except TypeError:
                pass
            best.append(candidate)
            starts.append(number)
            last_key, last_rank, last_split, last_tie, last_origin, last_measure = candidate[1]
        return best, [*starts, len(candidates)]

    def _enter(self, key: Any, found: Any, new: Candidate, difference: Difference) -> None:
        """Enter a candidate for a key that has some.

        Raises:
            TypeError: It cannot be compared with them; nothing has changed then.
        """
        if type(found) is not Contest:
            old = self._candidate(found)
            if old.origin == new.origin and old.split == new.split and old.rank == new.rank and not self._all_stay:
                if self._beats(new.measure, new.tie, old.measure, old.tie):
                    self._held[key] = new.row
                    difference.replace(old.row, new.row)
                    self._note(key)
                return
            found = Contest(old)
        before = found.winners
        if found.enter(new, self._beats, all_stay=self._all_stay):
            if found.winners is not before:
                difference.between(before, found.winners)
            self._hold(key, found)

    def _enter_unkeyed(self, row: Row, origin: Any, difference: Difference) -> None:
        """A record without a key competes with nobody; it is remembered only so that it can go with its origin."""
        difference.add_unkeyed(row)
        if self._with_origin:
            key = (_UNKEYED, origin)
            found = self._recalled(key)
            if found is None:
                found = self._held[key] = []
            found.append(row)
            self._origins[origin].add(key)
            self._note(key)

    def _withdraw(self, key: Any, gone: Candidate, difference: Difference) -> None:
        """Take back one record that is no longer true upstream."""
        if key is None:
            if not self._with_origin:
                difference.retract_unkeyed(gone.row)
                return
            key = (_UNKEYED, gone.origin)
        taken = False

        def found(candidate: Candidate) -> bool:
            nonlocal taken
            taken, was = taken or candidate.same(gone), taken
            return taken and not was

        self._remove(key, found, difference, gone.origin)

    def _remove(self, key: Any, gone: Callable[[Candidate], bool], difference: Difference, origin: Any) -> None:
        """Take back the candidates of one key, all of one origin, of which `gone` is true."""
        try:
            found = self._recalled(key)
        except TypeError:  # an unhashable key never came in
            return
        if found is None or found is SEEN or found is NOTHING:
            return
        if isinstance(found, list):
            stays = self._remove_unkeyed(key, found, gone, difference)
        else:
            contest = found if type(found) is Contest else Contest(self._candidate(found))
            before = contest.winners
            if not contest.leave(gone, self._beats):
                return
            difference.between(before, contest.winners)
            self._hold(key, contest)
            stays = any(candidate.origin == origin for candidate in contest.candidates)
        self._note(key)
        if not stays:
            if self._saved.persistent:
                self._unsaved.gone.add((key, origin))
            if origin in self._origins:
                self._origins[origin].discard(key)
            if not self._saved.persistent and (self._held[key] is NOTHING or self._held[key] == []):
                del self._held[key]

    def _remove_unkeyed(
        self, key: Any, rows: list[Row], gone: Callable[[Candidate], bool], difference: Difference
    ) -> bool:
        """Take back unkeyed records of an origin; returns whether some are left."""
        left = []
        for row in rows:
            if gone(self._candidate(row)):
                difference.retract_unkeyed(row)
            else:
                left.append(row)
        self._held[key] = left
        return bool(left)

    def _hold(self, key: Any, contest: Contest) -> None:
        """Remember what is left of a contest: of a single candidate the row will do."""
        candidates = contest.candidates
        self._held[key] = contest if len(candidates) > 1 else candidates[0].row if candidates else NOTHING
        self._note(key)

    def _recalled(self, key: Any) -> Any:
        """What is held for a key, in memory or in the state file; None if nothing is.

        Raises:
            TypeError: It cannot be a key.
        """
        found = self._held.get(key)
        if found is not None or self._saved.empty:
            return found
        saved = self._saved.get(pack_key(key))
        rows: list[Any] = self._unsaved.rows_of(saved.values()) if saved else []
        if not rows:
            return None
        if _is_unkeyed(key):
            found = rows
        elif rows[0] is None:
            found = SEEN
        else:
            found = rows[0]
            if len(rows) > 1:
                found = Contest(self._candidate(rows[0]))
                for row in rows[1:]:
                    found.enter(self._candidate(row), self._beats, all_stay=True)
        self._held[key] = found
        return found

    def _note(self, key: Any) -> None:
        if self._saved.persistent:
            self._unsaved.note(key)


def _unhashable(key: Any, error: TypeError) -> TypeError:
    return TypeError(f"a key must be a number, a text or a tuple of them; got {key!r:.80} ({error})")


def _is_unkeyed(key: Any) -> bool:
    return type(key) is tuple and key[:1] == (_UNKEYED,)


def _ignore(row: Row, error: Exception) -> None:
    """A retracted record was refused when it came by the first time, and counted then."""
