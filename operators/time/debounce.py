"""The last element of a burst, once it is over."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from typing import Any, TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.context import Context, current
from rxpipe.elements import FileEvent
from rxpipe.operator import fields_of, operator
from rxpipe.operators.time._held import Holder, conflate, hold, known_key, leased, release
from rxpipe.parameters.types import Expr
from rxpipe.parameters.units import Duration, seconds
from rxpipe.promises import Inflow, Lint, lints_of
from rxpipe.scheduling.alarm import PRECISION

T = TypeVar("T")


@operator
def debounce(
    source: Observable[T],
    quiet: Duration,
    by: Expr | None = None,
    at_most: Duration | None = None,
    leading: bool = False,
) -> Observable[T]:
    """Emit the last element of a key once there was no further one for a time.

    An element is held until its key has been quiet for `quiet`, and never longer than `at_most` after the first element
    held for that key: a file that is written to without pause still gets through. With `leading` the first element of a
    key that was quiet goes on at once; those that follow within `quiet` are held.

    A later element takes the place of the held one of its key, but nothing is lost that has to be known: modifications
    of a file become one event from the first old to the last new state, a creation and its modifications one creation;
    any other file event (delete, rename, truncate, replace) is emitted by itself, in order, a rename behind what is
    held for the old path and before what comes of that later; batches of records become one batch; blocks of lines and
    `OriginGone` are not held longer than until the next element. Completion emits what is held, in order; an error
    drops it. Before a checkpoint what holds leases is emitted. An element without a key is rejected.

        source               -a-b----c-|
        debounce("200ms")    -----b----(c|)

        source                                -a-b-c-d-e--------|
        debounce("200ms", at_most="400ms")    -----c-----e------|

        source                              -abc-----d-|
        debounce("200ms", leading=True)     -a---c---d-|

    Args:
        quiet: How long a key must be quiet.
        by: The key: an attribute or field of the element, or an expression of these; of a batch, the field of each
            record, and its records go on in a batch for each key. By default a file event's path, a table's name, and
            one key for all other elements.
        at_most: How long an element may be held while its key is not quiet; without limit by default.
        leading: Whether the first element of a key that was quiet is emitted at once.

    Example:
        >>> import reactivex as rx
        >>> rx.of(1, 2, 3).pipe(debounce("100ms")).run()
        3
    """

    def subscribe(observer: ObserverBase[T], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        debouncing = _Debounce(observer, context, context.scheduler(scheduler), quiet, by, at_most, leading=leading)
        return debouncing.subscribe_to(source, scheduler)

    return Observable(subscribe)


fields_of(debounce)(known_key)


@lints_of(debounce)
def _lints(inflow: Inflow, /, at_most: float | None, **_: object) -> Iterator[Lint]:
    if at_most is None and inflow.has(FileEvent):
        message = "a file that is written to without pause is held for as long; say with 'at_most' how long at most"
        yield Lint("starves", message)


class _Debounce(Holder):
    """One subscription.

    By key: `held` has the time of the last element, `first` that of the first, oldest in front, and `passed`, where
    nothing is held, that of the last one that went on. `renamed` has, for the key of a path that a file was renamed
    from, the key under which that is held.
    """

    def __init__(
        self,
        observer: ObserverBase[Any],
        context: Context,
        scheduler: SchedulerBase,
        quiet: Duration,
        by: str | None,
        at_most: Duration | None,
        *,
        leading: bool,
    ) -> None:
        super().__init__(observer, context, scheduler, by)
        self.quiet = seconds(quiet)
        self.at_most = None if at_most is None else seconds(at_most)
        self.leading = leading
        self.first: dict[Hashable, float] = {}
        self.passed: dict[Hashable, float] = {}
        self.renamed: dict[Hashable, Hashable] = {}
        context.gauge("queue_depth", lambda: len(self.held))

    def take(self, element: Any, key: Hashable, before: tuple[float, Any] | None) -> None:
        """Hold an element, in the place of the one held for its key."""
        self.held.pop(key, None)
        old_key = self.old_key(element)
        if old_key is not None:
            self.emit(old_key)  # came before it was renamed
        if key in self.renamed:
            self.emit(self.renamed[key])  # what was there before went away before this came
        now = self.alarm.now()
        if self.leading and before is None and self.passes(key, now):
            self.observer.on_next(element)
            return
        due = now + self.quiet
        merged = None if before is None else conflate(before[1], element)
        self.held[key] = (now, hold(element) if merged is None else merged)
        if merged is None and self.at_most is not None:
            self.first.pop(key, None)
            self.first[key] = now
            due = min(due, now + self.at_most)
        self.alarm.by(due)
        if merged is None and before is not None:
            self.renamed.pop(self.old_key(before[1]), None)
        if old_key is not None:
            self.renamed[old_key] = key
        if merged is None and before is not None:
            self.observer.on_next(release(before[1]))

    def old_key(self, element: Any) -> Hashable:
        """The key of the path that a file was renamed from; None for any other element."""
        if not isinstance(element, FileEvent) or element.old_path is None:
            return None
        return self.key(element._replace(path=element.old_path))

    def passes(self, key: Hashable, now: float) -> bool:
        """Whether a key of which nothing is held was quiet, so that its next element, which comes now, goes on."""
        passed, quiet_since = self.passed, now - self.quiet + PRECISION
        while passed and passed[oldest := next(iter(passed))] <= quiet_since:
            del passed[oldest]
        if passed.pop(key, quiet_since) > quiet_since:
            return False
        passed[key] = now
        return True

    def ring(self, now: float) -> float | None:
        """Emit what is due; the next deadline."""
        due = math.inf
        while self.first and self.at_most is not None:
            key, began = next(iter(self.first.items()))
            due = began + self.at_most
            if due > now:
                break
            self.emit(key)
            due = math.inf
        while self.held:
            key, (last, _) = next(iter(self.held.items()))
            if last + self.quiet > now:
                return min(due, last + self.quiet)
            self.emit(key)
        return None

    def emit(self, key: Hashable) -> None:
        """Emit what is held for a key."""
        self.first.pop(key, None)
        found = self.held.pop(key, None)
        if found is not None:
            if self.renamed:
                self.renamed.pop(self.old_key(found[1]), None)
            if self.leading:
                self.passed[key] = found[0]
            self.observer.on_next(release(found[1]))

    def emit_all(self, *, only_leased: bool = False) -> None:
        """Emit all that is held, or what of it holds a lease, in order."""
        for key, (_, held) in list(self.held.items()):
            if leased(held) or not only_leased:
                self.emit(key)

    def clear(self) -> None:
        """Let go of all that is held."""
        super().clear()
        self.first.clear()
        self.passed.clear()
        self.renamed.clear()
