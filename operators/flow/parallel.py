"""Steps in threads or processes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec.structs import replace
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable

from rxpipe.context import current
from rxpipe.elements import Batch, LineDelta
from rxpipe.errors import ParameterError, ParameterProblem
from rxpipe.expressions.known import KnownFields
from rxpipe.operator import Step, fields_of, operator
from rxpipe.operators.flow._blocks import Blocks
from rxpipe.operators.flow._wire import dumps
from rxpipe.operators.flow._worker import Setup
from rxpipe.operators.flow._workers import ProcessWorker, ThreadWorker, Worker, Workers
from rxpipe.parameters.steps import Steps
from rxpipe.parameters.types import Ge
from rxpipe.parameters.units import Duration, seconds
from rxpipe.table import Table
from rxpipe.unread import unread


@operator
def parallel(
    source: Observable[Batch | LineDelta],
    steps: Steps,
    workers: Annotated[int, Ge(1)] = 2,
    kind: Literal["processes", "threads"] = "processes",
    timeout: Duration | None = None,
) -> Observable[Batch | Table]:
    """Apply record-wise steps in worker processes or threads, a block at a time, and emit the results in order.

    The steps must make of each record what they make of it alone: `parse_json`, `where`, `derive`, `select`, `call` and
    their like. The last one may also be `aggregate`: then each worker aggregates its block, and only groups come back,
    which are put together here. Blocks of lines are best: their bytes go to the worker, and what little is left of them
    comes back. Everything else (tables, file events) keeps its place, and passes the steps by.

    Put it right behind `read_lines` if you can, as the only reader of its stream: then the processes themselves read
    the lines of large files that are not compressed, and where little comes back several blocks at once, as many as
    take 30 ms. Lines that are cut away or overwritten before they are read go to `errors`, with their place.

    At most two blocks for each worker are under way, as many are done and wait for the results of earlier ones, and one
    for each waits to begin: then the sources of the run are held. Blocks keep their leases until their results are
    emitted, so a checkpoint waits for all of them. Completion waits likewise, an error passes at once, and
    unsubscribing ends the workers; the end of the run's process, however it comes, ends them too.

    A record that a step rejects goes to `errors` in the name of that step. A worker process that dies is replaced, and
    its block tried once more; a block of which both die, or that takes longer than `timeout`, goes to `errors` whole;
    where a worker was given several at once, only the one that is to blame. Processes need parameters that can be sent
    to them: functions as `module:name`. Threads share one interpreter: they help only where the steps wait.

        source                                                      -a-b-|
        parallel([{"where": "value != 'b'"}], kind="threads")       -a---|

    Args:
        steps: The steps, written as in a stream.
        workers: How many blocks are worked on at a time.
        kind: Whether workers are processes or threads.
        timeout: How long a process may work on one block, and a thread on one from the moment it was given it.

    Example:
        >>> rx.of(Batch([{"n": 1}, {"n": 5}])).pipe(parallel([{"where": "n > 2"}], kind="threads")).run()
        Batch([{'n': 5}])

    Raises:
        ParameterError: A step, or one of its parameters, is wrong, or cannot be sent to a process.
    """
    last: Step = steps[-1]
    divided = last.operator.partial is not None
    setup = [(step.operator.name, step.operator.where.rpartition(":")[0], step.raw) for step in steps]
    if kind == "processes":
        try:
            dumps(setup)
        except Exception as error:
            message = f"must be such that they can be sent to a process: functions as 'module:name'; got {error}"
            raise ParameterError("parallel", [ParameterProblem(("steps",), message)]) from error
    longest = None if timeout is None else seconds(timeout)

    def subscribe(observer: ObserverBase[Any], scheduler: SchedulerBase | None = None) -> DisposableBase:
        context = current()
        made = Setup(context.name, context.folder, setup)
        made.pipeline()  # what is wrong with the steps is said here, not by a worker

        def worker() -> Worker:
            return ThreadWorker(made) if kind == "threads" else ProcessWorker(made, longest)

        limit = longest if kind == "threads" else None  # a process that takes too long is ended
        calls = Blocks(Workers(worker, workers), workers, context, scheduler, observer, limit)
        lines = source if kind == "threads" else unread(source, calls.unread)
        upstream = lines.subscribe(calls.take, calls.fail, calls.complete, scheduler=scheduler)
        return CompositeDisposable(upstream, Disposable(calls.close))

    results: Observable[Any] = Observable(subscribe)
    if not divided:
        return results
    return last.operator.apply({last.operator.inputs[0]: results}, last.parameters)


@fields_of(parallel)
def _fields(known: KnownFields, /, steps: list[Step], **_: Any) -> KnownFields:
    for index, step in enumerate(steps):
        behind = step.operator.fields_behind(KnownFields(known.names), step.parameters)
        path = ("steps", index, step.operator.name)
        inside = [replace(problem, path=path + problem.path) for problem in behind.problems]
        known = KnownFields(behind.names, [*known.problems, *inside])
    return known
