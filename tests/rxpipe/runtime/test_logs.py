"""The log: text for people, JSON lines for machines."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from loguru import logger

from rxpipe.runtime.logs import configure


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    yield
    logger.remove()
    logger.add(sys.stderr)


def test_text() -> None:
    out = io.StringIO()
    configure(sink=out)
    logger.info("hello {}", "you")
    logger.debug("not shown")
    logger.warning("<red>{braces}</red>")
    lines = out.getvalue().splitlines()
    assert [line[9:] for line in lines] == ["INFO    hello you", "WARNING <red>{braces}</red>"]


def test_a_message_is_one_line_and_moves_no_cursor() -> None:
    out = io.StringIO()
    configure(sink=out)
    logger.warning("{} cannot be read", "/logs/a\n00:00:00 INFO    all is well\x1b[2J")
    (line,) = out.getvalue().splitlines()
    assert line[9:] == "WARNING /logs/a\\n00:00:00 INFO    all is well\\x1b[2J cannot be read"


@pytest.mark.parametrize(
    ("no_color", "term", "coloured"), [("", "xterm", True), ("1", "xterm", False), ("", "dumb", False)]
)
def test_colour_on_a_terminal_only(no_color: str, term: str, coloured: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("TERM", term)
    terminal, file = Terminal(), io.StringIO()
    configure(sink=terminal)
    logger.info("hello")
    configure(sink=file)
    logger.info("hello")
    assert ("\x1b[" in terminal.getvalue()) is coloured
    assert "\x1b" not in file.getvalue()


def test_json_lines() -> None:
    out = io.StringIO()
    configure("DEBUG", "json", out)
    logger.debug("two\nlines {}", "and {braces}")
    try:
        raise ValueError("bad <tag>")
    except ValueError:
        logger.exception("failed")
    first, second = (json.loads(line) for line in out.getvalue().splitlines())
    assert (first["level"], first["message"]) == ("DEBUG", "two\nlines and {braces}")
    assert first["time"][10] == "T"
    assert (second["level"], second["exception"]) == ("ERROR", "ValueError: bad <tag>")
    assert "Traceback" in second["traceback"]


def test_a_function_as_sink() -> None:
    lines: list[str] = []
    configure(sink=lines.append)
    logger.info("a")
    configure(form="json", sink=lines.append)
    logger.info("b")
    assert lines[0].endswith("INFO    a\n")
    assert json.loads(lines[1])["message"] == "b"
    logger.info("names of files may be odd: {}", "\udcff")
    assert json.loads(lines[-1])["message"] == "names of files may be odd: \\udcff"


def test_exceptions_in_text_do_not_show_values() -> None:
    out = io.StringIO()
    configure(sink=out)
    secret = "hunter2"  # what must not be shown
    try:
        raise ValueError(len(secret))
    except ValueError:
        logger.exception("failed")
    assert "ValueError: 7" in out.getvalue()
    assert "hunter2" not in out.getvalue().replace('secret = "hunter2"', "")


def test_standard_error_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    configure()
    logger.info("hello")
    assert capsys.readouterr().err.endswith("INFO    hello\n")


@pytest.mark.parametrize("who", ["rxpipe.log", "loguru"])
def test_set_up_when_loguru_is_imported_by_us_or_by_a_user(who: str) -> None:
    code = f"""
import sys
from rxpipe.runtime.logs import configure

configure("DEBUG")
configure("WARNING")
assert "loguru" not in sys.modules
from {who} import logger

logger.info("not shown")
logger.warning("shown")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert [line[9:] for line in done.stderr.splitlines()] == ["WARNING shown"]
