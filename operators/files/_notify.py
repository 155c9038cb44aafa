"""Hints from the kernel that something happened to a path, through watchdog's binding of inotify; and where they fail.

Of watchdog the lowest layer is used, which is the same in its versions 6 and 7. Its observers cost three threads and a
delay for what is not needed here: `Tree.reconcile` finds out by itself what happened, a path is all it has to be told.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
import select
import struct
import sys
import threading
from collections import deque
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any

from rxpipe.errors import RxpipeError
from rxpipe.operators.files._ticker import Ticker

Hints = Callable[[AbstractSet[str], bool], None]
"""Takes paths where something happened, and whether some were lost."""

_HEADER = struct.Struct("iIII")
_IN_Q_OVERFLOW, _IN_IGNORED, _IN_EXCL_UNLINK = 0x4000, 0x8000, 0x04000000
_NAMES = (sys.getfilesystemencoding(), sys.getfilesystemencodeerrors())
_MOST = 1 << 18
"""Bytes of hints that are read at once."""

_WITHOUT_NOTIFICATIONS = frozenset(
    [
        "9p",
        "afs",
        "ceph",
        "cifs",
        "davfs",
        "drvfs",
        "gfs2",
        "glusterfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "prl_fs",
        "smb3",
        "smbfs",
        "vboxsf",
        "virtiofs",
        "vmhgfs",
    ]
)


class NotifyError(RxpipeError):
    """Notifications are not to be had; the message says why."""


class Inotify:
    """One inotify instance, waited for by the running loop; where none runs, by a thread.

    Args:
        post: Makes a call in the dataflow: at once where the loop waits, else handed over to its thread.
        hints: Called there.
        rest: Seconds from one batch of hints to the next, at least.
        loop: The running loop, if there is one.

    Raises:
        NotifyError: There is no inotify here, or no instance left.
    """

    def __init__(
        self,
        post: Callable[[Callable[[], None]], None],
        hints: Hints,
        rest: float = 0.0,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        try:
            from watchdog.observers import inotify_c as binding  # exists on Linux only

            bits = binding.InotifyConstants
            self._add, self._remove = binding.inotify_add_watch, binding.inotify_rm_watch
            changes = (
                bits.IN_MODIFY
                | bits.IN_ATTRIB
                | bits.IN_CREATE
                | bits.IN_DELETE
                | bits.IN_MOVED_FROM
                | bits.IN_MOVED_TO
            )
            self._mask = changes | bits.IN_DELETE_SELF | bits.IN_MOVE_SELF | _IN_EXCL_UNLINK
            self._fd = binding.inotify_init()
        except Exception as error:  # whatever is missing in this version or on this system
            msg = f"no inotify: {error}"
            raise NotifyError(msg) from error
        if self._fd < 0:
            raise NotifyError(_reason(ctypes.get_errno()))
        os.set_inheritable(self._fd, False)
        os.set_blocking(self._fd, False)
        self._post = post
        self._hints = hints
        self._paths: dict[Any, str] = {}
        self._watches: dict[str, Any] = {}
        self._read: deque[bytes] = deque()
        self._last: tuple[bytes, frozenset[str], bool] = (b"", frozenset(), False)
        try:
            wait: _Reader | _Thread = (
                _Thread(self._fd, self._take, rest) if loop is None else _Reader(self._fd, self._take, rest, loop)
            )
        except OSError as error:
            os.close(self._fd)
            msg = f"no descriptor to wait for notifications: {error.strerror}"
            raise NotifyError(msg) from error
        self._waiting = wait

    def add(self, path: str) -> None:
        """Have changes of a file, or in a folder, hinted at; again where another file took its place.

        Raises:
            NotifyError: The limit of watches is reached.
        """
        watch = self._add(self._fd, os.fsencode(path), self._mask)
        if watch < 0:
            number = ctypes.get_errno()
            if number in (errno.ENOSPC, errno.ENOMEM):
                raise NotifyError(_reason(number))
            return
        self._paths[watch] = path
        self._watches[path] = watch
        self._forget()

    def remove(self, path: str) -> None:
        """No more hints for a path."""
        watch = self._watches.pop(path, None)
        if watch is not None and self._paths.get(watch) == path:
            del self._paths[watch]
            self._remove(self._fd, watch)
            self._forget()

    def close(self) -> None:
        """No more hints at all."""
        if self._fd < 0:
            return
        self._waiting.close()
        os.close(self._fd)
        self._fd = -1

    def _take(self) -> bool:
        """Read hints and have them delivered; whether there were any."""
        try:
            self._read.append(os.read(self._fd, _MOST))
        except BlockingIOError:
            return False
        if len(self._read) == 1:
            self._post(self._deliver)
        return True

    def _deliver(self) -> None:
        """In the thread of the dataflow: which paths the hints are about."""
        while self._read:
            data = self._read.popleft()
            if data != self._last[0]:  # hints of a file that is written to again and again are the same
                self._last = (data, *self._hints_in(data))
            _, found, lost = self._last
            if self._fd >= 0 and (found or lost):
                self._hints(found, lost)

    def _hints_in(self, data: bytes) -> tuple[frozenset[str], bool]:
        """The paths that hints are about, and whether some were lost."""
        found: set[str] = set()
        lost = False
        at = 0
        while at < len(data):
            watch, mask, _, length = _HEADER.unpack_from(data, at)
            at += _HEADER.size + length
            lost = lost or bool(mask & _IN_Q_OVERFLOW)
            path = self._paths.get(watch)
            if path is None or mask & _IN_IGNORED:
                continue
            name = data[at - length : at].rstrip(b"\0")
            found.add(f"{path.rstrip('/')}/{name.decode(*_NAMES)}" if name else path)
        return frozenset(found), lost

    def _forget(self) -> None:
        """What hints of a watch are about may be another path now."""
        self._last = (b"", frozenset(), False)


class _Reader:
    """Has a running loop wait for a descriptor: between a change and its hints there is nothing but the loop.

    While there are hints in every rest, ticks alone have them taken: the loop would wake for the descriptor in vain.

    Raises:
        OSError: No descriptor is left.
    """

    def __init__(self, fd: int, take: Callable[[], bool], rest: float, loop: asyncio.AbstractEventLoop) -> None:
        self._take = take
        self._rest = rest
        self._loop = loop
        self._fd = fd
        self._due = 0.0
        self._ticker = Ticker(loop, self._rested)
        loop.add_reader(fd, self._readable)

    def _readable(self) -> None:
        now = self._loop.time()
        if now >= self._due:
            self._due = now + self._rest
            self._take()
        else:
            self._loop.remove_reader(self._fd)
            self._ticker.start(self._due - now, self._rest)

    def _rested(self) -> None:
        if not self._take():
            self._ticker.stop()
            self._loop.add_reader(self._fd, self._readable)

    def close(self) -> None:
        """Wait no more."""
        self._ticker.close()
        with contextlib.suppress(RuntimeError):  # the loop was closed first
            self._loop.remove_reader(self._fd)


class _Thread:
    """Waits for a descriptor in a thread."""

    def __init__(self, fd: int, take: Callable[[], bool], rest: float) -> None:
        self._take = take
        self._rest = rest
        self._fd = fd
        self._stop_read, self._stop_write = os.pipe()
        self._thread = threading.Thread(target=self._wait, name="rxpipe-inotify", daemon=True)
        self._thread.start()

    def _wait(self) -> None:
        events, stop = select.poll(), select.poll()
        events.register(self._fd, select.POLLIN)
        for poll in (events, stop):
            poll.register(self._stop_read, select.POLLIN)
        while True:
            events.poll()
            if stop.poll(0):
                return
            self._take()
            if stop.poll(self._rest * 1000):
                return

    def close(self) -> None:
        """End the thread."""
        os.write(self._stop_write, b"!")
        if self._thread is not threading.current_thread():
            self._thread.join()
        for descriptor in (self._stop_read, self._stop_write):
            os.close(descriptor)


def _reason(number: int) -> str:
    if number == errno.ENOSPC:
        return "the limit of inotify watches is reached; raise fs.inotify.max_user_watches"
    if number == errno.EMFILE:
        return "the limit of inotify instances is reached; raise fs.inotify.max_user_instances"
    return f"no inotify: {os.strerror(number)}"


def silent_filesystem(path: str, mounts: str = "/proc/self/mounts") -> str | None:
    """The type of the file system a path is on, if that does not notify of all changes (network, FUSE, shared)."""
    real = os.path.realpath(path)
    best, kind = "", ""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                _, point, found = line.split()[:3]
                point = point.encode("latin-1", "surrogateescape").decode("unicode_escape") if "\\" in point else point
                inside = real == point or real.startswith(point.rstrip("/") + "/")
                if inside and len(point) >= len(best):
                    best, kind = point, found
    except (OSError, ValueError):
        return None
    return kind if kind in _WITHOUT_NOTIFICATIONS or kind.split(".")[0] in ("fuse", "fuseblk") else None
