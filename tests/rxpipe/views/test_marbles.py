"""Marbles drawn: every element at its time, none on another, ends as they were."""

from __future__ import annotations

from itertools import combinations
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxpipe.testing import parse_marbles
from rxpipe.testing.marbles import Event
from rxpipe.views.marbles import Span, Timeline, marbles_svg

SVG = "{http://www.w3.org/2000/svg}"
UNTIL = 4.0

events = st.lists(
    st.tuples(st.integers(0, 40), st.text("abc<&", min_size=1, max_size=6)).map(
        lambda pair: Event(pair[0] / 10, "next", pair[1])
    ),
    max_size=30,
).map(sorted)


def drawn(*timelines: Timeline, until: float = UNTIL, **options: Any) -> ET.Element:
    return ET.fromstring(marbles_svg(timelines, until, **options))


def shapes(root: ET.Element) -> list[tuple[float, float, float]]:
    """Of each element: its middle, and half its width."""
    dots = [
        (float(dot.attrib["cx"]), float(dot.attrib["cy"]), float(dot.attrib["r"])) for dot in root.iter(f"{SVG}circle")
    ]
    for rect in found(root, "element"):
        x, y, width, height = (float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
        dots.append((x + width / 2, y + height / 2, width / 2))
    return dots


def found(root: ET.Element, kind: str) -> list[ET.Element]:
    return [part for part in root.iter() if part.attrib.get("class") == kind]


def texts(root: ET.Element) -> list[str]:
    return [part.text or "" for part in root.iter(f"{SVG}text")]


def second(root: ET.Element, x: float) -> float:
    """The time at a place, read off the axis."""
    ruler = {text: float(part.attrib["x"]) for part in root.iter(f"{SVG}text") if (text := part.text) in {"0 s", "1"}}
    return (x - ruler["0 s"]) / (ruler["1"] - ruler["0 s"])


@given(events)
def test_every_element_is_at_its_time_and_on_no_other(events: list[Event]) -> None:
    root = drawn(Timeline("source", events))
    places = shapes(root)
    assert sorted(second(root, x) for x, _, _ in places) == pytest.approx([event.time for event in events], abs=0.01)
    assert sorted(texts(root)[-len(events) :] if events else []) == sorted(event.value for event in events)
    for (x, y, half), (other, below, wide) in combinations(places, 2):
        assert abs(x - other) >= half + wide - 0.3 or abs(y - below) >= 2 * 9


def test_a_letter_has_the_same_place_and_colour_on_every_line() -> None:
    root = drawn(Timeline("source", parse_marbles("-a-b|")), Timeline("step", parse_marbles("-a-b|")))
    dots = [dot.attrib for dot in root.iter(f"{SVG}circle")]
    assert [(dot["cx"], dot["fill"]) for dot in dots[:2]] == [(dot["cx"], dot["fill"]) for dot in dots[2:]]
    assert dots[0]["fill"] != dots[1]["fill"]
    assert float(dots[0]["cy"]) < float(dots[2]["cy"])


@pytest.mark.parametrize(("marble", "kind"), [("-a-|", "completed"), ("-a-#", "error")])
def test_the_end_is_drawn_and_ends_the_line(marble: str, kind: str) -> None:
    source = drawn(Timeline("source", parse_marbles(marble)))
    [end] = found(source, kind)
    x = float(end.attrib["d"][1:].partition(",")[0]) + (0 if kind == "completed" else 7)
    assert second(source, x) == pytest.approx(0.3, abs=0.01)
    assert not [part for part in source.iter() if "goes-on" in part.attrib.get("marker-end", "")]


def test_what_does_not_end_goes_on() -> None:
    root = drawn(Timeline("source", parse_marbles("-a-")))
    assert [part for part in root.iter() if "goes-on" in part.attrib.get("marker-end", "")]
    assert not found(root, "completed") + found(root, "error")


def test_what_is_later_than_the_axis_is_left_out() -> None:
    root = drawn(Timeline("source", parse_marbles("-a---b|"), [Span(0.5, 0.7, "late")]), until=0.3)
    assert [text for text in texts(root) if text in {"a", "b", "late"}] == ["a"]
    assert not found(root, "completed")


def test_spans_that_overlap_are_below_each_other_and_cut_at_the_edges() -> None:
    spans = [Span(-1, 1, "x"), Span(0.5, 1.5, "y"), Span(1, 9, "z")]
    root = drawn(Timeline("windows", [], spans))
    x, y, z = (part.attrib for part in found(root, "span"))
    assert x["y"] == z["y"] < y["y"]
    edges = [second(root, float(part["x"])) for part in (x, y, z)]
    assert edges == pytest.approx([0, 0.5, 1], abs=0.02)
    assert second(root, float(z["x"]) + float(z["width"])) == pytest.approx(UNTIL, abs=0.02)


def test_lines_keep_their_distance_however_much_is_on_them() -> None:
    crowd = [Event(1.0, "next", letter) for letter in "abcdef"]
    root = drawn(Timeline("crowd", crowd, [Span(0, 1, "s")]), Timeline("below", parse_marbles("-z|")))
    *crowded, below = [float(dot.attrib["cy"]) for dot in root.iter(f"{SVG}circle")]
    [label] = [float(part.attrib["y"]) for part in root.iter(f"{SVG}text") if part.text == "below"]
    [span] = found(root, "span")
    assert max(crowded) + 9 <= float(span.attrib["y"]) < label < below < float(root.attrib["height"])


def test_texts_are_named_and_escaped() -> None:
    root = drawn(Timeline("where('n < 2')", [Event(1.0, "next", 7)]), name=lambda value: f"<{value}>")
    assert {"where('n < 2')", "<7>"} <= set(texts(root))


@pytest.mark.parametrize(("until", "marks"), [(0.01, 11), (1, 21), (4.5, 10), (90, 19), (86400, 18)])
def test_the_axis_has_round_times_that_can_be_told_apart(until: float, marks: int) -> None:
    root = drawn(until=until)
    assert len(texts(root)) == marks
    assert texts(root)[0] == "0 s"
