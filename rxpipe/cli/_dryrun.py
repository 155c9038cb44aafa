"""What `rxpipe run --dry-run` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rxpipe.tasks.dryrun import DryRun

SHOWN = 40
"""Tasks that are listed; `--json` has them all."""


def told(found: DryRun) -> str:
    """A dry run in words: how much, how long, how dear, and the first tasks."""
    from rxpipe.errors import counted
    from rxpipe.operators.tasks._words import rounded
    from rxpipe.tasks.report import money

    count = len(found.due)
    whys = [f"{number:,} {why}" for why in ("new", "changed", "open", "again") if (number := _count(found, why))]
    lines = [f"{counted(count, 'task')} would be done" + (f": {', '.join(whys)}" if whys else "")]
    if found.left:
        lines.append(f"{found.left:,} are over, and would be left as they are")
    if found.errors:
        lines.append(f"{counted(found.errors, 'record')} could not be made tasks")
    if found.seconds is None:
        lines.append("time: not known, no task is done yet")
    elif found.seconds_each is None:
        lines.append(f"time: {rounded(found.seconds)} at least, as the limits have it; no task is done yet")
    else:
        at_once = f"{found.workers:,} at a time" if found.workers else "one after the other"
        lines.append(f"time: about {rounded(found.seconds)} ({found.seconds_each:.3g}s each, {at_once})")
    if found.cost is None or found.cost_each is None:
        lines.append("cost: not known, nothing was paid yet, and no step says what it will cost")
    else:
        how = "as tasks did before" if found.cost_by == "before" else "by the price table, with answers of full length"
        lines.append(f"cost: about {money(found.cost)} ({money(found.cost_each)} each), {how}")
    if found.budget is not None:
        left = max(0.0, found.budget - found.spent)
        short = "; it does not last" if found.cost is not None and found.cost > left else ""
        lines.append(f"budget: {money(left)} of {money(found.budget)} left{short}")
    for due in found.due[:SHOWN]:
        key = "".join(char if char.isprintable() else " " for char in due.key)
        lines.append(f"    {due.why:<8}  {key}")
    if count > SHOWN:
        lines.append(f"    and {count - SHOWN:,} more")
    return "\n".join(lines)


def _count(found: DryRun, why: str) -> int:
    return sum(due.why == why for due in found.due)
