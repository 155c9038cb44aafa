"""A batch of tasks in words: how far it is, how fast, what it costs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from rxpipe.operators.sinks._format import duration
from rxpipe.tasks.progress import Estimate, Progress
from rxpipe.tasks.report import money

_UNITS = ((1, "s"), (60, "min"), (3600, "h"), (86400, "day"))


def speed(rate: float) -> str:
    """Tasks per second, minute, hour or day, whichever is easy to read."""
    seconds, unit = next(((each, name) for each, name in _UNITS if rate * each >= 1), _UNITS[-1])
    value = rate * seconds
    return f"{value:,.0f}/{unit}" if value >= 100 else f"{value:.3g}/{unit}" if value >= 1 else f"{value:.2f}/{unit}"


def rounded(seconds: float) -> str:
    """A duration as exactly as an estimate can be."""
    return duration(int(seconds + 0.5))


def left(estimate: Estimate) -> str:
    """How long it will take, with its uncertainty."""
    low, about, high = map(rounded, (estimate.low, estimate.left, estimate.high))
    if low == high:
        return f"{about} left"
    return f"{about} left ({low} to {high})" if estimate.low >= 1 else f"{about} left (at most {high})"


def ending(progress: Progress) -> str:
    """When all will be done, by the clock of this place."""
    if progress.estimate is None:
        return ""
    now = datetime.fromtimestamp(progress.time, UTC).astimezone()
    end = now + timedelta(seconds=progress.estimate.left)
    if end.date() == now.date():
        return f"{end:%H:%M}"
    return f"{end:%a %H:%M}" if end - now < timedelta(days=6) else f"{end:%Y-%m-%d}"


def cost(progress: Progress) -> str:
    """What was paid, and what will have been in the end."""
    if progress.projected is None:
        return money(progress.cost)
    if progress.over == progress.total:
        return money(progress.cost)
    return f"{money(progress.cost)} so far, about {money(progress.projected)} in all"


def line(progress: Progress) -> str:
    """All of it in one line, for a log."""
    states = progress.states
    share = progress.over / progress.total if progress.total else 0.0
    parts = [f"{progress.over:,} of {progress.total:,} tasks ({int(share * 100)}%)"]
    parts += [f"{states[state]:,} {state}" for state in ("failed", "cancelled", "running", "waiting") if states[state]]
    if progress.order is not None:
        parts.append("paused")
    if progress.estimate is not None and progress.over < progress.total:
        parts += [speed(progress.estimate.rate), left(progress.estimate)]
    if progress.cost:
        parts.append(cost(progress))
    return ", ".join(parts)
