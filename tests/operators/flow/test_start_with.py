"""`start_with`: records before the first, once."""

from __future__ import annotations

import pytest

from rxpipe.elements import Batch
from rxpipe.errors import GraphError
from rxpipe.language.config import load_text
from rxpipe.operators.flow.start_with import start_with
from rxpipe.testing import MarbleSource, TestContext, record, run_marbles
from tests.operators.flow.driven import Driven

VALUES = {"s": Batch([{"n": 0}]), "a": Batch([{"n": 1}])}


@pytest.mark.parametrize(
    ("source", "expected"),
    [("----", "s"), ("|", "(s|)"), ("-a-|", "sa-|"), ("(aa|)", "(saa|)"), ("#", "(s#)"), ("-a#", "sa#")],
)
def test_marbles(source: str, expected: str) -> None:
    assert run_marbles(start_with([{"n": 0}]), source, VALUES) == expected


def test_no_records_are_no_batch() -> None:
    assert run_marbles(start_with([]), "-a|", VALUES) == "-a|"


def test_early_disposal_reaches_the_source() -> None:
    context = TestContext()
    source = MarbleSource("-a-a-", VALUES, scheduler=context.virtual)
    record(source.pipe(start_with([{"n": 0}])), 0.2, context=context)
    assert source.subscriptions == [(0, 0.2)]


def test_a_restart_does_not_emit_them_again() -> None:
    driven = Driven(start_with([{"n": 0}]), 1)
    driven.put(0, {"n": 1})
    again = driven.restarted(start_with([{"n": 0}])).restarted(start_with([{"n": 0}]))
    again.put(0, {"n": 2})
    assert (driven.out, again.out) == ([{"n": 0}, {"n": 1}], [{"n": 2}])


def test_its_fields_are_known() -> None:
    text = """
graph: levels
streams:
  main: [{from: errors}, {select: [step]}, {start_with: {records: [{step: begin, level: none}]}}, {where: levle == 1}]
"""
    with pytest.raises(GraphError, match="unknown field 'levle', did you mean 'level'"):
        load_text(text).plan()
    made = load_text(text.replace("levle", "level"))
    assert load_text(made.to_yaml()) == made
