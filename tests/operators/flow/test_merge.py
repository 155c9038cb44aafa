"""`merge`."""

from __future__ import annotations

import pytest

from rxpipe.operators.flow.merge import merge
from rxpipe.testing import MarbleSource, TestContext, parse_marbles, record, run_marbles


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        ("----", "----", ""),
        ("|", "|", "|"),
        ("|", "--|", "--|"),
        ("-|", "----", ""),
        ("-a-|", "--b--|", "-ab--|"),
        ("-a-|", "-b-|", "-(ab)-|"),
        ("-a-#", "--b--|", "-ab#"),
        ("-a---", "-#", "-(a#)"),
        ("(ab|)", "(c|)", "(abc|)"),
    ],
)
def test_marbles(one: str, two: str, expected: str) -> None:
    assert run_marbles(lambda a, b: a.pipe(merge(b)), one, None, two) == expected


def test_any_number() -> None:
    assert run_marbles(lambda *s: s[0].pipe(merge(*s[1:])), "-a|", None, "--b|", "---c|") == "-abc|"
    assert run_marbles(merge(), "-a|") == "-a|"


@pytest.mark.parametrize(("marbles", "until"), [(("-a---", "-b---"), 0.3), (("-a-#", "----b"), None)])
def test_all_are_unsubscribed(marbles: tuple[str, str], until: float | None) -> None:
    context = TestContext()
    sources = [MarbleSource(marble, scheduler=context.virtual) for marble in marbles]
    record(sources[0].pipe(merge(sources[1])), until, context=context)
    assert [source.subscriptions for source in sources] == [[(0, 0.3)], [(0, 0.3)]]


def test_a_second_subscription_sees_the_same() -> None:
    context = TestContext()
    stream = MarbleSource("-a|", scheduler=context.virtual).pipe(merge(MarbleSource("--b|", scheduler=context.virtual)))
    assert record(stream, context=context) == record(stream, context=context) == parse_marbles("-ab|")
