"""A log whose files are renamed and compressed between any two looks of the watcher, and while it lists a folder."""

from __future__ import annotations

import gzip
import os
import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from rxpipe.context import entered
from rxpipe.elements import FileState, LineDelta, OriginGone
from rxpipe.operators.files import _listing, _scan, _tree, _watcher
from rxpipe.operators.files._tree import Tree
from rxpipe.operators.files.read_lines import read_lines
from rxpipe.operators.files.watch import watch
from rxpipe.testing import TestContext
from rxpipe.testing.doubles import Notifications


class Entries(list["os.DirEntry[str]"]):
    """A listing."""

    def __enter__(self) -> Iterator[os.DirEntry[str]]:
        return iter(self)

    def __exit__(self, *_: object) -> None: ...


class BusyOs:
    """`os`, with others at work between two of its calls; a listing is half from before what they do, half from after.

    Args:
        others: Does what they do.
    """

    def __init__(self, others: Callable[[], None]) -> None:
        self._others = others

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def stat(self, path: str) -> os.stat_result:
        self._others()
        return os.stat(path)

    def scandir(self, path: str) -> Entries:
        halves: list[list[os.DirEntry[str]]] = []
        for half in range(2):
            with os.scandir(path) as entries:
                halves.append([entry for entry in entries if crc32(entry.name.encode()) % 2 == half])
            self._others()
            self._others()
        return Entries(halves[0] + halves[1])


class Log:
    """A log that is written to and rotated, and a run that reads it, which is stopped and killed.

    Args:
        folder: Where its files are.
        chance: Decides what happens.
        monkeypatch: Puts others between the looks of the run.
        packed: Whether what was rotated twice is compressed.
    """

    def __init__(
        self, folder: Path, chance: random.Random, monkeypatch: pytest.MonkeyPatch, *, packed: bool = False
    ) -> None:
        self.folder = folder
        self.file = folder / "a.log"
        self.chance = chance
        self.packed = packed
        self.steps: list[Callable[[], None]] = []
        """What is left to do of a rotation."""
        self.busy = 0.0
        self.written: list[bytes] = []
        self.told: list[bytes] = []
        self.untold: set[str] = set()
        for module in (_listing, _scan, _tree):
            monkeypatch.setattr(module, "os", BusyOs(self.others))
        monkeypatch.setattr(_watcher, "_SLICE", -1.0)
        self.file.touch()
        self.start([])
        self.saved: tuple[list[Any], int] = (self.context.checkpoint(), 0)

    def start(self, states: list[Any]) -> None:
        """Start a run with what was saved; of what happened before it is not told."""
        self.untold.clear()
        self.context, self.notifications = TestContext(states), Notifications()
        self.context.notifier = self.notifications.notifier
        with entered(self.context):
            lines = watch([str(self.folder)], rescan="10s").pipe(read_lines())
            self.run = lines.subscribe(self.note, scheduler=self.context.virtual)

    def note(self, element: LineDelta | OriginGone) -> None:
        """Keep the lines, without their lease; or the path of what is said to be void."""
        self.told.append(element.data if isinstance(element, LineDelta) else element.path.encode())

    def others(self) -> None:
        """Do some of what is left to do, if the log is being rotated."""
        while self.steps and self.chance.random() < self.busy:
            self.steps.pop(0)()

    def rename(self, old: Path, new: Path) -> None:
        """A file gets another name."""
        old.rename(new)
        self.untold |= {str(old), str(new)}

    def touch(self, path: Path) -> None:
        """An empty file is made."""
        path.touch()
        self.untold.add(str(path))

    def compress(self, path: Path, made: Path) -> None:
        """Do as gzip does, but for the last step: to remove the file."""
        made.write_bytes(gzip.compress(path.read_bytes()))
        shutil.copystat(path, made)
        self.untold.add(str(made))

    def remove(self, path: Path) -> None:
        """A file is removed."""
        path.unlink()
        self.untold.add(str(path))

    def rotate(self) -> None:
        """Begin to rotate the log; or go on with that."""
        if self.steps:
            self.steps.pop(0)()
        elif self.written:
            number = {path: int(path.name.split(".")[2]) for path in self.folder.glob("a.log.*")}
            later = {path: self.folder / path.name.replace(f".{at}", f".{at + 1}") for path, at in number.items()}
            oldest_first = sorted(number, key=number.__getitem__, reverse=True)
            self.steps = [partial(self.rename, path, later[path]) for path in oldest_first]
            self.steps += [partial(self.rename, self.file, Path(f"{self.file}.1")), partial(self.touch, self.file)]
            second = Path(f"{self.file}.2")
            if self.packed and second in later.values():
                made = Path(f"{second}.gz")
                self.steps += [partial(self.touch, made), partial(self.compress, second, made)]
                self.steps.append(partial(self.remove, second))

    def write(self) -> None:
        """Write a line, unless the file is about to be another."""
        if not self.steps:
            self.written.append(b"%d\n" % len(self.written))
            with self.file.open("ab") as file:
                file.write(self.written[-1])
            self.untold.add(str(self.file))

    def tell(self) -> None:
        """Tell the run where something happened."""
        untold, self.untold = self.untold, set()
        self.notifications.tell(untold)

    def wait(self) -> None:
        """Let time pass; of what happened it is told within a quarter of a second."""
        time = self.chance.choice([1e-10, 2e-10, 1e-9, 0.01, 0.5, 2.5, 11])
        for _ in range(max(1, int(time * 4))):
            self.context.virtual.advance_by(min(time, 0.25))
            if time >= 0.5:
                self.tell()

    def stop(self) -> None:
        """End the run, which saves its state, and start it anew."""
        self.context.drain()
        if self.chance.random() < 0.5:
            self.context.virtual.advance_by(self.chance.choice([0, 1e-10, 0.001]))
        self.checkpoint()
        self.run.dispose()
        self.start(self.saved[0])

    def checkpoint(self) -> None:
        """Save the state of the run."""
        self.saved = (self.context.checkpoint(), len(self.told))

    def kill(self) -> None:
        """Have it go on from what was saved last; what it gave since then did not count."""
        self.run.dispose()
        del self.told[self.saved[1] :]
        self.start(self.saved[0])

    def lines(self) -> list[bytes]:
        """The lines read once all is quiet, and the paths of what was said to be void."""
        self.busy = 0.0
        while self.steps:
            self.steps.pop(0)()
        self.tell()
        self.context.virtual.advance_by(30)
        self.run.dispose()
        return [line for told in self.told for line in told.splitlines(keepends=True)]


FOUND = [343, 360, 363, 975, 1421, 6977, 11616, 101994]
"""Orders of events in which lines of a log that is compressed were read twice once."""


@pytest.mark.parametrize(
    ("seed", "packed"), [*((seed, False) for seed in range(100)), *((seed, True) for seed in (*range(100), *FOUND))]
)
def test_each_line_is_read_once(seed: int, packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)  # a repeatable order of events
    log = Log(tmp_path, chance, monkeypatch, packed=packed)
    actions = {log.write: 30, log.rotate: 15, log.tell: 15, log.wait: 25, log.stop: 8, log.checkpoint: 3, log.kill: 4}
    for action in chance.choices([*actions], weights=[*actions.values()], k=chance.randrange(60, 250)):
        log.busy = chance.choice([0, 0, 0.02, 0.1, 0.3])
        action()
    assert sorted(log.lines(), key=lambda line: (len(line), line)) == log.written


class Looked(Tree):
    """What is known of two files, `a` and `b`, one of which is gone; others do something after each look.

    Args:
        folder: Where the files are.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(lambda _: True, lambda *_: None)
        self.others: Callable[[Path], None] = lambda _: None
        self.first, self.gone = folder / "a", folder / "b"
        for path in (self.first, self.gone):
            path.write_text("text")
        self.told(self.first, self.gone)
        self.gone.unlink()

    def look(self, path: str) -> FileState | None:
        found = super().look(path)
        self.others(Path(path))
        return found

    def told(self, *paths: Path) -> list[tuple[str, str, bool]]:
        """What is told once some paths were looked at: what happened, where, and whether there is a file."""
        events = self.reconcile({str(path): self.look(str(path)) for path in paths})
        return [(event.kind, Path(event.path).name, event.new is not None) for event in events]


def test_a_first_name_that_goes_between_two_looks_leaves_the_other(tmp_path: Path) -> None:
    tree, other = Looked(tmp_path), tmp_path / "a.1"
    os.link(tree.first, other)
    tree.others = lambda path: path.unlink(missing_ok=True) if path == tree.first else None
    assert tree.told(other, tree.gone) == [("delete", "b", False), ("rename", "a.1", True)]
    assert list(tree.files) == [str(other)]


def test_a_file_that_is_renamed_again_and_again_is_told_of_where_it_was_last_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree, at = Looked(tmp_path), [tmp_path / "c0"]
    tree.first.rename(at[0])
    look, looked = tree.look, set[str]()

    def renamed(path: str) -> FileState | None:
        if path == str(at[-1]) and path in looked:
            at.append(at[-1].rename(tmp_path / f"c{len(at)}"))
        looked.add(path)
        return look(path)

    monkeypatch.setattr(tree, "look", renamed)  # a file is at a path for one look
    told = tree.told(tree.first, tree.gone, at[0])
    assert told == [("delete", "b", False), ("rename", at[-1].name, True)]
    assert list(tree.files) == [str(at[-1])]


def test_a_folder_in_which_something_always_comes_is_not_listed_for_each_file_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree, gone, listed = Looked(tmp_path), [tmp_path / f"c{number}" for number in range(100)], list[str]()
    for path in gone:
        path.touch()
    tree.told(tree.gone, *gone)
    for path in gone:
        path.unlink()

    def listing_of(folder: str) -> _listing.Listing | None:
        listed.append(folder)
        return _listing.listing_of(folder)

    monkeypatch.setattr(_tree, "listing_of", listing_of)
    monkeypatch.setattr(_listing.Listing, "whole", lambda _: False)
    assert len(tree.told(*gone)) == len(gone)
    assert len(listed) == _listing.LISTINGS
