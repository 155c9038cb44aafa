"""`enrich`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from loguru import logger
from reactivex.subject import Subject

from rxpipe.elements import Batch
from rxpipe.errors import ExpressionError, RxpipeError
from rxpipe.expressions.fields import field_types
from rxpipe.fusion.rows import row_struct
from rxpipe.operators.records._decode import TYPES
from rxpipe.operators.records.enrich import enrich
from rxpipe.table import Table
from rxpipe.testing import TestContext, run_marbles

ROW = row_struct("Row", {"model": str, "n": int})
Through = Callable[..., list[Any]]


class Live:
    """A subscription that stays while its files change."""

    def __init__(self, context: TestContext, step: Any) -> None:
        self.context = context
        self.seen: list[Any] = []
        self.source: Subject[Any] = Subject()
        self.subscription = self.source.pipe(step).subscribe(self.seen.append)

    def ask(self, row: Any, after: float = 1.0) -> Any:
        self.context.virtual.advance_by(after)
        self.source.on_next(Batch([row]))
        return self.seen[-1].dicts()[0]


def test_a_column_that_no_row_has_is_warned_of(through: Through) -> None:
    told: list[str] = []
    number = logger.add(told.append, format="{message}")
    step = enrich("model", table={"a": {"price": 1}}, columns=["prise", "price"])
    assert through(step, [{"model": "a"}])[0].dicts() == [{"model": "a", "prise": None, "price": 1}]
    logger.remove(number)
    assert [line.partition(": ")[2] for line in told] == [
        "no row of the look-up has a column 'prise', did you mean 'price'?\n"
    ]


@pytest.mark.parametrize("make", [lambda model: {"model": model, "n": 1}, lambda model: ROW(model, 1)])
def test_a_mapping(through: Through, make: Callable[[str], Any]) -> None:
    table = {"a": {"price": 1, "kind": "x"}, "b": {"price": 2}}
    batch = through(enrich("model", table=table, prefix="p_"), [make("a"), make("b"), make("c")])[0]
    assert [(row["n"], row["p_price"], row["p_kind"]) for row in batch.dicts()] == [
        (1, 1, "x"),
        (1, 2, None),
        (1, None, None),
    ]
    assert list(batch.dicts()[0]) == ["model", "n", "p_price", "p_kind"]


def test_plain_values_and_rows(through: Through) -> None:
    assert through(enrich("m", table={"a": 5}), [{"m": "a"}])[0].dicts() == [{"m": "a", "value": 5}]
    rows = [{"id": 1, "x": "one"}, {"id": 2, "x": "two"}, {"id": 1, "x": "last wins"}]
    assert through(enrich("m", table=rows, on="id"), [{"m": 1}])[0].dicts() == [{"m": 1, "x": "last wins"}]
    assert through(enrich("n", table={}), [{"n": 1}])[0].dicts() == [{"n": 1}]
    assert through(enrich("model", table={}), [ROW("a", 1)])[0].dicts() == [{"model": "a", "n": 1}]


def test_columns_replace_fields(through: Through) -> None:
    for make in (dict, ROW):
        batch = through(enrich("model", table={"a": {"n": 7, "z": 1}}, columns=["n"]), [make(model="a", n=1)])[0]
        assert batch.dicts() == [{"model": "a", "n": 7}]


def test_rows_of_several_types(through: Through) -> None:
    batch = through(enrich("model", table={"a": 5}), [ROW("a", 1), {"model": "a"}, ROW("b", 1)])[0]
    assert [row["value"] for row in batch.dicts()] == [5, 5, None]


def test_json_files(through: Through, tmp_path: Path) -> None:
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    first.write_text('{"source": "s", "data": {"prices": {"a": {"p": 1}, "b": {"p": 2}, "7": {"p": 3}}}}')
    second.write_text('{"data": {"prices": [{"model": "b", "p": 20}]}}')
    step = enrich("model", files=[str(first), "", str(second)], inside="data.prices")
    batch = through(step, [{"model": model} for model in ("a", "b", 7, "7", None)])[0]
    assert [row["p"] for row in batch.dicts()] == [1, 20, 3, 3, None]


def test_csv(through: Through, tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes(b'\xef\xbb\xbfzip,name,n,f\r\n007,"a\r\nb",1,1.5\r\n8,,-3,1e3\r\n9,nan,1_0,01\r\n')
    batch = through(enrich("zip", files=str(file)), [{"zip": "007"}, {"zip": 8}, {"zip": "9"}, {"zip": 7}])[0]
    assert batch.dicts() == [
        {"zip": "007", "name": "a\r\nb", "n": 1, "f": 1.5},
        {"zip": 8, "name": None, "n": -3, "f": 1000.0},
        {"zip": "9", "name": "nan", "n": "1_0", "f": "01"},
        {"zip": 7, "name": None, "n": None, "f": None},
    ]


def test_a_changed_file_is_read_again(context: TestContext, tmp_path: Path) -> None:
    file = tmp_path / "t.json"
    file.write_text('{"a": 1}')
    live = Live(context, enrich("m", files=str(file)))
    assert live.ask({"m": "a"}, 0)["value"] == 1
    file.write_text('{"a": 22}')
    assert live.ask({"m": "a"}, 0.5)["value"] == 1, "looked at once a second"
    assert live.ask({"m": "a"}, 0.5)["value"] == 22
    os.utime(file, ns=(1, 1))
    file.write_text('{"a": {"value": 3, "more": 4}}')
    assert live.ask({"m": "a"}) == {"m": "a", "value": 3, "more": 4}
    other = tmp_path / "new"
    other.write_text('{"a": {"value": 5, "more": 4}}')
    stat = file.stat()
    os.utime(other, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
    other.replace(file)  # same size and time, another inode
    assert live.ask({"m": "a"})["value"] == 5


def test_a_struct_gets_new_columns_after_a_change(context: TestContext, tmp_path: Path) -> None:
    file = tmp_path / "t.json"
    file.write_text('{"a": {"x": 1}}')
    live = Live(context, enrich("model", files=str(file)))
    assert live.ask(ROW("a", 1)) == {"model": "a", "n": 1, "x": 1}
    file.write_text('{"a": {"y": 12}}')
    assert live.ask(ROW("a", 1)) == {"model": "a", "n": 1, "y": 12}


def test_a_broken_file_keeps_the_old_table_and_is_an_error_once(context: TestContext, tmp_path: Path) -> None:
    file = tmp_path / "t.json"
    file.write_text('{"a": {"value": 1}}')
    live = Live(context, enrich("m", files=str(file), columns={"value": "int"}))
    for content, reason in [
        ('{"a": ', "unexpected end"),
        ('{"a": {"value": "2"}}', "'a': 'value' must be of type int"),
    ]:
        file.write_text(content)
        assert [live.ask({"m": "a"})["value"] for _ in range(3)] == [1, 1, 1]
        error = context.errors.pop()
        assert error.reason.startswith(f"the look-up stays as it was: look-up file {file}: {reason}")
        assert (error.path, error.where) == (str(file), f" ({file})")
        assert context.errors == []
    file.unlink()
    assert [live.ask({"m": "a"})["value"] for _ in range(3)] == [1, 1, 1]
    assert "No such file" in context.errors.pop().reason
    assert context.errors == []
    file.write_text('{"a": {"value": 2}}')
    assert live.ask({"m": "a"})["value"] == 2


def test_declared_types(context: TestContext, through: Through, tmp_path: Path) -> None:
    file = tmp_path / "t.json"
    file.write_text('{"a": {"in": 1, "out": 1.5, "more": {}}, "b": {"in": null}}')
    step = enrich("model", files=str(file), columns={"in": "int", "out": "number"}, prefix="p_")
    rows = through(step, [ROW("a", 1), ROW("b", 1)])[0].rows
    assert [(row.p_in, row.p_out) for row in rows] == [(1, 1.5), (None, None)]
    assert field_types(type(rows[0])) == {"model": str | None, "n": int | None} | {
        f"p_{name}": TYPES[kind] for name, kind in (("in", "int"), ("out", "number"))
    }
    file.write_text('{"a": {"in": 1.5, "out": true}, "b": {"in": "3"}, "c": {"in": 3}}')
    with pytest.raises(RxpipeError) as caught:
        Live(context, step)
    assert str(caught.value) == (
        f"look-up file {file}: 'a': 'in' must be of type int; got 1.5; 'a': 'out' must be of type number; got True; "
        "'b': 'in' must be of type int; got '3'"
    )
    file.write_text(json.dumps({str(n): {"in": []} for n in range(9)}))
    with pytest.raises(RxpipeError, match=r"'4': 'in' must be of type int; got \[\]; and more$"):
        Live(context, step)
    with pytest.raises(RxpipeError, match=r"^enrich: table: 'a': 'x' must be of type bool; got 1$"):
        Live(context, enrich("model", table={"a": {"x": 1}}, columns={"x": "bool"}))


def test_a_csv_column_of_texts(through: Through, tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_text("m,code,n\na,007,7\nb,7,\nc,,x\n")
    step = enrich("m", files=str(file), columns={"code": "str"})
    assert [row["code"] for row in through(step, [{"m": m} for m in "abc"])[0].dicts()] == ["007", "7", None]
    with pytest.raises(RxpipeError, match=r"t\.csv: 'c': 'n' must be of type int; got 'x'"):
        through(enrich("m", files=str(file), columns={"n": "int"}), [{"m": "a"}])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.json", "[1]", "must be a list of objects, or a mapping; got list"),
        ("t.json", "5", "got int"),
        ("t.json", "{", "t.json: "),
        ("t.json", '[{"x": 1}]', "each row must have a key in column 'm'; got {'x': 1}"),
        ("t.json", '[{"m": [1]}]', "each row must have a key in column 'm'"),
        ("t.csv", "x,y\n1,2\n", "each row must have a key in column 'm'"),
        ("t.csv", "m,x\n1,2,3\n", "line 2: must have 2 columns, as the header has; got more"),
        ("t.csv", b"m,x\n\xff,1\n", "can't decode byte"),
        ("t.csv", 'm,x\n"a,1\n', "t.csv: unexpected end of data"),
    ],
)
def test_a_bad_file_is_an_error_at_the_start(
    context: TestContext, tmp_path: Path, name: str, content: Any, message: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RxpipeError) as caught:
        Live(context, enrich("m", files=str(file)))
    assert message in str(caught.value)


def test_bad_parameters(context: TestContext, tmp_path: Path) -> None:
    with pytest.raises(RxpipeError, match="one of 'files' and 'table' must be given; got neither"):
        enrich("m")(Subject())
    with pytest.raises(RxpipeError, match="got both"):
        enrich("m", files="a", table={})(Subject())
    with pytest.raises(RxpipeError, match=r"data file 'missing\.json' must exist"):
        Live(context, enrich("m", files="missing.json"))
    file = tmp_path / "t.json"
    file.write_text(json.dumps({"a": {}}))
    with pytest.raises(RxpipeError, match=r"must have rows at 'a\.b'; there is no 'b'"):
        Live(context, enrich("m", files=str(file), inside="a.b"))


def test_bad_keys(through: Through, context: TestContext) -> None:
    batch = through(enrich("m", table={"a": 1}), [{"m": [1]}, {"m": "a"}, {"m": {}}])[0]
    assert batch.dicts() == [{"m": "a", "value": 1}]
    assert [error.reason for error in context.errors] == [
        "TypeError: a key must be a number, a text or a tuple of them; got [1]",
        "TypeError: a key must be a number, a text or a tuple of them; got {}",
    ]
    assert through(enrich("m + 1", table={"a": 1}, on="m"), [{"m": None}]) == []
    assert len(context.errors) == 3
    with pytest.raises(ExpressionError, match="unknown field 'modell', did you mean 'model'"):
        through(enrich("modell", table={}), [ROW("a", 1)])


def test_retractions_and_tables(through: Through, table: Callable[..., Table]) -> None:
    assert through(enrich("m", table={"a": 1}), Batch([], [{"m": "a"}])) == [Batch([], [{"m": "a", "value": 1}])]
    assert through(enrich("id", table={"a": 1}), table([{"id": "a"}]))[0].dicts() == [{"id": "a", "value": 1}]


@pytest.mark.parametrize("source", ["-----", "--|", "--#"])
def test_marbles(source: str) -> None:
    assert run_marbles(enrich("a", table={}), source) == source.rstrip("-")
