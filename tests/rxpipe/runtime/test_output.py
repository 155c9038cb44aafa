"""What the output can show."""

from __future__ import annotations

import io
import os
import pty

import pytest

from rxpipe.runtime.output import FALLBACK, Output


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environ", "json", "drawn"),
    [
        ({"TERM": "xterm"}, False, (True, True)),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False, (False, False)),
        ({"TERM": "xterm", "NO_COLOR": ""}, False, (True, True)),
        ({"TERM": "dumb"}, False, (False, False)),
        ({}, False, (False, False)),
        ({"TERM": "xterm"}, True, (False, True)),
    ],
)
def test_terminals(environ: dict[str, str], json: bool, drawn: tuple[bool, bool]) -> None:
    found = Output.detect(stream=Terminal(), environ=environ, json=json, once=True)
    assert ((found.interactive, found.colour), found.terminal, found.once) == (drawn, True, True)


def test_no_terminal() -> None:
    found = Output.detect(stream=io.StringIO(), environ={"TERM": "xterm"})
    assert (found.terminal, found.interactive, found.colour, found.size()) == (False, False, False, FALLBACK)


def test_size() -> None:
    main, terminal = pty.openpty()
    with os.fdopen(terminal, "w") as stream:
        assert Output(stream).size() == FALLBACK
        assert Output(stream, width=100).size() == (100, 24)
    os.close(main)


def test_encoding() -> None:
    assert Output(io.StringIO()).unicode
    assert not Output(io.TextIOWrapper(io.BytesIO(), "latin-1")).unicode


def test_log_lines_wait_for_the_last_screen(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(io.StringIO())
    output.log("a\n")
    output.enter_screen()
    output.enter_screen()
    output.log("b\n")
    output.leave_screen()
    assert (output.screen, output.held) == (True, ["b\n"])
    output.leave_screen()
    assert capsys.readouterr().err == "a\nb\n"
