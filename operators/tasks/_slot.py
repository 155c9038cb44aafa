"""One call that is under way: its lease gives the slot back whatever becomes of it."""

from __future__ import annotations

from collections.abc import Callable

from rxpipe.elements import ErrorRecord
from rxpipe.lease import Flow, Lease
from rxpipe.providers.provider import Remaining

Ended = Callable[[float, BaseException | None, bool], None]
"""Told when the call began, in seconds of the limiter's clock, what was raised, and whether it was refused at all."""


class Slot(Lease):
    """Held by everything derived from a record that was let through; when the last holder lets go, the slot is free.

    Args:
        began: When the record was let through.
        ended: Told that the slot is free, on whatever thread that happens.
        hears: Told what a service says is left of what it allows.
    """

    __slots__ = ("_began", "_cause", "_ended", "_hears", "_refused")

    def __init__(self, began: float, ended: Ended, hears: Callable[[Remaining], None]) -> None:
        super().__init__(_APART, 0)
        self._began = began
        self._ended = ended
        self._hears = hears
        self._cause: BaseException | None = None
        self._refused = False

    def __del__(self) -> None:
        super().__del__()
        self._ended(self._began, self._cause, self._refused)

    def refuses(self, error: ErrorRecord, cause: BaseException | None) -> bool:
        """Note that the call failed, and of what."""
        self._refused, self._cause = True, self._cause or cause
        return False

    def hears(self, remaining: Remaining) -> None:
        """The service says what is left of what it allows."""
        self._hears(remaining)


_APART = Flow()
"""Where slots are counted: a call that takes long holds no checkpoint."""
