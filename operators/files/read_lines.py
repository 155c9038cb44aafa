"""The new lines of files, in blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable

from rxpipe.context import current
from rxpipe.elements import FileEvent, LineDelta, OriginGone
from rxpipe.operator import operator
from rxpipe.operators.files._reader import Reader
from rxpipe.parameters.units import Size, nbytes
from rxpipe.promises import Inflow, order_of


@operator
def read_lines(
    source: Observable[FileEvent],
    start: Literal["saved", "beginning", "end"] = "saved",
    block: Size = "256KB",
    max_line: Size = "16MB",
    renamed: Literal["follow", "reread"] = "follow",
    last_line: Literal["hold", "emit"] = "hold",
    compression: Literal["auto", "gzip", "zstd", "none"] = "auto",
) -> Observable[LineDelta | OriginGone]:
    """Read files as they grow and emit their complete lines in blocks, each line once.

    A block ends with a newline. An unfinished last line is held until its newline comes. Files with news take turns,
    one block a turn (a plain file of at most four blocks is read in one go), and wait while too much is in flight; of a
    log that is rotated (`x.log`, `x.log.1`, `x.log.2.gz`, `x.log-20250131`) the file that was changed first is read to
    its end first. A file is known again by device, inode,
    a digest of its first 1,024 bytes and one of the last 1,024 before the offset, and is opened only where its size or
    modification time changed.

    Where what was read no longer holds, `OriginGone` comes before anything else of that path: the file became shorter,
    its content changed, another one took its place, it was removed (what is left is read first if the file is still
    open; it need not be where it changed between two looks). A renamed file is read on, so that a rotation (`x.log` to
    `x.log.1`, and a new `x.log`) loses and doubles nothing, as long as the watched patterns include the rotated name.

    A file of the same log that is compressed later (`x.log.1` becomes `x.log.1.gz`), also while nothing ran, is read on
    where it was left: it is known by the same digests, and read once what it was made of is gone. (A plain copy is
    another file: leave what copies files before it truncates them out of the patterns.) So, beside compressed files of
    its log, a file that became shorter, has other content or is gone counts as void only after two seconds:
    what was read of it may turn up compressed.

    A file that is compressed with gzip or zstd gives the lines that are in it, and offsets are those of the lines. It
    may grow by whole members or in the middle of one; what does not give a block is held. A restart goes on at the
    last member (zstd: frame) that begins before the next line, decompresses it anew, and passes over what was emitted.
    No more than a block is decompressed ahead. What cannot be decompressed goes to `errors` with its offset in the
    file, of which nothing more is read then; a file that ends in the middle of a member does when the source is
    complete or the file is gone. For zstd install `rxpipe-graphs[zstd]`.

    An unreadable file goes to the stream `errors` once, and is tried again after 1 s, then later and later, up to every
    30 s. Completes when the source has completed and all is read; at once when the run drains. An error passes at once.

    Keeps for each file the offset behind the last line emitted, and how to know it again. Files found moved after a
    restart are read on at the new path; files that do not turn up within 2 seconds after the first scan give
    `OriginGone`.

    Guarantee: exactly-once: it goes back to the saved offset of each file.

    Args:
        start: Where to start with a file of which nothing is saved: at its beginning (`saved` and `beginning` say the
            same), or with `end`, if it was there when the very first run began, behind its last complete line. A saved
            offset always wins: all else would read lines twice, or not at all.
        block: How much to read at once.
        max_line: A longer line goes to the stream `errors` with its place, and is passed over without being kept.
        renamed: `follow` reads on under the new path, and what was read keeps the path it was read under; `reread`
            emits `OriginGone` for the old path and reads the file again under the new one.
        last_line: Whether an unfinished last line counts when nothing can follow: the source completed, the run drains,
            or the file is gone. If something follows all the same, `OriginGone` comes and the file is read again.
        compression: How files are compressed; by default their first bytes or their suffix (.gz, .zst, .zstd) tell.
    """

    def subscribe(
        observer: ObserverBase[Any], scheduler: SchedulerBase | None, unread: Callable[[], int] | None
    ) -> DisposableBase:
        context = current()
        reader = Reader(
            observer,
            context,
            context.scheduler(scheduler),
            start,
            nbytes(block),
            nbytes(max_line),
            follow=renamed == "follow",
            last_line=last_line == "emit",
            descriptors=256,
            compression=compression,
            unread=unread,
        )

        def stop() -> None:
            reader.drain()
            observer.on_completed()

        drain = context.on_drain(stop)
        context.describe("files", reader.files)
        context.gauge("queue_depth", lambda: len(reader.queue.turns))
        context.gauge("lag_bytes", lambda: reader.lag_bytes)
        context.gauge("lag_seconds", reader.lag_seconds)
        context.gauge("read_bytes", lambda: reader.read_bytes)
        context.gauge("known_bytes", lambda: reader.read_bytes + reader.lag_bytes)
        upstream = source.subscribe(reader.on_next, reader.on_error, reader.on_completed, scheduler=scheduler)
        return CompositeDisposable(upstream, Disposable(reader.close), drain)

    return _Lines(subscribe)


class _Lines(Observable[Any]):
    """The lines; see `rxpipe.unread.Leaving`."""

    def __init__(self, begin: Callable[..., DisposableBase], size: Callable[[], int] | None = None) -> None:
        super().__init__()
        self._begin = begin
        self._size = size

    def unread(self, size: Callable[[], int]) -> Observable[Any]:
        """The same lines, left unread where they can be."""
        return _Lines(self._begin, size)

    def _subscribe_core(self, observer: ObserverBase[Any], scheduler: SchedulerBase | None = None) -> DisposableBase:
        return self._begin(observer, scheduler, self._size)


@order_of(read_lines)
def _order(_: Inflow, /, **__: object) -> str:
    return "files are read in turns"
