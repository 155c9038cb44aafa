"""Records that are tasks: kept in a store until they are done, whatever happens to the process."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable

from rxpipe.context import current
from rxpipe.elements import Batch
from rxpipe.errors import ParameterError, ParameterProblem
from rxpipe.expressions.known import KnownFields
from rxpipe.operator import fields_of, operator
from rxpipe.operators.tasks._enrolling import Enrolling
from rxpipe.operators.tasks._home import Home
from rxpipe.parameters.types import Expr, Ge
from rxpipe.tasks.records import Reading
from rxpipe.tasks.store import TaskStore


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
    time; `limit` says how many of them are worked on. Steps behind that hold records, as `buffer` does, keep tasks from
    being done: they emit what they hold once no task was done for 1 s and no other will be given out, or for 30 s while
    no other may be: `ahead` are out, the budget allows for no more, or the service is tried with one.

    Several processes may work on one store. A process tells every 5 s that it is alive; what belongs to one that is
    gone is taken over at once where its process id tells, else after 30 s, and counts as an attempt if its call had
    begun. A process that was only stopped for so long, and goes on, makes nothing of what others have taken over: no
    call is begun, and no result passes on. The same holds for what `rxpipe tasks cancel` cancels: what waits is not
    called, and a call under way ends without a result. Only what had passed its last call before may be there twice.
    The system's clock may be set while it runs.

    While the store cannot be written, as the disk is full or another program holds it, what was given out ends, and
    waits to be noted. Files that tasks depend on are read in a thread.

    A graph that does something else now, with what is in its prompts and templates, leaves what is done as it is, and
    says how many tasks that are; `rxpipe run --redo changed` has them done again, `--redo failed` those that failed,
    `--redo all` all.

    Completes when the source has and no task is open; when the run drains, as soon as what was given out is over. A
    checkpoint does not wait for tasks. It knows which results were delivered: after a crash those behind it are
    delivered again, and what was paid for them is not paid again.

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

    Guarantee: exactly-once: what is in the store is done once, and delivered again only behind the last checkpoint.

    Raises:
        StateError: The store cannot be used, or is something else.
    """
    if not store:
        raise ParameterError("tasks", [ParameterProblem(("store",), "must be the path of a file; got ''")])

    def subscribe(observer: ObserverBase[Batch], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        path = Path(store).expanduser()
        context.written.add(path, "-wal", "-shm")
        opened = TaskStore(path, context.now)
        timers = context.scheduler(scheduler)
        home = Home(observer, context, timers, opened, ahead, max_attempts, again=not skip_existing)
        enrolling = Enrolling(context, scheduler, Reading(context, key, priority, content), home)
        context.describe("tasks", lambda: str(path))
        context.describe("degraded", lambda: home.degraded)
        context.gauge("queue_depth", lambda: home.out)

        def on_next(element: Any) -> None:
            if isinstance(element, Batch):
                enrolling.take(element)
            else:
                observer.on_next(element)

        ending = home.start()
        upstream = source.subscribe(on_next, home.fail, enrolling.complete, scheduler=scheduler)
        return CompositeDisposable(upstream, Disposable(enrolling.close), ending)

    return Observable(subscribe)


@fields_of(tasks)
def _fields(known: KnownFields, /, key: str, priority: str, content: str | None, **_: object) -> KnownFields:
    for name, text in {"key": key, "priority": priority, "content": content}.items():
        known.check(text, name)
    return known.plus("task")
