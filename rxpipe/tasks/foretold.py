"""What tasks will cost, by the prices that are known before anything was paid; nothing is called."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rxpipe.context import Context
from rxpipe.errors import RxpipeError
from rxpipe.language.plan import PlannedStep

SAMPLE = 64
"""Tasks of which the cost is estimated; the others are taken to cost as much."""


async def foretold(steps: Sequence[PlannedStep], records: Sequence[dict[str, Any]], folder: Path) -> float | None:
    """What a task will cost on average; None where a step does not say, or asks for what steps before it add.

    Args:
        steps: What is done with a task.
        records: Those of some tasks.
        folder: The graph's.

    Raises:
        RxpipeError: A step cannot be used as it is.
    """
    costs = [_of_step(step, folder) for step in steps if step.operator is not None and step.operator.cost_rule]
    if not costs or not records:
        return None
    found = []
    for record in records:
        try:
            told = [await cost(record) for cost in costs]
        except (ValueError, OSError) as error:
            if isinstance(error, RxpipeError):
                raise
            continue  # of the records that say it, if any
        found.append([one for one in told if one is not None])
        if len(found[-1]) < len(costs):
            return None
    return fmean(sum(told) for told in found) if found else None


def _of_step(step: PlannedStep, folder: Path) -> Callable[[dict[str, Any]], Awaitable[float | None]]:
    context = Context()
    context.name, context.folder = step.name, folder
    if step.operator is None or step.operator.cost_rule is None:
        raise AssertionError
    return step.operator.cost_rule(context, **step.operator.with_defaults(step.parameters))
