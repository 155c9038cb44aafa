"""Prose filled to a width: what is filled, and what stays."""

from __future__ import annotations

from rxpipe.registry import registry
from rxpipe.views import reference
from rxpipe.views.filled import filled

TEXT = """\
A paragraph that is
written on two lines.

- an item, whose text
  goes on below it
- another

    source     -a-b-c-d-e-f-g-h-i-j-k-l-m-|
    marbles    ---------------------------(a|)"""


def test_paragraphs_and_items_are_filled_and_diagrams_are_not() -> None:
    assert filled(TEXT, 32, 2) == [
        "  A paragraph that is written on",
        "  two lines.",
        "",
        "  - an item, whose text goes on",
        "    below it",
        "  - another",
        "",
        "      source     -a-b-c-d-e-f-g-h-i-j-k-l-m-|",
        "      marbles    ---------------------------(a|)",
    ]
    assert filled(TEXT, 200, 2)[0] == "  A paragraph that is written on two lines."
    assert filled(TEXT, None, 2) == [f"  {line}" if line else "" for line in TEXT.split("\n")]
    assert filled(">>> a\n1", 10) == ["    >>> a", "    1"]


def test_the_reference_loses_no_word_in_a_narrow_terminal() -> None:
    for operator in registry.all():
        assert reference.text(operator, 60).split() == reference.text(operator).split()
    debounce = reference.text(reference.find("debounce"), 80).split("\n")
    assert max(len(line) for line in debounce if not line.startswith("Defined at")) <= 80


def test_lists_end_where_the_terminal_does() -> None:
    assert max(map(len, reference.listing(80).split("\n"))) == 80
    assert "…" not in reference.listing()
