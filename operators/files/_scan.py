"""Walking the watched folders: what is there now, folder by folder."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator

import msgspec

from rxpipe.elements import FileEvent
from rxpipe.operators.files._listing import Listing
from rxpipe.operators.files._match import Matcher
from rxpipe.operators.files._tree import Found, Identity, Tree, parent, state_of

_SETTLED = 3_000_000_000
"""Nanoseconds after which a folder's modification time can be trusted: a later change gets a later time."""

_QUIET = 60_000_000_000
"""Nanoseconds after which what did not change is looked at only in its turn, see `Scanner.sweep`."""

_AT_ONCE = 128
"""How many known paths are looked at between two yields."""


class Folder(msgspec.Struct):
    """One watched folder: where it is, below which root, and the folders in it."""

    path: str
    root: str
    relative: str
    identity: Identity
    folders: set[str] = msgspec.field(default_factory=set)
    mtime_ns: int = -1
    """Its modification time when it was last listed, if that can be trusted."""


class Scanner:
    """Walks roots and folders and notes in `found` what differs from what is known.

    Args:
        match: Which files and folders are meant.
        max_size: Files larger than this are left out.
        watch: Told of each folder or file before it is looked at, to have changes in it notified (True), and of what is
            no longer there (False).
        problem: Told of a path and what is wrong with it (None: nothing any more).
        written: Whether the run writes a file itself, which is then left out.
    """

    def __init__(
        self,
        match: Matcher,
        max_size: int | None,
        watch: Callable[[str, bool], None],
        problem: Callable[[str, str | None], None],
        written: Callable[[str], bool],
    ) -> None:
        self.tree = Tree(self.wanted, self.failed)
        self.roots: list[str] = []
        self.folders: dict[str, Folder] = {}
        self._match = match
        self._max_size = max_size
        self._watch = watch
        self._problem = problem
        self._written = written
        self._paths: dict[Identity, str] = {}
        self._failing: set[str] = set()

    def scan(self, paths: Iterable[str], found: Found, listed: set[str]) -> Iterator[None]:
        """Look at files and folders, the latter with all below; yields after each folder.

        Args:
            paths: Roots, or paths in watched folders; others are passed over.
            found: Takes what was seen.
            listed: Takes the folders that were listed.
        """
        found_links: Found = {}
        real = [folder for path in sorted(paths, reverse=True) if (folder := self._begin(path, found)) is not None]
        links: list[Folder] = []
        while real or links:
            folder = (real or links).pop()
            if folder.path in listed:
                continue
            for path, is_link in self._list(folder, found, found_links, listed):
                (links if is_link else real).append(self._child(folder, path))
            yield
        for path, state in found_links.items():
            found.setdefault(path, state)

    def sweep(
        self, paths: Iterable[str], found: Found, listed: set[str], turn: int = 0, turns: int = 1
    ) -> Iterator[None]:
        """Look at all that is known, then as `scan` does at paths and wherever something came or went.

        It costs one `stat` for each file and folder: a folder is listed only where its modification time is not that of
        its last listing. That finds every change where the times of folders can be trusted. Of several sweeps each
        looks at its share of the files and folders that have been quiet for a minute; once something came or went, at
        all folders: what left one may be in any other.

        Args:
            paths: As in `scan`.
            found: As in `scan`.
            listed: Takes the folders that were listed, or need not be.
            turn: Which of the sweeps this is.
            turns: How many sweeps share what is quiet.
        """
        changed: set[str] = set()
        quiet = time.time_ns() - _QUIET
        due, rest = list[Folder](), list[Folder]()
        for number, folder in enumerate(self.folders.values()):
            waits = number % turns != turn and 0 <= folder.mtime_ns < quiet
            (rest if waits else due).append(folder)
        yield from self._sweep_folders(due, changed)
        yield from self._sweep_files(found, changed, quiet, turn, turns)
        if changed:
            yield from self._sweep_folders(rest, changed)
        listed.update(self.folders.keys() - changed)
        yield from self.scan({*paths, *changed} - listed, found, listed)

    def _sweep_folders(self, folders: Iterable[Folder], changed: set[str]) -> Iterator[None]:
        """Find the folders that are not as they were when they were listed."""
        look = os.stat
        for number, folder in enumerate(folders, 1):
            path = folder.path
            try:
                now = look(path)
            except OSError:
                changed.add(path)
                continue
            if now.st_mtime_ns != folder.mtime_ns or (now.st_dev, now.st_ino) != folder.identity:
                changed.add(path)
            if number % _AT_ONCE == 0:
                yield

    def _sweep_files(self, found: Found, changed: set[str], quiet: int, turn: int, turns: int) -> Iterator[None]:
        """Find the files that were written to, and the folders of those that are no longer there."""
        look = os.stat
        for number, (path, (device, inode, size, mtime_ns)) in enumerate(self.tree.files.items()):
            if mtime_ns < quiet and number % turns != turn:
                continue
            try:
                now = look(path)
            except OSError:
                changed.add(parent(path))
                continue
            if now.st_ino != inode or now.st_dev != device:
                changed.add(parent(path))
            elif now.st_mtime_ns != mtime_ns or now.st_size != size:
                found[path] = state_of(now) if stat.S_ISREG(now.st_mode) else None
            if number % _AT_ONCE == 0:
                yield

    def written(self, path: str) -> FileEvent | None:
        """What happened to a known file that was written to, and to which nothing else happened, as most hints say.

        Raises:
            LookupError: There is more to find out, by a scan.
        """
        old = self.tree.files[path]
        try:
            now = os.stat(path)
        except OSError as error:
            raise LookupError(path) from error
        same = now.st_ino == old.inode and now.st_dev == old.device and stat.S_ISREG(now.st_mode)
        if not same or path in self._failing:
            raise LookupError(path)
        new = state_of(now)
        return None if new == old else self.tree.write(path, old, new)

    def forget_root(self, root: str, found: Found) -> None:
        """Leave a root that is watched no more; its files count as gone."""
        for folder in [folder for folder in self.folders.values() if folder.root == root]:
            self._gone(folder.path, found)
        if root in self.tree.files:
            found[root] = None
            self._watch(root, False)

    def wanted(self, path: str) -> bool:
        """Whether a file at this path is watched."""
        folder = self.folders.get(parent(path))
        if path in self.roots:
            return not self._written(path)
        if folder is None:
            return False
        name = path.rpartition("/")[2]
        meant = self._match.file(name, folder.relative + name) and (self._match.links or not os.path.islink(path))
        return meant and not self._written(path)

    def failed(self, path: str, error: OSError | None) -> None:
        """Note that a path cannot be looked at, or can again."""
        if error is None:
            if path in self._failing:
                self._failing.discard(path)
                self._problem(path, None)
        elif path not in self._failing:
            self._failing.add(path)
            self._problem(path, f"cannot be read: {error.strerror or error}")

    def _begin(self, path: str, found: Found) -> Folder | None:
        """Where a scan of a path starts: a folder to list, or nothing more to do."""
        above = self.folders.get(parent(path))
        if path not in self.roots and above is None and path not in self.folders:
            return None
        try:
            now = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            self._gone(path, found)
            return None
        except OSError as error:
            self.failed(path, error)
            return None
        self.failed(path, None)
        if stat.S_ISDIR(now.st_mode):
            if path in self.tree.files:
                found[path] = None
            return self._folder(path, above)
        if path in self.folders:
            self._gone(path, found)
        first = self.tree.first_name(path)
        if first is not None:
            found[first] = self.tree.look(first)
        elif path in self.tree.files or (self.wanted(path) and self._fits(path, now)):
            found[path] = state_of(now) if stat.S_ISREG(now.st_mode) else None
            if path in self.roots or os.path.islink(path):
                self._watch(path, True)
        return None

    def _folder(self, path: str, above: Folder | None) -> Folder | None:
        """A folder that exists, known or new; None if it is not to be looked into."""
        known = self.folders.get(path)
        if known is not None:
            return known
        if path in self.roots:
            return Folder(path, path, "", (0, 0))
        name = path.rpartition("/")[2]
        passed_over = not self._match.links and os.path.islink(path)
        if above is None or passed_over or not self._match.folder(name, above.relative + name):
            return None
        above.folders.add(path)
        return self._child(above, path)

    def _child(self, folder: Folder, path: str) -> Folder:
        name = path.rpartition("/")[2]
        return self.folders.get(path) or Folder(path, folder.root, f"{folder.relative}{name}/", (0, 0))

    def _is_double(self, folder: Folder, identity: Identity) -> bool:
        """Whether the folder is watched already, under another path (a link, a cycle)."""
        other = self._paths.get(identity, folder.path)
        if other == folder.path:
            return False
        try:
            there = os.stat(other)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == identity

    def _list(self, folder: Folder, found: Found, found_links: Found, listed: set[str]) -> Iterable[tuple[str, bool]]:
        """Compare a folder's files with what is known of them; returns its folders, and which are links."""
        try:
            now = os.stat(folder.path)
            if not self._enter(folder, (now.st_dev, now.st_ino), found):
                return ()
            listed.add(folder.path)
            listed_at = time.time_ns()
            listing = Listing(folder.path)
            entries = [entry for entry in listing.entries if self._match.links or not entry.is_symlink()]
        except (FileNotFoundError, NotADirectoryError):
            self._gone(folder.path, found)
            return ()
        except OSError as error:
            self.failed(folder.path, error)
            return ()
        self.failed(folder.path, None)
        plain = self._max_size is None and not any(entry.is_symlink() for entry in entries)
        folder.mtime_ns = now.st_mtime_ns if plain and listed_at - now.st_mtime_ns > _SETTLED else -1
        below: list[tuple[str, bool]] = []
        for entry in entries:
            try:
                self._compare(folder, entry, found_links if entry.is_symlink() else found, below)
            except FileNotFoundError:
                continue
            except OSError as error:
                folder.mtime_ns = -1
                self.failed(entry.path, error)
        if not listing.whole():
            listed.discard(folder.path)
        for path in self.tree.in_folder.get(folder.path, set()) - (listing.names & {entry.path for entry in entries}):
            found[path] = None
        for path in folder.folders - {path for path, _ in below}:
            self._gone(path, found)
        folder.folders = {path for path, _ in below}
        return below

    def _compare(self, folder: Folder, entry: os.DirEntry[str], found: Found, below: list[tuple[str, bool]]) -> None:
        path, name = entry.path, entry.name
        known = self.tree.files.get(path)
        if known is None:
            if entry.is_dir():
                if self._match.folder(name, folder.relative + name):
                    below.append((path, entry.is_symlink()))
                return
            meant = self._match.file(name, folder.relative + name) and entry.is_file()
            if not meant or self._written(path):
                return
        now = entry.stat()
        if known is not None and known == (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns):
            found.pop(path, None)
            return
        if not stat.S_ISREG(now.st_mode):
            found[path] = None
            if stat.S_ISDIR(now.st_mode):
                below.append((path, entry.is_symlink()))
        elif known is not None or self._fits(path, now):
            if entry.is_symlink():
                self._watch(path, True)
            found[path] = state_of(now)

    def _enter(self, folder: Folder, identity: Identity, found: Found) -> bool:
        """Begin to watch a folder, unless it is watched already; returns whether it is watched under this path."""
        known = self.folders.get(folder.path)
        if known is not None and known.identity == identity:
            return True
        if self._is_double(folder, identity):
            return False
        if known is not None:
            self._gone(folder.path, found)
        other = self._paths.get(identity)
        if other is not None:
            self._gone(other, found)
        folder.identity, folder.mtime_ns = identity, -1
        self.folders[folder.path] = folder
        self._paths[identity] = folder.path
        self._watch(folder.path, True)
        return True

    def _gone(self, path: str, found: Found) -> None:
        """A file or a folder with all below is no longer there."""
        if path in self.tree.files:
            found[path] = None
        folder = self.folders.pop(path, None)
        if folder is None:
            return
        self._watch(path, False)
        if self._paths.get(folder.identity) == path:
            del self._paths[folder.identity]
        for file in self.tree.in_folder.get(path, ()):
            found.setdefault(file, None)
        for below in folder.folders:
            self._gone(below, found)

    def _fits(self, path: str, now: os.stat_result) -> bool:
        if self._max_size is None or now.st_size <= self._max_size:
            if path in self._failing:
                self.failed(path, None)
            return True
        if path not in self._failing:
            self._failing.add(path)
            self._problem(path, f"left out: {now.st_size} bytes are more than max_size, {self._max_size}")
        return False
