"""Exact removal of duplicates, in whatever order they arrive."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.context import current
from rxpipe.elements import Batch, OriginGone
from rxpipe.errors import RxpipeError
from rxpipe.expressions.known import KnownFields
from rxpipe.operator import fields_of, operator
from rxpipe.operators.records._contest import Keep
from rxpipe.operators.records._contests import Contests
from rxpipe.parameters.types import Expr
from rxpipe.promises import Inflow, Lint, lints_of


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

    `first` keeps the first to arrive. `last` keeps the latest. `largest` keeps the one with the largest `by` (compared
    one after the other, null and NaN are least); of equal ones the one with the smallest `ties` (null comes last), then
    the first to arrive: where `ties` tells all equal ones apart, the result does not depend on the order of arrival.
    Records whose key is null are not duplicates of each other and all pass.

    Of the records of one key only those of the highest `rank` compete (true is higher than false, null is lowest), and
    each distinct value of `split` among them has a winner of its own.

    With `origin`, the path a record came from, records are remembered per origin: when a file was removed, truncated or
    replaced, its records are taken back, and what they had beaten counts again. A record that is retracted upstream is
    taken back likewise.

    A record that cannot be compared with the others of its key, or whose key is a list or an object, goes to `errors`.
    The expressions must give the same for the same record whenever they are computed. Completion and errors pass
    through; nothing is held back.

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

    State: the keys, and the records that compete; it grows with the number of keys, and where records may be retracted
    upstream with the number of records. Plain `first`, with nothing to take back, remembers the keys only. A checkpoint
    writes the keys that changed.

    Raises:
        RxpipeError: `largest` without `by`.
    """
    if keep == "largest" and not by:
        msg = "dedupe: keep 'largest' needs 'by', what to compare; got none"
        raise RxpipeError(msg)

    def subscribe(observer: ObserverBase[Batch], scheduler: SchedulerBase | None = None) -> DisposableBase:
        contests = Contests(current(), keep, [key, rank, split, ties, origin], by or [])

        def on_next(element: Any) -> None:
            if isinstance(element, Batch):
                element = contests.apply(element)
                if element.rows or element.retracted:
                    observer.on_next(element)
            elif isinstance(element, OriginGone):
                if origin is not None and (taken := contests.forget(element.path)) is not None:
                    observer.on_next(taken)
                observer.on_next(element)  # type: ignore[arg-type]  # markers pass through every operator
            else:
                observer.on_next(element)

        return source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

    return Observable(subscribe)


@fields_of(dedupe)
def _fields(known: KnownFields, /, by: list[str] | None, keep: str, **expressions: str | None) -> KnownFields:  # noqa: ARG001  # no expression
    for index, text in enumerate(by or []):
        known.check(text, "by", index)
    for name, expression in expressions.items():
        known.check(expression, name)
    return known


@lints_of(dedupe)
def _lints(_: Inflow, /, **__: object) -> Iterator[Lint]:
    yield Lint("unbounded", "each new key is remembered for ever; where they are not without end, allow it", ("key",))
