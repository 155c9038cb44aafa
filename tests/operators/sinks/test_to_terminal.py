"""`to_terminal`: when it draws, what it leaves behind, and that every frame fits."""

from __future__ import annotations

import io
import json
import math
import re
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from reactivex.subject import Subject

from rxpipe.context import entered
from rxpipe.elements import Batch
from rxpipe.errors import ParameterError
from rxpipe.operators.sinks._cells import plain
from rxpipe.operators.sinks._terminal import ENTER, LEAVE
from rxpipe.operators.sinks.to_terminal import to_terminal
from rxpipe.runtime.output import Output
from rxpipe.table import Table
from rxpipe.testing import TestContext, run_marbles
from tests.operators.sinks.screens import BLOCK, MODELS, PANELS, screen, status, table


class Shown:
    """The step subscribed with an output."""

    def __init__(self, *, run_status: Any = None, parameters: Any = None, **output: Any) -> None:
        self.context = TestContext()
        self.stream = io.StringIO()
        self.output = Output(self.stream, **({"width": 80, "height": 24} | output))
        self.context.output = lambda: self.output
        self.context.status = lambda: run_status
        self.source: Subject[Any] = Subject()
        self.out: list[Any] = []
        self.error: Exception | None = None
        step = to_terminal(**(parameters or {}))
        with entered(self.context):
            self.subscription = self.source.pipe(step).subscribe(
                self.out.append, lambda error: setattr(self, "error", error), scheduler=self.context.virtual
            )

    def written(self) -> str:
        text = self.stream.getvalue()
        self.stream.seek(0)
        self.stream.truncate()
        return text

    def after(self, seconds: float) -> str:
        self.context.virtual.advance_by(seconds)
        return self.written()


LIVE = {"terminal": True, "interactive": True, "colour": True}


def test_a_live_screen_and_the_end() -> None:
    shown = Shown(run_status=None, parameters={"panels": PANELS, "title": "Use"}, **LIVE)
    assert shown.after(0.1) == ""
    first = table("models", MODELS)
    shown.source.on_next(first)
    assert shown.out == [first]
    frame = shown.after(0)
    assert frame.startswith(ENTER)
    assert "\x1b[1;36mModels" in frame
    assert shown.output.screen
    assert shown.after(20) == ""
    shown.source.on_next(table("models", [MODELS[1]], 2))
    shown.source.on_next(table("block", BLOCK, 2))
    frame = shown.after(0.05)
    assert "glm-4.6" in frame
    assert ENTER not in frame
    shown.source.on_completed()
    end = shown.written()
    assert end.startswith(LEAVE)
    assert "glm-4.6" in end
    assert "\x1b[" not in end.removeprefix(LEAVE).replace("\x1b[0m", "").replace("\x1b[1;36m", "").replace(
        "\x1b[2m", ""
    ).replace("\x1b[1m", "").replace("\x1b[32m", "").replace("\x1b[36m", "")
    assert not shown.output.screen
    assert shown.after(100) == ""


def test_only_lines_that_changed_are_written() -> None:
    shown = Shown(**LIVE)
    rows = [{"k": "a", "n": 1}, {"k": "b", "n": 2}]
    shown.source.on_next(table("t", rows))
    shown.after(1)
    shown.source.on_next(table("t", [rows[0], {"k": "b", "n": 3}], 2))
    assert re.findall(r"\x1b\[(\d+);1H", shown.after(1)) == ["1", "5"]  # the clock, and the row


def test_draws_at_most_every_50_ms() -> None:
    shown = Shown(**LIVE)
    frames = 0
    for version in range(100):
        shown.source.on_next(table("t", [{"n": version}], version))
        frames += bool(shown.after(0.01))
    assert 15 <= frames <= 21


def test_figures_that_move_are_drawn_again_and_idle_ones_seldom() -> None:
    moving, still = Shown(run_status=status(), **LIVE), Shown(run_status=status(backlog=None, streams={}), **LIVE)
    for shown in (moving, still):
        shown.source.on_next(table("t", [{"n": 1}]))
        shown.after(1)
    assert sum(bool(moving.after(1)) for _ in range(60)) >= 40
    assert sum(bool(still.after(1)) for _ in range(60)) == 2


def test_what_depends_on_the_time_is_read_again() -> None:
    """Even while another table is drawn all the time, and the table itself does not change."""
    shown = Shown(**LIVE)
    reads: list[float] = []

    def rows() -> list[Any]:
        reads.append(shown.context.now())
        return [{"n": len(reads)}]

    clock = Table("clock", (), rows, lambda: 1)
    shown.source.on_next(clock)
    for version in range(60):
        shown.source.on_next(table("t", [{"n": version}], version))
        shown.after(1)
    assert 4 <= len(reads) <= 5


def test_a_screen_without_data() -> None:
    assert "waiting for data" in Shown(**LIVE).after(0.2)


def test_a_short_run_does_not_flash() -> None:
    shown = Shown(once=True, **LIVE)
    shown.source.on_next(table("t", [{"n": 1}]))
    assert shown.after(0.4) == ""
    shown.source.on_completed()
    assert ENTER not in shown.written()


@pytest.mark.parametrize("end", ["error", "dispose", "raise"])
def test_the_terminal_is_given_back(end: str) -> None:
    shown = Shown(**LIVE)
    shown.source.on_next(table("t", [{"n": 1}]))
    shown.after(1)
    if end == "error":
        shown.source.on_error(ValueError("x"))
        assert isinstance(shown.error, ValueError)
    elif end == "dispose":
        shown.subscription.dispose()
    else:
        import atexit  # only here

        atexit._run_exitfuncs()
    assert shown.written() == LEAVE
    shown.subscription.dispose()
    assert shown.written() == ""


def test_a_changed_size_draws_all_anew() -> None:
    shown = Shown(**LIVE)
    shown.source.on_next(table("t", [{"n": 1}]))
    shown.after(1)
    shown.output.width = 100
    shown.source.on_next(table("t", [{"n": 1}], 2))
    assert shown.after(1).startswith("\x1b[2J")


def test_log_lines_wait_for_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Shown(**LIVE)
    shown.source.on_next(table("t", [{"n": 1}]))
    shown.after(1)
    shown.output.log("12:00:00 WARNING   low\n")
    shown.source.on_next(table("t", [{"n": 2}], 2))
    assert "12:00:00 WARNING low" in shown.after(1)
    assert capsys.readouterr().err == ""
    shown.source.on_completed()
    assert capsys.readouterr().err == "12:00:00 WARNING   low\n"


def test_a_terminal_without_cursor_codes_gets_text_now_and_then() -> None:
    shown = Shown(terminal=True)
    for version in range(20):
        shown.source.on_next(table("t", [{"n": version}], version))
        shown.context.virtual.advance_by(1)
    shown.context.virtual.advance_by(60)
    shown.source.on_completed()
    text = shown.written()
    assert "\x1b" not in text
    assert re.findall(r"^T\n +(\d+)$", text, re.MULTILINE) in (["0", "10", "19"], ["0", "9", "19"])


def test_a_terminal_without_cursor_codes_gets_nothing_of_a_backlog_half_read() -> None:
    now = status()
    shown = Shown(terminal=True, run_status=now)
    for version in range(20):
        shown.source.on_next(table("t", [{"n": version}], version))
        assert shown.after(1) == ""
    now.backlog = None
    assert re.search(r"^T\n +19$", shown.after(1.1), re.MULTILINE)
    shown.source.on_next(table("t", [{"n": 20}], 20))
    assert shown.after(1) == ""
    shown.source.on_completed()
    assert re.search(r"^T\n +20$", shown.written(), re.MULTILINE)


def test_a_run_that_ends_in_its_backlog_prints_what_it_has_on_a_terminal_without_cursor_codes() -> None:
    shown = Shown(terminal=True, run_status=status())
    shown.source.on_next(table("t", [{"n": 1}]))
    assert shown.after(60) == ""
    shown.source.on_completed()
    assert re.search(r"^T\n +1$", shown.written(), re.MULTILINE)


def test_not_a_terminal() -> None:
    shown = Shown(run_status=status(), parameters={"panels": PANELS}, width=None, height=None)
    shown.source.on_next(table("models", MODELS))
    assert shown.after(100) == ""
    shown.source.on_completed()
    text = shown.written()
    assert "\x1b" not in text
    assert "claude-haiku-4-5-20251001" in text
    assert "no block is active" in text
    assert text.endswith("3 records could not be handled\n")


def test_json() -> None:
    document: dict[str, Any] = {
        "models": {"table": "models", "columns": ["model", "cost"], "sort": "model"},
        "start": {"table": "block", "form": "value", "column": "start"},
    }
    shown = Shown(parameters={"document": document}, json=True, terminal=True, interactive=False)
    shown.source.on_next(table("models", MODELS))
    shown.source.on_next(table("block", [{"start": datetime(2026, 1, 2, tzinfo=UTC)}]))
    assert shown.after(100) == ""
    shown.source.on_completed()
    text = shown.written()
    assert text.startswith('{\n  "models"')
    found = orjson.loads(text)
    assert found["start"] == "2026-01-02T00:00:00Z"
    assert [row["model"] for row in found["models"]] == sorted(str(row["model"]) for row in MODELS)


@pytest.mark.parametrize("terminal", [False, True])
def test_json_of_what_has_no_form_there(terminal: bool) -> None:
    shown = Shown(json=True, terminal=terminal, interactive=False)
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    odd = {"path": "a\udcff", "n": 2**70, "x": math.nan, "at": moment, "in": [{"\udcfe": (1.5, None, True)}]}
    shown.source.on_next(table("t", [odd]))
    shown.source.on_completed()
    assert json.loads(shown.written()) == {
        "t": [
            {
                "path": "a\\udcff",
                "n": 2**70,
                "x": None,
                "at": "2026-01-02T00:00:00Z",
                "in": [{"\\udcfe": [1.5, None, True]}],
            }
        ]
    }


def test_json_without_a_document() -> None:
    shown = Shown(json=True)
    shown.source.on_next(table("b", [{"n": 1}]))
    shown.source.on_next(Batch([{"x": 1}, {"x": 2}]))
    shown.source.on_next(Batch([{"x": 3}], [{"x": 1}]))
    shown.source.on_completed()
    assert shown.written() == '{"b":[{"n":1}],"records":[{"x":2},{"x":3}]}\n'


@pytest.mark.parametrize("source", ["|", "-a-|", "-a-b|", "#", "-a#", "(ab|)"])
def test_marbles(source: str) -> None:
    assert run_marbles(to_terminal(), source) == source


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"panels": [{"title": "x"}]}, "panels.0: parameter 'table' is missing"),
        ({"panels": [{"table": "t", "titel": "x"}]}, "unknown parameter 'titel', did you mean 'title'"),
        ({"panels": [{"table": "t", "columns": {"a": {"format": "dollar"}}}]}, "must be 'int', 'si'"),
        ({"panels": [{"table": "t", "where": "a +"}]}, "panels.0.where"),
        ({"document": {"x": {"table": "t", "form": "list"}}}, "form 'list' needs 'column'"),
        ({"timezone": "Europe/Berlyn"}, "must be an IANA name .* did you mean 'Europe/Berlin'"),
    ],
)
def test_refused_parameters(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        run_marbles(to_terminal(**parameters), "|")


def test_a_table_that_no_panel_declares_says_that_it_has_no_rows() -> None:
    assert plain(screen([], open_orders=[]).final(None)).split("\n")[2:4] == ["Open orders", "no rows"]
