"""Operators of several streams in a run that is stopped: what waits for another stream stays for the next run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from reactivex import Observable
from reactivex.subject import Subject

from rxpipe import operators as ops
from rxpipe.context import entered
from rxpipe.elements import Batch
from rxpipe.testing import TestContext

Combined = Callable[[Observable[Any], Observable[Any]], Observable[Any]]


class Run:
    """One subscription to a combination of two streams."""

    def __init__(self, combined: Combined, states: Any = ()) -> None:
        self.context = TestContext(states)
        self.streams: tuple[Subject[Any], Subject[Any]] = (Subject(), Subject())
        self.rows: list[Any] = []
        self.done = 0
        with entered(self.context):
            combined(*self.streams).subscribe(
                lambda batch: self.rows.extend(batch.dicts()),
                on_completed=self._complete,
                scheduler=self.context.virtual,
            )

    def _complete(self) -> None:
        self.done += 1

    def feed(self, stream: int, *ids: int) -> None:
        self.streams[stream].on_next(Batch([{"id": number, f"of{stream}": number} for number in ids]))


COMBINED: dict[str, tuple[Combined, list[list[Any]]]] = {
    "zip": (
        lambda one, other: one.pipe(ops.zip(other)),
        [[{"id": n, "of0": n, "of1": n} for n in (1, 2)], [{"id": n, "of0": n, "of1": n} for n in (3, 4)]],
    ),
    "join": (
        lambda one, other: one.pipe(ops.join(other, on="id", within="1h")),
        [[{"id": n, "of0": n, "of1": n} for n in (1, 2)], [{"id": n, "of0": n, "of1": n} for n in (3, 4)]],
    ),
    "concat": (
        lambda one, other: one.pipe(ops.concat(other)),
        [[{"id": n, "of0": n} for n in (1, 2, 3)], [{"id": 4, "of0": 4}, *({"id": n, "of1": n} for n in (1, 2, 3, 4))]],
    ),
}


@pytest.mark.parametrize("name", COMBINED)
def test_what_waits_stays(name: str) -> None:
    combined, (before, after) = COMBINED[name]
    run = Run(combined)
    run.feed(0, 1)
    run.context.drain()
    run.streams[1].on_next(Batch([{"id": 1, "of1": 1}]))
    run.streams[1].on_completed()  # it has come through before the other, which has more under way
    assert run.done == 0
    run.feed(0, 2, 3)
    if name != "concat":
        assert run.rows == before[:1]
    run.streams[0].on_completed()
    assert [run.done] == [1]
    again = Run(combined, run.context.checkpoint())
    again.feed(1, 2, 3)
    again.feed(0, 4)
    again.feed(1, 4)
    again.streams[0].on_completed()
    again.streams[1].on_completed()
    assert again.done == 1
    assert run.rows + again.rows == before + after


def test_without_state_nothing_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rxpipe.testing.context.DictSaved.persistent", False)
    run = Run(COMBINED["zip"][0])
    run.feed(0, 1)
    run.context.drain()
    run.feed(1, 1)
    run.streams[1].on_completed()
    assert (run.rows, run.done) == ([{"id": 1, "of0": 1, "of1": 1}], 1)
