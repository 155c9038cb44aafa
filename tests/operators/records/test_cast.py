"""`cast`, and the casts themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex.subject import Subject

from rxpipe.casting import caster
from rxpipe.elements import Batch, OriginGone
from rxpipe.errors import ExpressionError, ParameterError
from rxpipe.fusion.rows import row_struct
from rxpipe.operators.records.cast import cast
from rxpipe.table import Table
from rxpipe.testing import TestContext, run_marbles

ROW = row_struct("Row", {"ms": str, "ok": str})
Through = Callable[..., list[Any]]


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        *[("int", value, 7) for value in (7, 7.0, "7", " 7 ", "+7", "007")],
        ("int", True, 1),
        ("int", "9" * 30, int("9" * 30)),
        *[("float", value, 1.5) for value in (1.5, "1.5", "15e-1")],
        ("float", 2, 2.0),
        *[("number", value, value) for value in (1, 1.5, 2.0)],
        ("number", "12", 12),
        ("number", "1e3", 1000.0),
        *[("bool", value, True) for value in (True, 1, "true", "TRUE", "1")],
        *[("bool", value, False) for value in (False, 0, "False", "0")],
        *[("str", value, text) for value, text in (("x", "x"), ("", ""), (1, "1"), (1.5, "1.5"), (False, "false"))],
        *[("timestamp", value, 86400.0) for value in (86400, "86400", "86400.0", "1970-01-02T00:00:00Z")],
        ("timestamp", "-1.5", -1.5),
        *[(kind, None, None) for kind in ("int", "float", "number", "bool", "str", "timestamp")],
        *[(kind, "", None) for kind in ("int", "float", "number", "bool", "timestamp")],
    ],
)
def test_values(kind: Any, value: Any, expected: Any) -> None:
    found = caster(kind)(value)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        *[("int", value, f"must be a whole number; got {value!r}") for value in ("x", "1_000", "1.5", 1.5, "0x1")],
        ("int", [1], r"must be a whole number; got \[1\]"),
        ("int", float("nan"), "must be a whole number; got nan"),
        *[("float", value, f"must be a number; got {value!r}") for value in ("x", "1_0.5")],
        *[("number", value, "must be a number") for value in ("x", "1_0", {"a": 1})],
        *[("bool", value, "must be true or false") for value in ("yes", 2, 1.0, [1])],
        ("str", {}, "must be a text, number or truth"),
        ("timestamp", "2026-01-01T00:00:00", "time must state its zone"),
        ("timestamp", "yesterday", "time must be an RFC 3339 text"),
        ("timestamp", [], "time must be seconds"),
    ],
)
def test_what_has_no_such_form(through: Through, context: TestContext, kind: Any, value: Any, reason: str) -> None:
    with pytest.raises((ValueError, TypeError), match=f"^{reason}"):
        caster(kind)(value)
    good = {"n": None, "x": 1}
    assert through(cast(n=kind), [{"n": value}, good])[0].dicts() == [good]
    assert [(error.path, error.reason.startswith("CastError: 'n' ")) for error in context.errors] == [("f", True)]
    assert through(cast(n=kind, otherwise=None), [{"n": value}])[0].dicts() == [{"n": None}]


def test_rows(through: Through) -> None:
    expected = {"ms": 12, "ok": True}
    for row in ({"ms": "12", "ok": "true"}, ROW("12", "true")):
        (batch,) = through(cast(ms="int", ok="bool"), Batch([row], [row], retractable=True))
        assert (batch.dicts(), batch.dicts(batch.retracted)) == ([expected], [expected])
    assert through(cast(x="int"), [{"y": "1"}]) == [Batch([{"y": "1", "x": None}])]


def test_types_of_fields_are_known(through: Through) -> None:
    row = through(cast(ms="int"), [ROW("1", "x")])[0].rows[0]
    types = {field.name: field.type for field in msgspec.structs.fields(type(row))}
    assert types == {"ms": int | None, "ok": str | None}


def test_a_field_that_a_struct_lacks(through: Through) -> None:
    with pytest.raises(ExpressionError, match="unknown field 'mss', did you mean 'ms'"):
        through(cast(mss="int"), [ROW("1", "x")])


def test_parameters() -> None:
    columns: Any = {"a b": "int"}
    with pytest.raises(ParameterError, match="a field must have a Python name; got 'a b'"):
        cast(**columns)(Subject())
    with pytest.raises(ParameterError, match="must be 'str', 'int', 'float', 'number', 'bool' or 'timestamp'"):
        cast(a="integer")  # type: ignore[arg-type]  # that is the point


def test_tables_and_other_elements(through: Through, table: Callable[..., Table]) -> None:
    assert through(cast(id="str"), table([{"id": 1}]))[0].dicts() == [{"id": "1"}]
    assert through(cast(id="str"), OriginGone("f")) == [OriginGone("f")]


@pytest.mark.parametrize("source", ["-----", "|", "--|", "--#"])
def test_marbles(source: str) -> None:
    assert run_marbles(cast(a="int"), source) == source.rstrip("-")


@given(st.sampled_from(["int", "float", "number", "bool"]), st.integers() | st.floats(allow_nan=False) | st.booleans())
def test_what_is_written_as_a_text_is_read_again(kind: Any, value: Any) -> None:
    try:
        made = caster(kind)(value)
    except (ValueError, OverflowError):
        return
    assert caster(kind)(caster("str")(made)) == made
