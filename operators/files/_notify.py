"""Hints from the kernel that something happened to a path, through watchdog's binding of inotify; and where they fail.

Of watchdog the lowest layer is used, which is the same in its versions 6 and 7. Its observers cost three threads and a
delay for what is not needed here: `Tree.reconcile` finds out by itself what happened, a path is all it has to be told.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import struct
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

from rxpipe.errors import RxpipeError

Hints = Callable[[set[str], bool], None]
"""Takes paths where something happened, and whether some were lost."""

_HEADER = struct.Struct("iIII")
_IN_Q_OVERFLOW, _IN_IGNORED, _IN_EXCL_UNLINK = 0x4000, 0x8000, 0x04000000
_GATHER, _REST = 1, 4
"""Milliseconds for which the thread gathers hints before it hands them over, and rests while there are many."""
_BUSY = 0.02
"""Seconds between two batches of hints below which there are many."""

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
    """One inotify instance and the thread that waits for it.

    Args:
        post: Hands a call to the thread of the dataflow.
        hints: Called there.

    Raises:
        NotifyError: There is no inotify here, or no instance left.
    """

    def __init__(self, post: Callable[[Callable[[], None]], None], hints: Hints) -> None:
        try:
            from watchdog.observers import inotify_c as binding  # noqa: PLC0415  # exists on Linux only

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
        self._stop_read, self._stop_write = os.pipe()
        self._post = post
        self._hints = hints
        self._paths: dict[Any, str] = {}
        self._watches: dict[str, Any] = {}
        self._read: deque[bytes] = deque()
        self._thread = threading.Thread(target=self._wait, name="rxpipe-inotify", daemon=True)
        self._thread.start()

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

    def remove(self, path: str) -> None:
        """No more hints for a path."""
        watch = self._watches.pop(path, None)
        if watch is not None and self._paths.get(watch) == path:
            del self._paths[watch]
            self._remove(self._fd, watch)

    def close(self) -> None:
        """End the thread."""
        if self._fd < 0:
            return
        os.write(self._stop_write, b"!")
        if self._thread is not threading.current_thread():
            self._thread.join()
        for descriptor in (self._fd, self._stop_read, self._stop_write):
            os.close(descriptor)
        self._fd = -1

    def _wait(self) -> None:
        """The thread: wait, gather, hand over."""
        events, stop = select.poll(), select.poll()
        events.register(self._fd, select.POLLIN)
        for poll in (events, stop):
            poll.register(self._stop_read, select.POLLIN)
        last = 0.0
        while True:
            events.poll()
            if stop.poll(_GATHER):
                return
            try:
                self._read.append(os.read(self._fd, 1 << 18))
            except BlockingIOError:
                continue
            if len(self._read) == 1:
                try:
                    self._post(self._deliver)
                except RuntimeError:  # the loop was closed first
                    return
            now = monotonic()
            if now - last < _BUSY and stop.poll(_REST):
                return
            last = now

    def _deliver(self) -> None:
        """In the thread of the dataflow: which paths the hints are about."""
        found: set[str] = set()
        lost = False
        while self._read:
            data = self._read.popleft()
            at = 0
            while at < len(data):
                watch, mask, _, length = _HEADER.unpack_from(data, at)
                at += _HEADER.size + length
                lost = lost or bool(mask & _IN_Q_OVERFLOW)
                path = self._paths.get(watch)
                if path is None or mask & _IN_IGNORED:
                    continue
                name = data[at - length : at].rstrip(b"\0")
                found.add(os.path.join(path, os.fsdecode(name)) if name else path)
        if self._fd >= 0 and (found or lost):
            self._hints(found, lost)


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
