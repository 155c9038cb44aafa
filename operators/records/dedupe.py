"""Exact removal of duplicates, in whatever order they arrive."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.context import Change, Context, current
from rxpipe.elements import Batch, OriginGone, Row
from rxpipe.expressions import parse
from rxpipe.operator import operator
from rxpipe.operators.records._contest import Candidate, Keep, admit, better, winners
from rxpipe.params import Expr
from rxpipe.rows import compile_values


@operator
def dedupe(
    source: Observable[Batch],
    key: Expr,
    keep: Keep = "first",
    by: list[Expr] | None = None,
    ties: Expr | None = None,
    rank: Expr | None = None,
    split: Expr | None = None,
    origin: Expr | None = None,
) -> Observable[Batch]:
    """Let one record of each key through; where a later one wins, take the earlier one back.

    `first` keeps the first to arrive and retracts nothing. `last` keeps the latest. `largest` keeps the one with the largest
    `by` (compared one after the other, null is least); of equal ones the one with the smallest `ties`, then the first to
    arrive: with both given, the result does not depend on the order of arrival. Records whose key is null are not
    duplicates of each other and all pass.

    Of the records of one key only those of the highest `rank` compete (true is higher than false), and each distinct value
    of `split` among them has a winner of its own.

    With `origin`, the path a record came from, records are remembered per origin: when a file was removed, truncated or
    replaced, its records are taken back, and what they had beaten counts again.

    Completion and errors pass through; nothing is held back.

    Args:
        key: What makes records duplicates of each other.
        keep: Which one to keep.
        by: What `largest` compares.
        ties: Decides between equal ones; the smallest wins.
        rank: Only records of the highest rank compete.
        split: Each distinct value has a winner.
        origin: The record's path of origin, as `parse_json` gives it from `@path`.

    Example:
        >>> rows = [{"id": 1, "n": 2}, {"id": 1, "n": 5}, {"id": 2, "n": 1}]
        >>> rx.of(Batch(rows)).pipe(dedupe("id", keep="largest", by=["n"])).run()
        Batch([{'id': 1, 'n': 5}, {'id': 2, 'n': 1}])

    State: the keys, and unless `first` without `origin`, the records that compete; it grows with the number of keys.

    Raises:
        ValueError: `largest` without `by`.
    """
    if keep == "largest" and not by:
        msg = "dedupe: keep 'largest' needs 'by', what to compare; got none"
        raise ValueError(msg)

    def subscribe(observer: ObserverBase[Batch], scheduler: SchedulerBase | None = None) -> DisposableBase:
        contest = Contests(current(), keep, [key, rank, split, ties, origin], by or [])

        def on_next(element: Any) -> None:
            if isinstance(element, Batch):
                element = contest.apply(element)
                if element.rows or element.retracted:
                    observer.on_next(element)
            elif isinstance(element, OriginGone):
                if origin is not None and (taken := contest.forget(element.path)):
                    observer.on_next(taken)
                observer.on_next(element)  # type: ignore[arg-type]  # markers pass through every operator
            else:
                observer.on_next(element)

        return source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

    return Observable(subscribe)


class Contests:
    """All contests of one subscription, by key.

    Args:
        context: The step's context.
        keep: Which record to keep.
        parts: Expressions of key, rank, split, ties and origin; None for those not given.
        by: What `largest` compares.
    """

    def __init__(self, context: Context, keep: Keep, parts: list[str | None], by: list[str]) -> None:
        self._context = context
        self._beats = better(keep)
        self._compute = compile_values([parse(text or "None") for text in (*parts, *by)])
        self._first_only = keep == "first" and parts[4] is None and parts[1] is None and parts[2] is None
        self._keys: dict[Any, list[Candidate]] = {}
        self._origins: dict[Any, set[Any]] = {}
        self._with_origin = parts[4] is not None
        self._dirty: set[Any] = set()
        self._gone: set[tuple[Any, Any]] = set()
        self._saved = context.state("operator", self._changes, f"records by {parts[0]}")
        context.gauge("keys", lambda: len(self._keys))

    def apply(self, batch: Batch) -> Batch:
        """What changes downstream because of a batch."""
        added: dict[int, Row] = {}
        retracted: dict[int, Row] = {}
        if batch.retracted:
            for key, candidate in self._candidates(batch.retracted, batch):
                self._withdraw(key, candidate, added, retracted)
        for key, candidate in self._candidates(batch.rows, batch):
            self._enter(key, candidate, added, retracted)
        made = batch.replace(list(added.values()), list(retracted.values()))
        made.retractable = batch.retractable or not self._first_only
        return made

    def forget(self, path: str) -> Batch | None:
        """Take the records of an origin back; None where there were none."""
        keys = self._origins.pop(path, set())
        if self._saved.persistent:
            keys |= {_decoded_key(key) for key in self._saved.keys_of(path)}
        added: dict[int, Row] = {}
        retracted: dict[int, Row] = {}
        for key in keys:
            candidates = self._candidates_of(key)
            left = [candidate for candidate in candidates if candidate.origin != path]
            if len(left) < len(candidates):
                self._gone.add((key, path))
                self._replace(key, candidates, left, added, retracted)
        if not added and not retracted:
            return None
        return Batch(list(added.values()), list(retracted.values()), retractable=True)

    def _candidates(self, rows: list[Row], batch: Batch) -> Iterable[tuple[Any, Candidate]]:
        def reject(row: Row, error: Exception) -> None:
            self._context.reject(f"{type(error).__name__}: {error}", row, leases=batch.leases)

        kept, values = self._compute(rows, reject)
        for row, (key, rank, split, tie, origin, *measure) in zip(kept, values, strict=True):
            if not _hashable(key) or not _hashable(split):
                reject(row, TypeError(f"a key must be a number, text or a tuple of them; got {key!r}"))
                continue
            measured = tuple((value is not None, value) for value in measure) if None in measure else tuple(measure)
            yield key, Candidate(row, rank, split, measured, tie, origin)

    def _candidates_of(self, key: Any) -> list[Candidate]:
        """The contest of a key, from memory or from the state file."""
        found = self._keys.get(key)
        if found is not None:
            return found
        found = []
        for blob in self._saved.get(_encoded_key(key)).values():
            rows = msgspec.msgpack.decode(blob)
            if self._first_only:
                found.append(_SEEN)
                break
            found += [candidate for _, candidate in self._candidates(rows, Batch([]))]
        self._keys[key] = found
        for candidate in found:
            self._origins.setdefault(candidate.origin, set()).add(key)
        return found

    def _enter(self, key: Any, new: Candidate, added: dict[int, Row], retracted: dict[int, Row]) -> None:
        if key is None:
            self._enter_unkeyed(new, added)
            return
        candidates = self._candidates_of(key)
        if self._first_only:
            if candidates:
                return
            candidates.append(_SEEN)
            added[id(new.row)] = new.row
        elif not candidates:
            candidates.append(new)
            added[id(new.row)] = new.row
        else:
            before = winners(candidates, self._beats)
            if len(before) == len(candidates):
                before = list(before)
            if not admit(candidates, new, self._beats):
                return
            self._settle(before, winners(candidates, self._beats), added, retracted)
        self._noted(key, new.origin)

    def _enter_unkeyed(self, new: Candidate, added: dict[int, Row]) -> None:
        """A record without a key competes with nobody; it is remembered only so that it can go with its origin."""
        added[id(new.row)] = new.row
        if self._with_origin:
            key = (_UNKEYED, new.origin)
            self._candidates_of(key).append(new)
            self._noted(key, new.origin)

    def _withdraw(self, key: Any, gone: Candidate, added: dict[int, Row], retracted: dict[int, Row]) -> None:
        if key is None:
            key = (_UNKEYED, gone.origin)
        candidates = self._candidates_of(key)
        if self._first_only:
            self._gone.add((key, None))
            self._keys.pop(key)
            if added.pop(id(gone.row), None) is None and candidates:
                retracted[id(gone.row)] = gone.row
            return
        left = list(candidates)
        for index, candidate in enumerate(left):
            if candidate == gone:
                del left[index]
                break
        if not any(candidate.origin == gone.origin for candidate in left):
            self._gone.add((key, gone.origin))
        self._replace(key, candidates, left, added, retracted)

    def _replace(
        self, key: Any, old: list[Candidate], new: list[Candidate], added: dict[int, Row], retracted: dict[int, Row]
    ) -> None:
        if isinstance(key, tuple) and key[:1] == (_UNKEYED,):
            self._settle(old, new, added, retracted)
        else:
            self._settle(winners(old, self._beats), winners(new, self._beats), added, retracted)
        self._keys[key] = new
        if self._saved.persistent:
            self._dirty.add(key)
        elif not new:
            del self._keys[key]

    def _settle(
        self, before: list[Candidate], after: list[Candidate], added: dict[int, Row], retracted: dict[int, Row]
    ) -> None:
        """Note the difference between two sets of winners; a record added and beaten in one batch was never there."""
        kept = {id(candidate.row) for candidate in after} & {id(candidate.row) for candidate in before}
        for candidate in before:
            number = id(candidate.row)
            if number not in kept and added.pop(number, None) is None:
                retracted[number] = candidate.row
        for candidate in after:
            number = id(candidate.row)
            if number not in kept and retracted.pop(number, None) is None:
                added[number] = candidate.row

    def _noted(self, key: Any, origin: Any) -> None:
        if self._with_origin:
            self._origins.setdefault(origin, set()).add(key)
        if self._saved.persistent:
            self._dirty.add(key)

    def _changes(self) -> Iterable[Change]:
        encode = msgspec.msgpack.encode
        for key in self._dirty:
            if key not in self._keys:
                continue
            parts: dict[Any, list[Row]] = {}
            for candidate in self._keys[key]:
                parts.setdefault(candidate.origin, []).append(candidate.row)
            encoded = _encoded_key(key)
            for origin, rows in parts.items():
                yield encoded, str(origin or ""), encode(rows)
                self._gone.discard((key, origin))
        for key, origin in self._gone:
            yield _encoded_key(key), str(origin or ""), None
        self._dirty.clear()
        self._gone.clear()


_UNKEYED = "\x00unkeyed"
_SEEN = Candidate(None, None, None, (), None, None)
"""Where the first record wins and none is taken back, a key needs no more than this."""


def _encoded_key(key: Any) -> bytes:
    return msgspec.msgpack.encode(key)


def _decoded_key(key: bytes) -> Any:
    made = msgspec.msgpack.decode(key)
    return tuple(made) if isinstance(made, list) else made


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True
