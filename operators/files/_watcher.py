"""One running watch: when to look, and where."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from time import perf_counter
from typing import Any

from reactivex.abc import ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, SerialDisposable

from rxpipe.context import Context, Notifier
from rxpipe.elements import FileEvent
from rxpipe.log import logger
from rxpipe.operators.files._match import Matcher
from rxpipe.operators.files._notify import Inotify, NotifyError, silent_filesystem
from rxpipe.operators.files._paths import WatchedPaths
from rxpipe.operators.files._scan import Scanner
from rxpipe.operators.files._tree import Found, parent, turn
from rxpipe.scheduling.loop import BEHIND

_SLICE = 0.005
"""Seconds after which a long scan lets the rest of the dataflow have its turn."""

_ALL = 60.0
"""Seconds within which rescans look at each file and folder, also at those that have been quiet for long."""

_TURNS = 6
"""How many rescans share those."""

_PROVEN = 3
"""After how many rescans that found nothing that notifications had missed those share what is quiet."""

_FEW = 16
"""How many hints are followed at once, without a round."""


class Watcher:
    """One subscription of `watch`. Hints, timers and changed paths only say where to look; a round looks there."""

    def __init__(
        self,
        observer: ObserverBase[FileEvent],
        context: Context,
        scheduler: SchedulerBase,
        given: SchedulerBase | None,
        paths: WatchedPaths,
        match: Matcher,
        max_size: int | None,
        backend: str,
        rescan: float,
        poll: float,
        rest: float,
    ) -> None:
        self.observer = observer
        self.context = context
        self.scheduler = scheduler
        self.paths = paths
        self.backend = backend
        self.rescan_every = rescan
        self.poll_every = poll
        self.rest = rest
        self.scanner = Scanner(match, max_size, self._watch, self._problem, self._is_written)
        self.post = context.poster(given)
        self.disposables = CompositeDisposable(paths.listen(lambda: self.post(self._paths_changed)))
        self.timers = {"rescan": SerialDisposable(), "poll": SerialDisposable()}
        self.notify: Notifier | None = None
        self.reason = ""
        self.polled: set[str] = set()
        self.pending: set[str] = set()
        self.removed: list[str] = []
        self.unseen: set[str] = set()
        self.anchors: dict[str, set[str]] = {}
        self.warned: set[str] = set()
        self.left_out: set[str] = set()
        self.missed = 0
        self.rescanning = False
        self.lost = False
        self.turns = max(1, min(_TURNS, int(_ALL / rescan)))
        self.turn = 0
        self.clean = 0
        self.closed = False
        self._round: Iterator[None] | None = None
        self._scheduled = False
        self._started = False

    def start(self) -> None:
        """Begin with the first scan, in a turn of its own."""
        for timer in self.timers.values():
            self.disposables.add(timer)
        if self.context.once:
            self.reason = "the files are read once"
        elif self.backend == "polling":
            self.reason = "asked for"
        else:
            try:
                self.notify = self._notified()
            except NotifyError as error:
                self._fall_back(str(error))
        self._paths_changed()
        self._wake()

    def _notified(self) -> Notifier:
        """Notifications, taken by the running loop if there is one."""
        told = self.context.notifier(lambda paths: self._hinted(paths, False))
        if told is not None:
            return told
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return Inotify(self.post, self._hinted, self.rest)
        return Inotify(self.context.guarded, self._hinted, self.rest, loop)

    def close(self) -> None:
        """Stop timers and threads, for good."""
        self.closed = True
        self._round = None
        self.disposables.dispose()
        if self.notify is not None:
            self.notify.close()
            self.notify = None

    def status(self) -> dict[str, Any]:
        """How the files are watched, and how many."""
        used = {"inotify": self.notify is not None, "polling": self.notify is None or bool(self.polled)}
        return {
            "backend": " and ".join(name for name, yes in used.items() if yes),
            "reason": self.reason,
            "files": len(self.scanner.tree.files),
            "folders": len(self.scanner.folders),
            "missed": self.missed,
        }

    def look(self, paths: set[str]) -> None:
        """Look at some paths soon."""
        if paths and not self.closed:
            self.pending |= paths
            self._wake()

    def rescan(self) -> None:
        """Look at everything soon."""
        self.rescanning = True
        self.look(set(self.scanner.roots))

    def _hinted(self, paths: AbstractSet[str], lost: bool) -> None:
        """Take hints: of watched paths, and of what may become the way to a root that is not there yet."""
        if self.closed:
            return
        if len(paths) <= _FEW and self._started and self._round is None:
            paths = self._written(paths)
            if not paths and not lost:
                return
        known = self.scanner.folders
        roots = self.scanner.roots
        hints = {
            path
            for path in paths
            if path in known or path in roots or parent(path) in known or path in self.scanner.tree.files
        }
        for path in paths - hints:
            for root in self.anchors.get(parent(path), ()):
                if root == path or root.startswith(path + "/"):
                    hints.add(root)
        if lost:
            logger.warning("{}: notifications were lost; scanning all watched paths", self.context.name)
            self.lost = True
            self.rescan()
        self.pending |= hints
        if self.pending and not self._scheduled:
            self._turn()

    def _written(self, paths: AbstractSet[str]) -> set[str]:
        """Tell at once of known files that were written to, as a round does; returns the paths that need a round."""
        more: set[str] = set()
        events: list[FileEvent] = []
        for path in paths:
            try:
                event = self.scanner.written(path)
            except LookupError:
                more.add(path)
                continue
            if event is not None:
                events.append(event)
        if len(events) > 1:
            events.sort(key=turn)
        for event in events:
            self.observer.on_next(event)
        return more

    def _paths_changed(self) -> None:
        if self.closed:
            return
        wanted = self.paths()
        self.removed += [root for root in self.scanner.roots if root not in wanted]
        new = [root for root in wanted if root not in self.scanner.roots]
        self.scanner.roots = wanted
        self.unseen |= set(new)
        for root in new:
            kind = silent_filesystem(root) if self.backend == "auto" and isinstance(self.notify, Inotify) else None
            if kind is not None:
                self._poll(root, f"file system {kind} does not notify")
        if self._started and self.polled:
            self._repeat("poll", self.poll_every)
        self.look(set(wanted) if self.removed else set(new))
        if self.removed:
            self._wake()

    def _poll(self, root: str, reason: str) -> None:
        self.polled.add(root)
        self.reason = reason
        logger.info("{}: polling {} every {:g} s: {}", self.context.name, root, self.poll_every, reason)

    def _fall_back(self, reason: str) -> None:
        """No notifications, or no more of them: poll everything."""
        if self.notify is not None:
            self.notify.close()
            self.notify = None
        self.reason = reason
        logger.warning("{}: polling every {:g} s: {}", self.context.name, self.poll_every, reason)
        if self._started:
            self._set_timers()

    def _watch(self, path: str, wanted: bool) -> None:
        if self.notify is None:
            return
        if not wanted:
            self.notify.remove(path)
        elif not any(path == root or path.startswith(root + "/") for root in self.polled):
            try:
                self.notify.add(path)
            except NotifyError as error:
                self._fall_back(str(error))

    def _problem(self, path: str, reason: str | None) -> None:
        if reason is None:
            logger.info("{}: {} can be read again", self.context.name, path)
        else:
            self.context.reject(reason, path=path, start=0, end=0)

    def _is_written(self, path: str) -> bool:
        """Whether a file is one that the run writes itself; said once of each."""
        file = self.context.written.at(path)
        if file is not None and file not in self.left_out:
            self.left_out.add(file)
            logger.info("{}: {} is written by this run: left out", self.context.name, file)
        return file is not None

    def _wake(self) -> None:
        if not self._scheduled and not self.closed:
            self._scheduled = True
            self.scheduler.schedule_relative(BEHIND, self._turn)

    def _turn(self, *_: Any) -> None:
        """Go on with the round, for one slice of time."""
        self._scheduled = False
        until = perf_counter() + _SLICE
        while not self.closed and (self._round is not None or self.pending or self.removed or not self._started):
            if self._round is None:
                self._round = self._look_around()
            for _step in self._round:
                if self.closed:
                    return
                if perf_counter() > until:
                    self._wake()
                    return
            self._round = None

    def _look_around(self) -> Iterator[None]:
        """One round: look where something may have happened, and emit what did."""
        looked, self.pending = self.pending, set()
        removed, self.removed = self.removed, []
        unseen, self.unseen = self.unseen & looked, self.unseen - looked
        rescanning, self.rescanning = self.rescanning, False
        found: Found = {}
        listed: set[str] = set()
        missed = self.missed
        for root in removed:
            self.polled.discard(root)
            self.scanner.forget_root(root, found)
        if rescanning and self.notify is not None and not self.polled:
            turns = self.turns if self.clean >= _PROVEN and not self.lost else 1
            self.lost = False
            self.turn = (self.turn + 1) % turns
            yield from self.scanner.sweep(looked, found, listed, self.turn, turns)
        else:
            yield from self.scanner.scan(looked, found, listed)
        for event in self.scanner.tree.reconcile(found, listed):
            paths = {event.path, event.old_path}
            if rescanning and self.notify is not None and not (paths & looked or paths & self.pending):
                self.missed += 1
            known = event.kind == "create" and bool(unseen) and self._root_of(event.path) in unseen
            self.observer.on_next(event._replace(known=True) if known else event)
            yield
        if rescanning:
            self.clean = self.clean + 1 if self.missed == missed else 0
        if unseen:
            self._warn_missing(unseen)
        if not self._started:
            self._started = True
            if self.context.once:
                self.close()
                self.observer.on_completed()
                return
            self._set_timers()
        self._anchor()

    def _root_of(self, path: str) -> str:
        folder = self.scanner.folders.get(parent(path))
        return path if folder is None or path in self.scanner.roots else folder.root

    def _warn_missing(self, roots: set[str]) -> None:
        for root in sorted(roots - self.warned):
            if not os.path.exists(root):
                self.warned.add(root)
                waits = "" if self.context.once else "; waiting for it"
                logger.warning("{}: {} does not exist{}", self.context.name, root, waits)

    def _anchor(self) -> None:
        """Have the nearest existing folder above each root that is missing, or a file, watched for its coming."""
        if self.notify is None:
            return
        before, self.anchors = self.anchors, {}
        for root in self.scanner.roots:
            if root in self.scanner.folders:
                continue
            above = parent(root)
            while not os.path.isdir(above):
                above = parent(above)
            self.anchors.setdefault(above, set()).add(root)
        for folder in before.keys() - self.anchors.keys():
            if folder not in self.scanner.folders:
                self.notify.remove(folder)
        for folder in self.anchors.keys() - before.keys():
            self._watch(folder, True)
            self.look({root for root in self.anchors[folder] if os.path.exists(root)})

    def _set_timers(self) -> None:
        self._repeat("poll", self.poll_every)
        self._repeat("rescan", self.rescan_every)

    def _repeat(self, name: str, seconds: float) -> None:
        """Set a timer again; with nothing to poll, or nothing but that, there is only one."""

        def due(*_: Any) -> None:
            if self.closed:
                return
            if name == "rescan":
                self.rescan()
            else:
                self.look(set(self.scanner.roots) if self.notify is None else set(self.polled))
            self._repeat(name, seconds)

        wanted = self.notify is not None if name == "rescan" else self.notify is None or bool(self.polled)
        if wanted:
            self.timers[name].disposable = self.scheduler.schedule_relative(seconds, due)
