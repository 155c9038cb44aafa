"""The shipped graphs pass the tests that they hold."""

from __future__ import annotations

import pytest

from rxpipe.cli import main
from rxpipe.language import shipped
from rxpipe.language.config import load


@pytest.mark.parametrize("name", shipped.names())
def test_a_shipped_graph_has_tests(name: str) -> None:
    assert load(name, tests=True).tests


def test_they_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test"]) == 0, capsys.readouterr().out
    told = capsys.readouterr().out.splitlines()
    assert told[-1].startswith(f"{len(told) - 1} tests, 0 failed, in ")
    assert all(line.startswith("passed  ") for line in told[:-1])
