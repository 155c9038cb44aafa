"""How far a batch of tasks is, what it will cost, and when it will be done: computed from the task store alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

import msgspec

from rxpipe.tasks.allowed import Charged
from rxpipe.tasks.durations import Durations, Observed
from rxpipe.tasks.reading import TaskReader
from rxpipe.tasks.store import OPEN, State

LEAST, MOST = 50, 1000
"""How many of the last tasks the speed is computed of: a third of those that ended, within these bounds."""

_SLICES = 10
_NORMAL = 1.64
"""The quantile of the normal distribution for an interval of 90 %."""

_STUDENT = (6.31, 2.92, 2.35, 2.13, 2.02, 1.94, 1.89, 1.86, 1.83)
"""Quantiles of Student's distribution, for an interval of 90 %, by degrees of freedom from 1 on."""

Span = tuple[float, float]
"""When a task was begun, and when it ended."""


class Estimate(msgspec.Struct, frozen=True):
    """When work will be done.

    Attributes:
        rate: Tasks per second.
        mean: Seconds that a task takes.
        left: Seconds until all is done.
        low, high: Between which `left` is in nine of ten cases, if all goes on as it does. Where some tasks take many
            times as long as most, in about three of four; and it is told too short as long as none of these has ended,
            or been worked on for long: nobody knows of them.
    """

    rate: float
    mean: float
    left: float
    low: float
    high: float


class Working(msgspec.Struct, frozen=True):
    """A task that is worked on: its key, the number of the attempt, and for how many seconds."""

    key: str
    attempt: int
    seconds: float


class Failed(msgspec.Struct, frozen=True):
    """An attempt that failed: when, which, and why."""

    time: float
    key: str
    attempt: int
    kind: str
    error: str


class Progress(msgspec.Struct, frozen=True):
    """A batch of tasks at one moment. Times are in seconds since the epoch.

    Attributes:
        time: The moment.
        states: How many tasks there are in each state; one that is given out counts as pending until its call begins.
        total: How many there are.
        over: How many of them are done, failed or cancelled.
        cost: What was paid so far.
        projected: What will have been paid in the end, if what is left costs as much as what is over; None where
            nothing is over, or nothing costs.
        estimate: When all will be done; None where that cannot be told: nobody works, or nothing was done yet.
        running: The tasks that are worked on; the longest first.
        errors: The last attempts that failed; the last one first.
        order: `pause` where somebody wants no task to be begun.
    """

    time: float
    states: dict[State, int]
    total: int
    over: int
    cost: float
    projected: float | None
    estimate: Estimate | None
    running: list[Working]
    errors: list[Failed]
    order: str | None


def progress(reader: TaskReader, now: float, errors: int = 10, charged: Sequence[Charged] = ()) -> Progress:
    """How far the tasks of a store are.

    Args:
        reader: The open store.
        now: Seconds since the epoch.
        errors: How many errors are told.
        charged: What limits the tasks, as far as is known.
    """
    states, running = reader.counts(), reader.running()
    total, left = sum(states.values()), sum(states[state] for state in OPEN)
    states |= {"running": len(running), "pending": states["pending"] + states["running"] - len(running)}
    spent, begun = reader.cost()
    counted = states["done"] + states["failed"]
    projected = spent + max(begun, left * spent / counted) if counted and spent else None
    return Progress(
        now,
        states,
        total,
        total - left,
        spent + begun,
        projected,
        _estimate(reader, [started for _, _, started in running], left, now, charged),
        [Working(key, attempt, max(0.0, now - started)) for key, attempt, started in running],
        [Failed(*row) for row in reader.failures(errors)],
        reader.order(),
    )


def _estimate(
    reader: TaskReader, running: Sequence[float], left: int, now: float, charged: Sequence[Charged]
) -> Estimate | None:
    since = reader.joined()
    if since is None:
        return None
    count = reader.ended(since)
    window = max(LEAST, 4 * len(running), min(MOST, count // 3))
    wait = _allowed(charged, left - len(running), reader.processes(), now)
    last = max((reader.last_due() or 0.0, now + wait if wait else 0.0))
    return estimate(reader.spans(since, window + 1), running, left, now, last, whole=count <= window)


def _allowed(charged: Sequence[Charged], count: int, processes: int, now: float) -> float:
    """Seconds until the last of some tasks may be begun; each process has a part of them, and limits of its own."""
    parts = ((one, count if one.limited.shared else math.ceil(count / max(1, processes))) for one in charged)
    return max((one.least(part, now) for one, part in parts), default=0.0)


def estimate(
    ended: Sequence[Span],
    running: Sequence[float],
    left: int,
    now: float,
    due: float | None = None,
    *,
    whole: bool = True,
) -> Estimate | None:
    """When tasks will be done, by what was done lately.

    How long a task takes is learnt from those that ended in a window and from those that are worked on, see
    `Durations`; how many are worked on at a time, from the time that passed, so that waiting for a limit counts and a
    pause between two runs does not. Both give the speed. What is left is divided by it; on top comes the time that the
    last one of several workers needs longer than the others; and a task that waits has to be due first, and be let
    through by what limits it.

    The interval is of 90 %. What is left varies by how the durations do, and so does what is known of them. That the
    speed changes is told by the work done in slices of the window (Student's); the wider one of both is taken.

    Args:
        ended: The tasks that ended lately, the last one first.
        running: When the tasks were begun that are worked on.
        left: How many tasks are not over, those that are worked on among them.
        now: Seconds since the epoch.
        due: When the last one of those that are not begun may be begun, as far as is known.
        whole: Whether no task ended before those given; else the window begins with the end of the first of them.

    Returns:
        None where nothing has ended yet, or took no time.
    """
    spans = [(min(begun, end), end) for begun, end in ended]
    if not spans:
        return None
    start = min([begun for begun, _ in spans] + list(running)) if whole else spans[-1][1]
    spans = [span for span in spans if span[1] > start]
    if not spans:
        return None
    now = max(now, *(end for _, end in spans))  # a clock that was set back cannot say how long it has been
    durations = Durations(
        [Observed(max(0.0, start - begun), end - begun, ended=True) for begun, end in spans]
        + [Observed(max(0.0, start - begun), max(0.0, now - begun), ended=False) for begun in running]
    )
    ages = [max(0.0, now - begun) for begun in running]
    pieces = [*spans, *((now - age, now + durations.rest(age)) for age in ages)]
    work = _work(pieces, start, now, durations.mean)
    rate = _rate(pieces, start, now, durations.mean) or fmean(work) * len(work) / (now - start)
    tail = durations.last_of(max(1.0, min(rate * durations.mean, float(left)))) - durations.last_of(1)
    rest = _rest(durations, rate, ages, left, tail)
    share = max(_noise(durations.variation, len(spans), left), _drift(work, rest * len(work) / (now - start)))
    spread = math.hypot(rest * share, tail)
    least = 0.0 if due is None or due <= now else due - now + durations.mean
    return Estimate(rate, durations.mean, max(rest, least), max(0.0, rest - spread, least), max(rest, least) + spread)


def _rate(pieces: Sequence[Span], start: float, end: float, mean: float) -> float:
    """Tasks per second: how many are worked on at a time, by how long one takes; 0 where they take no time."""
    busy = sum(max(0.0, min(end, over) - max(start, begun)) for begun, over in pieces)
    return busy / (end - start) / mean if mean > 0 else 0.0


def _work(pieces: Sequence[Span], start: float, end: float, mean: float) -> list[float]:
    """The work done in slices of some time, each as long as a task takes at least, in tasks."""
    slices = max(1, min(_SLICES, int((end - start) / mean))) if mean > 0 else _SLICES
    length = (end - start) / slices
    work = [0.0] * slices
    for begun, over in pieces:
        first, last = (max(0, min(slices - 1, int((at - start) / length))) for at in (begun, over))
        if over <= begun:
            work[last] += 1
            continue
        for n in range(first, last + 1):
            inside = min(over, start + (n + 1) * length) - max(begun, start + n * length)
            work[n] += max(0.0, inside) / (over - begun)
    return work


def _rest(durations: Durations, rate: float, ages: Sequence[float], left: int, tail: float) -> float:
    """The seconds until all is done that may be begun now."""
    idle = left - len(ages)
    if idle <= 0:
        return durations.longest(ages)
    begun = sum(durations.rest(age) for age in ages) / durations.mean if durations.mean > 0 else 0.0
    return (idle + begun) / rate + tail


def _noise(variation: float, known: int, left: int) -> float:
    """The half of the interval as a share, by how the durations vary."""
    return _NORMAL * variation * math.sqrt(1 / known + 1 / max(1, left))


def _drift(work: Sequence[float], ahead: float) -> float:
    """The half of the interval as a share, by how the work done in the slices varies; unknown of few slices.

    Args:
        work: The work done in each slice.
        ahead: How many slices are left.
    """
    if len(work) < 3 or ahead <= 0:  # a deviation of two tells nothing
        return 1.0 if ahead > 0 else 0.0
    return _STUDENT[len(work) - 2] * stdev(work) / fmean(work) * math.sqrt(1 / len(work) + 1 / ahead)
