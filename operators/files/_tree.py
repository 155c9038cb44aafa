"""What is known of the watched files, and the one place that compares it with what is there now."""

from __future__ import annotations

import os
import stat
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import TypeVar

from rxpipe.elements import FileEvent, FileState
from rxpipe.operators.files._codecs import is_packed
from rxpipe.operators.files._listing import LISTINGS, Listing, listing_of
from rxpipe.operators.files._rotation import generation

Identity = tuple[int, int]
Found = dict[str, FileState | None]
"""What was seen at paths: the state of a regular file, or None where there is none."""

_COMING = frozenset({"delete", "rename", "create"})
"""The kinds of events that say where a file is."""

T = TypeVar("T")


def parent(path: str) -> str:
    """The folder a path is in."""
    return path.rpartition("/")[0] or "/"


def state_of(found: os.stat_result) -> FileState:
    """The part of a `stat` that matters."""
    return FileState(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


class Tree:
    """The known files. `reconcile` takes what was seen and returns what happened, each change once.

    A file is known by device and inode. One that vanishes from a path and is found at another, not shorter, was renamed
    (a shorter one is another file, which was given the inode of a removed one); one with several names (hard or
    symbolic links) is known by the first of them only.

    Args:
        wanted: Whether a path belongs to what is watched.
        failed: Told of a path that cannot be looked at, and why (None: it can again).
    """

    def __init__(self, wanted: Callable[[str], bool], failed: Callable[[str, OSError | None], None]) -> None:
        self.files: dict[str, FileState] = {}
        self.names: dict[Identity, str] = {}
        self.in_folder: dict[str, set[str]] = {}
        self._other_names: dict[Identity, set[str]] = {}
        self._wanted = wanted
        self._failed = failed

    def look(self, path: str) -> FileState | None:
        """The state of the regular file at a path now; where that cannot be told, what is known of it."""
        try:
            found = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            self._failed(path, error)
            return self.files.get(path)
        return state_of(found) if stat.S_ISREG(found.st_mode) else None

    def first_name(self, path: str) -> str | None:
        """The name under which a file with several names is known, if `path` is another one of them."""
        for identity, others in self._other_names.items():
            if path in others:
                return self.names.get(identity)
        return None

    def reconcile(self, found: Found, listed: Iterable[str] = ()) -> list[FileEvent]:
        """Make known what was found and tell the difference.

        Args:
            found: What was seen; paths that are not in it are looked at where that matters.
            listed: Folders of which `found` has every change, so that they need not be searched for a renamed file.
        """
        files = self.files
        changed = {path: new for path, new in found.items() if files.get(path) != new}
        if not changed:
            return []
        links: dict[Identity, list[str]] = {}
        searched = set(listed)
        for left in reversed(range(LISTINGS)):
            listings = self._follow(changed, searched, links)
            seen = changed.copy()
            moved, others = self._moves(changed)
            gone = [path for path in changed if path not in moved and self._left(path, changed)]
            if not gone or not left:
                break
            if copies := self._copies(gone, changed, listings):
                changed |= copies
            elif self._stands(seen, changed):
                break
            else:
                searched.clear()  # what was found there was moved meanwhile
        for path in others:
            changed[path] = None
        events = _events(files, changed, moved)
        for path in changed:
            self._forget(path)
        for path, new in changed.items():
            if new is not None:
                self._learn(path, new)
        return events

    def write(self, path: str, old: FileState, new: FileState) -> FileEvent:
        """Make known that a file was written to, and tell."""
        self.files[path] = new
        return _written(path, old, new)

    def _stands(self, seen: Found, changed: Found) -> bool:
        """Look again at what was found, and maybe looked at since it was seen; whether each file is where it was."""
        before = changed.copy()
        for path, new in before.items():
            if new is not None:
                changed[path] = self.look(path)
        found = (*seen.items(), *before.items())
        return all(new is None or _identity(changed[path]) == new.identity for path, new in found)

    def _copies(self, gone: Iterable[str], changed: Found, listings: dict[str, Listing | None]) -> Found:
        """What is new of compressed files of the logs of files that are gone: what one became is there before that."""
        logs = {generation(path).log for path in gone if not is_packed(path)}
        copies: Found = {}
        for folder in {parent(log) for log in logs}:
            listing = listings.get(folder)
            beside = {*self.in_folder.get(folder, ()), *(() if listing is None else listing.names)}
            for path in filter(is_packed, beside - changed.keys()):
                if generation(path).log in logs and self._wanted(path):
                    found = self.look(path)
                    if found != self.files.get(path):
                        copies[path] = found
        return copies

    def _follow(self, changed: Found, listed: set[str], links: dict[Identity, list[str]]) -> dict[str, Listing | None]:
        """Look for the files that left their path: under their other names, and beside.

        Others may be moved meanwhile, also one that was found before: it is looked for, too.

        Returns:
            The folders that were listed, as they were when that was last done.
        """
        arrived = {new.identity for new in changed.values() if new is not None}
        listings: dict[str, Listing | None] = {}
        last: dict[str, Listing | None] = {}
        found: Counter[Identity] = Counter()
        left = deque(path for path in changed if self._left(path, changed))
        for _ in range(LISTINGS):
            missing: list[str] = []
            while left:
                path = left.popleft()
                identity = self.files[path].identity
                if identity in arrived or found[identity] == LISTINGS:
                    continue
                names = links.setdefault(identity, sorted(self._other_names.pop(identity, ())))
                other = self._whereabouts(parent(path), identity, names, listed, listings)
                if other is None:
                    missing.append(path)
                    continue
                found[identity] += 1
                gone, changed[other[0]] = changed.get(other[0]), other[1]
                arrived.add(identity)
                homes = [other[0]]
                if gone is not None and gone.identity != identity:
                    arrived.discard(gone.identity)
                    homes += [home for home in [self.names.get(gone.identity)] if home in changed]
                left += [home for home in homes if self._left(home, changed)]
            last |= listings
            listings = {folder: made for folder, made in listings.items() if made is None or made.whole()}
            left += [path for path in missing if parent(path) not in listings and parent(path) not in listed]
            if not left:
                break
        return last

    def _left(self, path: str, changed: Found) -> bool:
        old, new = self.files.get(path), changed[path]
        return old is not None and (new is None or new.identity != old.identity)

    def _whereabouts(
        self, folder: str, identity: Identity, names: list[str], listed: set[str], listings: dict[str, Listing | None]
    ) -> tuple[str, FileState] | None:
        """Where a file is now that was in a folder, and its state, if it can be found; it may have some other names."""
        if folder not in listed and folder not in listings:
            listings[folder] = listing_of(folder)
        listing = listings.get(folder)
        beside = () if listing is None else filter(self._wanted, listing.with_inode(identity[1]))
        for other in (*names, *beside):
            new = self.look(other)
            if new is not None and new.identity == identity:
                return other, new
        return None

    def _moves(self, changed: Found) -> tuple[dict[str, str], set[str]]:
        """Which files moved (from old to new path), and which paths are only other names of a known file."""
        moved: dict[str, str] = {}
        others: set[str] = set()
        taken: dict[Identity, str] = {}
        work = deque(changed)
        while work:
            path = work.popleft()
            new, old = changed[path], self.files.get(path)
            if new is None or (old is not None and old.identity == new.identity):
                continue
            home = self.names.get(new.identity)
            first = taken.get(new.identity)
            if home is not None and home != path and first is None:
                now = self.look(home)
                if home not in changed:
                    work.append(home)
                changed[home] = now
                if now is not None and now.identity == new.identity:
                    first = home
                elif new.size >= self.files[home].size:
                    moved[home] = path
            if first is not None and first != path:
                others.add(path)
                self._other_names.setdefault(new.identity, set()).add(path)
            else:
                taken[new.identity] = path
        # where one went nothing may be any more, or another one, since it was looked at again
        there = {home: path for home, path in moved.items() if _identity(changed[path]) == self.files[home].identity}
        return there, others

    def _forget(self, path: str) -> None:
        old = self.files.pop(path, None)
        if old is None:
            return
        if self.names.get(old.identity) == path:
            del self.names[old.identity]
        self.in_folder[parent(path)].discard(path)

    def _learn(self, path: str, new: FileState) -> None:
        self.files[path] = new
        self.names[new.identity] = path
        self.in_folder.setdefault(parent(path), set()).add(path)


def _identity(state: FileState | None) -> Identity | None:
    return None if state is None else state.identity


def _events(files: dict[str, FileState], changed: Found, moved: dict[str, str]) -> list[FileEvent]:
    """The events that lead from what was known to what was found: removals, renames, then the rest, each by path.

    Of the rest the files of a log that is rotated come in the order of their last change. Where a file seems to have
    been compressed, what happened to compressed files comes first: what it became is there before it is gone.
    """
    came_from = {to: path for path, to in moved.items()}
    removed: list[FileEvent] = []
    rest: list[FileEvent] = []
    for path in sorted(changed):
        old, new = files.get(path), changed[path]
        if old is not None and new is not None and old.identity == new.identity:
            if old != new:
                rest.append(_written(path, old, new))
            continue
        if old is not None and path not in moved:
            if new is not None and path not in came_from:
                rest.append(FileEvent("replace", path, old, new))
                continue
            removed.append(FileEvent("delete", path, old))
        if new is not None and path not in came_from:
            rest.append(FileEvent("create", path, None, new))
    if len(rest) > 1:
        rest.sort(key=turn)
    renames = _renames(files, changed, moved, came_from)
    events = removed + renames + rest
    if _compressing(removed, renames, rest):
        events.sort(key=lambda event: not (is_packed(event.path) and event.kind in _COMING))
    return events


def _compressing(removed: list[FileEvent], renames: list[FileEvent], rest: list[FileEvent]) -> bool:
    """Whether a removed file may have been compressed, and no compressed one needs room that others make."""
    logs = {generation(event.path).log for event in rest if event.kind == "create" and is_packed(event.path)}
    gone = (*removed, *(event for event in rest if event.kind == "replace"))
    compressed = any(generation(event.path).log in logs and not is_packed(event.path) for event in gone)
    return compressed and all(is_packed(event.path) for event in renames if is_packed(event.old_path or ""))


def turn(event: FileEvent) -> tuple[str, int, int, str]:
    """In which order files that were written to are told of: those of a log that is rotated, by their last change."""
    log, age = generation(event.path)
    return (log, 0 if event.new is None else event.new.mtime_ns, age, event.path)


def _written(path: str, old: FileState, new: FileState) -> FileEvent:
    return FileEvent("truncate" if new.size < old.size else "modify", path, old, new)


def _renames(
    files: dict[str, FileState], changed: Found, moved: dict[str, str], came_from: dict[str, str]
) -> list[FileEvent]:
    """The renames, each behind that which made room for it."""
    renamed: dict[str, FileEvent] = {}
    for path in sorted(came_from):
        chain = [path]
        while chain[-1] in moved and moved[chain[-1]] not in renamed and moved[chain[-1]] not in chain:
            chain.append(moved[chain[-1]])
        for to in reversed(chain):
            if to not in renamed:
                origin = came_from[to]
                renamed[to] = FileEvent("rename", to, files[origin], changed[to], origin)
    return list(renamed.values())
