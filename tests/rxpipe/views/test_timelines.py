"""Two timelines with their first difference marked; two lists of records."""

from __future__ import annotations

from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from rxpipe.testing import parse_marbles
from rxpipe.testing.matching import alike, first_difference, moments
from rxpipe.views.timelines import Legend, draw_records, draw_rows, draw_timelines

groups = st.text("abc", min_size=2, max_size=3).map(lambda text: f"({text})")
marbles = st.lists(st.sampled_from("--abc") | groups, min_size=1, max_size=30).map("".join)


def drawn(expected: str, got: str, values: dict[str, Any] | None = None, tick: float = 0.1) -> str:
    there, here = (moments(parse_marbles(text, values, tick=tick), 0.1) for text in (expected, got))
    first = first_difference(there, here, alike)
    assert first is not None
    return draw_timelines(there, here, first, Legend(values or {letter: letter for letter in "abc"}, alike))


def test_columns_are_aligned_however_wide_a_tick_is() -> None:
    text = drawn("a-(bc)--a|", "a-b--(ac)|")
    assert text.split("\n") == [
        "tick      0       5",
        "expected  a-(bc)--a   |",
        "got       a-b   --(ac)|",
        "            ^",
        "tick 2: expected b, c",
        "        got      b",
        'a = "a"',
        'b = "b"',
        'c = "c"',
    ]


@given(marbles, marbles, st.sampled_from(["", "|"]))
def test_the_lines_are_the_marbles_and_the_mark_is_at_the_difference(expected: str, got: str, end: str) -> None:
    there, here = (moments(parse_marbles(text + end), 0.1) for text in (expected, got))
    first = first_difference(there, here, alike)
    assume(first is not None and first <= 20)
    assert first is not None
    _, one, other, mark, *_ = drawn(expected + end, got + end).split("\n")
    for line, text in ((one, expected), (other, got)):
        assert line.startswith(("expected  ", "got       "))
        assert parse_marbles(line[10:]) == parse_marbles(text + end)
    assert mark.strip() == "^"
    column = len(mark) - 1
    assert moments(parse_marbles(one[10:column].replace("…", "")), 0.1) == {
        tick: group for tick, group in there.items() if tick < first
    }


def test_a_long_timeline_is_cut() -> None:
    text = drawn("-" * 1000 + "a" + "-" * 100 + "|", "-" * 1000 + "b" + "-" * 100 + "|")
    ruler, expected, got, mark, *_ = text.split("\n")
    assert ruler.startswith(" " * 0 + "tick       980")
    assert (expected[10], expected[-1]) == ("…", "…")
    assert expected[len(mark) - 1] == "a"
    assert got[len(mark) - 1] == "b"
    assert len(expected) < 80


def test_what_comes_between_two_ticks_is_told() -> None:
    there, here = moments(parse_marbles("-a|"), 0.1), moments(parse_marbles("--a-|", tick=0.075), 0.1)
    text = draw_timelines(there, here, 1, Legend({"a": "a"}, alike))
    assert "between two ticks, at 1.5: a" in text


def test_values_without_a_letter_get_one_and_differences_of_fields_are_named() -> None:
    values = {"a": [{"n": 1, "m": "x"}], "b": [{"n": 2, "m": "x"}]}
    there = moments(parse_marbles("-a", values), 0.1)
    here = moments(parse_marbles("-c", {"c": [{"n": 2, "m": "y", "o": 0}]}), 0.1)
    text = draw_timelines(there, here, 1, Legend(values, alike))
    assert "got       -A" in text
    assert 'A = [{"n":2,"m":"y","o":0}]' in text
    assert text.count("expected ") == 4
    assert "     n: expected 1, got 2" in text
    assert '     m: expected "x", got "y"' in text
    assert "     o: not expected, got 0" in text


def test_records() -> None:
    rows = [{"n": n} for n in range(20)]
    other = [*rows[:10], {"n": 0, "m": 1}, *rows[11:]]
    assert draw_records(rows, other, alike).split("\n") == [
        "  … 7 before that are the same",
        '  8  {"n":7}',
        '  9  {"n":8}',
        '  10  {"n":9}',
        '- 11  {"n":10}',
        '+ 11  {"n":0,"m":1}',
        "     n: expected 10, got 0",
        "     m: not expected, got 1",
        '  12  {"n":11}',
        '  13  {"n":12}',
        '  14  {"n":13}',
        "  … 6 more",
    ]
    assert draw_records([{"n": 1}], [], alike) == '- 1  {"n":1}'
    assert draw_records([], [2**70], alike) == f"+ 1  {2**70}"


def test_rows() -> None:
    rows = [{"k": "a", "n": 1}, {"k": "b", "n": 2}]
    assert draw_rows(rows, rows[::-1], alike) == ""
    assert draw_rows(rows, [{"k": "b"}, rows[0]], alike).split("\n") == [
        '- {"k":"b","n":2}',
        '+ {"k":"b"}',
        "     n: expected 2, is not there",
    ]
