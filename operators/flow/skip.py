"""A stream without its beginning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any, TypeVar

from annotated_types import Ge
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.aggregations.packing import pack, unpack
from rxpipe.context import Change, Context, current
from rxpipe.elements import Batch, Row, as_dict
from rxpipe.operator import operator
from rxpipe.operators.flow._cut import tail, units

T = TypeVar("T")

_COUNT, _ROW = "count", "row"


@operator
def skip(source: Observable[T], count: Annotated[int, Ge(0)]) -> Observable[T]:
    """Leave out the first `count` records.

    What is counted are the records of batches, the lines of blocks, and elements of any other kind, a table each time
    it is emitted; an element of which some are left out is cut. `OriginGone` passes uncounted. Where records may be
    retracted, those left out are remembered: the retraction of one is left out, too, and gives its place to no other.
    Completion and errors pass through; nothing is held back.

        source     -a-b-c-|
        skip(2)    -----c-|

    Args:
        count: How many to leave out.

    Example:
        >>> rx.of(Batch([{"n": 1}, {"n": 2}]), Batch([{"n": 3}, {"n": 4}])).pipe(skip(3), ops.to_list()).run()
        [Batch([{'n': 4}])]

    State: how many were left out, and the records among them that may be retracted.
    """

    def subscribe(observer: ObserverBase[T], scheduler: SchedulerBase | None = None) -> DisposableBase:
        skipped = _Skipped(current(), count)

        def on_next(element: Any) -> None:
            left = skipped.rest_of(element)
            if left is not None:
                observer.on_next(left)

        return source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

    return Observable(subscribe)


class _Skipped:
    """What one subscription has left out."""

    def __init__(self, context: Context, count: int) -> None:
        self._left = count
        self._rows: Counter[bytes] = Counter()
        self._dirty: set[bytes] = set()
        self._count = self._saved = 0
        for key, part, value in context.state("operator", self._changes, "what was left out").items():
            if part == _ROW:
                self._rows[key] = unpack(value)
            else:
                self._count = self._saved = unpack(value)
        self._left -= self._count

    def rest_of(self, element: Any) -> Any | None:
        """What is to be emitted of an element; None: nothing."""
        if isinstance(element, Batch) and element.retracted and self._rows:
            kept = [row for row in element.retracted if not self._forget(row)]
            element = element.replace(element.rows, kept, element.row_type)
        found = min(units(element), self._left)
        if found <= 0:
            return element
        self._left -= found
        self._count += found
        if isinstance(element, Batch) and element.retractable:
            for row in element.rows[:found]:
                self._change(_bytes_of(row), 1)
        if found < units(element) or getattr(element, "retracted", None):
            return tail(element, found)
        return None

    def _forget(self, row: Row) -> bool:
        """Whether a record that is retracted was left out: then it is remembered no more."""
        key = _bytes_of(row)
        if self._rows[key] <= 0:
            return False
        self._change(key, -1)
        return True

    def _change(self, key: bytes, by: int) -> None:
        self._rows[key] += by
        self._dirty.add(key)

    def _changes(self) -> Iterable[Change]:
        if self._count != self._saved:
            self._saved = self._count
            yield b"", _COUNT, pack(self._count)
        for key in self._dirty:
            yield key, _ROW, pack(self._rows[key]) if self._rows[key] else None
        self._dirty.clear()
        self._rows = +self._rows


def _bytes_of(row: Row) -> bytes:
    return pack(as_dict(row))
