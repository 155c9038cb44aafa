"""Records that are tasks: kept in a store until they are done, whatever happens to the process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any

import orjson
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable

from rxpipe.context import Context, current
from rxpipe.elements import Batch, Row, as_dict
from rxpipe.errors import ParameterError, ParameterProblem
from rxpipe.expressions import parse
from rxpipe.expressions.known import KnownFields
from rxpipe.fusion.rows import compile_values
from rxpipe.operator import fields_of, operator
from rxpipe.operators.tasks._home import Home
from rxpipe.parameters.types import Expr, Ge
from rxpipe.tasks.reading import Worked
from rxpipe.tasks.store import New, TaskStore


@operator
def tasks(
    source: Observable[Batch],
    key: Expr,
    store: str = "tasks.sqlite",
    priority: Expr = "0",
    content: Expr | None = None,
    skip_existing: bool = True,
    max_attempts: Annotated[int, Ge(1)] | None = None,
    ahead: Annotated[int, Ge(1)] = 256,
) -> Observable[Batch]:
    """Keep each record as a task in a store, and emit it, alone, when it is to be done, until it is.

    A record is let go of by its source when it is in the store: from there on the store knows what is to be done,
    through a crash, a power loss, and a restart. A task is emitted as a batch of its record, as a dict, with one field
    more, `task`: its `id`, `key`, and the number of this `attempt`. It is done when nobody holds anything of it any
    more: it came to the end of the stream, was filtered out, or merged. Where a step cannot handle it, and the reason
    may pass, it waits in the store and is tried again, behind those that were not tried yet; `retry` says when, and
    which reasons pass. Only what it fails of for good goes to `errors`.

    There is one task for each key. One that comes again is left as it is, unless what it depends on has changed: then
    it is due again. A task waits, runs, or is over: done, failed, or cancelled. At most `ahead` are given out at a
    time; `limit` says how many of them are worked on.

    Several processes may work on one store. A process tells every 5 s that it is alive; what belongs to one that is
    gone is taken over at once where its process id tells, else after 30 s, and counts as an attempt if its call had
    begun.

    A graph that does something else now leaves what is done as it is, and says how many tasks that are; `rxpipe run
    --redo changed` has them done again, `--redo failed` those that failed, `--redo all` all.

    Completes when the source has and no task is open; when the run drains, as soon as what was given out is over. A
    checkpoint does not wait for tasks. It knows which results were delivered: after a crash those behind it are
    delivered again, and what was paid for them is not paid again.

    Guarantee: exactly-once: what is in the store is done once, and delivered again only behind the last checkpoint.

        source          -a-b-
        tasks("value")  -x-y-
        x: [{"value": "a", "task": {"id": 1, "key": "a", "attempt": 1}}]
        y: [{"value": "b", "task": {"id": 2, "key": "b", "attempt": 1}}]

    Args:
        key: What tells tasks apart.
        store: The store, an SQLite file; relative to the folder in which the run is started.
        priority: Which come first: those with the smallest number.
        content: What a task depends on. By default the content of the file that its field `path` names, else the whole
            record; an expression that gives the path of a file stands for what is in it.
        skip_existing: Whether a task that is done, and has not changed, is left alone; else each record makes its task
            due again.
        max_attempts: How often a task is tried in all, whatever it fails of; by default that depends on the reason.
        ahead: How many tasks are given out at a time.

    Example:
        >>> from reactivex import operators as rxo
        >>> rows = rxo.map(lambda batch: batch.rows)
        >>> rx.of(Batch([{"n": 7}])).pipe(tasks("n", store="example.sqlite"), rows).run()
        [{'n': 7, 'task': {'id': 1, 'key': '7', 'attempt': 1}}]

    Raises:
        StateError: The store cannot be used, or is something else.
    """
    if not store:
        raise ParameterError("tasks", [ParameterProblem(("store",), "must be the path of a file; got ''")])  # noqa: EM101

    def subscribe(observer: ObserverBase[Batch], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        path = Path(store).expanduser()
        context.written.add(path, "-wal", "-shm")
        opened = TaskStore(path, context.now)
        timers = context.scheduler(scheduler)
        home = Home(observer, context, timers, opened, ahead, max_attempts, again=not skip_existing)
        reading = _Reading(context, key, priority, content)
        context.board[context.name] = Worked(context.stream, path)
        context.describe("tasks", lambda: str(path))
        context.gauge("queue_depth", lambda: home.out)

        def on_next(element: Any) -> None:
            if isinstance(element, Batch):
                home.take(list(reading.tasks(element)), element.leases)
            else:
                observer.on_next(element)

        ending = home.start()
        upstream = source.subscribe(on_next, home.fail, home.complete, scheduler=scheduler)
        return CompositeDisposable(upstream, ending)

    return Observable(subscribe)


@fields_of(tasks)
def _fields(known: KnownFields, /, key: str, priority: str, content: str | None, **_: object) -> KnownFields:
    for name, text in {"key": key, "priority": priority, "content": content}.items():
        known.check(text, name)
    return known.plus("task")


class _Reading:
    """What the store needs to know of records.

    Args:
        context: The step; it rejects a record without a usable key or priority.
        key: The key.
        priority: The place.
        content: What a task depends on.
    """

    def __init__(self, context: Context, key: str, priority: str, content: str | None) -> None:
        self._context = context
        self._content = content
        texts = [key, priority] if content is None else [key, priority, content]
        self._values = compile_values([parse(text) for text in texts], tuples=True)

    def tasks(self, batch: Batch) -> Iterator[New]:
        """The tasks of a batch's records."""

        def reject(row: Row, error: Exception) -> None:
            self._context.reject(f"{type(error).__name__}: {error}", row, leases=batch.leases)

        for row, (key, priority, *content) in zip(*self._values(batch.rows, reject), strict=True):
            try:
                record = orjson.dumps(as_dict(row))
                yield New(_name(key), _place(priority), record, _digest(record, row, *content))
            except (ValueError, TypeError, OSError) as error:
                reject(row, error)


def _name(key: object) -> str:
    if key is None or key == "":
        msg = f"key: must be what tells tasks apart; got {key!r}"
        raise ValueError(msg)
    return key if isinstance(key, str) else orjson.dumps(key, option=orjson.OPT_SORT_KEYS).decode()


def _place(priority: object) -> float:
    if not isinstance(priority, int | float) or priority != priority:  # noqa: PLR0124  # that is how nan is told
        msg = f"priority: must be a number; got {priority!r}"
        raise ValueError(msg)
    return float(priority)


def _digest(record: bytes, row: Row, content: object = None) -> bytes:
    """A digest of what a task depends on: of a file where a path is named, else of the value or the whole record."""
    path = content if content is not None else as_dict(row).get("path")
    if isinstance(path, str) and os.path.isfile(path):
        return _of_file(path)
    return blake2b(record if content is None else orjson.dumps(content), digest_size=16).digest()


def _of_file(path: str) -> bytes:
    made = blake2b(digest_size=16)
    with open(path, "rb") as file:
        while data := file.read(1 << 20):
            made.update(data)
    return made.digest()
