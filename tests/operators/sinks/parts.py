"""What the tests of sinks share."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

from reactivex.subject import Subject

from rxpipe.context import entered
from rxpipe.testing import TestContext


class Running:
    """A sink that is subscribed: push elements, look at what came out."""

    def __init__(self, step: Any, states: Sequence[Any] = ()) -> None:
        self.context = TestContext(states)
        self.source: Subject[Any] = Subject()
        self.out: list[Any] = []
        self.done = False
        self.failed: Exception | None = None
        with entered(self.context):
            self.subscription = self.source.pipe(step).subscribe(
                self.out.append, self._fail, self._complete, scheduler=self.context.virtual
            )

    def _fail(self, error: Exception) -> None:
        self.failed = error

    def _complete(self) -> None:
        self.done = True

    def push(self, *elements: Any) -> None:
        for element in elements:
            self.source.on_next(element)

    def complete(self) -> None:
        self.source.on_completed()

    def stop(self) -> None:
        self.subscription.dispose()

    @property
    def reasons(self) -> list[str]:
        """Why records went to `errors`."""
        return [error.reason for error in self.context.errors]


@contextmanager
def full_disk() -> Iterator[None]:
    """No file can be written to."""

    def fail(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with mock.patch.object(os, "write", fail):
        yield
