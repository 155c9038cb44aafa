"""`window` against sums made of all records at once, torn into batches and runs in any way."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rxpipe import operators as ops
from rxpipe.testing import TestContext, VirtualTimeScheduler
from tests.operators.windows.test_window import Fed

ALL: dict[str, Any] = {"n": "count()", "s": "sum(v)", "lo": "min(v)", "hi": "max(v)", "f": "first(v)", "l": "last(v)"}
Row = dict[str, Any]

records = st.lists(
    st.builds(
        lambda t, k, v: {"t": t / 4, "k": k, "v": v}, st.integers(-80, 400), st.sampled_from("ab"), st.integers()
    ),
    max_size=40,
)
cuts = st.lists(st.integers(0, 40), max_size=6)
lateness = st.sampled_from([0, 3, 25])


def summed(start: float, end: float, key: str, rows: list[Row]) -> Row:
    values = [row["v"] for row in rows]
    return {
        "start": start, "end": end, "k": key, "n": len(rows), "s": sum(values), "lo": min(values), "hi": max(values),
        "f": values[0], "l": values[-1],
    }  # fmt: skip


def fixed(rows: list[Row], size: int, every: int, late: float) -> tuple[list[Row], list[Row]]:
    """The rows of all windows, and the records that were late."""
    found: dict[tuple[float, float, str], list[Row]] = {}
    behind = []
    largest = -1e9
    for row in rows:
        starts = [
            s for s in range(-100 * every, 100 * every, every) if s <= row["t"] < s + size and s + size > largest - late
        ]
        for start in starts:
            found.setdefault((start + size, start, row["k"]), []).append(row)
        if not starts:
            behind.append(row)
        largest = max(largest, row["t"])
    ordered = sorted(found, key=lambda at: at[:2])  # keeps the order of the groups' first records
    return [summed(start, end, key, found[end, start, key]) for end, start, key in ordered], behind


def near(rows: list[Row], gap: float) -> list[Row]:
    """The rows of all sessions of records in the order of time, apart from what depends on the order of arrival."""
    found = []
    for key in "ab":
        session: list[Row] = []
        for row in [*sorted((row for row in rows if row["k"] == key), key=lambda row: row["t"]), None]:
            if session and (row is None or row["t"] - session[-1]["t"] >= gap):
                found.append(summed(session[0]["t"], session[-1]["t"] + gap, key, session))
                session = []
            if row is not None:
                session.append(row)
    return found


def run(step: Any, rows: list[Row], cuts: list[int], restarts: list[int]) -> tuple[list[Row], list[Row], list[Any]]:
    """The rows of windows, late records and errors, of batches cut at some places, with restarts at others."""
    made: list[Row] = []
    late: list[Row] = []
    errors: list[Any] = []
    fed = Fed(step)
    places = sorted({0, len(rows), *(at for at in [*cuts, *restarts] if at < len(rows))})
    for begin, end in pairwise(places):
        fed.give(*rows[begin:end])
        if end in restarts:
            states = fed.context.checkpoint()
            made, late, errors = made + fed.rows, late + late_of(fed), errors + fed.context.errors
            scheduler = VirtualTimeScheduler()
            scheduler.advance_to(fed.context.virtual.time)
            fed = Fed(step, TestContext(states, scheduler=scheduler))
    fed.end()
    return made + fed.rows, late + late_of(fed), errors + fed.context.errors


def late_of(fed: Fed) -> list[Row]:
    return [row for batch in fed.context.outputs["late"] for row in batch.rows]


@given(
    rows=records, cuts=cuts, restarts=cuts, late=lateness, frame=st.sampled_from([(10, 10), (10, 3), (7, 7), (6, 2)])
)
def test_fixed_windows(
    rows: list[Row], cuts: list[int], restarts: list[int], late: int, frame: tuple[int, int]
) -> None:
    size, every = frame
    step = ops.window(size=f"{size}s", every=f"{every}s", time="t", lateness=f"{late}s", by=["k"], **ALL)
    made, behind, errors = run(step, rows, cuts, restarts)
    expected, expected_late = fixed(rows, size, every, late)
    assert made == expected
    assert behind == expected_late
    assert errors == []


@given(rows=records, cuts=cuts, restarts=cuts, late=lateness)
def test_any_way_to_cut_gives_the_same_sessions(
    rows: list[Row], cuts: list[int], restarts: list[int], late: int
) -> None:
    step = ops.window(gap="4s", time="t", lateness=f"{late}s", by=["k"], **ALL)
    assert run(step, rows, cuts, restarts) == run(step, rows, [], [])


@given(rows=records, cuts=cuts, restarts=cuts, late=lateness, shuffled=st.randoms(use_true_random=False))
def test_sessions_of_records_out_of_order_by_no_more_than_the_lateness(
    rows: list[Row], cuts: list[int], restarts: list[int], late: int, shuffled: Any
) -> None:
    """None is late, and the sessions are those of the sorted records."""
    arriving = sorted(rows, key=lambda row: row["t"] + shuffled.uniform(0, late))
    step = ops.window(gap="4s", time="t", lateness=f"{late}s", by=["k"], **ALL)
    made, behind, errors = run(step, arriving, cuts, restarts)
    order_free = ("start", "end", "k", "n", "s", "lo", "hi")
    assert sorted([[row[c] for c in order_free] for row in made]) == sorted(
        [[row[c] for c in order_free] for row in near(rows, 4)]
    )
    assert [row["end"] for row in made] == sorted(row["end"] for row in made)
    assert (behind, errors) == ([], [])


@given(rows=records, late=lateness, data=st.data())
def test_records_taken_back(rows: list[Row], late: int, data: Any) -> None:
    """Records and retractions of earlier ones: windows hold what is left, the rest of the retractions is late."""
    step = ops.window(size="10s", time="t", lateness=f"{late}s", by=["k"], n="count()", hi="max(v)")
    fed = Fed(step)
    held: dict[tuple[float, str], list[Row]] = {}
    expected_late: list[Row] = []
    retracted_late: list[Row] = []
    given_rows: list[Row] = []
    largest = -1e9
    for row in rows:
        taken = data.draw(st.lists(st.sampled_from(given_rows), max_size=2, unique_by=id)) if given_rows else []
        for back in taken:
            given_rows = [r for r in given_rows if r is not back]
            at = (back["t"] // 10 * 10, back["k"])
            if at[0] + 10 > largest - late:
                held[at] = [r for r in held[at] if r is not back]
            else:
                retracted_late.append(back)
        fed.give(row, retracted=taken, retractable=True)
        at = (row["t"] // 10 * 10, row["k"])
        if at[0] + 10 > largest - late:
            held.setdefault(at, []).append(row)
        else:
            expected_late.append(row)
        given_rows.append(row)
        largest = max(largest, row["t"])
    fed.end()
    expected = {at: (len(kept), max(r["v"] for r in kept)) for at, kept in held.items() if kept}
    assert {(row["start"], row["k"]): (row["n"], row["hi"]) for row in fed.rows} == expected
    assert late_of(fed) == expected_late
    taken_late = [row for batch in fed.context.outputs["late"] for row in batch.retracted]
    assert Counter(map(repr, taken_late)) == Counter(map(repr, retracted_late))
