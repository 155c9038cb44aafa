"""What the tests of record-wise steps share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from reactivex import Observable
from reactivex.subject import Subject

from rxpipe.elements import Batch
from rxpipe.lease import Lease
from rxpipe.table import Table
from rxpipe.testing import TestContext

Through = Callable[..., list[Any]]


@pytest.fixture
def through(context: TestContext) -> Through:
    """Elements through a step in the test's context; rows are batches of one."""

    def run(step: Callable[[Observable[Any]], Observable[Any]], *elements: Any) -> list[Any]:
        seen: list[Any] = []
        source: Subject[Any] = Subject()
        subscription = source.pipe(step).subscribe(seen.append, scheduler=context.virtual)
        for element in elements:
            source.on_next(
                Batch(element, leases=(Lease(context.flow, 1, "f", 1, 2),)) if isinstance(element, list) else element
            )
        subscription.dispose()
        return seen

    return run


@pytest.fixture
def table() -> Callable[[list[dict[str, Any]]], Table]:
    """A live table of rows, with the key `id`."""
    return lambda rows: Table("rows", ("id",), lambda: rows, lambda: len(rows))
