"""One of several streams at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable

from rxpipe.aggregations.packing import pack, unpack
from rxpipe.context import Change, Context, current
from rxpipe.elements import Batch, OriginGone
from rxpipe.expressions import parse
from rxpipe.fusion.rows import compile_values
from rxpipe.operator import operator
from rxpipe.operators.flow._together import kept_rows, subscribe_each
from rxpipe.parameters.types import Expr
from rxpipe.promises import Inflow, order_of
from rxpipe.table import Table

T = TypeVar("T")


@operator
def switch(source: Observable[Batch], *streams: Observable[T], by: Expr = "value") -> Observable[T]:
    """Emit what one of the streams emits: the one whose number the latest record of the source gives.

    Numbers count the named streams from 0, false and true are 0 and 1; null, and before the first record, is none of
    them. All streams are subscribed from the beginning, since those of a graph run anyway; what comes of a stream that
    is not chosen is left out and counted (the gauge `left_out`). A table is no event but what is now: the latest one of
    a stream is emitted when the stream is chosen. `OriginGone` passes from all.

    Another number than there are streams, and a record for which the expression fails, goes to `errors`, and the choice
    stays. A record that is retracted, of any stream, goes to `errors`: put this before the step that retracts.
    Completes when all streams have, or the source and the stream that is chosen; an error of one ends all at once.

        source                                 -x---y---|
        one                                    --1-1-1---|
        two                                    ----2-2-2--|
        switch(one, two, by="value == 'y'")    --1-1-2-2--|

    Args:
        streams: The streams to choose from.
        by: The number of the stream that flows, an expression over the fields of the source's records.

    Example:
        >>> from reactivex.scheduler import CurrentThreadScheduler
        >>> primary, backup = rx.of("p"), rx.of("b")
        >>> rx.of(Batch([{"failed": True}])).pipe(switch(primary, backup, by="failed")).run(CurrentThreadScheduler())
        'b'

    State: which stream is chosen.
    """
    numbers_of = compile_values([parse(by)])

    def subscribe(observer: ObserverBase[T], scheduler: SchedulerBase | None = None) -> DisposableBase:
        switching = _Switching(current(), observer, numbers_of, len(streams))
        first = source.subscribe(switching.choose, observer.on_error, lambda: switching.end(None), scheduler=scheduler)
        others = subscribe_each(streams, switching.take, switching.end, observer, scheduler)
        return CompositeDisposable(first, others)

    return Observable(subscribe)


@order_of(switch)
def _order(_: Inflow, /, **__: object) -> str:
    return "what is chosen comes of one stream, then of another"


class _Switching:
    """One subscription."""

    def __init__(self, context: Context, observer: ObserverBase[Any], numbers_of: Any, streams: int) -> None:
        self._context = context
        self._observer = observer
        self._numbers_of = numbers_of
        self._streams = range(streams)
        self._open: set[int | None] = {None, *self._streams}
        self._tables: dict[int, Table] = {}
        self._left_out = 0
        self._chosen: int | None = None
        for _, _, value in context.state("operator", self._changes, "the number of the stream chosen").items():
            self._chosen = unpack(value)
        self._saved = self._chosen
        context.gauge("left_out", lambda: self._left_out)

    def choose(self, element: Any) -> None:
        """Take what the source says."""
        if not isinstance(element, Batch):
            if isinstance(element, OriginGone):
                self._observer.on_next(element)
            return
        rows = kept_rows(element, self._context)

        def reject(row: Any, error: Exception) -> None:
            self._context.reject(error, row, leases=element.leases)

        before = chosen = self._chosen
        for row, number in zip(*self._numbers_of(rows, reject), strict=True):
            if number is None or (isinstance(number, int) and number in self._streams):
                chosen = None if number is None else int(number)
            else:
                must = f"must be the number of a stream, 0 to {len(self._streams) - 1}, or null"
                reject(row, ValueError(f"{must}; got {number!r:.40}"))
        self._chosen = chosen
        if chosen != before and chosen in self._tables:
            self._observer.on_next(self._tables[chosen])
        self._end_if_over()

    def take(self, element: Any, number: int) -> None:
        """Take what one of the streams says."""
        if isinstance(element, Table):
            self._tables[number] = element
        if isinstance(element, Batch) and element.retracted:
            element = element.replace(kept_rows(element, self._context), row_type=element.row_type)
        if number == self._chosen or isinstance(element, OriginGone):
            self._observer.on_next(element)
        else:
            self._left_out += len(element.rows) if isinstance(element, Batch) else 1

    def end(self, number: int | None) -> None:
        """A stream is complete; None: the source."""
        self._open.discard(number)
        self._end_if_over()

    def _end_if_over(self) -> None:
        nothing_more = None not in self._open and self._chosen not in self._open
        if nothing_more or (self._streams and self._open <= {None}):
            self._observer.on_completed()

    def _changes(self) -> Iterable[Change]:
        if self._chosen != self._saved:
            self._saved = self._chosen
            yield b"chosen", "", pack(self._chosen)
