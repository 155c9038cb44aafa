"""What `sample` and `rate` share: the latest element of each key, held until a moment and then emitted together."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from reactivex.abc import ObserverBase, SchedulerBase

from rxpipe.context import Context
from rxpipe.operators.time._held import Holder, conflate, hold, leased, release
from rxpipe.scheduling.alarm import PRECISION


class Latest(Holder):
    """One subscription. `held` has for each key when it was first held, and what; the key that waits longest first."""

    def __init__(self, observer: ObserverBase[Any], context: Context, scheduler: SchedulerBase, by: str | None) -> None:
        super().__init__(observer, context, scheduler, by)
        context.gauge("queue_depth", lambda: len(self.held))

    def came(self, element: Any, now: float) -> None:
        """An element is held from now on."""
        raise NotImplementedError

    def due(self) -> float | None:
        """When to emit next, if nothing comes until then; None for never."""
        raise NotImplementedError

    def emitted(self, now: float) -> None:
        """What was held goes out now."""
        raise NotImplementedError

    def take(self, element: Any, key: Hashable, before: tuple[float, Any] | None) -> None:
        """Hold an element, in the place of the one held for its key."""
        now = self.alarm.now()
        merged = None if before is None else conflate(before[1], element)
        since = now if before is None else before[0]
        self.held[key] = (since, hold(element) if merged is None else merged)
        self.came(element, now)
        if merged is None and before is not None:
            self.observer.on_next(release(before[1]))
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
        self.emit_all()

    def emit_all(self, *, only_leased: bool = False) -> None:
        """Emit all that is held, or what of it holds a lease, in order."""
        for key in [key for key, (_, held) in self.held.items() if leased(held) or not only_leased]:
            found = self.held.pop(key, None)
            if found is not None:
                self.observer.on_next(release(found[1]))
