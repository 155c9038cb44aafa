"""Logs that are rotated: which files are one log, and that the older ones are read first."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from rxpipe.operators.files._rotation import generation


@pytest.mark.parametrize(
    ("path", "log"),
    [
        ("/logs/x.log", "/logs/x.log"),
        ("/logs/x.log.1", "/logs/x.log"),
        ("/logs/x.log.12.gz", "/logs/x.log"),
        ("/logs/x.log.zst", "/logs/x.log"),
        ("/logs/x.log-20250131", "/logs/x.log"),
        ("/logs/x.log.2025-01-31T10:00:00.gz", "/logs/x.log"),
        ("/logs/x-2025-01-31.log", "/logs/x-2025-01-31.log"),
        ("/logs/00001.log", "/logs/00001.log"),
        ("/logs.1/x", "/logs.1/x"),
        ("x", "x"),
        (".1", ".1"),
        ("/a\nb.1", "/a\nb.1"),
    ],
)
def test_files_of_a_log_are_known_by_their_names(path: str, log: str) -> None:
    assert generation(path).log == log


@pytest.mark.parametrize(
    "names",
    [["x.3.gz", "x.2", "x.1", "x"], ["x-20241231", "x-20250101", "x"], ["x.2025-01-02.gz", "x.2025-01-03", "x"]],
)
def test_the_older_of_two_files_has_the_lesser_age(names: list[str]) -> None:
    ages = [generation(name).age for name in names]
    assert ages == sorted(set(ages))


def put(path: Path, data: bytes, changed: int) -> None:
    path.write_bytes(data)
    os.utime(path, (changed, changed))


def test_what_was_rotated_is_read_to_its_end_before_what_came_after(start: Any, logs: Path) -> None:
    put(logs / "x.log", b"5\n6\n", 30)
    put(logs / "x.log.1", b"3\n4\n", 20)
    put(logs / "x.log.2", b"1\n2\n", 10)
    session = start(read={"block": 2})
    assert [line for _, line in session.lines()] == [b"1", b"2", b"3", b"4", b"5", b"6"]


def test_where_the_times_are_the_same_the_numbers_decide(start: Any, logs: Path) -> None:
    for number, name in enumerate(["x.log.10", "x.log.2", "x.log.1", "x.log"]):
        put(logs / name, b"%d\n" % number, 10)
    session = start(read={"block": 2})
    assert [line for _, line in session.lines()] == [b"0", b"1", b"2", b"3"]


def test_logs_take_turns(start: Any, logs: Path) -> None:
    put(logs / "x.log.1", b"x1\nx2\n", 10)
    put(logs / "x.log", b"x3\nx4\n", 20)
    put(logs / "y.log", b"y1\ny2\n", 30)
    session = start(read={"block": 3})
    assert [line for _, line in session.lines()] == [b"x1", b"x2", b"y1", b"x3", b"y2", b"x4"]


def test_the_events_of_a_rotated_log_come_in_the_order_of_change(start: Any, logs: Path) -> None:
    put(logs / "x.log", b"", 30)
    put(logs / "x.log.1", b"", 10)
    put(logs / "x.log.2", b"", 20)
    put(logs / "w.log", b"", 40)
    session = start()
    assert session.events() == [f"create {name} known" for name in ("w.log", "x.log.1", "x.log.2", "x.log")]
