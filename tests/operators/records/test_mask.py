"""`mask`."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from reactivex import Observable
from reactivex.subject import Subject

from rxpipe import operators as ops
from rxpipe.elements import Batch, OriginGone
from rxpipe.errors import ExpressionError, ParameterError
from rxpipe.fusion.rows import row_struct
from rxpipe.operators.records._secrets import SECRETS, SecretKind, finder
from rxpipe.operators.records.mask import mask
from rxpipe.table import Table
from rxpipe.testing import TestContext, run_marbles

ROW = row_struct("Row", {"text": str, "n": int, "more": dict})
Through = Callable[..., list[Any]]

FOUND: dict[SecretKind, list[str]] = {
    "email": ["ann.b+c@example.co.uk", "a@b.io", "ÄNN@example.org", "x_%-@1.2.de", "müller@exämple.de"],
    "iban": ["DE89370400440532013000", "DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432", "NO9386011117947"],
    "card": ["4111111111111111", "4111-1111-1111-1111", "5500 0000 0000 0004", "378282246310005", "6011000990139424"],
    "token": [
        "sk-abcdefghijklmnopqrstuv",
        "ghp_abcdefghijklmnopqrstuvwxyz",
        "AKIAIOSFODNN7EXAMPLE",
        "xoxb-1234567890-abc",
        "eyJhbGciOi.eyJzdWIi.c2ln_-",
        "sk_live_abcdefghijklmnopqrst",
        "npm_abcdefghijklmnopqrstuvwxyz0123456789",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIIE\n-----END RSA PRIVATE KEY-----",
    ],
    "ipv4": ["10.0.0.1", "255.255.255.255", "0.0.0.0"],
    "ipv6": ["fe80::1", "::1", "2001:db8::8a2e:370:7334", "2001:0db8:0000:0000:0000:ff00:0042:8329", "::ffff:10.0.0.1"],
    "phone": ["+49 (30) 123456-7", "+14155552671", "0049 30 1234567", "(555) 123-4567", "555-123-4567", "555.123.4567"],
}

NOT_FOUND = [
    *["at 12:30:45, 2026-11-26T01:55:09.123+02:00", "1700000000000", "v1.2.3.4.5 or 300.1.1.1", "a @ b", "x@y"],
    *["4111 1111 1111 1112", "DE89370400440532013001", "std::vector", "a: b", "key: value", "sk-short", "+1 23"],
    *["the secret of it", "bearer of news", "0.123456", "3.14159265358979", "1,234,567", "id 12345"],
]


@pytest.mark.parametrize("kind", FOUND)
def test_what_is_found(kind: SecretKind) -> None:
    spans = finder([*SECRETS[kind]])
    for secret in FOUND[kind]:
        for before, after in (
            ("", ""),
            ("from ", " on"),
            ("<", ">"),
            ('"', '"'),
            ("(", "),"),
            ("a=", ";b"),
            ("x: ", "."),
        ):
            text = f"{before}{secret}{after}"
            assert [text[start:end] for start, end in spans(text)] == [secret], text


@pytest.mark.parametrize("text", NOT_FOUND)
def test_what_is_let_alone(text: str) -> None:
    assert [*finder([spans for each in SECRETS.values() for spans in each])(text)] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Authorization: Bearer abcdefgh.ijkl==", "Authorization: Bearer ***"),
        ("Basic QWxhZGRpbjpvcGVu", "Basic ***"),
        ("password=hunter2&user=ann", "password=***&user=ann"),
        ('{"api_key": "abc def", "n": 1}', '{"api_key": "***", "n": 1}'),
        (r"{\"password\": \"abc def\"}", r"{\"password\": \"***\"}"),
        ("secret-key: 'x y'; TOKEN=z", "secret-key: '***'; TOKEN=***"),
        ("card 4111 1111 1111 1111 12/26", "card *** 12/26"),
        ("12 4111 1111 1111 1111", "12 ***"),
        ("DE89 3704 0044 0532 0130 00 TEST", "*** TEST"),
        ("addr:fe80::1 [::1]:80", "addr:*** [***]:80"),
        ("pwd=a@b.io", "pwd=***"),
        ("https://ann:hunter2@host:80/path?a:b@c", "https://ann:***@host:80/path?a:b@c"),
        ("redis://:hunter2@host, http://host:80/@", "redis://:***@host, http://host:80/@"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE", "***"),
        ("", ""),
    ],
)
def test_among_other_things(through: Through, text: str, expected: str) -> None:
    assert through(mask(), [{"text": text}]) == [Batch([{"text": expected}])]
    assert through(mask(), [{"text": expected}]) == [Batch([{"text": expected}])]


def test_nested_texts_and_rows_of_all_types(through: Through) -> None:
    more = {"10.0.0.1": ["10.0.0.2", {"ip": "10.0.0.3"}, 7, None], "n": 1.5}
    masked = {"10.0.0.1": ["***", {"ip": "***"}, 7, None], "n": 1.5}
    for row in ({"text": "from 10.0.0.1", "n": 1, "more": more}, ROW("from 10.0.0.1", 1, more)):
        before = repr(row)
        (batch,) = through(mask(["ipv4"]), Batch([row], [row], retractable=True))
        assert batch.dicts() == batch.dicts(batch.retracted) == [{"text": "from ***", "n": 1, "more": masked}]
        assert repr(row) == before


def test_fields(through: Through) -> None:
    for row in ({"text": "10.0.0.1", "n": 1, "more": {"x": "10.0.0.1"}}, ROW("10.0.0.1", 1, {"x": "10.0.0.1"})):
        assert through(mask(fields=["more"]), [row])[0].dicts() == [{"text": "10.0.0.1", "n": 1, "more": {"x": "***"}}]
        assert through(mask([], patterns=[".+"], fields=["text"]), [row])[0].dicts()[0]["text"] == "***"
    assert through(mask(fields=["x"]), [{"y": "10.0.0.1"}]) == [Batch([{"y": "10.0.0.1"}])]
    with pytest.raises(ExpressionError, match="unknown field 'texts', did you mean 'text'"):
        through(mask(fields=["texts"]), [ROW("x", 1, {})])


def test_patterns_of_ones_own(through: Through) -> None:
    step = mask([], patterns=[r"id-\d+", r"name=(\w+)", "x*"])
    assert through(step, [{"a": "id-77 name=ann xx."}]) == [Batch([{"a": "*** name=*** ***."}])]


def test_what_is_put_in_its_place(through: Through) -> None:
    rows = [{"a": "ann@example.org and ann@example.org, x@y.io"}]
    assert through(mask(into="partial"), rows)[0].rows == [{"a": "***.org and ***.org, ***"}]
    (first, second, other) = hashed(through, "k")
    assert first == second != other
    assert re.fullmatch("[0-9a-f]{16}", first)
    assert (hashed(through, "k"), hashed(through, "another")[0] == first) == ([first, second, other], False)
    assert hashed(through, "k" * 1000) != hashed(through, "k" * 999)


def hashed(through: Through, key: str) -> list[str]:
    step = mask(into="hash", key=SecretStr(key))
    [row] = through(step, [{"a": "ann@example.org and ann@example.org, x@y.io"}])[0].rows
    return re.findall(r"\w{16}", row["a"])


def test_a_record_that_is_rejected_shows_nothing_that_was_masked(context: TestContext, through: Through) -> None:
    def step(source: Observable[Any]) -> Observable[Any]:
        return source.pipe(mask(), ops.cast(a="int"), ops.validate(x="a > 1"))

    rows = [{"a": "ann@example.org"}, {"a": "4", "b": "ann@example.org"}, {"a": "1", "b": ["ann@example.org"]}]
    assert through(step, rows) == [Batch([{"a": 4, "b": "***"}])]
    assert context.errors[0].reason == "CastError: 'a' must be a whole number; got '***'"
    assert len(context.errors) == 2
    assert "ann" not in repr(context.errors)


def test_a_record_that_cannot_be_masked_shows_nothing(context: TestContext, through: Through) -> None:
    deep: Any = "ann@example.org"
    for _ in range(5000):
        deep = [deep]
    assert through(mask(), [{"b": "ann@example.org", "a": deep}, {"a": 1}, "ann"]) == [Batch([{"a": 1}])]
    assert [(error.reason, error.record) for error in context.errors] == [
        ("MaskError: RecursionError", "***"),
        ("MaskError: TypeError", "***"),
    ]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"into": "hash"}, "key: a key goes with 'into: hash', and that needs one"),
        ({"key": SecretStr("k")}, "key: a key goes with 'into: hash', and that needs one"),
        ({"kinds": []}, "'kinds' or 'patterns' must name something to look for"),
        ({"fields": []}, "fields: must name at least one field"),
        ({"patterns": ["("]}, r"patterns.*must be a regular expression; got '\('"),
        ({"kinds": ["emails"]}, "must be 'email', 'iban'"),
        ({"into": "hash", "key": "plain"}, "a secret must be a reference"),
    ],
)
def test_parameters(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        mask(**parameters)(Subject())


def test_tables_and_other_elements(through: Through, table: Callable[..., Table]) -> None:
    assert through(mask(), table([{"id": "10.0.0.1"}]))[0].dicts() == [{"id": "***"}]
    assert through(mask(), OriginGone("10.0.0.1")) == [OriginGone("10.0.0.1")]


@pytest.mark.parametrize("source", ["-----", "|", "--|", "--#"])
def test_marbles(source: str) -> None:
    assert run_marbles(mask(), source) == source.rstrip("-")


every = finder([spans for each in SECRETS.values() for spans in each])
neutral = st.text("xyz ,;()<>|", max_size=5)


@given(st.lists(st.tuples(neutral, st.sampled_from([s for each in FOUND.values() for s in each]))), neutral)
def test_none_is_left_whatever_stands_around(parts: list[tuple[str, str]], rest: str) -> None:
    text = "".join(f"{between}, {secret} |" for between, secret in parts) + rest
    seen: list[Any] = []
    source: Subject[Any] = Subject()
    source.pipe(mask()).subscribe(lambda batch: seen.extend(batch.rows))
    source.on_next(Batch([{"text": text}]))
    assert seen[0]["text"].count("***") == len(parts)
    assert not any(secret in seen[0]["text"] for _, secret in parts)


@given(st.text("ab1.:@-+ /=\"'"))
def test_spans_are_in_order_and_apart(text: str) -> None:
    at = 0
    for start, end in every(text):
        assert at <= start < end <= len(text)
        at = end


@pytest.mark.parametrize("kind", get_args(SecretKind))
def test_time_grows_with_the_text(kind: SecretKind) -> None:
    """What would be tried again from each character takes minutes for these."""
    spans = finder([*SECRETS[kind]])
    for piece in ("a", "1", "a.", "1 ", ":", "a@", "AB12 ", "1-", "token=", "00", "bearer ", "1.", "::", "+1", "(1"):
        began = time.process_time()
        for _ in spans(piece * (50_000 // len(piece))):
            pass
        assert time.process_time() - began < 5, piece
