"""What `sample` and `rate` share: the latest element of each key, held until a moment and then emitted together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable
from typing import Any

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable

from rxpipe.alarm import PRECISION, Alarm
from rxpipe.context import Context
from rxpipe.operators.time._held import conflate, hold, key_function, leased, passes_alone, reject, release


class Latest(ABC):
    """One subscription. `held` has what is held for each key, the key that waits longest first.

    Args:
        observer: Who gets the elements.
        context: The step's context.
        scheduler: Whose time it is.
        by: The key, see `key_function`.
    """

    def __init__(self, observer: ObserverBase[Any], context: Context, scheduler: SchedulerBase, by: str | None) -> None:
        self.observer = observer
        self.context = context
        self.key = key_function(by)
        self.alarm = Alarm(context, scheduler, self.ring)
        self.held: dict[Hashable, Any] = {}
        context.on_flush(self.flush)
        context.gauge("queue_depth", lambda: len(self.held))

    @abstractmethod
    def came(self, element: Any, now: float) -> None:
        """An element is held from now on."""

    @abstractmethod
    def due(self) -> float | None:
        """When to emit next, if nothing comes until then; None for never."""

    @abstractmethod
    def emitted(self, now: float) -> None:
        """What was held goes out now."""

    def subscribe(self, source: Observable[Any], scheduler: SchedulerBase | None) -> DisposableBase:
        """Take elements from the source until disposed of."""
        upstream = source.subscribe(self.on_next, self.on_error, self.on_completed, scheduler=scheduler)
        return CompositeDisposable(upstream, self.alarm, Disposable(self.clear))

    def on_next(self, element: Any) -> None:
        """Hold an element, in the place of the one held for its key."""
        if passes_alone(element):
            self.emit(list(self.held))
            self.observer.on_next(element)
            return
        try:
            key = self.key(element)
            hash(key)
            before = self.held.get(key)
        except Exception as error:  # noqa: BLE001  # whatever an expression or a hash raises concerns this element
            reject(self.context, element, error)
            return
        merged = None if before is None else conflate(before, element)
        self.held[key] = hold(element) if merged is None else merged
        now = self.alarm.now()
        self.came(element, now)
        if merged is None and before is not None:
            self.observer.on_next(release(before))
        due = self.due()
        if due is not None and due <= now:
            self.refresh(now)
            due = self.due()
        if due is not None:
            self.alarm.by(due)

    def ring(self, now: float) -> float | None:
        """Emit what is due; the next deadline."""
        due = self.due()
        if due is not None and due <= now:
            self.refresh(max(due, now - PRECISION))
        return self.due()

    def refresh(self, now: float) -> None:
        """Emit all that is held."""
        self.emitted(now)
        self.emit(list(self.held))

    def emit(self, keys: Iterable[Hashable]) -> None:
        """Emit what is held for some keys."""
        for key in keys:
            found = self.held.pop(key, None)
            if found is not None:
                self.observer.on_next(release(found))

    def flush(self) -> None:
        """Emit what holds a lease."""
        self.emit([key for key, held in self.held.items() if leased(held)])

    def on_completed(self) -> None:
        """Emit what is held, then complete."""
        self.emit(list(self.held))
        self.observer.on_completed()

    def on_error(self, error: Exception) -> None:
        """Drop what is held."""
        self.clear()
        self.observer.on_error(error)

    def clear(self) -> None:
        """Let go of all that is held."""
        self.held.clear()
