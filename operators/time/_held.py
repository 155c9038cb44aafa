"""What `debounce` and `throttle` share: elements held by key, of which a later one replaces the one before."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from operator import attrgetter, itemgetter
from typing import Any

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable

from rxpipe.context import Context
from rxpipe.elements import Batch, FileEvent, LineDelta, OriginGone, Row
from rxpipe.expressions import parse
from rxpipe.expressions.known import KnownFields
from rxpipe.fusion.rows import Reject, compile_values
from rxpipe.pending import Pending
from rxpipe.scheduling.alarm import Alarm
from rxpipe.table import Table

MERGING_KINDS = ("create", "modify")
"""Kinds of file events that a following modification adds to; all others say something that it would hide."""


def key_function(by: str | None) -> Callable[[Any], Hashable]:
    """A function from an element to its key: attribute, field or expression `by`, else what the element is about."""
    if by is None:
        return _natural_key
    expression = None if by.isidentifier() else parse(by)
    bound: dict[type, Callable[[Any], Any]] = {}

    def key(element: Any) -> Hashable:
        kind = type(element)
        if kind not in bound:
            if expression is not None:
                bound[kind] = expression.bind(kind)
            else:
                bound[kind] = itemgetter(by) if issubclass(kind, Mapping) else attrgetter(by)
        return bound[kind](element)  # type: ignore[no-any-return]  # an expression gives whatever it gives

    return key


def known_key(known: KnownFields, /, by: str | None = None, **_: object) -> KnownFields:
    """Check the key of records, for `fields_of`; that of a table is one of its attributes."""
    if by is not None and not hasattr(Table, by):
        known.check(by, "by")
    return known


def _natural_key(element: Any) -> Hashable:
    if isinstance(element, FileEvent):
        return element.path
    return element.name if isinstance(element, Table) else None


def hold(element: Any) -> Any:
    """An element as it is held: batches in a form that grows."""
    if isinstance(element, Batch):
        pending = Pending()
        pending.add(element)
        return pending
    return element


def release(held: Any) -> Any:
    """A held element as it is emitted."""
    return held.take() if isinstance(held, Pending) else held


def conflate(held: Any, element: Any) -> Any | None:
    """What to hold instead of `held` when `element` comes; None where that would lose something: emit `held` first."""
    if isinstance(element, Batch) and isinstance(held, Pending):
        if not held.fits(element):
            return None
        held.add(element)
        return held
    if isinstance(element, FileEvent) and isinstance(held, FileEvent):
        return _one_event(held, element)
    if isinstance(element, Batch | LineDelta) or isinstance(held, Pending | LineDelta):
        return None
    return element


def _one_event(held: FileEvent, event: FileEvent) -> FileEvent | None:
    if event.kind != "modify" or held.kind not in MERGING_KINDS or held.path != event.path or held.known != event.known:
        return None
    return held._replace(new=event.new)


def leased(held: Any) -> bool:
    """Whether a held element has leases, which a checkpoint waits for."""
    return bool(held.leases) if isinstance(held, Pending) else getattr(held, "lease", None) is not None


class Holder:
    """One subscription of an operator that holds elements by key, and emits them when its alarm rings.

    Args:
        observer: Takes what is emitted.
        context: The step's context.
        scheduler: Keeps the time.
        by: The key of an element, see `key_function`.
    """

    held: dict[Hashable, tuple[float, Any]]
    """By key: a time, and what is held; ordered by the time."""

    def __init__(self, observer: ObserverBase[Any], context: Context, scheduler: SchedulerBase, by: str | None) -> None:
        self.observer = observer
        self.context = context
        self.key = key_function(by)
        self._keys = None if by is None else compile_values([parse(by)])
        self.alarm = Alarm(context, scheduler, self.ring)
        self.held = {}
        context.on_flush(lambda: self.emit_all(only_leased=True))

    def subscribe_to(self, source: Observable[Any], scheduler: SchedulerBase | None) -> DisposableBase:
        """Take the elements of a source."""
        upstream = source.subscribe(self.on_next, self.on_error, self.on_completed, scheduler=scheduler)
        return CompositeDisposable(upstream, self.alarm, Disposable(self.clear))

    def on_next(self, element: Any) -> None:
        """Take an element, a batch in parts by the keys of its records; what has no key goes to the stream `errors`."""
        if isinstance(element, OriginGone):  # what is held came before
            self.emit_all()
            self.observer.on_next(element)
            return
        if self._keys is not None and isinstance(element, Batch):
            for key, part in self._parts(element):
                self.take(part, key, self.held.get(key))
            return
        try:
            key = self.key(element)
            hash(key)
            before = self.held.get(key)
        except Exception as error:  # whatever an expression or a hash raises concerns this element
            reason = f"{type(error).__name__}: {error}"
            self.context.reject(reason, element, leases=getattr(element, "leases", ()))
            return
        self.take(element, key, before)

    def _parts(self, batch: Batch) -> list[tuple[Hashable, Batch]]:
        """The records of each key of a batch, with those of the key that it takes back."""
        parts: dict[Hashable, tuple[list[Row], list[Row]]] = {}

        def reject(row: Row, error: Exception) -> None:
            self.context.reject(error, row, leases=batch.leases)

        self._sort_out(batch.rows, 0, parts, reject)
        self._sort_out(batch.retracted, 1, parts, _ignore)
        if len(parts) == 1 and [len(batch.rows), len(batch.retracted)] == [*map(len, *parts.values())]:
            return [(key, batch) for key in parts]
        return [(key, batch.replace(*mine, row_type=batch.row_type)) for key, mine in parts.items()]

    def _sort_out(
        self, rows: list[Row], side: int, parts: dict[Hashable, tuple[list[Row], list[Row]]], reject: Reject
    ) -> None:
        """Add records to those of their keys."""
        if self._keys is None:
            return
        for row, key in zip(*self._keys(rows, reject), strict=True):
            try:
                mine = parts.get(key)
            except TypeError as error:
                reject(row, error)
                continue
            if mine is None:
                mine = parts[key] = ([], [])
            mine[side].append(row)

    def take(self, element: Any, key: Hashable, before: tuple[float, Any] | None) -> None:
        """Hold or emit an element; `before` is what is held for its key."""
        raise NotImplementedError

    def ring(self, now: float) -> float | None:
        """Emit what is due; the next deadline."""
        raise NotImplementedError

    def emit_all(self, *, only_leased: bool = False) -> None:
        """Emit all that is held, or what of it holds a lease, in order."""
        raise NotImplementedError

    def on_completed(self) -> None:
        """Emit what is held, then complete."""
        self.emit_all()
        self.observer.on_completed()

    def on_error(self, error: Exception) -> None:
        """Drop what is held."""
        self.clear()
        self.observer.on_error(error)

    def clear(self) -> None:
        """Let go of all that is held."""
        self.held.clear()


def _ignore(row: Row, error: Exception) -> None:
    """A retracted record was refused when it came by the first time, and counted then."""
