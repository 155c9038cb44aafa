"""Ticks that come when they are due: a loop's own timers wait for whole milliseconds."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import time
from collections.abc import Callable

_NONBLOCK, _CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC  # timerfd_create(2): its flags have these values
_NANOSECONDS = 1_000_000_000


class _Times(ctypes.Structure):
    """`struct itimerspec` of timerfd_create(2): the time between two ticks and that to the first, 0 to stop."""

    _fields_ = (
        ("every_s", ctypes.c_long),
        ("every_ns", ctypes.c_long),
        ("first_s", ctypes.c_long),
        ("first_ns", ctypes.c_long),
    )


class Ticker:
    """Calls at a pace while it is started, waited for by a loop as it waits for any descriptor.

    Args:
        loop: The loop.
        tick: What is called.

    Raises:
        OSError: No descriptor is left.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, tick: Callable[[], None]) -> None:
        self._loop = loop
        self._tick = tick
        self._library = ctypes.CDLL(None, use_errno=True)
        self._fd = self._library.timerfd_create(time.CLOCK_MONOTONIC, _NONBLOCK | _CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        loop.add_reader(self._fd, self._due)

    def start(self, first: float, every: float) -> None:
        """Tick in `first` seconds, and then every so many, until it is stopped."""
        self._set(max(1, round(first * _NANOSECONDS)), max(1, round(every * _NANOSECONDS)))

    def stop(self) -> None:
        """Tick no more."""
        self._set(0, 0)

    def close(self) -> None:
        """Tick no more, for good."""
        with contextlib.suppress(RuntimeError):  # the loop was closed first
            self._loop.remove_reader(self._fd)
        os.close(self._fd)

    def _set(self, first: int, every: int) -> None:
        times = _Times(every // _NANOSECONDS, every % _NANOSECONDS, first // _NANOSECONDS, first % _NANOSECONDS)
        self._library.timerfd_settime(self._fd, 0, ctypes.byref(times), None)

    def _due(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:  # stopped meanwhile
            return
        self._tick()
