"""`to_csv`: one header, the cells, what does not fit, exactly once."""

from __future__ import annotations

import csv
import stat
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxpipe.elements import Batch, LineDelta
from rxpipe.errors import ParameterError, RxpipeError, StateError
from rxpipe.lease import Lease
from rxpipe.operators.files.read_csv import read_csv
from rxpipe.operators.sinks.to_csv import to_csv
from rxpipe.testing import run_marbles
from tests.operators.sinks.parts import Running, full_disk


def rows(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


class Row(msgspec.Struct):
    a: int
    at: datetime


@pytest.mark.parametrize("source", ["|", "-a-|", "-a-b|", "#", "-a#", "(ab|)"])
def test_marbles(source: str, tmp_path: Path) -> None:
    assert run_marbles(to_csv(str(tmp_path / "x")), source) == source


def test_cells(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.csv"
    run = Running(to_csv(str(path)))
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    run.push(
        Batch([{"a": 'say "hi"', "b": 1.5, "c": None}, {"c": at, "a": "x,y\r\nz", "b": True}]),
        Batch([{"a": b"\xff", "b": [1, {"k": "v"}], "c": float("nan")}]),
    )
    assert path.read_bytes() == (
        b'a,b,c\n"say ""hi""",1.5,\n"x,y\r\nz",true,2026-01-02T03:04:05Z\n/w==,"[1,{""k"":""v""}]",nan\n'
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_structs_lines_and_values(tmp_path: Path) -> None:
    for name, element, wanted in (
        ("struct", Batch([Row(1, datetime(2026, 1, 2, tzinfo=UTC))]), [["a", "at"], ["1", "2026-01-02T00:00:00Z"]]),
        ("lines", LineDelta("f", "id", 0, 4, b"a\nb\n"), [["path", "line"], ["f", "a"], ["f", "b"]]),
        ("value", 7, [["value"], ["7"]]),
    ):
        Running(to_csv(str(tmp_path / name))).push(element)
        assert rows(tmp_path / name) == wanted


def test_columns_choose_and_order(tmp_path: Path) -> None:
    run = Running(to_csv(str(tmp_path / "x"), columns=["b", "a"], extra="drop", missing="empty", delimiter=";"))
    run.push(Batch([{"a": 1, "b": 2, "c": 3}, {"a": 4}]))
    assert (tmp_path / "x").read_text() == "b;a\n2;1\n;4\n"


def test_a_record_with_other_columns_is_rejected(tmp_path: Path) -> None:
    run = Running(to_csv(str(tmp_path / "x")))
    lease = Lease(run.context.flow, 1, "f", 3, 9)
    odd: list[Any] = [{}, {"a": object()}, {"a": "\ud800"}]
    run.push(Batch([*odd, {"a": 1, "b": 2}, {"a": 1}, {"a": 1, "b": 2, "c": 3}], [{"a": 0, "b": 0}], (lease,)))
    assert (tmp_path / "x").read_text() == "a,b\n1,2\n"
    assert run.reasons == [
        "a record taken back cannot be taken out of a CSV file",
        "cannot be written as CSV: the first record must have fields, which make the header; it has none",
        "cannot be written as CSV: Type is not JSON serializable: object",
        (
            "cannot be written as CSV: 'utf-8' codec can't encode character '\\ud800' in position 2: "
            "surrogates not allowed"
        ),
        "cannot be written as CSV: the record must have the column 'b', which is in the header; it has none",
        "cannot be written as CSV: the record must have no fields but the columns of the header; got 'c'",
    ]
    assert {error.path for error in run.context.errors} == {"f"}


def test_the_header_of_a_file_that_is_there_holds(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("b,a\n1,2\n3,")  # and a row that somebody left torn
    Running(to_csv(str(path))).push(Batch([{"a": 5, "b": 6}]))
    assert path.read_text() == "b,a\n1,2\n3,\n6,5\n"
    run = Running(to_csv(str(tmp_path / "y")))
    run.stop()
    path.with_name("y").write_text("b,a\n")
    with pytest.raises(RxpipeError, match=r"must begin with a header of the columns \['a'\]; got \['b', 'a'\]"):
        raise Running(to_csv(str(tmp_path / "y"), columns=["a"])).failed or AssertionError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delimiter": '"'}, "delimiter: must be one ASCII character, and no line break or quote; got '\"'"),
        ({"columns": ["a", "b", "a"]}, "columns: must name each column once; got 'a' twice"),
        ({"columns": []}, "columns: .*at least 1 item"),
    ],
)
def test_parameters_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        Running(to_csv("x", **options))


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    run = Running(to_csv(str(tmp_path / "x")))
    with full_disk():
        run.push(Batch([{"a": 1}]), Batch([{"a": 2}]))
        assert (run.out, run.context.flow.held) == ([], True)
        assert "No space left" in run.context.details["degraded"]()
    run.context.virtual.advance_by(1)
    assert (tmp_path / "x").read_text() == "a\n1\n2\n"
    assert (len(run.out), run.context.flow.held) == (2, False)


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    run = Running(to_csv(str(path)))
    run.push(Batch([{"a": 1}]))
    states = run.context.checkpoint()
    run.stop()
    path.write_text("a\n2\n")
    with pytest.raises(StateError, match="holds what this graph wrote up to byte 4; it holds something else"):
        raise Running(to_csv(str(path)), states).failed or AssertionError


TEXTS = st.text(st.characters(codec="utf-8"), max_size=5)


@given(
    st.lists(st.lists(st.fixed_dictionaries({"a,b": TEXTS, "c": TEXTS}), max_size=3), max_size=6),
    st.lists(st.tuples(st.sampled_from(["next", "next", "checkpoint", "crash"]), st.binary(max_size=9)), max_size=20),
)
def test_exactly_once(batches: list[list[dict[str, str]]], actions: list[tuple[str, bytes]]) -> None:
    """However checkpoints and crashes fall, `csv` reads each record once, under one header."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "out.csv")
        run = Running(to_csv(str(path), columns=["a,b", "c"]))
        states = run.context.checkpoint()
        offset = saved = 0
        for action, torn in [*actions, *[("next", b"")] * len(batches)]:
            if action == "next" and offset < len(batches):
                run.push(Batch([*batches[offset]]))
                offset += 1
            elif action == "checkpoint":
                states, saved = run.context.checkpoint(), offset
            elif action == "crash":
                run.stop()
                path.write_bytes(path.read_bytes() + torn)
                run, offset = Running(to_csv(str(path), columns=["a,b", "c"]), states), saved
        while offset < len(batches):
            run.push(Batch([*batches[offset]]))
            offset += 1
        run.stop()
        written = [record for batch in batches for record in batch]
        assert rows(path) == [["a,b", "c"]] * bool(written) + [[record["a,b"], record["c"]] for record in written]


def test_read_csv_reads_it(tmp_path: Path) -> None:
    records = [{"a": 'q"\n', "n": 1}, {"a": "", "n": 2}]
    run = Running(to_csv(str(tmp_path / "x")))
    run.push(Batch([*records]))
    run.complete()
    assert run.done
    assert read_csv(str(tmp_path / "x"), types={"n": "int"}).run() == Batch([*records])
