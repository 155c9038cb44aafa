"""Regular expressions that try all ways through a text."""

from __future__ import annotations

import pytest

from rxpipe.expressions.backtracking import backtracks
from rxpipe.language.check import plan
from rxpipe.language.config import load_text
from rxpipe.language.lints import lint


@pytest.mark.parametrize(
    "pattern",
    ["(a+)+", "(a*)*b", "(?:a+)*$", "(.*)*x", r"(\w+\s*)*=", "((a+)b?)*c", "(a|b*)+", "(?P<x>(a{2,})+)y", "x(a+?)+?y"],
)
def test_nested_repetitions_are_found(pattern: str) -> None:
    assert backtracks(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "a+b+",
        r"(\w+\s+)*=",
        r"(\d+,)+",
        "(?>a+)+b",
        "(a++)+b",
        "(a+)?b",
        "(a{1,3})+",
        "(ab)+",
        r"^\d{4}-\d\d ",
        "",
        "(a|b)*",
    ],
)
def test_others_are_not(pattern: str) -> None:
    assert not backtracks(pattern)


@pytest.mark.parametrize(
    "step",
    [
        r'parse_text: "(?P<a>(\\w+\\s*)*)="',
        r'multiline: {start: "^(a+)+b"}',
        r'multiline: {end: "(a+)+b$"}',
        r"mask: {patterns: [x, '(a*)*b']}",
    ],
)
def test_a_graph_is_warned(step: str) -> None:
    read = "{watch: {paths: [a]}}, read_lines" + (", parse_json" if step.startswith("mask") else "")
    graph = load_text(f"graph: g\nstreams: {{s: [{read}, {{{step}}}, to_stdout]}}\n")
    (warned,) = [found for found in lint(plan(graph)) if found.lint == "backtracks"]
    assert "a repetition within a repetition" in str(warned)
