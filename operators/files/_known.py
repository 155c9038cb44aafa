"""Which files a reader knows: where they are, where they were, and what is saved of them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator

import msgspec

from rxpipe.context import Change, Context
from rxpipe.elements import FileEvent, FileState
from rxpipe.operators.files._codecs import is_packed
from rxpipe.operators.files._leaving import Leaving
from rxpipe.operators.files._listing import Listing, listing_of
from rxpipe.operators.files._logs import Logs
from rxpipe.operators.files._rotation import generation
from rxpipe.operators.files._tail import Row, Tail
from rxpipe.operators.files._tree import parent

_STARTED = b"\0started"
_BEFORE = "before"
"""How the parts of a path's state begin that are rows of files that were there before, and are not yet done with."""

_SHOWN = {"offset": "offset", "size": "size", "mtime_ns": "changed_ns"}
_HOLDS = f"offset of a file: {', '.join(_SHOWN.get(name, '-') for name in Row.__struct_fields__)}"
"""What a row is, and which of its parts tell a person something; see `Context.state`."""


class Known:
    """The files of one reader, and their rows in the state.

    Args:
        context: Where the rows are kept.
        follow: Whether a renamed file is read on.
        from_end: Whether files that were there before the first run are read from their end.
        dirty: Called with a file that may have something to read, and its size as far as known.
    """

    def __init__(self, context: Context, dirty: Callable[[Tail, int], None], *, follow: bool, from_end: bool) -> None:
        self.live: dict[str, Tail] = {}
        self.by_identity: dict[tuple[int, int], Tail] = {}
        self.leaving = Leaving(context.now, self.note)
        self.logs = Logs()
        self._listed: Listing | None = None
        """The last folder that was listed, as it was."""
        self._settled = False
        self._dirty = dirty
        self._follow = follow
        self._changed: set[str] = set()
        saved = context.state("source", self.changes, _HOLDS)
        self._persistent = saved.persistent
        rows = list(saved.items())
        restored = list(self._restored(rows))
        self.saved = {path: row for path, part, row in restored if not part}
        self._saved_at: dict[tuple[int, int], list[str]] = {}
        for path, row in self.saved.items():
            self._saved_at.setdefault((row.device, row.inode), []).append(path)
        self._from_end = self._note_start = from_end and not rows
        self._before: dict[str, set[str]] = {}
        """By path: the parts of its state that are saved of files that were there before."""
        for path, part, row in sorted((one for one in restored if one[1]), key=lambda one: one[1]):
            self._before.setdefault(path, set()).add(part)
            self._lose(path, row)

    @staticmethod
    def _restored(rows: list[tuple[bytes, str, bytes]]) -> Iterator[tuple[str, str, Row]]:
        """The saved rows, with path and part; a file comes to life when it turns up."""
        decode = msgspec.msgpack.Decoder(Row).decode
        for key, part, value in rows:
            if key != _STARTED:
                yield os.fsdecode(key), part, decode(value)

    def _lose(self, path: str, row: Row, since: float | None = None) -> Tail | None:
        """A saved file is not where it was; the file, unless nothing was read of it: there is nothing to remember."""
        if not row.offset and row.packed is None:
            self.note(path)
            return None
        tail = self.logs.add(Tail.restored(path, row))
        self.by_identity.setdefault(tail.identity, tail)  # a live one may have its inode by now
        self.leaving.lose(tail, since)
        return tail

    def changes(self) -> Iterator[Change]:
        """The rows that changed since the last checkpoint."""
        changed, self._changed = self._changed, set()
        if self._note_start:
            self._note_start = False
            yield _STARTED, "", b"\xc0"
        for path in changed:
            key = os.fsencode(path)
            there = {f"{_BEFORE} {number:03}": tail for number, tail in enumerate(self.leaving.at(path))}
            if path not in self.saved:  # else what is saved stands until the file turns up
                yield key, "", _packed(self.live.get(path))
            for part in self._before.pop(path, set()) - there.keys():
                yield key, part, None
            for part, tail in there.items():
                yield key, part, _packed(tail)
            if there:
                self._before[path] = set(there)

    def on_event(self, event: FileEvent) -> None:
        """Take note of an event."""
        if event.kind == "delete" or event.new is None:
            self._left(event.path)
            return
        if event.kind == "rename" and event.old_path is not None:
            tail = self.by_identity.get(event.new.identity)
            if tail is None or tail.path != event.path:
                self._renamed(event.old_path, event.path, event.new)
        elif event.kind == "replace":
            self._replaced(event.path, event.new)
        self._seen(event.path, event.new, known=event.known)

    def settle(self, left: Callable[[float], float]) -> float:
        """What was saved and did not turn up is gone, unless it is still there and only not watched: looked at once.

        Args:
            left: For how many seconds more what was lost at a time is waited for.

        Returns:
            After how many seconds to ask again; 0 if there is nothing more to wait for.
        """
        if not self._settled:
            self._settled = True
            for path in [path for path, row in self.saved.items() if not _is_there(path, row)]:
                self._lose(path, self.saved.pop(path), -math.inf)
        for tail in self.leaving.overdue(left):
            self._remove(tail)
        return self.leaving.due(left)

    @property
    def unsettled(self) -> bool:
        """Whether something was saved that did not turn up yet."""
        return self.leaving.any_lost or bool(self.saved)

    def note(self, path: str) -> None:
        """Save the row of a path with the next checkpoint."""
        if self._persistent:
            self._changed.add(path)

    def original(self, copy: Tail, beginning: bytes) -> Tail | None:
        """The file of the same log that begins as what is compressed in another one; if it was lost, it is gone now."""
        for path in [path for path in self.saved if path.startswith(copy.log) and generation(path).log == copy.log]:
            if _is_there(path, self.saved[path]):
                self._unsaved(path)
            else:
                self._lose(path, self.saved.pop(path))
        for tail in self.logs.plain(copy.log):
            if tail.begins(beginning, self._unread_at(tail)):
                if self.leaving.is_lost(tail) and not any(tail.same_at(path) for path in self._beside(tail)):
                    self._remove(tail)
                return tail
        return None

    def _unread_at(self, tail: Tail) -> list[str]:
        """Where a file may be of which nothing was read, and will not be before its copy: it waits, or is elsewhere."""
        passed = not tail.queued and tail.size < 0
        return [tail.path, *self._beside(tail)] if not tail.offset and (passed or self.leaving.waits(tail)) else []

    def has_plain(self, log: str) -> bool:
        """Whether a file of a log is known that is not compressed."""
        return bool(self.logs.plain(log)) or any(
            path.startswith(log) and generation(path).log == log for path in self.saved
        )

    def done(self, tail: Tail) -> Tail | None:
        """A file that is gone is done with; returns the file whose way is free now."""
        self.logs.remove(tail)
        return self._release(tail, tail.path)

    def outlived(self, tail: Tail) -> bool:
        """Note what was read of a file whose content is another by now; whether it may turn up compressed.

        It may where files of its log are compressed: a new file has the inode of one that was removed, and the
        compressed one is not told of yet. The new content waits until that one is, or is not for a while.
        """
        if tail.packed is not None or tail.gone or not self._has_packed(tail.log):
            return False
        self.leaving.lose(self.logs.add(Tail.restored(tail.path, tail.row())))
        return True

    def awaits_copy(self, tail: Tail) -> bool:
        """Whether a file, of which all was read and which is gone, may turn up compressed: it is lost for now."""
        if tail.packed is not None or not tail.offset or tail.sought or not self._has_packed(tail.log):
            return False
        tail.dirty = False
        self.leaving.lose(tail)
        return True

    def _has_packed(self, log: str) -> bool:
        """Whether files of a log are compressed: whether one is known, or was."""
        return self.logs.compresses(log) or any(
            path.startswith(log) and is_packed(path) and generation(path).log == log for path in self.saved
        )

    def missing(self, tail: Tail) -> None:
        """A file of which nothing was read turned out not to be there."""
        self._remove(tail, rest=False)

    def _left(self, path: str) -> None:
        """The file at a path is no longer there."""
        self._unsaved(path)
        tail = self.live.get(path)
        if tail is not None:
            self._remove(tail)

    def _replaced(self, path: str, state: FileState) -> None:
        """Another file is at a path, and the one before is nowhere."""
        self._unsaved(path)
        tail = self.live.get(path)
        if tail is not None and tail.identity != state.identity:
            self._remove(tail)

    def _unsaved(self, path: str) -> None:
        """Bring a file to life that is known from the state only."""
        row = self.saved.pop(path, None)
        if row is not None:
            tail = self.logs.add(Tail.restored(path, row))
            self.live[path] = self.by_identity[tail.identity] = tail

    def _renamed(self, old_path: str, path: str, state: FileState) -> None:
        """A file has another name now."""
        self._unsaved(old_path)
        tail = self._elsewhere(path, state)
        if tail is not None:
            self._move(tail, path)

    def _seen(self, path: str, state: FileState, *, known: bool) -> None:
        """There is a file in this state."""
        tail = self.live.get(path)
        if tail is not None and (tail.inode != state.inode or tail.device != state.device):
            self._displace(tail)
            tail = self.live.get(path)
        if tail is None:
            tail = self._tail_at(path, state, known=known)
        tail.changed_ns = state.mtime_ns
        if not tail.unchanged(state):
            self._dirty(tail, state.size)

    def _tail_at(self, path: str, state: FileState, *, known: bool) -> Tail:
        """The file that turned up at a path: a saved one, one that was elsewhere before, or a new one."""
        saved = self._saved_as(path, state)
        row = self.saved.pop(path, None)
        if row is not None and saved == path:
            tail = self.logs.add(Tail.restored(path, row))
        else:
            if row is not None:
                self._lose(path, row)
            other = self._elsewhere(path, state)
            if other is not None:
                self._move(other, path)
                if path in self.live:
                    return self.live[path]
            tail = self.logs.add(Tail(path, *state.identity))
            tail.from_end = self._from_end and known
            self.note(path)
        self.live[path] = self.by_identity[state.identity] = tail
        return tail

    def _elsewhere(self, path: str, state: FileState) -> Tail | None:
        """The file that is at a path now, if it was known under another path or saved under one."""
        saved = self._saved_as(path, state)
        found = None if saved is None else self._lose(saved, self.saved.pop(saved))
        lost = self.leaving.lost(state.identity)
        if found is None and len(lost) > 1:  # their inode was that of several, one after the other
            found = next((tail for tail in lost if tail.same_at(path)), None)
        return found or self.by_identity.get(state.identity) or next(iter(lost), None)

    def _saved_as(self, path: str, state: FileState) -> str | None:
        """The path under which the file was saved that is at a path now: this one, or where it was before."""
        if not self._saved_at:
            return None
        found = [old for old in self._saved_at.get(state.identity, ()) if old in self.saved]
        if len(found) > 1:  # its inode was another file's before
            found = [old for old in found if Tail.restored(old, self.saved[old]).same_at(path)]
        return path if path in found else next(iter(found), None)

    def _displace(self, tail: Tail) -> None:
        """Another file is where this one was: it was renamed beside, or is gone."""
        beside = self._beside(tail)
        for path in beside:
            if tail.same_at(path):
                self._move(tail, path)
                return
        if beside:
            self._set_aside(tail)
        else:
            self._remove(tail)

    def _beside(self, tail: Tail) -> list[str]:
        """Where else in its folder the inode of a file is now."""
        folder = parent(tail.path)
        if self._listed is None or self._listed.folder != folder or not self._listed.whole():
            self._listed = listing_of(folder)
        listing = self._listed
        return [] if listing is None else [path for path in listing.with_inode(tail.inode) if path != tail.path]

    def _move(self, tail: Tail, path: str) -> None:
        """A file is read on under another path; one that only took over its inode, or is to be read anew, is not."""
        if tail.path == path and self.live.get(path) is tail:
            return
        if not self._follow:
            self._remove(tail, rest=False)
            return
        if not tail.same_at(path):
            self._set_aside(tail)
            return
        old_path = tail.path
        if self.live.get(old_path) is tail:
            del self.live[old_path]
        self.leaving.found(tail)
        tail.sought = tail.gone = False
        there = self.live.get(path)
        self.logs.remove(tail)
        tail.move(path)
        self.logs.add(tail)
        if there is not None:
            self._displace(there)
        row = self.saved.pop(path, None)
        if row is not None:  # who was saved there is elsewhere by now
            self._lose(path, row)
        self.live[path] = self.by_identity[tail.identity] = tail
        self.note(old_path)
        self.note(path)
        waiting = self._release(tail, old_path)
        if waiting is not None:
            self._dirty(waiting, waiting.size)

    def _set_aside(self, tail: Tail) -> None:
        """Another file took over the inode of one, which is gone; what it was compressed to may still be told of."""
        if tail.packed is not None or not tail.offset:
            self._remove(tail, rest=False)
            return
        if self.live.get(tail.path) is tail:
            del self.live[tail.path]
        if self.by_identity.get(tail.identity) is tail:
            del self.by_identity[tail.identity]
        self.leaving.lose(tail)

    def _remove(self, tail: Tail, *, rest: bool = True) -> None:
        """A file is gone: its turn comes to read what is left and to tell."""
        path = tail.path
        if self.live.get(path) is tail:
            del self.live[path]
        if self.by_identity.get(tail.identity) is tail:
            del self.by_identity[tail.identity]
        self.leaving.found(tail)
        tail.gone = True
        tail.rest = rest
        self.leaving.add(tail)
        self._dirty(tail, tail.size)

    def _release(self, tail: Tail, path: str) -> Tail | None:
        """A file is done with, or elsewhere; returns the one whose way is free now, of those that were there or are."""
        if not self.leaving.remove(tail, path):
            return None
        waiting = next(iter(self.leaving.at(path)), self.live.get(path))
        return waiting if waiting is not None and waiting.dirty else None


def _packed(tail: Tail | None) -> bytes | None:
    """What is saved of a file."""
    return None if tail is None else msgspec.msgpack.encode(tail.row())


def _is_there(path: str, row: Row) -> bool:
    """Whether the saved file is where it was."""
    try:
        now = os.stat(path)
    except PermissionError:
        return True
    except OSError:
        return False
    return now.st_ino == row.inode and now.st_dev == row.device
