"""The screen of a batch of tasks, as lines of a given size."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from rxpipe.operators.sinks._cells import Line, Style, cut, fit, shorten, width
from rxpipe.operators.sinks._footer import head
from rxpipe.operators.sinks._format import clean, duration
from rxpipe.operators.sinks._view import bar
from rxpipe.operators.tasks._words import cost, ending, left, speed
from rxpipe.tasks.progress import Failed, Progress, Working
from rxpipe.tasks.report import money
from rxpipe.tasks.store import State

MARGIN = 1
_STYLES: dict[str, Style] = {"done": "good", "failed": "bad", "waiting": "warn", "running": "bold"}
_SHOWN: tuple[State, ...] = ("done", "running", "waiting", "pending", "failed", "cancelled")
_ERRORS = 3
"""Lines of errors that are shown even where more tasks are worked on than there is room for."""

_KIND, _AGE, _ATTEMPT, _CLOCK = 13, 8, 7, 8


def screen(progress: Progress | None, size: tuple[int, int], title: str, status: Any, message: str = "") -> list[Line]:
    """The whole screen: exactly as many lines as there are, of at most so many cells.

    Args:
        progress: How far the tasks are; None where that is not known yet.
        size: Columns and lines.
        title: The heading.
        status: The run's status, or None.
        message: A line of the log.
    """
    cells, lines = size
    inner = max(10, cells - 2 * MARGIN)
    now = datetime.fromtimestamp(progress.time, UTC).astimezone() if progress else None
    made: list[Line] = [head(title, status, f"{now:%H:%M:%S}" if now else "", inner), []]
    if progress is None:
        made.append([("waiting for tasks …", "dim")])
    else:
        made += summary(progress, inner)
        made += _lists(progress, inner, lines - len(made) - 2 * bool(message))
    made += [[] for _ in range(lines - len(made))]
    if message:
        made[-1:] = [[(shorten(clean(message), inner), "warn")]]
    return [cut([(" " * MARGIN, ""), *line], cells) if line else [] for line in made[:lines]]


def summary(progress: Progress, cells: int, *, final: bool = False) -> list[Line]:
    """The bar, when it will be done, the states, and the cost; `final` where the run is over."""
    share = progress.over / progress.total if progress.total else 0.0
    done = f" {int(share * 100):3d}%  {progress.over:,} of {progress.total:,}"
    made: list[Line] = [[*bar(progress.over, progress.total, max(4, cells - len(done))), (done, "bold")]]
    made.append(cut(_pace(progress, final=final), cells))
    states: Line = []
    for state in _SHOWN:
        count = progress.states[state]
        if count or state in ("done", "failed"):
            states += [("  ·  " if states else "", "dim"), (f"{count:,}", _STYLES.get(state, "") if count else "dim")]
            states.append((f" {state}", "dim"))
    made.append(cut(states, cells))
    if progress.cost:
        made.append(cut([("cost ", "dim"), (cost(progress), "money"), *_each(progress)], cells))
    return made


def _pace(progress: Progress, *, final: bool) -> Line:
    if progress.order is not None:
        return [("paused: no task is begun; 'rxpipe tasks resume' lets them go on", "warn")]
    if progress.total == progress.over:
        return [("nothing is left to do", "dim")]
    if final:
        return [(f"the next run goes on with the {progress.total - progress.over:,} that are left", "dim")]
    estimate = progress.estimate
    if estimate is None:
        return [("how long it takes is not known yet", "dim")]
    each = duration(round(estimate.mean, 1)) if estimate.mean >= 1 else f"{estimate.mean * 1000:.0f}ms"
    return [
        (left(estimate), "bold"),
        (f"  ·  done about {ending(progress)}  ·  {speed(estimate.rate)}  ·  {each} each", "dim"),
    ]


def _each(progress: Progress) -> Line:
    counted = progress.states["done"] + progress.states["failed"]
    return [(f"  ·  {money(progress.cost / counted)} each", "dim")] if counted else []


def _lists(progress: Progress, cells: int, room: int) -> list[Line]:
    """What is worked on, and what failed last, in so many lines."""
    errors = progress.errors
    kept = min(len(errors), _ERRORS) + 2 if errors else 0
    working = _working(progress, cells, room - kept)
    return [*working, *_errors(errors, cells, room - len(working))]


def _working(progress: Progress, cells: int, room: int) -> list[Line]:
    """A line for each task that is worked on; the last one says how many more there are."""
    tasks, fits = progress.running, room - 2
    if not tasks or fits < 1:
        return []
    wide = max(1, cells - _ATTEMPT - _AGE - 2)
    made: list[Line] = [[], [(fit("Working on", wide), "title"), (_columns("attempt", "for"), "dim")]]
    shown = tasks if len(tasks) <= fits else tasks[: fits - 1]
    made += [_task(task, wide) for task in shown]
    if len(shown) < len(tasks):
        made.append([(f"and {len(tasks) - len(shown):,} more", "dim")])
    return made


def _columns(attempt: str, age: str) -> str:
    return f" {fit(attempt, _ATTEMPT, right=True)} {fit(age, _AGE, right=True)}"


def _key(key: str, cells: int) -> str:
    """A key in so many cells: of a path the end tells more than the beginning, which all have."""
    text = clean(key.removeprefix(f"{os.getcwd()}/"))
    if width(text) <= cells:
        return fit(text, cells)
    while text and width(text) >= cells:
        text = text[1:]
    return fit(f"…{text}", cells)


def _task(task: Working, wide: int) -> Line:
    again: Style = "warn" if task.attempt > 1 else "dim"
    number, age = f"{task.attempt}", duration(int(task.seconds))
    return [
        (_key(task.key, wide), ""),
        (" " + fit(number, _ATTEMPT, right=True), again),
        (" " + fit(age, _AGE, right=True), ""),
    ]


def _errors(errors: list[Failed], cells: int, room: int) -> list[Line]:
    if not errors or room < 3:  # a gap, the heading, an error
        return []
    made: list[Line] = [[], [("Last errors", "title")]]
    rest = cells - _CLOCK - _KIND - 4
    wide = max(8, rest // 3)
    for error in errors[: room - 2]:
        at = datetime.fromtimestamp(error.time, UTC).astimezone()
        made.append(
            cut(
                [
                    (f"{at:%H:%M:%S}  ", "dim"),
                    (fit(clean(error.kind), _KIND), "bad"),
                    (f" {_key(error.key, wide)} ", ""),
                    (clean(" ".join(error.error.split())), "dim"),
                ],
                cells,
            )
        )
    return made
