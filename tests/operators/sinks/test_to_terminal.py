"""`to_terminal`: when it draws, what it leaves behind, and that every frame fits."""

from __future__ import annotations

import io
import json
import math
import re
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from reactivex.subject import Subject
from rich.console import Console

from rxpipe.context import entered
from rxpipe.elements import Batch
from rxpipe.errors import ParameterError
from rxpipe.operators.sinks._cells import fit, line_width, plain, shorten, width
from rxpipe.operators.sinks._format import bytes_text, duration, formatter, si
from rxpipe.operators.sinks._panel import Panel
from rxpipe.operators.sinks._screen import Screen, Tables
from rxpipe.operators.sinks._terminal import ENTER, LEAVE
from rxpipe.operators.sinks.to_terminal import to_terminal
from rxpipe.runtime.output import Output
from rxpipe.runtime.status import Backlog, StreamStatus
from rxpipe.table import Table
from rxpipe.testing import TestContext, run_marbles

MODELS = [
    {"model": "claude-opus-4-5-20251101", "input": 1_234_567, "output": 8_345, "cost": 912.3456},
    {"model": "glm-4.6", "input": 0, "output": 3_678, "cost": 0.06},
    {"model": "claude-haiku-4-5-20251001", "input": 834_123, "output": 345_678, "cost": 1012.06},
]
BLOCK = [
    {
        "start": 1_795_230_000.0,
        "end": 1_795_248_000.0,
        "tokens": 23_456_789,
        "burn": 2606.3,
        "share": 0.25,
        "left": 8040,
    }
]
PANELS: list[dict[str, Any]] = [
    {
        "table": "models",
        "title": "Models",
        "sort": "-cost",
        "total": "Total",
        "priority": 2,
        "columns": {
            "Model": "model",
            "Input": {"field": "input", "format": "si"},
            "Both": {"field": "input + output", "format": "int"},
            "": {"field": "cost", "format": "bar", "width": 8},
            "Cost": {"field": "cost", "format": "usd", "priority": 1},
        },
    },
    {
        "table": "block",
        "title": "Active block",
        "kind": "figures",
        "priority": 1,
        "empty": "no block is active",
        "columns": {
            "Time": {"field": "start", "to": "end", "format": "time"},
            "Burn rate": {"field": "burn", "format": "si", "unit": "/min"},
            "Left": {"field": "left", "format": "duration"},
            "Passed": {"field": "share", "format": "bar"},
        },
    },
    {"table": "block", "kind": "line", "title": "Now", "columns": {"tokens": {"field": "tokens", "format": "si"}}},
]


def table(name: str, rows: list[Any], version: int = 1, key: tuple[str, ...] = ()) -> Table:
    return Table(name, key, lambda: rows, lambda: version)


def screen(panels: Any = PANELS, **tables: Any) -> Screen:
    kept = Tables()
    for name, rows in (tables or {"models": MODELS, "block": BLOCK}).items():
        kept.take(table(name, rows))
    made = Screen(kept, TypeAdapter(list[Panel]).validate_python(list(panels)), "Title", ZoneInfo("Europe/Berlin"))
    made.now = 1_795_239_000.0
    made.refresh()
    return made


def status(**parts: Any) -> SimpleNamespace:
    streams = {f"stream{n}": StreamStatus(1, 12.3 * n, 1000.0 * n, 0.5 * n, n) for n in range(6)}
    given_parts: dict[str, Any] = {
        "state": "running",
        "graph": "usage",
        "errors": 3,
        "degraded": None,
        "streams": streams,
    }
    return SimpleNamespace(**(given_parts | {"backlog": Backlog(612e6, 1.24e9, 211e6, 2.9)} | parts))


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


def test_one_frame() -> None:
    made = screen()
    made.status = status(backlog=None)
    text = plain(made.live(80, 20))
    assert text.splitlines()[0] == f" Title{' ' * 54}● running  06:30:00"
    assert re.search(
        r"Models +Input +Both +Cost\n claude-haiku-4-5-20251001 +834k +1,179,801 +━{8} +\$1,012\.06\n", text
    )
    assert re.search(r"claude-opus-4-5-20251101 +1\.23M +1,242,912 +━{7}─ +\$912\.35\n glm-4\.6 ", text)
    assert re.search(r" glm-4\.6 +0 +3,678 +━─{7} +\$0\.06\n", text)
    assert re.search(r" Total +2\.07M +2,426,391 +\$1,924\.47\n", text)
    assert re.search(
        r" Active block\n Time +04:00 . 09:00\n Burn rate +2\.61k/min\n Left +2h 14m\n Passed +━+─+\n",
        text,
    )
    assert " Now  tokens 23.5M\n" in text
    assert re.search(r" Stream +rec/s +lag +delay err +Stream", text)
    assert re.search(r"stream5 +61 +5\.00 KB +2\.5s +5", text)


@given(
    st.integers(1, 220),
    st.integers(1, 70),
    st.lists(
        st.fixed_dictionaries(
            {
                "model": st.one_of(st.none(), st.text(max_size=40), st.just("日本語" * 9)),
                "input": st.one_of(st.none(), st.integers(-(10**12), 10**15)),
                "output": st.integers(0, 9),
                "cost": st.floats(allow_nan=False, allow_infinity=False, width=32),
            }
        ),
        max_size=40,
    ),
    st.sampled_from([None, status(), status(backlog=None, degraded="the disk\nis full " * 9), status(streams={})]),
)
def test_every_frame_fits(columns: int, lines: int, rows: list[dict[str, Any]], now: Any) -> None:
    made = screen(models=rows, block=BLOCK)
    made.status, made.message = now, "a line of the log"
    frame = made.live(columns, lines)
    assert len(frame) == lines
    assert all(line_width(line) <= columns for line in frame)
    text = plain(frame)
    assert all(char.isprintable() or char == "\n" for char in text)


def test_what_a_small_screen_keeps() -> None:
    rows = [{"n": n} for n in range(30)]
    panels = [
        {"table": "a", "title": "A", "priority": 1},
        {"table": "b", "title": "B", "priority": 3},
        {"table": "c", "title": "C"},
    ]
    made = screen(panels, a=rows, b=rows, c=rows)

    def shown(lines: int) -> dict[str, int]:
        found: dict[str, int] = {}
        title = ""
        for line in plain(made.live(60, lines)).splitlines()[1:]:
            if line.strip() in ("A", "B", "C"):
                title = line.strip()
                found[title] = 0
            elif line.strip():
                found[title] += 1
        return found

    assert shown(100) == {"A": 30, "B": 30, "C": 30}
    assert shown(50) == {"A": 12, "B": 30, "C": 2}
    assert shown(20) == {"A": 2, "B": 10, "C": 2}
    assert shown(10) == {"A": 2, "B": 4}
    assert shown(5) == {"B": 3}


def test_a_wide_screen_has_columns() -> None:
    text = plain(screen().live(160, 24))
    assert re.search(r"Models .* Active block", text)
    assert not re.search(r"Models .* Active block", plain(screen().live(80, 24)))


def test_columns_of_least_priority_go_first() -> None:
    text = plain(screen().live(34, 24))
    assert "Cost" in text
    assert "Both" not in text


def test_without_rows() -> None:
    text = plain(screen(models=[], block=[]).live(80, 24))
    assert "no block is active" in text
    assert "Models" not in text
    assert "Total" not in text


def test_where_limit_and_struct_rows() -> None:
    class Row(msgspec.Struct):
        name: str
        n: int

    rows = [Row(name, n) for n, name in enumerate("abcdef")]
    panel = {
        "table": "t",
        "where": "n > 1",
        "sort": ["-n"],
        "limit": 2,
        "total": "Sum",
        "columns": {"Name": "name", "N": "n"},
    }
    text = plain(screen([panel], t=rows).live(40, 12))
    assert re.findall(r"^ (\w+) +(\w+)$", text, re.MULTILINE) == [("Name", "N"), ("f", "5"), ("e", "4"), ("Sum", "14")]


def test_rich_prints_it() -> None:
    console = Console(width=80, height=24, record=True, file=io.StringIO(), force_terminal=True)
    console.print(screen(), end="")
    assert "Active block" in console.export_text()


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


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("int", 1234567, "1,234,567"), ("int", 1234.5, "1,234.50"), ("int", None, "–"), ("int", "x", "x"),
        ("usd", -3.456, "-$3.46"), ("percent", 0.426, "43%"), ("size", 12_345_678, "12.3 MB"),
        ("date", "2026-01-02", "2026-01-02"), ("date", 1_767_312_000, "2026-01-02"), ("time", 1_767_312_000, "01:00"),
        ("time", "2026-01-02T00:30:00Z", "01:30"), ("time", "soon", "soon"), ("text", True, "yes"),
        ("text", ["a", 1], "a, 1"),
        ("text", "a\x1b[1mb", "a·[1mb"), ("text", b"\xff", "\ufffd"),
    ],
)  # fmt: skip
def test_formats(kind: Any, value: Any, text: str) -> None:
    assert formatter(kind, "", ZoneInfo("Europe/Berlin"))(value) == text


def test_numbers() -> None:
    assert [si(n) for n in (0, 999, 1000, 9_994, 9_996, 99_960, 999_499, 999_500, -1500, 1.5, 10**18)] == [
        "0", "999", "1.00k", "9.99k", "10.0k", "100k", "999k", "1.00M", "-1.50k", "1.5", "1e+03P",
    ]  # fmt: skip
    assert [duration(s) for s in (0, 0.25, 59, 60, 3600, 8040, 90061, -61)] == [
        "0s", "0.2s", "59s", "1m", "1h", "2h 14m", "1d 1h", "-1m 1s",
    ]  # fmt: skip
    assert [bytes_text(n) for n in (0, 999, 12_345)] == ["0 B", "999 B", "12.3 KB"]


@given(st.text(), st.integers(0, 30))
def test_texts_fit(text: str, cells: int) -> None:
    assert width(shorten(text, cells)) <= max(cells, 0)
    assert width(fit(text, cells)) == cells


def test_a_table_that_no_panel_declares_says_that_it_has_no_rows() -> None:
    assert plain(screen([], open_orders=[]).final(None)).split("\n")[2:4] == ["Open orders", "no rows"]


def test_a_declared_table_without_rows_is_left_out_unless_it_says_so() -> None:
    tables = Tables()
    tables.take(Table("bad", (), list, lambda: 0))
    columns: dict[str, Any] = {"model": "model"}
    quiet = Panel(table="bad", title="Bad", columns=columns)
    told = Panel(table="bad", title="Worse", columns=columns, empty="none")
    screen = Screen(tables, [quiet, told], "x")
    screen.refresh(force=True)
    for lines in (screen.live(60, 12), screen.final(60), screen.final(None)):
        text = plain(lines)
        assert "Bad" not in text
        assert "Worse" in text
        assert "none" in text
