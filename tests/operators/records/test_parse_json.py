"""`parse_json`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex.subject import Subject

from rxpipe.context import entered
from rxpipe.elements import Batch, LineDelta, OriginGone
from rxpipe.errors import ParameterError, RxpipeError
from rxpipe.lease import Lease
from rxpipe.operators.records.parse_json import parse_json
from rxpipe.testing import TestContext

TOKENS: dict[str, Any] = {"tokens": {"path": "usage.out", "type": "int"}, "file": {"path": "@path", "type": "str"}}


class Run:
    """Blocks of one file through `parse_json`."""

    def __init__(self, fields: Any = None, containing: str | None = None) -> None:
        self.context = TestContext()
        self.source: Subject[Any] = Subject()
        self.seen: list[Any] = []
        self.position = 0
        with entered(self.context):
            self.source.pipe(parse_json(fields=fields, containing=containing)).subscribe(self.seen.append)

    def feed(self, data: bytes, lease: Lease | None = None) -> Run:
        start, self.position = self.position, self.position + len(data)
        self.source.on_next(LineDelta("a.jsonl", "1", start, self.position, data, lease))
        return self

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [row for batch in self.seen for row in batch.dicts()]

    @property
    def refused(self) -> list[tuple[int | None, int | None]]:
        return [(error.start, error.end) for error in self.context.errors]


def value(data: bytes, kind: str = "any", *, top: bool = True) -> Any:
    """What a field `a`, or `o.a`, of one line becomes; the reason if the line is refused."""
    run = Run({"a": {"path": "a" if top else "o.a", "type": kind}})
    run.feed((b'{"x":[1],"a":%s}\n' if top else b'{"x":[1],"o":{"y":0,"a":%s}}\n') % data)
    return run.rows[0]["a"] if run.rows else run.context.errors[0].reason


@pytest.mark.parametrize("top", [True, False])
def test_types(top: bool) -> None:
    for kind, data, expected in (
        ("any", b'{"b":[1]}', {"b": [1]}),
        ("str", b'"t\\u00e9\\n"', "té\n"),
        ("int", b"5", 5),
        ("int", b"-9223372036854775808", -(2**63)),
        ("float", b"5", 5.0),
        ("number", b"5.5", 5.5),
        ("number", b"5", 5),
        ("bool", b"true", True),
        ("list", b"[1,null]", [1, None]),
        ("object", b'{"b":1}', {"b": 1}),
        ("json", b'{"b": ["\\u00e9", 1.50]}', '{"b": ["\\u00e9", 1.50]}'),
        ("json", b'"\xff"', '"\ufffd"'),
    ):
        assert value(data, kind, top=top) == expected
        assert value(b"null", kind, top=top) is None


@pytest.mark.parametrize("top", [True, False])
@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("str", b"1"), ("int", b"1.0"), ("int", b"1e3"), ("int", b"true"), ("int", b'"1"'), ("float", b"true"),
        ("float", b'"1"'), ("number", b"false"), ("bool", b"1"), ("list", b"{}"), ("object", b"[]"),
        ("float", b"1e999"),
        ("int", b"9223372036854775808"), ("number", b"9" * 30), ("int", b"9" * 5000), ("str", b'"\xff"'),
    ],
)  # fmt: skip
def test_wrong_types_are_refused(kind: str, data: bytes, top: bool) -> None:
    assert value(data, kind, top=top).startswith("no valid record: ")


def test_paths() -> None:
    run = Run({"id": {"path": ["message.id", "id"], "type": "str"}, "deep": "a.b.c", "path": "@path"})
    run.feed(b'{"id":"x","message":{"id":null},"a":{"b":{"c":1}}}\n{"message":{"id":"y"},"id":"z","a":3}\n{}\n')
    assert run.rows == [
        {"id": "x", "deep": 1, "path": "a.jsonl"},
        {"id": "y", "deep": None, "path": "a.jsonl"},
        {"id": None, "deep": None, "path": "a.jsonl"},
    ]


def test_two_fields_of_one_path() -> None:
    assert Run({"a": "x", "b": "x"}).feed(b'{"x":1}\n').rows == [{"a": 1, "b": 1}]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"_a": "a"}, "without a leading underscore; got '_a'"),
        ({"a b": "a"}, "got 'a b'"),
        ({"if": "a"}, "got 'if'"),
        ({"a": "x", "b": "x.y"}, "either a value or an object around other fields; 'x.y' is both"),
        ({"b": "x.y", "a": "x"}, "'x' is both"),
        (
            {"a": {"path": "x.y", "type": "int"}, "b": {"path": "x.y", "type": "str"}},
            "one type; 'x.y' is declared as 'int'",
        ),
        ({"a": "x..y"}, "keys with dots between them; got 'x..y'"),
        ({"a": {"path": []}}, "got none"),
    ],
)
def test_bad_fields(fields: Any, message: str) -> None:
    with pytest.raises(RxpipeError, match=message):
        parse_json(fields=fields)(Subject())


def test_bad_parameters() -> None:
    with pytest.raises(ParameterError, match="type"):
        parse_json(fields={"a": {"path": "x", "type": "text"}})  # type: ignore[dict-item]  # that is the point
    with pytest.raises(RxpipeError, match=r"must be a text within one line; got 'a\\nb'"):
        parse_json(containing="a\nb")(Subject())


@pytest.mark.parametrize("fields", [None, TOKENS])
@pytest.mark.parametrize("containing", [None, "usage"])
def test_bad_lines_harm_no_others(fields: Any, containing: str | None) -> None:
    run = Run(fields, containing)
    run.feed(b'{"usage":{"out":1}}\nusage garbage\n\n  \r\n{"usage":{"out":2}}\r\n')
    run.feed(b'["usage"]\n{"usage":\n{"usage":{"out":3}}{"usage":{"out":4}}\n{"usage":{"out":5}}')
    assert [row["tokens"] if fields else row["usage"]["out"] for row in run.rows] == [1, 2, 5]
    assert run.refused == [(20, 33), (60, 69), (70, 79), (80, 118)]
    assert {error.path for error in run.context.errors} == {"a.jsonl"}
    assert run.context.errors[0].record == "usage garbage"


def test_pretty_printed_json_is_refused() -> None:
    run = Run({"a": "a"}).feed(b'{\n"a":1\n}\n').feed(b'{"a":1,"b":{}\n}{"a":2}\n').feed(b'{"a":3}\n{"a":4}\n')
    assert run.rows == [{"a": 3}, {"a": 4}]
    assert len(run.refused) == 5


def test_a_byte_order_mark() -> None:
    for fields in (None, {"a": "a"}):
        run = Run(fields).feed(b'\xef\xbb\xbf{"a":1}\nx\n').feed(b'\xef\xbb\xbf{"a":2}\n')
        assert run.rows == [{"a": 1}]
        assert run.refused == [(11, 12), (13, 23)]


@pytest.mark.parametrize("fields", [None, {"a": {"path": "a", "type": "str"}}])
@pytest.mark.parametrize("containing", [None, "a"])
def test_half_a_surrogate_pair(fields: Any, containing: str | None) -> None:
    lines = [rb'{"a":"x","z":"\ud83d"}', rb'{"a":"x\ud83d"}', rb'{"a":"\udc00\ud83d\ude00\\ud800\\\ud800"}']
    run = Run(fields, containing).feed(b"\n".join(lines) + b"\n")
    assert [row["a"] for row in run.rows] == ["x", "x\ufffd", "\ufffd\N{GRINNING FACE}\\ud800\\\ufffd"]
    assert run.refused == []
    json.dumps(run.rows, ensure_ascii=False).encode()
    assert len(Run(fields, containing).feed(rb'{"a":"\ud83d}' + b"\n").refused) == 1


def test_what_is_skipped_is_not_decoded() -> None:
    run = Run({"a": "a"}).feed(b'{"a":1,"b":"\xff","c":1e999,"d":123456789012345678901234567890}\n')
    assert (run.rows, run.refused) == ([{"a": 1}], [])


@pytest.mark.parametrize("fields", [None, {"a": "a"}])
def test_deep_nesting_is_refused(fields: Any) -> None:
    deep = b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}\n"
    run = Run(fields).feed(b'{"a":1}\n' + deep + b'{"a":2}\n')
    assert run.rows == [{"a": 1}, {"a": 2}]
    assert run.refused == [(8, 7 + len(deep))]


def test_a_very_long_line() -> None:
    text = "é" * 3_000_000
    run = Run({"a": "a"}, "a").feed(json.dumps({"b": text, "a": text}, ensure_ascii=False).encode() + b"\n")
    assert run.rows == [{"a": text}]
    run.feed(b'"a' + b"x" * 5_000_000 + b"\n")
    assert len(run.context.errors[0].record or "") == 1000


def test_the_marker() -> None:
    run = (
        Run({"a": "a"}, '"a":').feed(b'garbage\n{"b":1}\n{"a":1}\n"a"\n{"b":"\\"a\\":"}\n').feed(b'{"a":2,"b":{"a":3}}')
    )
    assert run.rows == [{"a": 1}, {"a": 2}]
    assert run.refused == []
    assert Run({"a": "a"}, "é").feed('{"a":"é"}\n{"a":"e"}\n'.encode()).rows == [{"a": "é"}]


def test_leases_and_other_elements() -> None:
    run = Run({"a": "a"})
    flow = run.context.flow
    lease = Lease(flow, 10)
    run.feed(b'{"a":1}\nx\n', lease).feed(b"x\n", lease).feed(b"\n", lease).feed(b"", lease)
    del lease
    assert len(run.seen) == 1
    assert flow.blocks == 1
    run.seen.clear()
    assert flow.blocks == 0
    run.source.on_next(OriginGone("a.jsonl"))
    assert run.seen == [OriginGone("a.jsonl")]


def test_an_error_record_holds_the_lease() -> None:
    context, held = TestContext(), []
    context.emit_error = lambda error, leases=(): held.append(leases)
    source: Subject[Any] = Subject()
    with entered(context):
        source.pipe(parse_json()).subscribe()
    source.on_next(LineDelta("a", "1", 0, 2, b"x\n", Lease(context.flow, 2)))
    assert context.flow.blocks == 1
    held.clear()
    assert context.flow.blocks == 0


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
good = st.builds(
    lambda number, rest: {**rest, "n": number},
    st.integers(0, 99),
    st.dictionaries(st.text(max_size=3), plain, max_size=3),
).map(lambda made: json.dumps(made).encode())
bad = st.one_of(
    st.sampled_from(
        [b"{", b"}", b"{}{}", b"null", b'{"n":"x"}', b'{"n":1.5}', b"[]", b"n", b'{"n":1', b'{"n"', b"\xff"]
    ),
    st.tuples(good, st.integers(1, 9)).map(lambda pair: pair[0][: -pair[1]]).filter(lambda line: line.strip() != b""),
)
blank = st.sampled_from([b"", b" ", b"\r", b"\t \r"])


@given(st.lists(st.lists(good | bad | blank, max_size=8), max_size=3), st.booleans(), st.booleans())
def test_good_lines_are_parsed_and_bad_ones_refused(blocks: list[list[bytes]], marked: bool, ended: bool) -> None:
    run = Run({"n": {"path": "n", "type": "int"}}, '"n"' if marked else None)
    rows, refused, position = [], [], 0
    for lines in blocks:
        data = b"\n".join(lines) + (b"\n" if ended else b"")
        run.position = position
        run.feed(data)
        for line in lines:
            if line.strip() and (not marked or b'"n"' in line):
                try:
                    made = json.loads(line)
                    number = made.get("n")
                    assert number is None or type(number) is int
                    rows.append({"n": number})
                except (ValueError, AttributeError, AssertionError):
                    refused.append((position, position + len(line)))
            position += len(line) + 1
        position += 7
    assert run.rows == rows
    assert run.refused == refused
    assert all(isinstance(element, Batch) and element.rows for element in run.seen)
