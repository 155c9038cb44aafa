"""One call that is under way: its lease gives the slot back whatever becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rxpipe.elements import ErrorRecord
from rxpipe.lease import Flow, Lease

Ended = Callable[[float, BaseException | None, bool], None]
"""Told when the call began, in seconds of the limiter's clock, what was raised, and whether it was refused at all."""


class Slot(Lease):
    """Held by everything derived from a record that was let through; when the last holder lets go, the slot is free.

    Args:
        began: When the record was let through.
        ended: Told that the slot is free, on whatever thread that happens.
        observe: Told what a service says of what it will still do, see `observe`.
    """

    __slots__ = ("_began", "_cause", "_ended", "_observe", "_refused")

    def __init__(self, began: float, ended: Ended, observe: Callable[[Mapping[str, Any]], None]) -> None:
        super().__init__(_APART, 0)
        self._began = began
        self._ended = ended
        self._observe = observe
        self._cause: BaseException | None = None
        self._refused = False

    def __del__(self) -> None:
        super().__del__()
        self._ended(self._began, self._cause, self._refused)

    def refuses(self, error: ErrorRecord, cause: BaseException | None) -> bool:  # noqa: ARG002  # others tell of it
        """Note that the call failed, and of what."""
        self._refused, self._cause = True, self._cause or cause
        return False

    def observe(self, remaining: Mapping[str, Any]) -> None:
        """The service says what is left: `requests` and `tokens`, and in how many seconds that is `reset`."""
        self._observe(remaining)


_APART = Flow()
"""Where slots are counted: a call that takes long holds no checkpoint."""


def observe(leases: Iterable[Lease], remaining: Mapping[str, Any]) -> None:
    """Tell the limiters in front of a call what a service says is left."""
    for lease in leases:
        if isinstance(lease, Slot):
            lease.observe(remaining)
