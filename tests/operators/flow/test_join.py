"""`join`: pairs within a time, records without a partner, retractions, and what is held across a restart."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex.subject import Subject

from rxpipe.context import entered
from rxpipe.elements import Batch, OriginGone
from rxpipe.errors import GraphError, ParameterError
from rxpipe.language.config import load_text
from rxpipe.lease import Lease
from rxpipe.operators.flow.join import join
from rxpipe.testing import TestContext, VirtualTimeScheduler, run_marbles


class Joined:
    """The operator on two subjects."""

    def __init__(self, states: Any = (), start: float = 0.0, **parameters: Any) -> None:
        scheduler = VirtualTimeScheduler()
        scheduler.advance_to(start)
        self.context = TestContext(states, scheduler=scheduler)
        self.sides = (Subject[Any](), Subject[Any]())
        self.out: list[Any] = []
        self.back: list[Any] = []
        options = {"on": "id", "within": "10s", **parameters}
        with entered(self.context):
            self.subscription = (
                self.sides[0]
                .pipe(join(self.sides[1], **options))
                .subscribe(self.note, self.out.append, lambda: self.out.append("|"), scheduler=scheduler)
            )

    def note(self, element: Any) -> None:
        self.out += element.rows if isinstance(element, Batch) else [element]
        self.back += element.retracted if isinstance(element, Batch) else []

    def left(self, *rows: dict[str, Any], **more: Any) -> None:
        self.put(0, rows, more)

    def right(self, *rows: dict[str, Any], **more: Any) -> None:
        self.put(1, rows, more)

    def put(self, side: int, rows: Any, more: dict[str, Any]) -> None:
        self.sides[side].on_next(Batch(list(rows), leases=(Lease(self.context.flow, 1, "file", 0, 1),), **more))

    def wait(self, seconds: float) -> None:
        with entered(self.context):
            self.context.virtual.advance_by(seconds)

    @property
    def held(self) -> float:
        return self.context.gauges["held"]()

    @property
    def reasons(self) -> list[str]:
        return [error.reason for error in self.context.errors]


@pytest.mark.parametrize(
    ("left", "right", "out"),
    [("|", "|", "|"), ("-|", "---|", "---|"), ("-#", "---|", "-#"), ("---|", "-#", "-#"), ("-a|", "--b-|", "--c-|")],
)
def test_marbles(left: str, right: str, out: str) -> None:
    values = {"a": Batch([{"id": 1, "n": 2}]), "b": Batch([{"id": 1, "m": 3}]), "c": Batch([{"id": 1, "n": 2, "m": 3}])}

    def joined(one: Any, other: Any) -> Any:
        return one.pipe(join(other, on="id", within="10s"))

    if "a" in left:  # this stream is complete, so the other's records have no partner to wait for, but it has come
        assert run_marbles(joined, "-a--|", values, right) == out
    else:
        assert run_marbles(joined, left, values, right) == out


def test_each_pair_within_the_time_is_emitted_once() -> None:
    joined = Joined()
    joined.left({"id": 1, "n": 1}, {"id": 2, "n": 2})
    joined.wait(6)
    joined.left({"id": 1, "n": 3})
    assert joined.out == []
    joined.right({"id": 1, "m": 4})
    assert joined.out == [{"id": 1, "n": 1, "m": 4}, {"id": 1, "n": 3, "m": 4}]
    joined.wait(5)
    assert joined.held == 2
    joined.right({"id": 1, "m": 5}, {"id": 9, "m": 6})
    assert joined.out[2:] == [{"id": 1, "n": 3, "m": 5}]
    joined.wait(11)
    assert (joined.held, joined.context.flow.blocks) == (0, 0)


@pytest.mark.parametrize(
    ("kind", "alone"),
    [
        ("inner", []),
        ("left", [{"id": 2, "n": 2, "m": None}]),
        ("outer", [{"id": 2, "n": 2, "m": None}, {"id": 3, "m": 3, "n": None}]),
    ],
)
def test_records_without_a_partner(kind: str, alone: list[Any]) -> None:
    joined = Joined(kind=kind)
    joined.left({"id": 1, "n": 1}, {"id": 2, "n": 2})
    joined.right({"id": 1, "m": 1}, {"id": 3, "m": 3})
    del joined.out[:]
    joined.wait(9.9)
    assert joined.out == []
    joined.wait(0.2)
    assert sorted(joined.out, key=lambda row: row["id"]) == alone
    joined.left({"id": None, "n": 1})
    joined.right({"id": None, "m": 1})
    for side in joined.sides:
        side.on_completed()
    assert joined.out.pop() == "|"
    late = joined.out[len(alone) :]
    assert late.count({"id": None, "n": 1, "m": None}) == (kind != "inner")
    assert late.count({"id": None, "n": None, "m": 1}) == (kind == "outer")
    assert len(late) == {"inner": 0, "left": 1, "outer": 2}[kind]


def test_two_keys_a_prefix_and_fields_of_one_name() -> None:
    joined = Joined(on=["id", "ref"], prefix="their_")
    joined.left({"id": 1, "n": 1})
    joined.right({"ref": 1, "n": 2})
    assert joined.out == [{"id": 1, "n": 1, "their_ref": 1, "their_n": 2}]
    plain = Joined()
    plain.left({"id": 1, "n": 1})
    plain.right({"id": 1, "n": 2})
    assert plain.out == [{"id": 1, "n": 1}]


def test_a_retracted_record_takes_its_pairs_back() -> None:
    joined = Joined(kind="outer")
    joined.left({"id": 1, "n": 1}, retractable=True)
    joined.right({"id": 1, "m": 2}, {"id": 1, "m": 3})
    joined.put(0, [], {"retracted": [{"id": 1, "n": 1}], "retractable": True})
    assert joined.back == [{"id": 1, "n": 1, "m": 2}, {"id": 1, "n": 1, "m": 3}]
    assert joined.held == 2
    del joined.out[:]
    joined.wait(11)
    assert [row["m"] for row in joined.out] == [2, 3], "they have no partner now"
    joined.put(1, [], {"retracted": [{"id": 1, "m": 2}]})
    assert joined.reasons == ["retracted when it was held no more: what was made of it stays"]


def test_what_cannot_be_joined_is_rejected() -> None:
    joined = Joined(time="at")
    odd = [math.nan, math.inf, 10**400]
    joined.left({"id": [1], "at": 1}, {"id": 1, "at": "noon"}, {"id": 1}, *({"id": 1, "at": at} for at in odd))
    must = "TypeError: a key must be a number, a text or a tuple of them, and a time a number of seconds; got"
    assert joined.reasons == [
        f"{must} [1] and 1",
        f"{must} 1 and 'noon'",
        f"{must} 1 and None",
        *(f"{must} 1 and {at!r:.40}" for at in odd),
    ]
    assert joined.held == 0


def test_more_than_the_limit_are_not_held() -> None:
    joined = Joined(time="at", kind="left", limit=3)
    for n in range(5):
        joined.left({"id": n, "at": n})
    assert (joined.held, joined.context.gauges["dropped"]()) == (3, 2)
    assert [row["id"] for row in joined.out] == [0, 1]


def test_other_elements_pass() -> None:
    joined = Joined()
    joined.sides[1].on_next(OriginGone("file"))
    assert joined.out == [OriginGone("file")]


EVENTS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(0, 12), st.booleans()), max_size=25)


@given(events=EVENTS, kind=st.sampled_from(["inner", "left", "outer"]), within=st.integers(0, 5))
def test_by_time_it_gives_what_all_pairs_are_across_restarts(
    events: list[tuple[int, int, int, bool]], kind: str, within: int
) -> None:
    """Each stream comes in order of time up to a lateness of 2; a checkpoint and a restart may come at any moment."""
    parameters: dict[str, Any] = {"time": "at", "kind": kind, "within": within, "lateness": 2}
    joined = Joined(**parameters)
    rows: tuple[list[Any], list[Any]] = ([], [])
    out: list[Any] = []
    latest = [0, 0]
    for number, (side, key, step, restart) in enumerate(events):
        at = max(0, latest[side] - 2 + step % 5)
        latest[side] = max(latest[side], at)
        row = {"id": key, "at": at, "lr"[side]: number}
        rows[side].append(row)
        joined.put(side, [row], {})
        if restart:
            states = joined.context.checkpoint()
            joined.subscription.dispose()
            out += joined.out
            joined = Joined(states, **parameters)
    for subject in joined.sides:
        subject.on_completed()
    out += joined.out
    assert out.pop() == "|"
    pairs = [
        (left["l"], right["r"])
        for left in rows[0]
        for right in rows[1]
        if left["id"] == right["id"] and abs(left["at"] - right["at"]) <= within
    ]
    wanted = Counter(pairs)
    if kind != "inner":
        wanted.update((left["l"], None) for left in rows[0] if left["l"] not in [pair[0] for pair in pairs])
    if kind == "outer":
        wanted.update((None, right["r"]) for right in rows[1] if right["r"] not in [pair[1] for pair in pairs])
    assert Counter((row.get("l"), row.get("r")) for row in out) == wanted
    assert (joined.held, joined.context.flow.blocks) == (0, 0)


def test_by_arrival_what_is_held_survives_a_restart() -> None:
    joined = Joined(kind="left")
    joined.left({"id": 1, "n": 1}, {"id": 2, "n": 2})
    joined.wait(4)
    states = joined.context.checkpoint()
    joined.subscription.dispose()
    again = Joined(states, start=5.0, kind="left")
    again.right({"id": 1, "m": 3})
    assert again.out == [{"id": 1, "n": 1, "m": 3}]
    again.wait(5.1)
    assert again.out[1:] == [{"id": 2, "n": 2, "m": None}]


def test_on_is_one_key_or_two() -> None:
    with pytest.raises(
        ParameterError, match=re.escape("on: must be one key, or two, of this stream and of the other; got 3")
    ):
        join(Subject[Any](), on=["a", "b", "c"], within="1s")(Subject[Any]())


def test_from_yaml() -> None:
    text = """
graph: orders
streams:
  paid: [{from: errors}]
  orders: [{from: errors}, {join: {other: paid, on: [step, step], within: 5m, kind: left, time: time, lateness: 10s}}]
"""
    made = load_text(text)
    assert made.plan().streams["orders"].steps[1].streams == {"other": "paid"}
    assert load_text(made.to_yaml()) == made
    with pytest.raises(GraphError, match="unknown stream 'pait', did you mean 'paid'"):
        load_text(text.replace("other: paid", "other: pait"))
