"""`parse_text`."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex.subject import Subject

from rxpipe.elements import Batch, LineDelta, OriginGone
from rxpipe.errors import ParameterError
from rxpipe.lease import Lease
from rxpipe.operators.records.parse_text import parse_text
from rxpipe.testing import TestContext, run_marbles

ACCESS = r"(?P<method>[A-Z]+) (?P<path>\S+) (?P<status>\d+)(?: (?P<ms>[\d.]+))?"


def parse(data: bytes, *args: Any, start: int = 0, unfinished: bool = False, **more: Any) -> tuple[list[Any], Any]:
    """The rows and errors of one block."""
    from rxpipe.context import entered

    context = TestContext()
    seen: list[Any] = []
    source: Subject[Any] = Subject()
    with entered(context):
        source.pipe(parse_text(*args, **more)).subscribe(seen.append)
    end = start + len(data)
    lease = Lease(context.flow, len(data), "f", start, end)
    source.on_next(LineDelta("f", "1", start, end, data, lease, unfinished))
    assert all(len(batch.leases) == 1 for batch in seen)
    return [row for batch in seen for row in batch.dicts()], [
        (e.start, e.end, e.record, e.reason) for e in context.errors
    ]


def test_a_pattern() -> None:
    rows, errors = parse(b"GET /a 200 1.5\nPOST /b 404\n", ACCESS, types={"status": "int", "ms": "float"})
    assert rows == [
        {"method": "GET", "path": "/a", "status": 200, "ms": 1.5},
        {"method": "POST", "path": "/b", "status": 404, "ms": None},
    ]
    assert errors == []


def test_rows_are_typed() -> None:
    seen: list[Any] = []
    source: Subject[Any] = Subject()
    source.pipe(parse_text(ACCESS, types={"status": "int"})).subscribe(seen.append)
    source.on_next(LineDelta("f", "1", 0, 11, b"GET /a 200\n"))
    fields = {field.name: field.type for field in msgspec.structs.fields(type(seen[0].rows[0]))}
    assert fields == {"method": str | None, "path": str | None, "status": int | None, "ms": str | None}


def test_a_bad_line_harms_no_other() -> None:
    data = b"GET /a 200\nwhat?\r\n\nGET /\xff 1\nGET /b 1 1.1.1\nGET /c 300\r\n"
    rows, errors = parse(data, ACCESS, start=100, types={"status": "int", "ms": "float"})
    assert [row["path"] for row in rows] == ["/a", "/c"]
    assert [data[start - 100 : end - 100] for start, end, _, _ in errors] == [
        b"what?",
        b"GET /\xff 1",
        b"GET /b 1 1.1.1",
    ]
    assert errors[0][2:] == ("what?", "no valid record: must match the pattern; got 'what?'")
    assert errors[1][3].startswith("no valid record: 'utf-8' codec can't decode")
    assert errors[2][3] == "no valid record: 'ms' must be a number; got '1.1.1'"


def test_begin_and_end_of_a_file() -> None:
    assert parse(b"\xef\xbb\xbfa\nb\n", "(?P<x>.*)") == ([{"x": "a"}, {"x": "b"}], [])
    assert parse(b"GET /a 2", ACCESS, unfinished=True)[0] == [
        {"method": "GET", "path": "/a", "status": "2", "ms": None}
    ]
    assert parse(b"GET /a", ACCESS, unfinished=True) == ([], [])
    assert parse(b"GET /a\nGET", ACCESS, unfinished=True)[1][0][:2] == (0, 6)
    assert parse(b"\n\n", "(?P<x>.*)") == ([], [])


def test_groups_without_names_and_flags() -> None:
    assert parse(b"1 A 2\n3 b 4\n", r"(?i)(\d) (?P<x>[AB]) (\d)") == ([{"x": "A"}, {"x": "b"}], [])
    assert parse(b"1 a\n2 b\n", "(?x) (?P<n> \\d ) [ ] (?P<x> . ) # a comment") == (
        [{"n": "1", "x": "a"}, {"n": "2", "x": "b"}],
        [],
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a=1 b=2", {"a": "1", "b": "2"}),
        ('msg="two words" x=y', {"msg": "two words", "x": "y"}),
        (r'm="say \"hi\"\n\\" e="" f=', {"m": 'say "hi"\n\\', "e": "", "f": ""}),
        ("debug level=info", {"debug": True, "level": "info"}),
        ("  a=1   b.c-d=/x?y&z  ", {"a": "1", "b.c-d": "/x?y&z"}),
        ("a=1 a=2", {"a": "2"}),
    ],
)
def test_logfmt(line: str, expected: dict[str, Any]) -> None:
    assert parse(line.encode() + b"\n", "logfmt") == ([expected], [])
    assert parse(f"{line}\n{line}\n".encode(), "logfmt") == ([expected] * 2, [])


@pytest.mark.parametrize("line", ['a="1', "=1", 'a="1"b=2', "a=1=2 =", '"a"=1', "   ", 'a=b"c'])
def test_what_is_no_logfmt(line: str) -> None:
    rows, errors = parse(f"x=1\n{line}\ny=2\n".encode(), "logfmt")
    assert rows == [{"x": "1"}, {"y": "2"}]
    assert [(start, end) for start, end, _, _ in errors] == [(4, 4 + len(line))]


def test_types_in_logfmt() -> None:
    data = b"at=1970-01-02T00:00:00Z n=1\nn=x\nother=1\n"
    rows, errors = parse(data, "logfmt", types={"n": "int", "at": "timestamp"})
    assert rows == [{"at": 86400.0, "n": 1}, {"other": "1"}]
    assert [error[3] for error in errors] == ["no valid record: 'n' must be a whole number; got 'x'"]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"pattern": "("}, "must be 'logfmt' or a regular expression"),
        ({"pattern": "logfm"}, "must have a named group"),
        ({"pattern": "(?P<class>x)"}, "a field's name must be a Python name"),
        ({"pattern": "(?P<status>x)", "types": {"state": "int"}}, "must be a group .* did you mean 'status'"),
    ],
)
def test_parameters(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        parse_text(**parameters)(Subject())


def test_other_elements_pass() -> None:
    seen: list[Any] = []
    source: Subject[Any] = Subject()
    source.pipe(parse_text("logfmt")).subscribe(seen.append)
    for element in (OriginGone("f"), Batch([{"a": 1}]), 7):
        source.on_next(element)
    assert seen == [OriginGone("f"), Batch([{"a": 1}]), 7]


@pytest.mark.parametrize("source", ["-----", "|", "--|", "--#"])
def test_marbles(source: str) -> None:
    assert run_marbles(parse_text("logfmt"), source) == source.rstrip("-")


PATTERNS = [
    ACCESS,
    r"(?P<x>.*)",
    r"(?P<x>\w*)\s*(?P<y>\w*)",
    r"(?P<x>[^=]*)=?(?P<y>[^=]*)",
    r"(?P<x>a+?)(?P<y>[ab\s]*)",
    r"(?P<x>\S+)(?P<y>(?: .*)?)",
    r"(?P<x>a*)$|(?P<y>b+)\s?",
    r"(?P<x>(?=a)\w+)\b(?P<y>.*)",
    r"(?P<x>\W*)(?P<y>(?s:.)*)",
    r"(?P<x>a)\Z|(?P<y>b.*)",
    r"(?P<x>a|a\n?b|.*)(?P<y>.?)",
    r"(?P<x>\s*)(?P<y>[ab]*+)",
    r"^(?P<x>a*)(?P<y>$|[^\n]+|.)",
    r"(?i)(?P<x>A*)(?P<y>[^A]*)",
    r"(?P<x>(?:a|\Bb)*)(?P<y>.*?)",
]


@given(
    st.sampled_from(PATTERNS),
    st.lists(st.text("ab =\n\rA", max_size=6).map(lambda text: text.replace("\n", "")), max_size=8),
    st.booleans(),
)
def test_over_a_block_as_over_each_line(pattern: str, lines: list[str], carriage: bool) -> None:
    end = "\r\n" if carriage else "\n"
    rows, errors = parse("".join(line + end for line in lines).encode(), pattern)
    wanted: list[Any] = []
    failed = 0
    for line in lines:
        text = line if carriage else line.removesuffix("\r")
        if text:
            match = re.fullmatch(pattern, text)
            failed += match is None
            wanted += [] if match is None else [match.groupdict()]
    assert rows == wanted
    assert len(errors) == failed
