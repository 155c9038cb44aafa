"""`parse_csv`."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex.subject import Subject

from rxpipe.context import entered
from rxpipe.elements import Batch, LineDelta, OriginGone
from rxpipe.errors import ParameterError
from rxpipe.lease import Lease
from rxpipe.operators.records.parse_csv import parse_csv
from rxpipe.testing import TestContext, run_marbles


class Fed:
    """A step fed with the blocks of files."""

    def __init__(self, states: Any = (), **parameters: Any) -> None:
        self.parameters = parameters
        self.context = TestContext(states)
        self.seen: list[Any] = []
        self.ends: dict[str, int] = {}
        self.source: Subject[Any] = Subject()
        with entered(self.context):
            self.source.pipe(parse_csv(**parameters)).subscribe(self.take)

    def take(self, element: Any) -> None:
        self.seen.append(element)

    def give(self, data: bytes, path: str = "f", start: int | None = None, *, unfinished: bool = False) -> Fed:
        begin = self.ends.get(path, 0) if start is None else start
        end = self.ends[path] = begin + len(data)
        lease = Lease(self.context.flow, len(data), path, begin, end)
        self.source.on_next(LineDelta(path, f"id of {path}", begin, end, data, lease, unfinished))
        return self

    def again(self) -> Fed:
        """Take a checkpoint, and go on from it in another run."""
        self.seen = [Batch(batch.rows) for batch in self.seen]
        fed = Fed(self.context.checkpoint(), **self.parameters)
        fed.ends = self.ends
        return fed

    @property
    def rows(self) -> list[Any]:
        return [row for batch in self.seen if isinstance(batch, Batch) for row in batch.rows]

    @property
    def errors(self) -> list[Any]:
        return [(error.path, error.start, error.end, error.record, error.reason) for error in self.context.errors]


def test_columns_given() -> None:
    fed = Fed(columns=["name", "n"], types={"n": "int"}).give(b'a,1\n"Lee, ""A""",\n').give(b"b,2\n")
    assert fed.rows == [{"name": "a", "n": 1}, {"name": 'Lee, "A"', "n": None}, {"name": "b", "n": 2}]
    assert fed.errors == []
    assert fed.context.states == []


def test_the_first_line_of_each_file_has_the_names() -> None:
    fed = Fed(types={"n": "number"}).give(b"\xef\xbb\xbfname,n\r\na,1\r\n").give(b"n,x\n2,y\n", "g").give(b"b,3\n")
    fed.give(b"4,z\n", "g")
    assert fed.rows == [{"name": "a", "n": 1}, {"n": 2, "x": "y"}, {"name": "b", "n": 3}, {"n": 4, "x": "z"}]
    again = fed.again().give(b"c,5\n").give(b"6,z\n", "g")
    assert again.rows == [{"name": "c", "n": 5}, {"n": 6, "x": "z"}]


def test_a_file_that_is_gone_is_forgotten() -> None:
    fed = Fed().give(b"a,b\n1,2\n").give(b"c\n3\n", "g")
    fed.source.on_next(OriginGone("f"))
    assert fed.seen[-1] == OriginGone("f")
    fed.seen.clear()
    [state] = fed.context.checkpoint()
    assert [key for key, _ in state] == [b"id of g"]
    fed.give(b"x\n4\n", start=0)
    assert fed.rows == [{"x": "4"}]


def test_a_first_line_that_names_nothing() -> None:
    fed = Fed().give(b"a,a\n1,2\n").give(b"3,4\n")
    assert fed.rows == []
    assert [(error[1], error[2]) for error in fed.errors] == [(0, 3), (4, 8), (8, 12)]
    assert fed.errors[0][4] == "must be the names of the columns: each must have a name of its own; got ['a', 'a']"
    assert fed.errors[1][4].startswith("no line can be read: the first line of the file did not name the columns")
    assert Fed().give(b"5,6\n", start=10).errors[0][:4] == ("f", 10, 14, "5,6\n")
    assert "there is no column 'n' for 'types'" in Fed(types={"n": "int"}).give(b"a\n").errors[0][4]


def test_a_bad_line_harms_no_other() -> None:
    data = b'1,a\n2\n3,"b\n4\nx,d\n5,\xff\n6,"e"f\n\n7,g\r\n'
    fed = Fed(columns=["n", "t"], types={"n": "int"}).give(data, start=50)
    assert fed.rows == [{"n": 1, "t": "a"}, {"n": 7, "t": "g"}]
    lines = [data[start - 50 : end - 50] for _, start, end, _, _ in fed.errors]
    assert lines == [b"2", b'3,"b', b"4", b"x,d", b"5,\xff", b'6,"e"f']
    assert fed.errors[0][3:] == ("2", "no valid record: must have 2 fields; got 1")
    assert fed.errors[3][4] == "no valid record: 'n' must be a whole number; got 'x'"


def test_a_quoted_line_break_makes_two_lines() -> None:
    fed = Fed(columns=["a"]).give(b'"x\ny"\n')
    assert (fed.rows, [error[:4] for error in fed.errors]) == ([{"a": 'y"'}], [("f", 0, 2, '"x')])


def test_an_unfinished_line() -> None:
    assert Fed(columns=["a", "b"]).give(b"1,2", unfinished=True).rows == [{"a": "1", "b": "2"}]
    fed = Fed(columns=["a", "b"]).give(b"1,2\n3", unfinished=True)
    assert (fed.rows, fed.errors) == ([{"a": "1", "b": "2"}], [])


def test_delimiter_and_quote() -> None:
    fed = Fed(delimiter="\t", quote="'").give(b"a\tb\n'1\t2'\t\"\n")
    assert fed.rows == [{"a": "1\t2", "b": '"'}]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"delimiter": ";;"}, "delimiter: must be one ASCII character, and no line break; got ';;'"),
        ({"quote": "\n"}, "quote: must be one ASCII character, and no line break"),
        ({"columns": ["a"], "types": {"b": "int"}}, "must be one of 'columns'; got 'b'"),
    ],
)
def test_parameters(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        parse_csv(**parameters)(Subject())


@pytest.mark.parametrize("source", ["-----", "|", "--|", "--#"])
def test_marbles(source: str) -> None:
    assert run_marbles(parse_csv(), source) == source.rstrip("-")


@given(
    st.lists(st.lists(st.text('ab,"; é', max_size=4), min_size=2, max_size=2), max_size=6),
    st.lists(st.integers(0, 6), max_size=3),
    st.booleans(),
)
def test_what_was_written_is_read_in_whatever_blocks(rows: list[list[str]], cuts: list[int], named: bool) -> None:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerows([*([] if named else [["x", "y"]]), *rows])
    lines = file.getvalue().encode().splitlines(keepends=True)
    fed = Fed(columns=["x", "y"]) if named else Fed()
    begin = 0
    found: list[Any] = []
    for cut in [*sorted(cuts), len(lines)]:
        block = b"".join(lines[begin:cut])
        if block:
            fed.give(block)
        found += fed.rows
        fed = fed.again()
        begin = max(begin, cut)
    assert found == [{"x": x, "y": y} for x, y in rows]
    assert fed.errors == []
