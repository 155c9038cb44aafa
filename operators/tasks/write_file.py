"""A file for each record: whole or not at all, and never outside its folder."""

from __future__ import annotations

from typing import Annotated

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable

from rxpipe.context import current
from rxpipe.elements import Batch
from rxpipe.expressions.known import KnownFields
from rxpipe.operator import fields_of, operator
from rxpipe.operators.tasks._files import Exists, Writes
from rxpipe.operators.tasks._names import DERIVED, Names
from rxpipe.parameters.plain import Checked, kept
from rxpipe.parameters.types import Expr

Pattern = Annotated[str, Checked(kept(Names))]
"""A path in which `{field}` stands for a field of the record."""


@operator
def write_file(
    source: Observable[Batch], to: Pattern, content: Expr = "text", on_exists: Exists = "replace"
) -> Observable[Batch]:
    """Write each record to a file of its own, and pass it on with one field more: `written`, the file's path.

    A file is there whole or not at all: it is written beside its place, made durable, and moved there. Missing folders
    are made. In `to`, `{field}` stands for a field of the record, a text or a whole number. Where the record has no
    such field, `{name}` and `{stem}` are the name of the file that `path` names, with and without its suffix, `{key}`
    is the key of the task (or the path) as a file can be called, and `{date}` is today, 2026-01-31.

    No file is outside the folder that is the same for all. A record goes to `errors` whose fields do not make a name,
    or one with `/`, a control character or more than 255 bytes, or that is `..`; or whose place is a link, or behind
    one that leads out of the folder; or whose content is neither text nor bytes. Where the disk does not take a file
    it is tried again, as with any sink, and the sources are held.

    Four files are written at a time; records are passed on in their order, and of those for one file the last one
    stays. A task that is delivered again comes to the same file, also on another day, and with `on_exists: number` to
    the one that was written for it just before a kill, too, if what is written is the same. Completion waits for all
    files; an error passes at once.

        source                                  -a-|
        write_file("out/{stem}.md")             -b-|
        a: {"path": "docs/x.txt", "text": "hello"}
        b: {"path": "docs/x.txt", "text": "hello", "written": "out/x.md"}

    Args:
        to: Where: a path with names of fields in braces, relative to the folder in which the run is started.
        content: What is written.
        on_exists: What becomes of a file that is there: `replace` it; `keep` it and write nothing; or give the new one
            a `number`, from 2 on, before its suffix.

    Example:
        >>> import pathlib
        >>> rows = [{"path": "docs/x.txt", "text": "hello"}]
        >>> rx.of(Batch(rows)).pipe(write_file("out/{stem}.md")).run().rows[0]["written"]
        'out/x.md'
        >>> pathlib.Path("out/x.md").read_text()
        'hello'

    Delivery: idempotent: what is written again replaces what was there; with 'on_exists: number' that holds for tasks,
        any other record that is delivered again leaves a second file.
    """
    names = Names(to)

    def subscribe(observer: ObserverBase[Batch], scheduler: SchedulerBase | None = None) -> DisposableBase:
        writes = Writes(names, content, on_exists, current(), scheduler, observer)
        try:
            upstream = source.subscribe(writes.take, writes.fail, writes.complete, scheduler=scheduler)
        except BaseException:
            writes.close()
            raise
        return CompositeDisposable(upstream, Disposable(writes.close))

    return Observable(subscribe)


@fields_of(write_file)
def _fields(known: KnownFields, /, to: str, content: str, **_: object) -> KnownFields:
    known.check(content, "content")
    for name in Names(to).fields:
        if name not in DERIVED:
            known.check(name, "to")
    return known.plus("written")
