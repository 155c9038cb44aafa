"""What a screen shows of its panels: each frame fits, and keeps what matters most."""

from __future__ import annotations

import io
import re
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from rxpipe.operators.sinks._cells import fit, line_width, plain, shorten, width
from rxpipe.operators.sinks._format import bytes_text, duration, formatter, si
from rxpipe.operators.sinks._panel import Panel
from rxpipe.operators.sinks._screen import Screen, Tables
from rxpipe.runtime.status import Backlog, StreamStatus
from rxpipe.table import Table
from tests.operators.sinks.screens import BLOCK, screen, status


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
            if line.strip()[:1] in ("A", "B", "C"):
                title, *_ = line.split()
                found[title] = 0
            elif line.strip():
                found[title] += 1
        return found

    assert shown(100) == {"A": 30, "B": 30, "C": 30}
    assert shown(50) == {"A": 12, "B": 30, "C": 2}
    assert shown(20) == {"A": 2, "B": 10, "C": 2}
    assert shown(10) == {"A": 2, "B": 4}
    assert shown(5) == {"B": 3}


def test_a_table_says_how_much_of_it_is_shown() -> None:
    made = screen([{"table": "a", "title": "Names"}], a=[{"name": f"name {n}"} for n in range(30)])
    assert plain(made.live(60, 10)).splitlines()[1].strip() == "Names  8 of 30"
    assert plain(made.live(60, 100)).splitlines()[2].strip() == "Names"
    assert plain(made.final(60)).splitlines()[2].strip() == "Names"
    assert plain(made.live(11, 10)).splitlines()[1].strip() == "Names", "where there is no room for that"


def test_a_wide_screen_is_used_to_its_right_end() -> None:
    panels = [{"table": name, "title": name} for name in ("a", "b", "c", "d")]
    rows = [{"name": "x", "n": 1}] * 3
    made = screen(panels, a=rows, b=rows, c=rows, d=rows)
    assert line_width(max(made.live(200, 24), key=line_width)) == 199  # two beside each other, though a fifth unit fits
    alone = screen(panels[:1], a=rows)
    assert line_width(max(alone.live(200, 24)[1:], key=line_width)) < 100  # one is not drawn out over all of it


def test_a_small_screen_keeps_its_streams_while_rates_change() -> None:
    made = screen()

    def shown(**changed: StreamStatus) -> list[str]:
        streams = {f"s{n}": StreamStatus(1000 - n, 10.0 * n, 0.0, 0.0, 0) for n in range(9)} | changed
        made.status = status(streams=streams, backlog=None)
        return re.findall(r"\b(s\d) ", plain(made.live(80, 24)))

    assert shown() == ["s0", "s2", "s1", "s3"]  # in two columns
    assert shown(s0=StreamStatus(1000, 0.0, 157.0, 0.1, 0), s8=StreamStatus(992, 1e6, 0.0, 0.0, 0)) == shown()
    assert shown(s8=StreamStatus(1, 0.0, 1e6, 2.0, 0)) == ["s0", "s2", "s1", "s8"]
    assert shown(s7=StreamStatus(1, 0.0, 0.0, 0.0, 1)) == ["s0", "s2", "s1", "s7"]


def test_what_is_not_yet_known_is_not_shown_as_zero() -> None:
    made = screen()
    made.status = status(rated=False, backlog=Backlog(1e3, 1e9, 0.0, None))
    text = plain(made.live(80, 24))
    assert re.search(r"stream5 +– ", text)
    assert re.search(r"  0%  1\.00 KB of 1\.00 GB$", text, re.MULTILINE)
    bar = text.splitlines()[-1].rindex("─")
    made.status = status(rated=True, backlog=Backlog(1e6, 1e9, 1e6, 999.0))
    assert re.search(r"stream5 +61 ", plain(made.live(80, 24)))
    text = plain(made.live(80, 24))
    assert "1.00 MB/s  16m 40s left" in text
    assert text.splitlines()[-1].rindex("─") == bar


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
