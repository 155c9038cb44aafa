"""A stream, or an output of one, as those hear it that read it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import Disposable

from rxpipe.fusion.fused import Tail
from rxpipe.runtime.stage import Joint


class Shared(Joint):
    """Hands every element to all who read it, in the order they came: one subscription upstream, however many they are.

    It does what a `Subject` of reactivex does, on one thread, with nothing of its own on the way of an element.

    Args:
        single: Whether there is one reader, which is subscribed once, and nobody else looks at the elements: it may
            then take the records into itself, see `rxpipe.fusion.lift.fold`.

    Attributes:
        over: Whether it has ended.
        tail: What the stream's last steps are to hand their records over to.
        size: How much its last step is to leave unread, see `rxpipe.unread.unread`.
    """

    def __init__(self, *, single: bool = False) -> None:
        super().__init__()
        self.over = False
        self.tail: Tail | None = None
        self.size: Callable[[], int] | None = None
        self._single = single
        self._observers: tuple[ObserverBase[Any], ...] = ()

    def folded(self, tail: Tail) -> Shared:
        """The same, whose stream then hands its records over if it can."""
        if self._single:
            self.tail = tail
        return self

    def unread(self, size: Callable[[], int]) -> Shared:
        """The same, whose stream then leaves lines unread if it can."""
        if self._single:
            self.size = size
        return self

    @property
    def read(self) -> bool:
        """Whether anybody hears it."""
        return bool(self._observers)

    def _subscribe_core(self, observer: ObserverBase[Any], scheduler: SchedulerBase | None = None) -> DisposableBase:
        if self.over:
            observer.on_completed()
            return Disposable()
        self._observers += (observer,)

        def forget() -> None:
            self._observers = tuple(other for other in self._observers if other is not observer)

        return Disposable(forget)

    def on_next(self, element: Any) -> None:
        """Hand an element to all readers."""
        for observer in self._observers:
            observer.on_next(element)

    def on_completed(self) -> None:
        """Tell all readers that it has ended."""
        if not self.over:
            self.over = True
            observers, self._observers = self._observers, ()
            for observer in observers:
                observer.on_completed()
