"""Values that must not be shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from rxpipe.language.hidden import Hidden, masked, note


def test_a_hidden_text_shows_how_it_was_written() -> None:
    text = Hidden("open-sesame-1", "${WORD}")
    assert (text, repr(text)) == ("open-sesame-1", "'${WORD}'")
    assert masked("no door opens with open-sesame-1!") == "no door opens with ${WORD}!"


def test_the_longest_value_is_replaced_first() -> None:
    note("alpha-beta", "${A}")
    note("alpha-beta-gamma", "${A}-gamma")
    assert masked("alpha-beta-gamma, alpha-beta") == "${A}-gamma, ${A}"


@pytest.mark.parametrize("value", ["", "1", "true"])
def test_short_values_stand_in_any_text(value: str) -> None:
    note(value, "${SHORT}")
    assert masked(f"got {value} of 1, true") == f"got {value} of 1, true"


def test_names_of_files_that_exist_stay(tmp_path: Path) -> None:
    note(str(tmp_path), "${HOME}")
    note(str(tmp_path / "none"), "${NONE}")
    assert masked(f"{tmp_path}/x") == f"{tmp_path}/x"
    assert masked(f"{tmp_path}/none") == "${NONE}"
