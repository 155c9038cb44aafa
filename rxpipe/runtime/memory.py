"""How a process that does nothing but run a graph keeps its memory."""

from __future__ import annotations

import atexit
import gc

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # mallopt(3), malloc.h of glibc
_KEPT = 64 * 1024 * 1024
_LARGEST = 32 * 1024 * 1024


def tune() -> None:
    """Keep what is freed for the next block, and look for garbage seldom.

    Every block is a quarter of a megabyte, and glibc gives such a piece back to the system as soon as it is freed: each
    byte of the next one then costs a page fault, a fifth of the time of a backlog. Records make no reference cycles,
    and what is loaded by now stays: looking for garbage often would cost another tenth. At the end of the process
    nothing is looked through for what may be freed: the system takes it all, which saves a fiftieth of a backlog.

    Threads share one arena: that of a thread of its own grows by single pages, each with a call of the system, which
    made half of the time of writing thousands of records as JSON. They hardly ever allocate at the same time.
    """
    gc.freeze()
    gc.enable()
    gc.set_threshold(50_000, 20, 50)
    atexit.register(gc.freeze)
    try:
        import ctypes  # a Python may be built without it

        mallopt = ctypes.CDLL(None).mallopt
    except (ImportError, OSError, AttributeError):  # no glibc: nothing to tune
        return
    mallopt(_MMAP_THRESHOLD, _LARGEST)
    mallopt(_TRIM_THRESHOLD, _KEPT)
    mallopt(_ARENA_MAX, 1)
