"""What a step has to save is as it was at the barrier, however much flows before it is packed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable
from reactivex.subject import Subject

from rxpipe import operators as ops
from rxpipe.context import Change, Cut, StateKind, entered
from rxpipe.elements import Batch, OriginGone
from rxpipe.lease import Lease
from rxpipe.testing import TestContext
from rxpipe.testing.context import DictSaved, Rows

AGGREGATIONS = {
    "n": "count()",
    "total": "sum(v)",
    "least": "min(v)",
    "most": "max(v)",
    "different": "distinct(v)",
    "about": "approx_distinct(v)",
    "middle": "median(v)",
    "spread": "stddev(v)",
    "first": "first(v)",
    "last": "last(v)",
}
STEPS: dict[str, Callable[[], Callable[[Observable[Any]], Observable[Any]]]] = {
    "aggregate": lambda: ops.aggregate(by=["k"], **AGGREGATIONS),
    "aggregate by a pair": lambda: ops.aggregate(by=["k", "v"], n="count()", different="distinct(v)"),
    "aggregate all": lambda: ops.aggregate(n="count()", different="distinct(v)"),
    "window": lambda: ops.window(size="10s", time="v", by=["k"], n="count()", different="distinct(v)"),
    "window by gap": lambda: ops.window(gap="2s", time="v", by=["k"], n="count()", different="distinct(v)"),
    "dedupe, first": lambda: ops.dedupe("k"),
    "dedupe, largest": lambda: ops.dedupe("k", keep="largest", by=["v"], origin="p"),
}


class Cutting(TestContext):
    """A context whose steps are asked by the test what they have to save."""

    def state(self, kind: StateKind, changes: Callable[[], Iterable[Change]], description: str = "") -> DictSaved:
        """Take note of whom to ask."""
        self.changes = changes
        return super().state(kind, changes, description)


class Fed:
    """A step that is fed by the test.

    Attributes:
        rows: What is saved of it.
        failed: What it told only once and could not be saved.
    """

    def __init__(self, name: str) -> None:
        self.context = Cutting()
        self.source: Subject[Any] = Subject()
        self.rows: Rows = {}
        self.failed: list[Change] = []
        with entered(self.context):
            self.source.pipe(STEPS[name]()).subscribe(lambda _: None, scheduler=self.context.virtual)

    def feed(self, element: tuple[str, Any]) -> None:
        """Have an element come."""
        kind, value = element
        if kind == "gone":
            self.source.on_next(OriginGone(value))
            return
        path, pairs = value
        rows = [{"k": key, "v": number, "p": path} for key, number in pairs]
        lease = (Lease(self.context.flow, 1, path),)
        made = Batch(rows, leases=lease) if kind == "rows" else Batch([], rows, leases=lease, retractable=True)
        with entered(self.context):
            self.source.on_next(made)

    def cut(self) -> Cut:
        """What there is to save."""
        made = self.context.changes()
        return made if isinstance(made, Cut) else Cut(list(made))

    def save(self, told: Iterable[Change]) -> None:
        """Write changes as the state file does, behind those told only once that it could not write."""
        failed, self.failed = self.failed, []
        for key, part, value in (*failed, *told):
            if value is None:
                self.rows.pop((key, part), None)
            else:
                self.rows[key, part] = value


pairs = st.lists(st.tuples(st.sampled_from(["a", "b", "c", 1, 1.0]), st.integers(0, 30)), max_size=4)
elements = st.lists(
    st.tuples(st.sampled_from(["rows", "rows", "back"]), st.tuples(st.sampled_from(["p", "q"]), pairs))
    | st.tuples(st.just("gone"), st.sampled_from(["p", "q"])),
    max_size=6,
)


@pytest.mark.parametrize("name", STEPS)
@given(rounds=st.lists(st.tuples(elements, elements, st.integers(0, 3), elements, st.booleans()), max_size=3))
def test_a_cut_is_of_its_moment(name: str, rounds: list[Any]) -> None:
    """Compared with a twin that tells everything at the barrier; where saving fails, the next cut makes up for it."""
    lazy, eager = Fed(name), Fed(name)
    for before, between, count, after, fails in [*rounds, ([], [], 0, [], False)]:
        for element in before:
            lazy.feed(element)
            eager.feed(element)
        cut, at_once = lazy.cut(), eager.cut()
        whole = [*at_once]
        rows = iter(cut.rows)
        for element in between:
            lazy.feed(element)
        told = [*cut.told, *islice(rows, count)]
        for element in after:
            lazy.feed(element)
        if fails:
            lazy.failed, eager.failed = [*lazy.failed, *cut.told], [*eager.failed, *at_once.told]
            cut.failed()
            at_once.failed()
        else:
            lazy.save([*told, *rows])
            eager.save(whole)
            assert lazy.rows == eager.rows
        for element in (*between, *after):
            eager.feed(element)
