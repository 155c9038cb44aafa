"""Numbers for records, and gaps in the numbers that they have."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.aggregations.packing import pack, pack_key, unpack
from rxpipe.context import Change, Context, current
from rxpipe.elements import Batch, Row
from rxpipe.errors import RxpipeError
from rxpipe.expressions import parse
from rxpipe.expressions.known import KnownFields
from rxpipe.fusion.rows import compile_values
from rxpipe.operator import Outputs, fields_of, operator
from rxpipe.operators.records._given import Given
from rxpipe.parameters.types import Expr


@operator
def sequence(
    source: Observable[Batch], by: list[Expr] | None = None, into: str | None = "sequence", of: Expr | None = None
) -> Annotated[Observable[Batch], Outputs(gaps=Batch)]:
    """Number each key's records from 1 on, and tell where numbers that they should have are missing.

    Each record goes on with its number among those of its key, in order of arrival, in the field `into`. With `of`, a
    number that whoever made the records counts up by one for each, gaps are detected: where a record's is more than one
    above the largest so far of its key, the output `gaps` gets a record of the key, `after` and `before`, the numbers
    between which some are missing, and `missing`, how many. The first record of a key may have any number. One that is
    not above the largest (it comes again, or comes late and fills a gap told of before) closes no gap and opens none;
    it is counted in the figure `out_of_order`. Where counters begin anew, let `by` hold what tells their runs apart.

    A retracted record goes on with the number that it was given, which no other record gets; where records may be
    retracted all numbers are remembered for that. A record for which an expression fails, whose `of` is no whole
    number, whose key is a list or an object, or which is retracted and has no number goes to `errors`. Completion and
    errors pass through; nothing is held back.

        source                    -a-b-c-b-|
        sequence(of="value")      -w-x-y-z-|
        .gaps                     -----g---|
        a: {"value": 7}
        b: {"value": 8}
        c: {"value": 11}
        w: {"value": 7, "sequence": 1}
        x: {"value": 8, "sequence": 2}
        y: {"value": 11, "sequence": 3}
        z: {"value": 8, "sequence": 4}
        g: {"after": 8, "before": 11, "missing": 2}

    Args:
        by: Fields (or expressions) that make the key; in records of gaps each is a field named by its text.
        into: The field that takes the number; null adds none.
        of: An expression for the number that should go up by one from record to record.

    Outputs:
        gaps: A record for each gap in the numbers `of`.

    Example:
        >>> rows = [{"host": "a", "n": 4}, {"host": "b", "n": 1}, {"host": "a", "n": 6}]
        >>> counted = sequence(by=["host"], into="number", of="n")
        >>> rx.of(Batch(rows)).pipe(with_outputs(counted, gaps=print)).run().rows[-1]
        Batch([{'host': 'a', 'after': 4, 'before': 6, 'missing': 1}])
        {'host': 'a', 'n': 6, 'number': 2}

    State: the last number and the largest `of` of each key, and where records may be retracted the number of each; a
    checkpoint writes those that changed.

    Raises:
        RxpipeError: Neither `into` nor `of` is given, or a key has the name of a field of gaps.
    """
    keys = tuple(by or ())
    if into is None and of is None:
        msg = "sequence: 'into' or 'of' must be given: else there is nothing to do"
        raise RxpipeError(msg)
    for name in keys:
        if name in {"after", "before", "missing"}:
            msg = f"sequence: a record of a gap has a field {name!r} of its own; got a key of that name"
            raise RxpipeError(msg)

    def subscribe(observer: ObserverBase[Batch], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        numbers = _Numbers(context, keys, into, of)
        gaps = context.emitter("gaps")

        def on_next(element: Any) -> None:
            if isinstance(element, Batch):
                made, found = numbers.apply(element)
                if found:
                    gaps(Batch(found, leases=element.leases))
                element = made
                if not (made.rows or made.retracted):
                    return
            observer.on_next(element)

        return source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

    return Observable(subscribe)


@fields_of(sequence)
def _fields(known: KnownFields, /, by: list[str] | None, into: str | None, of: str | None) -> KnownFields:
    for index, text in enumerate(by or []):
        known.check(text, "by", index)
    known.check(of, "of")
    gaps = known.only(*(by or []), "after", "before", "missing")
    return known.plus(*([] if into is None else [into])).beside(gaps=gaps)


class _Numbers:
    """One subscription."""

    def __init__(self, context: Context, by: tuple[str, ...], into: str | None, of: str | None) -> None:
        self._context = context
        self._by = by
        self._of = of
        self._values = compile_values([parse(text) for text in (*by, of or "None")], tuples=True)
        self._last: dict[Any, tuple[int, int | None]] = {}
        self._given = None if into is None else Given({into: int})
        self._dirty: dict[Any, None] = {}
        self._missing = self._out_of_order = 0
        saved = context.state("operator", self._changes, f"numbers by {', '.join(by) or 'nothing'}")
        self._persistent = saved.persistent
        for row, part, value in saved.items():
            if part:
                if self._given is not None:
                    self._given.restore(row, value)
            else:
                key, count, largest = unpack(value)
                self._last[key] = (count, largest)
        context.gauge("keys", lambda: len(self._last))
        context.gauge("missing", lambda: self._missing)
        context.gauge("out_of_order", lambda: self._out_of_order)

    def apply(self, batch: Batch) -> tuple[Batch, list[Row]]:
        """The batch with its numbers, and the gaps before its records."""

        def reject(row: Row, error: Exception) -> None:
            self._context.reject(error, row, leases=batch.leases)

        given = self._given
        retracted = batch.retracted
        if given is not None:
            retracted = given.taken_back(self._values(retracted, _ignore)[0], reject)
        kept, values = self._values(batch.rows, reject)
        rows: list[Row] = []
        numbers: list[tuple[int]] = []
        gaps: list[Row] = []
        for row, value in zip(kept, values, strict=True):
            try:
                numbers.append((self._number(value, gaps),))
            except TypeError as error:
                reject(row, error)
            else:
                rows.append(row)
        if given is None:
            return batch.replace(rows, retracted), gaps
        if batch.retractable or batch.retracted:
            given.remember(rows, numbers)
        return batch.replace(given.widened(rows, numbers), retracted), gaps

    def _number(self, value: tuple[Any, ...], gaps: list[Row]) -> int:
        """The number of a record; notes the gap before it, if there is one."""
        key = value[: len(self._by)]
        count, largest = self._last.get(key, (0, None))
        if self._of is not None:
            own = value[-1]
            if not isinstance(own, int) or isinstance(own, bool):
                msg = f"{self._of!r} must be a whole number; got {type(own).__name__}"
                raise TypeError(msg)
            if largest is not None and own > largest + 1:
                self._missing += own - largest - 1
                found = {"after": largest, "before": own, "missing": own - largest - 1}
                gaps.append({**dict(zip(self._by, key, strict=True)), **found})
            self._out_of_order += largest is not None and own <= largest
            largest = own if largest is None else max(largest, own)
        self._last[key] = (count + 1, largest)
        if self._persistent:
            self._dirty[key] = None
        return count + 1

    def _changes(self) -> Iterable[Change]:
        for key in self._dirty:
            yield pack_key(key), "", pack([key, *self._last[key]])
        self._dirty.clear()
        if self._given is not None:
            yield from self._given.changes()


def _ignore(row: Row, error: Exception) -> None:
    """A retracted record was refused when it came by the first time, and counted then."""
