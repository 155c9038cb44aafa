"""`to_plot`: what is drawn, when, and that the file is always whole."""

from __future__ import annotations

import errno
import itertools
import math
import os
import re
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

import rxpipe
from rxpipe.elements import Batch
from rxpipe.errors import MissingExtraError, ParameterError, RunError
from rxpipe.language.config import load_text
from rxpipe.operators.sinks import to_plot as module
from rxpipe.operators.sinks._figure import Look, _placing, _short, curves, draw
from rxpipe.operators.sinks.to_plot import to_plot
from rxpipe.table import Table
from rxpipe.testing import run_marbles
from tests.operators.sinks.parts import Running

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, list[Any]]]:
    """The rows of each picture in place of pictures."""
    pictures: list[Any] = []
    monkeypatch.setattr(module, "draw", lambda look, rows, path: pictures.append(rows))
    return pictures


def look(kind: str = "line", **given: Any) -> Look:
    return Look(
        **{
            "kind": kind,
            "x": "x",
            "y": ["y"],
            "by": None,
            "title": "",
            "x_label": "",
            "y_label": "",
            "size": (400, 300),
            **given,
        }
    )


@pytest.mark.parametrize("source", ["|", "-a-|", "-a-b|", "#", "-a#", "(ab|)"])
def test_marbles(source: str, tmp_path: Path, drawn: list[Any]) -> None:
    assert run_marbles(to_plot(str(tmp_path / "x.png"), y=["value"]), source) == source


def test_it_is_drawn_on_a_schedule_while_something_comes(tmp_path: Path, drawn: list[Any]) -> None:
    run = Running(to_plot(str(tmp_path / "x.png"), y=["n"], every="5s", last=3))
    virtual = run.context.virtual
    run.push(Batch([{"n": n} for n in range(3)]))
    virtual.advance_to(4.9)
    assert drawn == []
    virtual.advance_to(5)
    assert drawn == [[{"n": 0}, {"n": 1}, {"n": 2}]]
    virtual.advance_to(60)
    assert len(drawn) == 1
    run.push(Batch([{"n": 3}]), Batch([{"n": 4}]))
    virtual.advance_to(65)
    assert drawn[1:] == [[{"n": 2}, {"n": 3}, {"n": 4}]]
    run.push(Batch([{"n": 5}]))
    run.complete()
    virtual.advance_by(0)
    assert (drawn[2:], run.done) == ([[{"n": 3}, {"n": 4}, {"n": 5}]], True)


def test_the_table_that_came_last(tmp_path: Path, drawn: list[Any]) -> None:
    rows = [{"n": 1}]
    run = Running(to_plot(str(tmp_path / "x.png"), y=["n"], every="1s"))
    run.push(Table("t", (), lambda: rows, lambda: 1))
    rows.append({"n": 2})
    run.context.virtual.advance_by(1)
    assert drawn == [[{"n": 1}, {"n": 2}]]


def test_unsubscribing_and_an_error_draw_nothing(tmp_path: Path, drawn: list[Any]) -> None:
    for end in ("stop", "error"):
        run = Running(to_plot(str(tmp_path / "x.png"), y=["n"], every="1s"))
        run.push(Batch([{"n": 1}]))
        if end == "stop":
            run.stop()
        else:
            run.source.on_error(ValueError())
        run.context.virtual.advance_by(9)
    assert drawn == []


@pytest.mark.parametrize("suffix", ["png", "svg", "PNG"])
def test_a_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    run = Running(to_plot(str(path), y=["n"], x="k", kind="bar", title="Of $n$ and _k_ <b>", width=400, height=200))
    run.push(Batch([{"k": "$a_", "n": 1}, {"k": "b", "n": 2}]))
    run.complete()
    run.context.virtual.advance_by(0)
    assert run.done
    data = path.read_bytes()
    if suffix == "svg":
        assert "<svg" in data.decode()
        assert "Of $n$ and _k_ <b>" in data.decode().replace("&lt;", "<").replace("&gt;", ">")
    else:
        assert data.startswith(PNG)
        assert (int.from_bytes(data[16:20]), int.from_bytes(data[20:24])) == (400, 200)
    assert [*tmp_path.iterdir()] == [path]


def test_a_file_that_cannot_be_written_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Running(to_plot(str(tmp_path / "x.png"), y=["n"], every="1s", width=200, height=200))
    run.push(Batch([{"n": 1}]))

    def failing(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", failing)
        run.context.virtual.advance_by(1)
        assert "No space left" in run.context.details["degraded"]()
        assert [*tmp_path.iterdir()] == []
    run.context.virtual.advance_by(1)
    assert run.context.details["degraded"]() is None
    assert (tmp_path / "x.png").read_bytes().startswith(PNG)


class Denied:
    """A disk that refuses each file."""

    def __init__(self, number: int = errno.EACCES) -> None:
        self.number = number
        self.times = 0

    def __call__(self, *_: object) -> None:
        self.times += 1
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize(
    ("do", "times", "reasons"),
    [
        ("dead_letter", 1, ["PermissionError: [Errno 13] Permission denied"]),
        ("skip", 1, []),
        (rxpipe.retry(attempts=3), 3, ["PermissionError: [Errno 13] Permission denied"]),
        ("retry", 5, []),
    ],
    ids=str,
)
def test_what_is_told_about_errors_holds(
    do: Any, times: int, reasons: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    denied = Denied()
    monkeypatch.setattr(os, "replace", denied)
    run = Running(rxpipe.on_error(to_plot(str(tmp_path / "x.png"), y=["n"], every="1s", width=200, height=200), do))
    run.push(Batch([{"n": 1}]))
    run.context.virtual.advance_by(5)
    assert (denied.times, run.reasons) == (times, reasons)
    assert [error.path for error in run.context.errors] == [str(tmp_path / "x.png")] * len(reasons)


@pytest.mark.parametrize(("do", "number"), [("stop", errno.EACCES), (None, errno.ENAMETOOLONG)])
def test_what_does_not_pass_or_must_not_ends_the_run(
    do: Any, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "replace", Denied(number))
    step = to_plot(str(tmp_path / "x.png"), y=["n"], every="1s", width=200, height=200)
    run = Running(step if do is None else rxpipe.on_error(step, do))
    run.push(Batch([{"n": 1}]))
    with pytest.raises((RunError, OSError), match=os.strerror(number)):
        run.context.virtual.advance_by(1)


def test_lines_by_a_column() -> None:
    rows = [
        {"x": 1, "y": 2, "k": "a"},
        {"x": 2, "y": None, "k": "a"},
        {"x": None, "y": 1},
        {"x": 3, "y": "4", "k": "b"},
    ]
    found = curves(look(by="k"), [*rows])
    assert {name: xs for name, (xs, _) in found.items()} == {"a": [1, 2], "b": [3]}
    assert found["a"][1][0] == 2
    assert math.isnan(found["a"][1][1])
    assert math.isnan(found["b"][1][0])
    assert curves(look(x=None, y=["y * 2", "y"], by="k"), rows[:1]) == {"a, y * 2": ([0], [4]), "a, y": ([0], [2])}


def test_places() -> None:
    noon = datetime(2026, 1, 2, 12)  # noqa: DTZ001  # as the axis has it
    told = ["2026-01-02T12:00:00Z", noon.replace(tzinfo=UTC), "2026-01-02T13:00:00+01:00"]
    told.append(datetime(2026, 1, 2, 14, tzinfo=timezone(timedelta(hours=2))))
    place = _placing(told)
    assert {place(x) for x in told} == {noon}
    assert [*map(_placing([1, 2.5]), [1, 2.5])] == [1, 2.5]
    assert [*map(_placing([1, "a", None]), [1, "a", None])] == ["1", "a", "None"]


def test_numbers_are_short() -> None:
    assert [*map(_short, [0, 0.5, 999, 1500, -20_000, 3e6, 2.5e9, 1e12])] == [
        "0", "0.5", "999", "1.5k", "-20k", "3M", "2.5G", "1T",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["line", "bar"])
@pytest.mark.parametrize(
    "xs",
    [
        [],
        [1, 2, 3],
        ["a", "b"],
        [datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)],
        [1, "a", True],
        ["n" * 50] * 2,
        ["\ud800", "a"],
        [2**2000, 1, math.inf],
    ],
)
@pytest.mark.parametrize("ys", [[1, 2, 3], [None, None, None], [-1, 0, math.inf], [0, 0, 0], [2**2000, 1, -(2**2000)]])
def test_whatever_comes_is_drawn(tmp_path: Path, kind: str, xs: list[Any], ys: list[Any]) -> None:
    rows: list[Any] = [{"x": x, "y": y} for x, y in zip(xs, ys, strict=False)]
    draw(look(kind), rows, tmp_path / "x.svg")
    assert ("no data" in (tmp_path / "x.svg").read_text()) == (not xs)


def test_many_lines_and_names(tmp_path: Path) -> None:
    rows: list[Any] = [{"x": f"name {x}", "y": x, "k": f"_{k}"} for x, k in itertools.product(range(40), range(25))]
    draw(look(by="k", title="many", size=(1280, 720)), rows, tmp_path / "x.svg")
    text = (tmp_path / "x.svg").read_text()
    assert "and 6 more" in text
    assert len(re.findall(r"<!-- +_\d+ -->", text)) == 19
    assert len(re.findall(r"<!-- name \d+ -->", text)) == 20


GRAPH = """
graph: plotted
streams:
  main:
    - watch: {paths: ["FOLDER"], patterns: ["*.jsonl"]}
    - read_lines
    - parse_json
    - to_plot: {path: "FOLDER/x.png", y: [n], every: 50ms}
"""


def test_in_a_graph(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"n":1}\n{"n":2}\n')
    with load_text(GRAPH.replace("FOLDER", str(tmp_path))).run(once=True) as run:
        run.wait()
    assert (tmp_path / "x.png").read_bytes().startswith(PNG)


def test_a_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"path: must end in \.png or \.svg; got 'x\.jpg'"):
        Running(to_plot("x.jpg", y=["n"]))


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"package 'matplotlib'; got .*: pip install 'rxpipe-graphs\[plot\]'"):
        raise Running(to_plot(str(tmp_path / "x.png"), y=["n"])).failed or AssertionError
