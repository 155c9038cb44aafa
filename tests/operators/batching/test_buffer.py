"""`buffer`."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex.subject import Subject

import rxpipe.pending
from rxpipe.context import entered
from rxpipe.elements import Batch, OriginGone
from rxpipe.errors import ParameterError
from rxpipe.lease import Lease
from rxpipe.operators.batching.buffer import buffer
from rxpipe.testing import Event, MarbleSource, TestContext, record, run_marbles


def rows(*numbers: int) -> list[dict[str, int]]:
    return [{"n": number} for number in numbers]


VALUES: dict[str, Any] = {
    "a": Batch(rows(1)),
    "b": Batch(rows(2)),
    "c": Batch(rows(3)),
    "l": Batch(rows(1, 2, 3, 4, 5)),
    "d": Batch(rows(1, 2)),
    "t": Batch(rows(3, 4)),
    "f": Batch(rows(5)),
    "x": Batch(rows(1, 2, 3)),
    "o": OriginGone("f"),
    "e": Batch([]),
}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("------", ""),
        ("|", "|"),
        ("---|", "---|"),
        ("-e-|", "---|"),
        ("-a--|", "----(a|)"),
        ("-a-b-|", "---d-|"),
        ("-a-b-c|", "---d--(c|)"),
        ("-l-|", "-(dt)-(f|)"),
        ("-a-o-|", "---(ao)-|"),
        ("-o-|", "-o-|"),
        ("#", "#"),
        ("-a-#", "---(a#)"),
    ],
)
def test_count(source: str, expected: str) -> None:
    assert run_marbles(buffer(count=2), source, VALUES) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("-a-----|", "----a--|"),
        ("-ab----|", "----d--|"),
        ("-abc---|", "----x--|"),
        ("-a----b-----|", "----a----b--|"),
        ("-a-|", "---(a|)"),
    ],
)
def test_time(source: str, expected: str) -> None:
    assert run_marbles(buffer(time="300ms"), source, VALUES) == expected


def test_count_and_time_start_again() -> None:
    assert run_marbles(buffer(count=2, time="300ms"), "-a-bc----|", VALUES) == "---d---c-|"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("-a-b-c------d-|", "-a---m------d-|"),
        ("-a----b-|", "-a----b-|"),
        ("-a---b--c-----|", "-a---b---c----|"),
        ("-abc|", "-a--(m|)"),
        ("-a-b-o-c---|", "-a---(bo)---c-|"),
    ],
)
def test_leading(source: str, expected: str) -> None:
    values = VALUES | {"m": Batch(rows(2, 3))}
    assert run_marbles(buffer(time="400ms", leading="0s"), source, values) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("-a-------b--|", "---a-------b|"),
        ("-ab-------c-|", "---d--------(c|)"),
        ("-a---b------|", "---a---b----|"),
        ("-a--b-----c-|", "---a---b----(c|)"),
        ("-a-b-----c--|", "---d-------c|"),
    ],
)
def test_leading_for_a_while(source: str, expected: str) -> None:
    assert run_marbles(buffer(time="400ms", leading="200ms"), source, VALUES) == expected


def test_leading_and_count() -> None:
    values = VALUES | {"r": Batch(rows(4, 5, 2))}
    assert run_marbles(buffer(count=3, time="400ms", leading="0s"), "-a-l-b-----|", values) == "-a-x-r-----|"


def test_urgent() -> None:
    values = VALUES | {"y": Batch(rows(4, 5))}
    assert run_marbles(buffer(count=9, urgent="n == 3"), "-a-b-c-|", values) == "-----x-|"
    assert run_marbles(buffer(count=9, urgent="n == 3"), "-l-|", values) == "-x-(y|)"
    assert run_marbles(buffer(count=2, urgent="n == 3"), "-l-|", values) == "-(dcy)-|"


def test_urgent_that_fails_is_reported_and_the_record_kept() -> None:
    context = TestContext()
    values = {"a": Batch([{"n": "x"}])}
    assert run_marbles(buffer(count=9, urgent="n > 1"), "-a-|", values, context=context) == "---(a|)"
    assert len(context.errors) == 1
    assert context.errors[0].reason.startswith("urgent: ")


def test_a_limit_is_required() -> None:
    with pytest.raises(ParameterError, match="one of 'count', 'time' and 'bytes' must be given"):
        run_marbles(buffer(urgent="n == 1"), "|")
    with pytest.raises(ParameterError, match="count: must be greater than or equal to 1; got 0"):
        buffer(count=0)
    with pytest.raises(ParameterError, match="leading: needs 'time'"):
        run_marbles(buffer(count=1, leading="0s"), "|")
    with pytest.raises(ParameterError, match=r"leading: must be at most 'time', 0\.1 s; got 1 s"):
        run_marbles(buffer(time="100ms", leading="1s"), "|")


class Driven:
    """A buffer fed by hand."""

    def __init__(self, **parameters: Any) -> None:
        self.context = TestContext()
        self.source: Subject[Any] = Subject()
        self.seen: list[tuple[int, int]] = []
        with entered(self.context):
            self.subscription = self.source.pipe(buffer(**parameters)).subscribe(self.note)

    def note(self, batch: Batch) -> None:
        self.seen.append((len(batch), sum(lease.nbytes for lease in batch.leases)))

    def lease(self, nbytes: int) -> Lease:
        return Lease(self.context.flow, nbytes)

    def emit(self, count: int, *leases: Lease) -> None:
        self.source.on_next(Batch(rows(*range(count)), leases=leases))


def test_bytes() -> None:
    driven = Driven(bytes="100B")
    driven.emit(1, driven.lease(60))
    driven.emit(2, driven.lease(60))
    assert driven.seen == [(1, 60)]
    driven.emit(3, driven.lease(40))
    assert driven.seen == [(1, 60), (5, 100)]
    driven.emit(1, driven.lease(500))
    assert driven.seen[2:] == [(1, 500)]
    assert driven.context.flow.blocks == 0


def test_a_block_counts_once() -> None:
    driven = Driven(bytes="100B")
    lease = driven.lease(60)
    driven.emit(1, lease)
    driven.emit(1, lease)
    assert driven.seen == []


def test_both_parts_of_a_split_batch_hold_the_leases() -> None:
    driven = Driven(count=2)
    driven.emit(3, driven.lease(10))
    assert (driven.seen, driven.context.flow.blocks) == ([(2, 10)], 1)
    driven.emit(1, driven.lease(5))
    assert (driven.seen, driven.context.flow.blocks) == ([(2, 10), (2, 15)], 0)


def test_checkpoint_and_disposal() -> None:
    driven = Driven(count=9)
    driven.emit(1, driven.lease(10))
    assert driven.context.gauges["queue_depth"]() == 1
    driven.context.checkpoint()
    assert driven.seen == [(1, 10)]
    driven.emit(1, driven.lease(10))
    driven.subscription.dispose()
    assert (driven.seen, driven.context.flow.blocks) == ([(1, 10)], 0)


def test_a_retraction_of_what_is_held_cancels_it() -> None:
    driven = Driven(count=9)
    driven.emit(1, driven.lease(10))
    driven.source.on_next(Batch([], rows(0)))
    assert driven.context.flow.blocks == 0
    driven.source.on_completed()
    assert driven.seen == []


def test_retractions_alone_do_not_gather_without_bound() -> None:
    driven = Driven(count=2)
    driven.source.on_next(Batch([], rows(1, 2, 3)))
    assert driven.seen == [(0, 0)]


def test_urgent_sees_typed_rows() -> None:
    row_type = msgspec.defstruct("Row", [("n", int)])
    driven = Driven(count=9, urgent="n == 1")
    driven.source.on_next(Batch([row_type(0), row_type(1), row_type(2)]))
    assert driven.seen == [(2, 0)]


def test_early_disposal() -> None:
    context = TestContext()
    source = MarbleSource("-a----b", VALUES, scheduler=context.virtual)
    assert record(source.pipe(buffer(time="1s")), 0.3, context=context) == []
    assert source.subscriptions == [(0, 0.3)]


@st.composite
def histories(draw: st.DrawFn) -> list[Any]:
    """Batches that add rows and retract rows that are there, other elements, checkpoints, time passing."""
    there: list[int] = []
    steps: list[Any] = []
    for _ in range(draw(st.integers(1, 12))):
        kind = draw(st.sampled_from(["batch", "batch", "batch", "other", "flush", "wait"]))
        if kind != "batch":
            steps.append(kind)
            continue
        taken = [
            there.pop(draw(st.integers(0, len(there) - 1))) for _ in range(draw(st.integers(0, min(3, len(there)))))
        ]
        added = draw(st.lists(st.integers(0, 4), max_size=6))
        there += added
        steps.append((added, taken, draw(st.integers(0, 50))))
    return steps


@given(
    histories(),
    st.one_of(st.none(), st.integers(1, 5)),
    st.one_of(st.none(), st.sampled_from([0.05, 0.2])),
    st.one_of(st.none(), st.integers(0, 60)),
    st.one_of(st.none(), st.just("n == 2")),
    st.sampled_from([0, 3, 10_000]),
    st.sampled_from(["completed", "error"]),
)
def test_nothing_is_lost_or_doubled(
    steps: list[Any], count: int | None, time: float | None, size: int | None, urgent: str | None, price: int, end: str
) -> None:
    """Applying the batches leads where the source's batches would have led, and never takes back too much."""
    if count is None and time is None and size is None:
        count = 2
    given: dict[str, Any] = {"count": count, "time": time, "bytes": size, "urgent": urgent}
    context = TestContext()
    source: Subject[Any] = Subject()
    there: Counter[int] = Counter()
    order: list[int] = []
    largest = 0
    ended: list[str] = []

    def apply(element: Any) -> None:
        nonlocal largest
        if not isinstance(element, Batch):
            return
        for row in element.retracted:
            there[row["n"]] -= 1
            assert there[row["n"]] >= 0
        for row in element.rows:
            there[row["n"]] += 1
            order.append(row["n"])
        largest = max(largest, len(element))

    before = rxpipe.pending.MOST_COMPARISONS
    rxpipe.pending.MOST_COMPARISONS = price
    try:
        with entered(context):
            stream = source.pipe(buffer(**{k: v for k, v in given.items() if v is not None}))
            stream.subscribe(apply, lambda _: ended.append("error"), lambda: ended.append("completed"))
        wanted: Counter[int] = Counter()
        for step in steps:
            if step == "other":
                source.on_next(OriginGone("f"))
                assert +there == +wanted
            elif step == "flush":
                context.checkpoint()
                assert +there == +wanted
            elif step == "wait":
                context.virtual.advance_by(0.3)
                assert time is None or +there == +wanted
            else:
                added, taken, nbytes = step
                wanted.update(added)
                wanted.subtract(taken)
                source.on_next(Batch(rows(*added), rows(*taken), (Lease(context.flow, nbytes),)))
        if end == "error":
            source.on_error(ValueError("x"))
        else:
            source.on_completed()
    finally:
        rxpipe.pending.MOST_COMPARISONS = before
    assert (+there, ended) == (+wanted, [end])
    assert context.flow.blocks == 0
    assert count is None or largest <= count
    if not any(isinstance(step, tuple) and step[1] for step in steps):
        assert order == [n for step in steps if isinstance(step, tuple) for n in step[0]]


@given(st.lists(st.integers(0, 7), max_size=12), st.integers(1, 5))
def test_full_batches_have_exactly_count(sizes: list[int], count: int) -> None:
    context = TestContext()
    events = [Event(n / 10, "next", Batch(rows(*range(size)))) for n, size in enumerate(sizes)]
    source = MarbleSource([*events, Event(9, "completed")], scheduler=context.virtual)
    got = [len(e.value) for e in record(source.pipe(buffer(count=count)), context=context) if e.kind == "next"]
    total = sum(sizes)
    assert got == [count] * (total // count) + [total % count] * bool(total % count)
