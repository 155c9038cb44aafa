"""What a run would do with its tasks, how long that would take, and what it would cost; nothing is done.

The steps before `tasks` are run, without sinks, and what comes of them is compared with the store. No step behind
`tasks` is run, nothing is called, and nothing is written.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, NamedTuple

import msgspec
import orjson
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from rxpipe.context import current
from rxpipe.elements import Batch
from rxpipe.errors import RxpipeError
from rxpipe.graph import stream_of
from rxpipe.language.plan import Plan, PlannedStep, PlannedStream, definition_of, reads_of
from rxpipe.tasks.allowed import Limited, limits_of, shared
from rxpipe.tasks.foretold import SAMPLE, foretold
from rxpipe.tasks.reading import TaskReader, Worked, reading, store_of
from rxpipe.tasks.records import Reading
from rxpipe.tasks.statements import depends
from rxpipe.tasks.store import OPEN, New, Redo, State

Why = Literal["new", "open", "changed", "again"]
"""Why a task is to be done: it is not in the store; it is there and not over; what it depends on has changed; or it is
done anew, as was asked for."""


class Due(NamedTuple):
    """A task that is to be done."""

    key: str
    why: Why


class DryRun(msgspec.Struct, frozen=True):
    """What a run would do.

    Attributes:
        store: Where its tasks are.
        due: What would be done; what is new or changed comes first, by its priority.
        left: How many tasks are over, and would be left as they are.
        workers: How many would be worked on at a time; None where the graph does not say.
        seconds_each: How long tasks took before; None where none is done.
        seconds: How long all of it would take at least; None where nothing is known.
        cost_each: What a task costs; None where that is not known.
        cost_by: How that is known: from what tasks cost `before`, or by the `prices` of what they will ask for.
        cost: What all of it would cost; None where that is not known.
        budget: What the graph may spend; None where it does not say.
        spent: What was spent before.
        errors: How many records could not be made tasks.
    """

    store: str
    due: list[Due]
    left: int
    workers: int | None
    seconds_each: float | None
    seconds: float | None
    cost_each: float | None
    cost_by: Literal["before", "prices"] | None
    cost: float | None
    budget: float | None
    spent: float
    errors: int


class _Found:
    """What the store would be told of; the records of some tasks are kept, each as probable as any other."""

    def __init__(self) -> None:
        self.tasks: list[New] = []
        self.sample: list[New] = []
        self._chance = random.Random(0)  # the same each time

    def add(self, task: New) -> None:
        """Add a task."""
        place = len(self.tasks) if len(self.tasks) < SAMPLE else self._chance.randrange(len(self.tasks) + 1)
        if place < SAMPLE:
            self.sample[place : place + 1] = [task]
        self.tasks.append(New(task.key, task.priority, b"", depends(task.content, task.input)))


class _Place(NamedTuple):
    """Where a plan has its tasks."""

    stream: PlannedStream
    place: int
    folder: Path

    @property
    def step(self) -> PlannedStep:
        return self.stream.steps[self.place]

    @property
    def parameters(self) -> dict[str, Any]:
        return _parameters(self.step)

    @property
    def behind(self) -> list[PlannedStep]:
        return self.stream.steps[self.place + 1 :]


async def dry_run(plan: Plan, of: str = "", redo: Redo | None = None) -> DryRun:
    """What a run of a plan would do.

    Args:
        plan: The plan.
        of: The stream with the step `tasks`, where several have one.
        redo: Which tasks that are over would be done again.

    Raises:
        RxpipeError: The graph has no tasks, or several streams of them, or calls something before them.
    """
    from rxpipe.runtime.asyncrun import AsyncRun  # which knows all operators

    place = _place(plan, of)
    found = _Found()
    async with AsyncRun(_before(plan, place, found), state=False, once=True) as run:
        await run.wait()
    made, records = _looked_up(place, found, redo, run.status().errors)
    if made.cost is not None:
        return made
    each = await foretold(place.behind, records, plan.graph.folder)
    if each is None:
        return made
    return msgspec.structs.replace(made, cost_each=each, cost_by="prices", cost=each * len(made.due))


def _looked_up(place: _Place, found: _Found, redo: Redo | None, errors: int) -> tuple[DryRun, list[dict[str, Any]]]:
    path = Path(place.parameters["store"]).expanduser()
    if not path.is_file():
        return _compared(place, found, None, redo, errors)
    with reading(path) as reader:
        return _compared(place, found, reader, redo, errors)


def places(plan: Plan) -> dict[str, Worked]:
    """The stores of a plan, as `tasks` would tell of them, by step."""
    found = _places(plan)
    return {place.step.name: Worked(place.stream.name, Path(place.parameters["store"]).expanduser()) for place in found}


def _places(plan: Plan) -> list[_Place]:
    return [
        _Place(stream, index, plan.graph.folder)
        for stream in plan.streams.values()
        for index, step in enumerate(stream.steps)
        if step.operator is not None and step.operator.name == "tasks"
    ]


def _place(plan: Plan, of: str) -> _Place:
    store = store_of(places(plan), of)
    if store is None:
        msg = "the graph must have a step 'tasks', which knows what is to be done; got none"
        raise RxpipeError(msg)
    return next(place for place in _places(plan) if of in ("", place.stream.name))


def _before(plan: Plan, place: _Place, found: _Found) -> Plan:
    """The plan as far as the tasks, without sinks; instead of becoming tasks, records are found.

    Raises:
        RxpipeError: A step before the tasks calls something.
    """
    name = place.stream.name
    cut = msgspec.structs.replace(place.stream, steps=place.stream.steps[: place.place], readers=[], output_readers={})
    wanted, left = {name: cut}, [cut]
    while left:
        for read in (read for step in left.pop().steps for read in reads_of(step)):
            stream = plan.streams.get(stream_of(read))
            if stream is not None and stream.name not in wanted:
                wanted[stream.name] = stream
                left.append(stream)
    for stream in wanted.values():
        _require_harmless(stream)
    last = PlannedStep(f"{name}[{place.place}] tasks", None, {}, {}, previous=True, function=_finding(place, found))
    wanted[name] = msgspec.structs.replace(cut, steps=[*cut.steps, last])
    kept = {name: _kept(wanted[name], wanted) for name in plan.streams if name in wanted}
    return msgspec.structs.replace(plan, streams=kept)


def _kept(stream: PlannedStream, wanted: dict[str, PlannedStream]) -> PlannedStream:
    """A stream without its sinks, and without readers that are not there."""
    readers = [reader for reader in stream.readers if reader in wanted]
    outputs = {
        output: kept
        for output, names in stream.output_readers.items()
        if (kept := [name for name in names if name in wanted])
    }
    steps = [step for step in stream.steps if step.operator is None or step.operator.delivery is None]
    return msgspec.structs.replace(stream, steps=steps, readers=readers, output_readers=outputs)


def _require_harmless(stream: PlannedStream) -> None:
    for step in stream.steps:
        if step.operator is not None and (step.operator.family == "tasks" or step.operator.name == "map_async"):
            if step.operator.delivery is not None:
                continue
            msg = f"{step.name}: must not stand before 'tasks' in a dry run, which calls nothing"
            raise RxpipeError(msg)


def _finding(place: _Place, found: _Found) -> Callable[[Observable[Any]], Observable[Any]]:
    """A step that keeps what the store would be told of records, and emits nothing."""
    wanted = place.parameters

    def apply(source: Observable[Any]) -> Observable[Any]:
        def subscribe(observer: ObserverBase[Any], scheduler: SchedulerBase | None = None) -> DisposableBase:
            reader = Reading(current(), wanted["key"], wanted["priority"], wanted["content"])

            def on_next(element: Any) -> None:
                if isinstance(element, Batch):
                    for task in reader.tasks(element):
                        found.add(task)

            return source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

        return Observable(subscribe)

    return apply


def _compared(
    place: _Place, found: _Found, reader: TaskReader | None, redo: Redo | None, errors: int
) -> tuple[DryRun, list[dict[str, Any]]]:
    """What would be done, compared with the store, and the records of some of it."""
    known = {} if reader is None else reader.known()
    again, definition = not place.parameters["skip_existing"], definition_of(place.behind, place.folder)
    whys: dict[str, Why] = {}
    for task in sorted(found.tasks, key=lambda task: task.priority):
        told = known.get(task.key)
        if told is None:
            whys[task.key] = "new"
        elif told[0] not in OPEN and (told[1] != task.content):
            whys[task.key] = "changed"
        elif told[0] == "done" and again:
            whys[task.key] = "again"
    for key, (state, _, made) in known.items():
        if state in OPEN:
            whys[key] = "open"
        elif key not in whys and _redone(state, made, redo, definition):
            whys[key] = "again"
    seconds, cost, spent = (None, None, 0.0) if reader is None else _before_now(reader)
    count = len(whys)
    workers, least = _limits(place, count)
    work = [count * seconds / (workers or 1)] if seconds is not None else []
    whole = DryRun(
        store=place.parameters["store"],
        due=[Due(key, why) for key, why in whys.items()],
        left=len(known) - sum(key in whys for key in known),
        workers=workers,
        seconds_each=seconds,
        seconds=max([*work, *([least] if least else [])], default=None),
        cost_each=cost,
        cost_by=None if cost is None else "before",
        cost=None if cost is None else count * cost,
        budget=_budget(place),
        spent=spent,
        errors=errors,
    )
    return whole, [] if cost is not None else _records(found, whys, reader)


def _records(found: _Found, due: Mapping[str, Why], reader: TaskReader | None) -> list[dict[str, Any]]:
    """The records of some tasks: of those that are due, if any of these is at hand."""
    told = [task for task in found.sample if task.key in due] or found.sample
    records = [(task.key, orjson.loads(task.input)) for task in told]
    if not records and reader is not None:
        records = [(key, reader.task(key)["record"]) for key in islice(due, SAMPLE)]
    return [record | {"task": {"id": 0, "key": key, "attempt": 1}} for key, record in records]


def _redone(state: State, made: str | None, redo: Redo | None, definition: str) -> bool:
    """Whether a task that is over is done again, as `TaskStore.redo` has it."""
    if redo == "changed":
        return state == "done" and made != definition
    return redo == "all" or (redo == "failed" and state == "failed")


def _before_now(reader: TaskReader) -> tuple[float | None, float | None, float]:
    """How long tasks took, what they cost, and what that was in all."""
    counts, spent = Counter(reader.counts()), sum(reader.cost())
    seconds, tried = reader.seconds(), counts["done"] + counts["failed"]
    return fmean(seconds) if seconds else None, spent / tried if tried and spent else None, spent


def _limits(place: _Place, count: int) -> tuple[int | None, float]:
    """How many tasks are worked on at a time, as far as the graph says, and the seconds that so many take at least."""
    workers, least, now = None, 0.0, time.time()
    for step in place.behind:
        if step.operator is None or step.operator.name != "limit":
            continue
        told = _parameters(step)
        if isinstance(told["concurrency"], int):
            workers = min(workers or told["concurrency"], told["concurrency"])
        name, quota = told["name"], None if told["quota"] is None else told["quota"].number
        limits = limits_of(told["rate"], told["tokens"])
        path = shared(name) if name else None  # else it is beside the state of the run, of which nothing is known
        limited = Limited(place.stream.name, name or step.name, name is not None, limits, quota, told["zone"], path)
        least = max(least, limited.charged(now).least(count, now))
    return workers, least


def _budget(place: _Place) -> float | None:
    found = [_parameters(step)["limit"] for step in place.behind if step.operator and step.operator.name == "budget"]
    return min(found, default=None)


def _parameters(step: PlannedStep) -> dict[str, Any]:
    return {} if step.operator is None else dict(step.operator.with_defaults(step.parameters))
