"""What happens to files: found, created, written to, renamed, removed."""

from __future__ import annotations

import os
from typing import Literal

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable

from rxpipe.context import current
from rxpipe.elements import FileEvent
from rxpipe.operator import operator
from rxpipe.operators.files._match import Matcher
from rxpipe.operators.files._paths import WatchedPaths, expanded
from rxpipe.operators.files._watcher import Watcher
from rxpipe.parameters.units import Duration, Size, nbytes, seconds


@operator
def watch(
    paths: list[str] | WatchedPaths,
    patterns: list[str] = ["*"],
    ignore: list[str] = [],
    hidden: bool = False,
    links: Literal["follow", "skip"] = "follow",
    below: str | None = None,
    max_size: Size | None = None,
    rescan: Duration = "10s",
    backend: Literal["auto", "inotify", "polling"] = "auto",
    poll: Duration = "1s",
    rest: Duration = "750us",
) -> Observable[FileEvent]:
    """Emit an event for every change of the files in some folders, beginning with those that are there.

    First comes a `create` event with `known=True` for each file that is there, sorted by path, and of a log that is
    rotated (`x.log`, `x.log.1`, `x.log.2.gz`, `x.log-20250131`) by the time of change; then `create`, `modify`,
    `delete`, `rename`, `truncate` (it became shorter) and `replace` (another file under the same name), each with the
    old and new state. An event is emitted only where the state differs from the one last emitted; changes that follow
    each other quickly may come as one. A path that is not there yet is waited for, with one warning.

    A file is known by device and inode: one that moves within what is watched is renamed, one that moves out is
    deleted, one that moves in created. (A file that was given the inode of one removed a moment ago may look like that
    one renamed or modified; `read_lines` tells them apart by content.) A file with several names (hard or symbolic
    links) is known by one of them; links to folders are followed once. What the run writes itself, its state file and
    the files of its sinks, is left out, and the log says so once.

    Completes after the first scan where the run reads its sources once, and when the run drains; else never. What
    cannot be read goes to the stream `errors`, once, and is tried again at each rescan. The step's detail `watch` tells
    how the files are watched and why, and how many changes only a rescan found; its detail `paths` is a `WatchedPaths`,
    to add and remove paths while it runs.

    Guarantee: at-least-once: a restart tells of all files again.

    Args:
        paths: Folders, watched with all below, and files, watched whatever their name; `~` is expanded.
        patterns: Files that are meant: `*.jsonl` is compared with the name, `logs/**/*.txt` with the path in the
            folder.
        ignore: Files and folders that are not, written in the same way.
        hidden: Watch also files and folders in the folder whose name starts with a dot.
        links: Whether symbolic links in the folder are followed or passed over.
        below: Watch only the folder of this name in each path; a path of that name without such a folder is taken
            itself.
        max_size: Leave out files that are larger when they are found; they go to the stream `errors`.
        rescan: How often to look at all files, and for new ones, in case a notification was missed. Once three rescans
            in a row have found nothing of that kind, files and folders that were quiet for a minute have their turn in
            one of six, at least once a minute, until one does; all are looked at when the kernel says that it lost
            notifications.
        backend: How to learn of changes. `auto` takes inotify where the file system notifies, else polling.
        poll: How often to look where there are no notifications.
        rest: After a look at what was notified, how long to wait before the next: changes meanwhile are taken together.
    """

    def subscribe(observer: ObserverBase[FileEvent], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        watched = (
            paths if isinstance(paths, WatchedPaths) else WatchedPaths(_folder_below(path, below) for path in paths)
        )
        watcher = Watcher(
            observer,
            context,
            context.scheduler(scheduler),
            scheduler,
            watched,
            Matcher(patterns, ignore, hidden=hidden, links=links == "follow"),
            None if max_size is None else nbytes(max_size),
            backend,
            seconds(rescan),
            seconds(poll),
            seconds(rest),
        )

        def stop() -> None:
            watcher.close()
            observer.on_completed()

        drain = context.on_drain(stop)
        context.describe("watch", watcher.status)
        context.describe("paths", watched)
        context.gauge("files", lambda: len(watcher.scanner.tree.files))
        context.gauge("missed_changes", lambda: watcher.missed)
        watcher.start()
        return CompositeDisposable(Disposable(watcher.close), drain)

    return Observable(subscribe)


def _folder_below(path: str, name: str | None) -> str:
    """The folder of this name in a path, or the path itself where that is meant."""
    if name is None:
        return path
    whole = expanded(path)
    below = os.path.join(whole, name)
    return whole if os.path.basename(whole) == name and not os.path.isdir(below) else below
