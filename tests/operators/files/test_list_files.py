"""`list_files`: what is listed, in which order, how often."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import rxpipe
from rxpipe import operators as ops
from rxpipe.context import entered
from rxpipe.elements import Batch
from rxpipe.operators.files.list_files import MOST, list_files
from rxpipe.testing import TestContext


class Listing:
    """A subscription of `list_files` under virtual time."""

    def __init__(self, *paths: Path, once: bool = False, **options: Any) -> None:
        self.context = TestContext(once=once)
        self.batches: list[Batch] = []
        self.done = 0
        with entered(self.context):
            self.subscription = list_files([str(path) for path in paths], **options).subscribe(
                self.batches.append, on_completed=self.complete
            )
        self.context.virtual.advance_by(0)

    def complete(self) -> None:
        self.done += 1

    def take(self, folder: Path) -> list[str]:
        """The paths listed since, below a folder."""
        found = self.batches[:]
        self.batches.clear()
        return [row.path.removeprefix(f"{folder}/") for batch in found for row in batch.rows]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.log", "a.log", "sub/c.log", "sub/d.txt", ".hidden/e.log", "z/f.log"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    return tmp_path


def test_lists_once_in_order(folder: Path) -> None:
    listing = Listing(folder, patterns=["*.log"])
    [batch] = listing.batches
    assert listing.take(folder) == ["a.log", "b.log", "sub/c.log", "z/f.log"]
    assert listing.done == 1
    first = batch.rows[0]
    found = (folder / "a.log").stat()
    assert (first.name, first.size, first.mtime) == ("a.log", found.st_size, found.st_mtime)


def test_what_is_meant(folder: Path) -> None:
    (folder / "link").symlink_to(folder / "sub", target_is_directory=True)
    (folder / "y.log").symlink_to(folder / "a.log")
    (folder / "gone.log").symlink_to(folder / "nowhere")
    assert Listing(folder, hidden=True, ignore=["sub"], patterns=["*.log"]).take(folder) == [
        "a.log",
        "b.log",
        "y.log",
        ".hidden/e.log",
        "z/f.log",
    ]
    assert Listing(folder / "sub" / "d.txt", folder / "sub" / "d.txt", patterns=["*.log"]).take(folder) == ["sub/d.txt"]


def test_again_and_again_until_drained(folder: Path) -> None:
    listing = Listing(folder, patterns=["a*"], every="10s")
    assert listing.take(folder) == ["a.log"]
    (folder / "a2.log").touch()
    listing.context.virtual.advance_by(9)
    assert listing.take(folder) == []
    listing.context.virtual.advance_by(1)
    assert listing.take(folder) == ["a.log", "a2.log"]
    assert not listing.done
    listing.context.drain()
    listing.context.virtual.advance_by(60)
    assert (listing.take(folder), listing.done) == ([], 1)


def test_a_run_that_reads_once_lists_once(folder: Path) -> None:
    assert Listing(folder, every="1s", once=True).done == 1


def test_what_cannot_be_read_is_an_error(folder: Path) -> None:
    listing = Listing(folder / "none", folder, patterns=["a.log"])
    assert listing.take(folder) == ["a.log"]
    assert [(e.path, e.reason) for e in listing.context.errors] == [
        (f"{folder}/none", "cannot be read: No such file or directory")
    ]


def test_many_files_come_in_batches_that_wait(tmp_path: Path) -> None:
    for number in range(MOST + 5):
        (tmp_path / f"{number:05}").touch()
    listing = Listing()
    with entered(listing.context):
        list_files([str(tmp_path)]).subscribe(listing.batches.append)
    listing.context.flow.hold()
    listing.context.virtual.advance_by(1)
    assert listing.batches == []
    listing.context.flow.release()
    listing.context.virtual.advance_by(1)
    assert [len(batch) for batch in listing.batches] == [MOST, 5]


def test_unsubscribing_ends_it(folder: Path) -> None:
    listing = Listing(folder, every="1s")
    listing.subscription.dispose()
    listing.batches.clear()
    listing.context.virtual.advance_by(10)
    assert listing.batches == []


def test_in_a_real_run(folder: Path) -> None:
    seen: list[str] = []

    def note(batch: Any) -> None:
        seen.extend(row.name for row in batch.rows)

    graph = rxpipe.Graph("files", {"files": [ops.list_files([str(folder)], patterns=["*.log"]), ops.tap(note)]})
    with graph.run(state=False) as run:
        run.wait(timeout="20s")
    assert run.status().state == "done"
    assert seen == ["a.log", "b.log", "c.log", "f.log"]
