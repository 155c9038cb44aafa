"""The rows of a state file for a person."""

from __future__ import annotations

from typing import Any

from rxpipe.views.states import FEW, SHOWN, listing

OFFSETS = "offset of a file: -, offset, changed_ns"


def shown(*rows: tuple[str, str, str, Any, str, Any]) -> list[str]:
    return list(listing(rows))


def test_the_latest_files_are_shown() -> None:
    rows = [("a", "source", OFFSETS, f"/log/{n:03}", "", [7, n * 1000, n * 10**9]) for n in range(SHOWN + 5)]
    lines = shown(("a", "source", OFFSETS, "\0started", "", None), *rows)
    assert lines[:2] == [f"a: offset of a file, {SHOWN + 5} in all", "    offset                    changed"]
    assert [line.rsplit("/")[-1] for line in lines[2:4]] == ["024", "023"]
    assert lines[2].split()[0] == "24,000"
    assert lines[-1] == "    and 5 more, which --json prints, too"
    assert len(lines) == SHOWN + 3


def test_few_keys_are_shown_with_their_values_and_many_are_counted() -> None:
    rows = [("a", "operator", "groups by x", n, "", [n, {"s": "line\nbreak"}]) for n in range(FEW)]
    lines = shown(*rows)
    assert lines[0] == f"a: groups by x, {FEW} in all"
    assert lines[1] == "    0 → [0, {'s': 'line\\nbreak'}]"
    assert len(lines) == FEW + 1
    assert shown(*rows, rows[0]) == [f"a: groups by x, {FEW + 1} in all"]


def test_values_that_are_not_as_their_step_says_are_shown_as_they_are() -> None:
    assert shown(("a", "source", OFFSETS, "k", "p", 5)) == [f"a: {OFFSETS}, 1 in all", "    k p → 5"]
    assert shown(("a", "sink", "keys of a: b", "k", "t", "")) == ["a: keys of a: b, 1 in all", "    k t →"]


def test_the_position_of_a_sink_is_one_line() -> None:
    rows = ("a", "sink", "position in out: 1.jsonl: bytes, -", "position", "", [1234, b"x"])
    assert shown(rows) == ["a: position in out: 1.jsonl: 1,234 bytes"]
