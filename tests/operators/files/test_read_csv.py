"""`read_csv`: records whatever is in their fields, each once, however the file grows."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxpipe.context import entered
from rxpipe.errors import ParameterError
from rxpipe.operators.files._csv import record_end, record_ends
from rxpipe.operators.files.read_csv import read_csv
from rxpipe.testing import TestContext
from tests.operators.files.test_read_lines_properties import pieces


class Reading:
    """A subscription under virtual time."""

    def __init__(self, path: Path, states: Any = (), *, once: bool = False, **options: Any) -> None:
        self.context = TestContext(states, once=once)
        self.rows: list[dict[str, Any]] = []
        self.done = False
        with entered(self.context):
            self.subscription = read_csv(str(path), **options).subscribe(
                lambda batch: self.rows.extend(batch.rows), on_completed=self.complete
            )
        self.context.virtual.advance_by(0)

    def complete(self) -> None:
        self.done = True

    def look(self, seconds: float = 1.0) -> list[dict[str, Any]]:
        self.context.virtual.advance_by(seconds)
        found, self.rows[:] = self.rows[:], []
        return found

    def errors(self) -> list[tuple[int | None, int | None, str]]:
        return [(error.start, error.end, error.reason) for error in self.context.errors]


def written(rows: list[list[str]], **options: Any) -> bytes:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n", **options).writerows(rows)
    return out.getvalue().encode()


FIELDS = st.text('a,"\n\r\x0b\x85 é;', max_size=6)


@given(
    st.lists(st.lists(FIELDS, min_size=2, max_size=2), max_size=12),
    st.lists(st.integers(0, 300), max_size=8),
    st.lists(st.sampled_from(["look", "restart", "checkpoint", "crash", ""]), max_size=10),
    st.sampled_from([",", ";"]),
)
def test_torn_into_writes_with_restarts(
    rows: list[list[str]], cuts: list[int], actions: list[str], delimiter: str
) -> None:
    returns = any("\r" in field for row in rows for field in row)  # which the writer forgets to quote
    quoting = csv.QUOTE_ALL if returns else csv.QUOTE_MINIMAL
    data = written([["x", "y"], *rows], delimiter=delimiter, quoting=quoting)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        options: dict[str, Any] = {"delimiter": delimiter, "every": "1s", "max_record": 400}
        reading = Reading(path, **options)
        got: list[dict[str, Any]] = []
        states, kept = reading.context.checkpoint(), 0
        for number, piece in enumerate(pieces(data, cuts)):
            with path.open("ab") as file:
                file.write(piece)
            action = actions[number] if number < len(actions) else "look"
            if action:
                got += reading.look()
            if action in ("checkpoint", "restart"):
                states, kept = reading.context.checkpoint(), len(got)
            if action == "crash":
                del got[kept:]
            if action in ("crash", "restart"):
                reading.subscription.dispose()
                reading = Reading(path, states, **options)
        got += reading.look()
        reading.subscription.dispose()
    assert got == [{"x": x, "y": y} for x, y in rows]


QUOTED = st.binary(max_size=30).map(lambda data: bytes(b'a"\n,'[byte % 4] for byte in data))


@given(QUOTED)
def test_where_records_end(data: bytes) -> None:
    ends = [n for n in range(1, len(data) + 1) if data[n - 1 : n] == b"\n" and data.count(b'"', 0, n) % 2 == 0]
    assert record_end(data, b'"') == (ends[-1] if ends else 0)


@given(QUOTED)
def test_a_record_ends_where_pythons_csv_ends_it(data: bytes) -> None:
    lines = [f"{line}\n" for line in data.decode().split("\n")[:-1]]
    reader = csv.reader(lines, delimiter=",", quotechar='"')
    next(reader, None)
    taken = sum(map(len, lines[: reader.line_num]))
    end = record_ends(",", '"')(data, 0)
    if end > 0:
        assert end == taken
    else:  # all of it was taken for one record, or there is no line break
        assert taken == sum(map(len, lines)) or not lines


LINES = {
    b'1,5" pipe': {"n": "1", "s": '5" pipe'},
    b'2,"a\nb"': {"n": "2", "s": "a\nb"},
    b'3,""': {"n": "3", "s": ""},
    b'4,"x"y': None,
    b"5": None,
}
"""Records, and what they are read as, if they can be."""


@given(
    st.lists(st.sampled_from([*LINES]), max_size=8),
    st.booleans(),
    st.lists(st.just(b"6,z"), max_size=8),
    st.sampled_from([12, 30, 1000]),
)
def test_a_stray_quote_harms_no_other_record(before: list[bytes], stray: bool, behind: list[bytes], size: int) -> None:
    known: dict[bytes, Any] = {**LINES, b'7,"': None, b"6,z": {"n": "6", "s": "z"}}
    lines = [*before, *([b'7,"'] if stray else []), *behind]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        path.write_bytes(b"".join(line + b"\n" for line in (b"n,s", *lines)))
        reading = Reading(path, max_record=size)
        assert reading.look() == [known[line] for line in lines if known[line] is not None]
        assert [error.record for error in reading.context.errors] == [
            line.decode() + "\n" for line in lines if known[line] is None
        ]
        assert reading.done


def test_types(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("n,f,b,s\n1,2.5,TRUE,\n,,,x\n\n-3,1e3,0,3", encoding="utf-8-sig")
    reading = Reading(path, types={"n": "int", "f": "float", "b": "bool"})
    assert reading.look() == [
        {"n": 1, "f": 2.5, "b": True, "s": ""},
        {"n": None, "f": None, "b": None, "s": "x"},
        {"n": -3, "f": 1000.0, "b": False, "s": "3"},
    ]
    assert (reading.done, reading.errors()) == (True, [])


def test_what_is_no_record_harms_no_other(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'1,a\nx,b\n1_0,b\n2,c,d\n3,"e"f\n4,\xff\n5,"g\nh"\n')
    reading = Reading(path, columns=["n", "s"], types={"n": "int"})
    assert reading.look() == [{"n": 1, "s": "a"}, {"n": 5, "s": "g\nh"}]
    found = [(start, end) for start, end, _ in reading.errors()]
    assert found == [(4, 8), (8, 14), (14, 20), (20, 27), (27, 31)]
    assert "must have 2 fields; got 3" in reading.errors()[2][2]


def test_a_quote_that_is_not_closed_costs_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'n\n"1\n' + b"2\n" * 100)
    reading = Reading(path, max_record=50)
    assert reading.look() == [{"n": "2"}] * 100
    assert reading.errors() == [(2, 5, "a record must have at most 50 bytes; is a quote not closed?")]


def test_a_restart_gives_what_was_added(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("n\n1\n2\n")
    first = Reading(path)
    assert first.look() == [{"n": "1"}, {"n": "2"}]
    states = first.context.checkpoint()
    assert Reading(path, states).look() == []
    with path.open("a") as file:
        file.write("3\n")
    assert Reading(path, states).look() == [{"n": "3"}]
    path.write_text("m\n1\n2\n3\n4\n")
    assert Reading(path, states).look() == [{"m": "1"}, {"m": "2"}, {"m": "3"}, {"m": "4"}]


def test_a_last_record_is_waited_for_or_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("n\n1")
    follower = Reading(path, every="1s")
    assert (follower.look(), follower.done) == ([], False)
    assert Reading(path, once=True, every="1s").look() == [{"n": "1"}]
    with path.open("a") as file:
        file.write("2\n")
    assert follower.look() == [{"n": "12"}]
    follower.context.drain()
    assert follower.done


def test_what_cannot_be_read_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    reading = Reading(path, every="1s", types={"n": "int"})
    reading.look(3)
    path.write_text("a,a\n")
    reading.look(3)
    path.write_text("b\n")
    reading.look(3)
    path.write_text("n\n5\n")
    assert reading.look() == [{"n": 5}]
    assert [reason for _, _, reason in reading.errors()] == [
        "cannot be read: No such file or directory",
        "must begin with the names of the columns: each must have a name of its own; got ['a', 'a']",
        "must begin with the names of the columns: there is no column 'n' for 'types'; there are 'b'",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delimiter": "ab"}, "delimiter.*must be one ASCII character, and no line break; got 'ab'"),
        ({"quote": "\n"}, r"quote.*must be one ASCII character, and no line break; got '\\n'"),
        ({"columns": ["a"], "types": {"b": "int"}}, "types.*must be one of 'columns'; got 'b'"),
    ],
)
def test_what_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        read_csv("a.csv", **options).run()
