"""The built-in stream `errors`: what could not be handled, counted, kept, and delivered or logged."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from rxpipe.elements import Batch, ErrorRecord
from rxpipe.graph import ERRORS
from rxpipe.language.hidden import masked
from rxpipe.lease import Lease
from rxpipe.log import logger
from rxpipe.runtime.shared import Shared

KEPT = 100
"""How many of the last error records are kept."""

LOGGED = 5
"""How many errors of a step are logged one by one; after that every tenth, hundredth, thousandth …"""


class DeadLetters:
    """The error records of one run.

    Args:
        watch: Called with `errors` and each error record.

    Attributes:
        count: How many there were.
        last: The last of them.
        stream: Those who read `errors` subscribe here.
    """

    def __init__(self, watch: Callable[[str, Any], None] | None = None) -> None:
        self._watch = watch
        self.count = 0
        self.last: deque[ErrorRecord] = deque(maxlen=KEPT)
        self.stream = Shared()

    def emit(self, error: ErrorRecord, leases: tuple[Lease, ...], number: int, *, deliver: bool) -> None:
        """Count an error record and deliver it to those who read `errors`; if nobody does, it is logged.

        Args:
            error: The record; what must not be shown is replaced in its reason.
            leases: Those of the data that it is about: no checkpoint passes over an error that is not written yet.
            number: The how manieth of its step it is.
            deliver: Whether it may go to the stream; an error of those who read the stream may not.
        """
        reason = masked(error.reason)
        if reason != error.reason:
            error = replace(error, reason=reason)
        self.count_in(error)
        if self._watch is not None:
            self._watch(ERRORS, error)
        if deliver and self.stream.read:
            self.stream.on_next(Batch([error], leases=leases))
        elif number <= LOGGED or str(number).strip("0") == "1":
            many = "" if number <= LOGGED else f" [{number:,} errors of this step so far; few of them are logged]"
            logger.warning("{}{}", error, many)

    def count_in(self, error: ErrorRecord) -> None:
        """Count an error record, which is all that is done with one that is skipped."""
        self.count += 1
        self.last.append(replace(error))  # without what was rejected, as it was

    def complete(self) -> None:
        """There will be no more to deliver."""
        self.stream.on_completed()
