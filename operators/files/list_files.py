"""The files that are there, as records."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from itertools import islice
from typing import Annotated

import msgspec
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.context import current
from rxpipe.elements import Batch
from rxpipe.lease import Lease
from rxpipe.operator import operator
from rxpipe.operators.files._match import Matcher
from rxpipe.operators.files._paths import expanded
from rxpipe.operators.files._rounds import Rounds
from rxpipe.parameters.types import Gt
from rxpipe.parameters.units import Duration, seconds

MOST = 1000
"""Files of one batch."""

_BYTES = 256
"""About what a record takes."""


class ListedFile(msgspec.Struct, frozen=True, gc=False):
    """One file; `mtime` is in seconds since the epoch."""

    path: str
    name: str
    size: int
    mtime: float


class _Failure(msgspec.Struct):
    path: str
    reason: str


@operator
def list_files(
    paths: list[str],
    patterns: list[str] = ["*"],
    ignore: list[str] = [],
    hidden: bool = False,
    every: Annotated[Duration, Gt(0)] | None = None,
) -> Observable[Batch]:
    """Emit a record for each file in some folders: its path, name, size and mtime.

    The files of a folder come before those of the folders in it, each sorted by name, at most 1,000 in a batch. `mtime`
    is in seconds since the epoch. Links to files count as the files; links to folders are not entered. A folder that
    cannot be read goes to `errors`, in each round. A file that vanishes meanwhile is left out.

    Completes when all are listed; with `every` it lists them anew, that long after the last round, until the run
    drains. Nothing is remembered: a restart lists again. To learn what changed, take `watch`.

    Guarantee: at-least-once: a restart lists all files again.

    Args:
        paths: Folders, listed with all below, and files, listed whatever their name; `~` is expanded.
        patterns: Files that are meant, written as in `watch`: `*.jsonl` is compared with the name, `logs/**/*.txt` with
            the path in the folder.
        ignore: Files and folders that are not, written in the same way.
        hidden: List also files and folders whose name starts with a dot.
        every: The time between two rounds; once by default, and in a run that reads once.

    Example:
        >>> import pathlib
        >>> _ = pathlib.Path("a.txt").write_text("hello")
        >>> [(row.name, row.size) for row in list_files(["."], patterns=["*.txt"]).run().rows]
        [('a.txt', 5)]
    """

    def subscribe(observer: ObserverBase[Batch], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        match = Matcher(patterns, ignore, hidden=hidden)
        round_: Iterator[ListedFile | _Failure] | None = None

        def fetch() -> list[ListedFile | _Failure] | None:
            nonlocal round_
            if round_ is None:
                round_ = _listed(paths, match)
            found = list(islice(round_, MOST))
            if not found:
                round_ = None
            return found or None

        def emit(found: list[ListedFile | _Failure]) -> None:
            rows = [file for file in found if isinstance(file, ListedFile)]
            for failure in found:
                if isinstance(failure, _Failure):
                    context.reject(failure.reason, path=failure.path)
            if rows:
                observer.on_next(Batch(rows, leases=(Lease(context.flow, _BYTES * len(rows)),)))

        pause = None if every is None else seconds(every)
        return Rounds(context, scheduler, fetch, emit, lambda _: observer.on_completed(), every=pause).start()

    return Observable(subscribe)


def _listed(paths: list[str], match: Matcher) -> Iterator[ListedFile | _Failure]:
    for path in dict.fromkeys(map(expanded, paths)):
        try:
            found = os.stat(path)
        except OSError as error:
            yield _unreadable(path, error)
            continue
        if stat.S_ISDIR(found.st_mode):
            yield from _below(path, match)
        elif stat.S_ISREG(found.st_mode):
            yield _file(path, found)


def _below(root: str, match: Matcher) -> Iterator[ListedFile | _Failure]:
    folders = [(root, "")]
    while folders:
        folder, relative = folders.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            yield _unreadable(folder, error)
            continue
        below = []
        for entry in entries:
            name = entry.name
            try:
                if entry.is_dir(follow_symlinks=False):
                    if match.folder(name, relative + name):
                        below.append((entry.path, f"{relative}{name}/"))
                elif match.file(name, relative + name) and entry.is_file():
                    yield _file(entry.path, entry.stat())
            except FileNotFoundError:
                continue
            except OSError as error:
                yield _unreadable(entry.path, error)
        folders += reversed(below)


def _file(path: str, found: os.stat_result) -> ListedFile:
    return ListedFile(path, os.path.basename(path), found.st_size, found.st_mtime)


def _unreadable(path: str, error: OSError) -> _Failure:
    return _Failure(path, f"cannot be read: {error.strerror or error}")
