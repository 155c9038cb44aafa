"""`switch`: one of several streams at a time, chosen by the records of another."""

from __future__ import annotations

from typing import Any

import pytest

from rxpipe.elements import Batch, OriginGone
from rxpipe.language.config import load_text
from rxpipe.operators.flow.switch import switch
from rxpipe.table import Table
from rxpipe.testing import MarbleSource, TestContext, record, run_marbles
from tests.operators.flow.driven import Driven

VALUES = {"x": Batch([{"to": 0}]), "y": Batch([{"to": 1}]), "z": Batch([{"to": None}])}


def switched(control: Any, *streams: Any) -> Any:
    return control.pipe(switch(*streams, by="to"))


@pytest.mark.parametrize(
    ("control", "one", "two", "expected"),
    [
        ("----", "-a-|", "-c-|", "---|"),
        ("|", "-a-|", "-c-|", "|"),
        ("x---|", "-a-b-|", "-c-d-|", "-a-b-|"),
        ("x--y-|", "-a-b-a-|", "-c-d-c--|", "-a-d-c--|"),
        ("x-z-|", "-a-b-|", "-c-d-|", "-a--|"),
        ("x----", "-a-|", "-c----|", "-a----|"),
        ("x-#", "-a-b-|", "----", "-a#"),
        ("x---", "-a-#", "----", "-a-#"),
        ("x---", "-a-a", "--#", "-a#"),
    ],
)
def test_marbles(control: str, one: str, two: str, expected: str) -> None:
    assert run_marbles(switched, control, VALUES, one, two) == expected


def test_early_disposal_reaches_all_sources() -> None:
    context = TestContext()
    sources = [MarbleSource("-x-x-", VALUES, scheduler=context.virtual) for _ in range(3)]
    record(switched(*sources), 0.2, context=context)
    assert [source.subscriptions for source in sources] == [[(0, 0.2)]] * 3


def test_the_choice_survives_a_restart_and_what_is_left_out_is_counted() -> None:
    driven = Driven(switched, 3)
    driven.put(0, {"to": 0}, {"to": 1})
    driven.put(1, {"n": 1}, {"n": 2})
    driven.put(2, {"n": 3})
    assert (driven.out, driven.gauge("left_out"), driven.context.flow.blocks) == ([{"n": 3}], 2, 0)
    again = driven.restarted(switched)
    again.put(2, {"n": 4})
    assert again.out == [{"n": 4}]


def test_the_table_of_the_chosen_stream_is_emitted_at_once() -> None:
    driven = Driven(switched, 3)
    tables = [Table(name, (), list, lambda: 1) for name in "ab"]
    for number, table in enumerate(tables):
        driven.streams[number + 1].on_next(table)
    driven.put(0, {"to": 1})
    driven.put(0, {"to": 1})
    driven.put(0, {"to": False})
    assert [table.name for table in driven.out] == ["b", "a"]


def test_what_is_no_choice_is_rejected_and_the_choice_stays() -> None:
    driven = Driven(switched, 3)
    driven.put(0, {"to": 1})
    driven.put(0, {"to": 2}, {"to": "b"}, {"to": -1}, retracted=[{"to": 1}])
    driven.put(2, {"n": 1}, retracted=[{"n": 0}])
    gone = "retracted: what was made of it stays; put this step before the one that retracts"
    must = "ValueError: must be the number of a stream, 0 to 1, or null; got"
    assert driven.reasons == [gone, f"{must} 2", f"{must} 'b'", f"{must} -1", gone]
    assert (driven.out, driven.back) == ([{"n": 1}], [])
    failing = Driven(lambda control, *streams: control.pipe(switch(*streams, by="to + 1")), 2)
    failing.put(0, {"to": None})
    assert failing.reasons[0].startswith("TypeError")


def test_origins_pass_from_all() -> None:
    driven = Driven(switched, 3)
    for number in range(3):
        driven.streams[number].on_next(OriginGone(str(number)))
    assert driven.out == [OriginGone("0"), OriginGone("1"), OriginGone("2")]


def test_from_yaml() -> None:
    text = """
graph: g
streams:
  primary: [{interval: 1s}]
  backup: [{interval: 1s}]
  main: [{from: errors}, {switch: {streams: [primary, backup], by: "'backup' in step"}}]
"""
    made = load_text(text)
    step = made.plan().streams["main"].steps[1]
    assert (step.streams, step.emits) == ({"streams": ["primary", "backup"]}, int)
    assert load_text(made.to_yaml()) == made
