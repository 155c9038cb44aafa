"""What became of a batch of tasks, as data and as Markdown; computed from the task store alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from rxpipe.tasks.reading import TaskReader
from rxpipe.tasks.store import State

_QUANTILES = (0.5, 0.9, 0.99)
_CENT = 0.01


class Times(msgspec.Struct, frozen=True):
    """How many seconds the last attempts took of the tasks that are done: mean, percentiles, and the longest."""

    mean: float
    p50: float
    p90: float
    p99: float
    longest: float


class Reason(msgspec.Struct, frozen=True):
    """Why tasks failed for good: the kind of reason, how many, and the error of one of them."""

    kind: str
    tasks: int
    error: str


class Slow(msgspec.Struct, frozen=True):
    """A task that took long: its key, the seconds of its last attempt, and how many there were."""

    key: str
    seconds: float
    attempts: int


class Report(msgspec.Struct, frozen=True):
    """What became of a batch of tasks. Times are in seconds since the epoch.

    Attributes:
        time: When this was found.
        began: When the first task was added.
        ended: When the last one ended.
        total: How many tasks there are.
        states: How many in each state.
        success: The share of the tasks done or failed that is done; None where there is none.
        cost: What was paid, for attempts that failed, too.
        cost_per_task: The same for each task that is done.
        seconds: How long tasks took; None where none is done.
        failed_attempts: How many attempts failed, by the kind of reason.
        reasons: Why tasks failed for good; the most frequent kind first.
        slowest: The tasks that took longest.
    """

    time: float
    began: float | None
    ended: float | None
    total: int
    states: dict[State, int]
    success: float | None
    cost: float
    cost_per_task: float | None
    seconds: Times | None
    failed_attempts: dict[str, int]
    reasons: list[Reason]
    slowest: list[Slow]


def report(reader: TaskReader, now: float, slowest: int = 10) -> Report:
    """What became of the tasks of a store.

    Args:
        reader: The open store.
        now: Seconds since the epoch.
        slowest: How many tasks are told that took longest.
    """
    states = reader.counts()
    done, over = states["done"], states["done"] + states["failed"]
    cost = sum(reader.cost())
    began, ended = reader.period()
    return Report(
        now,
        began,
        ended,
        sum(states.values()),
        states,
        done / over if over else None,
        cost,
        cost / done if done else None,
        _times(reader.seconds()),
        reader.attempts(),
        [Reason(*row) for row in reader.reasons()],
        [Slow(*row) for row in reader.slowest(slowest)],
    )


def _times(seconds: Sequence[float]) -> Times | None:
    """Of durations that are sorted; a percentile is the least that so many are not above."""
    if not seconds:
        return None
    count = len(seconds)
    half, most, nearly_all = (seconds[math.ceil(share * count) - 1] for share in _QUANTILES)
    return Times(sum(seconds) / count, half, most, nearly_all, seconds[-1])


def money(value: float) -> str:
    """A sum: cents, hundredths of them below a dollar, and below a cent two digits that are not 0."""
    digits = 2 if value >= 1 or value == 0 else 4 if value >= _CENT else 1 - math.floor(math.log10(value))
    return f"${value:,.{digits}f}"


def markdown(found: Report, title: str) -> str:
    """The report for people.

    Args:
        found: The report.
        title: Its heading.
    """
    states = {state: count for state, count in found.states.items() if count}
    parts = [f"# {_cell(title)}", _summary(found)]
    parts.append(_table(("State", "Tasks"), [(state, f"{count:,}") for state, count in states.items()]))
    if found.seconds is not None:
        times = msgspec.structs.asdict(found.seconds)
        rows = [(name, f"{value:,.3g} s") for name, value in times.items()]
        parts += ["## Time of a task", _table(("", "Time"), rows)]
    if found.reasons:
        failed = [(one.kind, f"{one.tasks:,}", one.error) for one in found.reasons]
        parts += ["## Why tasks failed", _table(("Reason", "Tasks", "For example"), failed)]
    if found.failed_attempts:
        attempts = [(kind, f"{count:,}") for kind, count in found.failed_attempts.items()]
        parts += ["## Attempts that failed", _table(("Reason", "Attempts"), attempts)]
    if found.slowest:
        slow = [(one.key, f"{one.seconds:,.3g} s", f"{one.attempts}") for one in found.slowest]
        parts += ["## The slowest tasks", _table(("Task", "Time", "Attempts"), slow)]
    return "\n\n".join(parts) + "\n"


def _summary(found: Report) -> str:
    told = [f"{found.states['done']:,} of {found.total:,} tasks are done"]
    if found.success is not None:
        told.append(f"{found.success:.1%} of those tried succeeded")
    if found.began is not None and found.ended is not None:
        began, ended = (datetime.fromtimestamp(at, UTC).astimezone() for at in (found.began, found.ended))
        told.append(f"from {began:%Y-%m-%d %H:%M:%S} to {ended:%Y-%m-%d %H:%M:%S}")
    if found.cost:
        each = f", {money(found.cost_per_task)} for each that is done" if found.cost_per_task is not None else ""
        told.append(f"{money(found.cost)} were paid{each}")
    return "; ".join(told) + "."


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    rule = "|".join(" --- " for _ in heads)
    lines = [" | ".join(heads), None, *(" | ".join(map(_cell, row)) for row in rows)]
    return "\n".join(f"|{rule}|" if line is None else f"| {line} |" for line in lines)


def _cell(text: str) -> str:
    """A text inside a table, in one line, that is not taken for markup."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    short = line if len(line) <= 200 else f"{line[:199]}…"  # a line that can be read
    return "".join(f"\\{char}" if char in "\\|`*_<>[]#" else char for char in short)
