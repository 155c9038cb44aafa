"""`sessionize`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex.subject import Subject

from rxpipe.context import entered
from rxpipe.elements import Batch, OriginGone
from rxpipe.errors import RxpipeError
from rxpipe.operators.aggregate.aggregate import aggregate
from rxpipe.operators.aggregate.sessionize import sessionize
from rxpipe.operators.records.derive import derive
from rxpipe.table import Table
from rxpipe.testing import TestContext, run_marbles

HOUR = 3600.0
LONG = 5 * HOUR


def sessions(rows: list[dict[str, Any]], now: float = 0.0, **parameters: Any) -> list[dict[str, Any]]:
    """The sessions of some rows."""
    context = TestContext()
    seen: list[Any] = []
    context.virtual.advance_to(now)
    source: Subject[Any] = Subject()
    with entered(context):
        source.pipe(sessionize(**parameters)).subscribe(seen.append)
    source.on_next(Table("t", ("start",), lambda: rows, lambda: 0))
    return list(seen[0].dicts())


def blocks(times: list[float]) -> list[dict[str, Any]]:
    """Blocks of entries, one entry at a time."""
    made: list[dict[str, Any]] = []
    before = None
    for number, time in sorted(enumerate(times), key=lambda pair: pair[1]):
        if before is None or time - made[-1]["start"] > LONG or time - before > LONG:
            start = time // HOUR * HOUR
            made.append({"start": start, "end": start + LONG, "first": time, "n": 0, "entries": 0})
            made[-1]["idle"] = None if before is None else time - before
        made[-1]["last"] = before = time
        made[-1]["n"] += number + 1
        made[-1]["entries"] += 1
    return made


moments = st.one_of(
    st.integers(0, 60).map(lambda hours: hours * HOUR),
    st.integers(0, 60 * 3_600_000).map(lambda milliseconds: milliseconds / 1000),
    st.tuples(st.integers(0, 60), st.sampled_from([-0.001, 0.001, 1.0, -1.0])).map(
        lambda pair: pair[0] * HOUR + pair[1]
    ),
).map(lambda time: 1_700_000_000 // 3600 * 3600 + time)


@st.composite
def times(draw: st.DrawFn) -> list[float]:
    """Times, some exactly five hours after another."""
    made = draw(st.lists(moments, max_size=20))
    if made:
        made += [draw(st.sampled_from(made)) + LONG for _ in range(draw(st.integers(0, 3)))]
    return made


@given(times(), st.integers(1, 5), st.booleans())
def test_blocks_of_hours_equal_blocks_of_entries(made: list[float], size: int, spans: bool) -> None:
    context = TestContext()
    seen: list[Any] = []
    source: Subject[Any] = Subject()
    with entered(context):
        source.pipe(
            derive(hour="ceil_time(time, '1h')"),
            aggregate(by=["hour"], begin="min(time)", until="max(time)", n="sum(n)", entries="count()"),
            derive(start="begin") if spans else derive(),
            sessionize("5h", "start" if spans else "begin", "until", at_most="5h", align="1h"),
        ).subscribe(seen.append, scheduler=context.virtual)
    rows = [{"time": time, "n": number + 1} for number, time in enumerate(made)]
    for start in range(0, len(rows), size):
        source.on_next(Batch(rows[start : start + size]))
    found = seen[-1].dicts() if seen else []
    names = ("start", "end", "first", "last", "idle", "n", "entries")
    assert [[row[name] for name in names] for row in found] == [[row[name] for name in names] for row in blocks(made)]


def test_without_a_length() -> None:
    rows = [
        {"start": 100.0, "end": 150.0, "n": 1},
        {"start": 10.0, "end": 40.0, "n": 2},
        {"start": 211.0, "end": 212.0, "n": 4},
    ]
    found = sessions(rows, gap="60s", align="30s")
    assert [(row["start"], row["end"], row["n"], row["idle"]) for row in found] == [
        (0.0, 150.0, 3, None),
        (210.0, 212.0, 4, 61.0),
    ]


def test_a_row_inside_another_does_not_shorten_it() -> None:
    rows = [{"start": 0.0, "end": 100.0}, {"start": 10.0, "end": 20.0}, {"start": 150.0, "end": 150.0}]
    assert [row["last"] for row in sessions(rows, gap="60s")] == [150.0]


def test_only_numbers_are_added() -> None:
    rows: list[dict[str, Any]] = [
        {"start": 0.0, "end": 1.0, "n": 1, "name": "a", "ok": True, "x": None},
        {"start": 2.0, "end": 2.0, "n": 2.5, "x": 3},
    ]
    (found,) = sessions(rows, gap="60s")
    assert (found["n"], found["x"]) == (3.5, 3)
    assert "name" not in found
    assert "ok" not in found


def test_of_some_columns_the_largest_value_counts() -> None:
    rows: list[dict[str, Any]] = [
        {"start": 0.0, "end": 1.0, "n": 1, "top": None},
        {"start": 2.0, "end": 2.0, "n": 2, "top": 9},
        {"start": 3.0, "end": 3.0, "n": 3, "top": 4},
        {"start": 900.0, "end": 900.0, "n": 4},
    ]
    found = sessions(rows, gap="60s", largest=["top"])
    assert [(row["n"], row["top"]) for row in found] == [(6, 9), (4, None)]


def test_columns_of_its_own_are_not_added_to() -> None:
    rows = [{"from": 5.0, "to": 6.0, "start": 1000, "idle": 7, "active": 1, "n": 1}] * 2
    (found,) = sessions(rows, gap="60s", start="from", end="to")
    assert (found["start"], found["end"], found["idle"], found["active"], found["n"]) == (5.0, 6.0, None, True, 2)


@pytest.mark.parametrize(("now", "active"), [(99.0, True), (159.9, True), (160.0, False), (200.0, False)])
def test_active(now: float, active: bool) -> None:
    (found,) = sessions([{"start": 0.0, "end": 100.0}], now, gap="60s", at_most="190s")
    assert found["active"] is active
    (found,) = sessions([{"start": 0.0, "end": 100.0}], now, gap="60s")
    assert found["active"] is (now - 100.0 < 60)


def test_rows_without_a_time_are_left_out() -> None:
    assert sessions([{"start": None, "end": None, "n": 1}], gap="60s") == []
    assert [row["last"] for row in sessions([{"start": 3.0, "end": None, "n": 1}], gap="60s")] == [3.0]


def test_a_column_that_is_not_there() -> None:
    with pytest.raises(
        RxpipeError,
        match="sessionize: the table must have the column 'start'; got 'begin', 'n', 'starts', did you mean 'starts'",
    ):
        sessions([{"begin": 1.0, "n": 1, "starts": 2}], gap="60s")


@pytest.mark.parametrize("source", ["-----", "|", "--|", "--#"])
def test_marbles(source: str) -> None:
    assert run_marbles(sessionize("5h"), source) == source.rstrip("-")
    assert run_marbles(sessionize("5h"), "-a-|", {"a": OriginGone("x")}) == "-a-|"
