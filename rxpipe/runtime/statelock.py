"""The lock of a state file: one run at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from rxpipe.errors import StateError


def identity(found: os.stat_result) -> tuple[int, int]:
    """What tells a file from any other, whatever their names."""
    return found.st_dev, found.st_ino


def locked(path: Path) -> int:
    """Lock the file beside the state file; the kernel lets go of it when the process ends, however it ends.

    Raises:
        StateError: Another run has it.
    """
    descriptor = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = (os.read(descriptor, 32).decode("ascii", "replace").split() or ["unknown"])[0]
        os.close(descriptor)
        msg = f"state file {path}: in use by another run, process {holder}; stop it, or name another file with --state"
        raise StateError(msg) from None
    except BaseException:
        os.close(descriptor)
        raise
    # in this order a reader never finds it empty, nor an old number behind ours
    written = os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    os.ftruncate(descriptor, written)
    return descriptor
