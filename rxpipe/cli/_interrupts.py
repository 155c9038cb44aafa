"""Ctrl-C and SIGTERM, while a run is under way."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

    from rxpipe.runtime.asyncrun import AsyncRun
    from rxpipe.runtime.output import Output

GRACE_SECONDS = 0.4
"""How long after its time a run that does not end, because a call blocks its thread, is ended from outside."""


PATIENCE_SECONDS = 1.0
"""How long after Ctrl-C the run says that it drains, if it still does."""


class Interrupts:
    """Ctrl-C and SIGTERM drain the run, a second one stops it.

    The signals are handled outside the loop: where a blocking call keeps the loop from turning (a full pipe, a user's
    function), the process is ended all the same. The next run goes on from the last checkpoint.
    """

    def __init__(self, run: AsyncRun, output: Output) -> None:
        from rxpipe.parameters.units import seconds

        self._run = run
        self._output = output
        self._drain_timeout = seconds(run.settings.drain_timeout)
        self._tasks: list[asyncio.Task[None]] = []
        self._watchdogs: list[threading.Timer] = []
        self.exit_code = 0

    def install(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._interrupted)

    def _interrupted(self, number: int, _: object) -> None:
        first = self.exit_code == 0
        self.exit_code = 128 + number
        allowed = GRACE_SECONDS + (self._drain_timeout if first else 0.0)
        watchdog = threading.Timer(allowed, self._abandon)
        watchdog.daemon = True
        watchdog.start()
        self._watchdogs.append(watchdog)
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            self._loop.call_soon_threadsafe(self._begin_drain if first else self._run.stop)

    def close(self) -> None:
        """The run has ended by itself."""
        for watchdog in self._watchdogs:
            watchdog.cancel()

    def _begin_drain(self) -> None:
        self._tasks.append(self._loop.create_task(self._drain()))

    def _abandon(self) -> None:
        """End the process as it is; the terminal is given back if a screen is shown."""
        if self._output.screen:
            os.write(self._output.stream.fileno(), b"\x1b[?1049l\x1b[?25h\x1b[0m")
        os.write(2, b"rxpipe: a call blocks the run: ended; the next run goes on from the last checkpoint\n")
        os._exit(self.exit_code)

    async def _drain(self) -> None:
        telling = self._loop.call_later(PATIENCE_SECONDS, self._tell)
        with contextlib.suppress(Exception):  # the run reports its failure itself
            await self._run.drain(self._drain_timeout)
        telling.cancel()

    def _tell(self) -> None:
        from rxpipe.log import logger
        from rxpipe.parameters.units import format_duration

        allowed = format_duration(self._drain_timeout)
        logger.info("finishing what was read, for {} at most; Ctrl-C again ends at once", allowed)
