"""`where`, `derive`, `select`, `validate`, `call` and `of_type`: one record at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from reactivex.subject import Subject

from rxpipe.elements import Batch, FileEvent, LineDelta, OriginGone
from rxpipe.errors import ExpressionError, ParameterError, RxpipeError
from rxpipe.fusion.rows import row_struct
from rxpipe.operators.records.call import call
from rxpipe.operators.records.derive import derive
from rxpipe.operators.records.of_type import of_type
from rxpipe.operators.records.select import select
from rxpipe.operators.records.validate import validate
from rxpipe.operators.records.where import where
from rxpipe.table import Table
from rxpipe.testing import TestContext, run_marbles

ROW = row_struct("Row", {"id": int, "name": str})
Through = Callable[..., list[Any]]
MAKERS: list[Callable[..., Any]] = [dict, ROW]

STEPS: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    "where": (where("id > 1"), [{"id": 2, "name": "b"}]),
    "derive": (derive(double="id * 2"), [{"id": 1, "name": "a", "double": 2}, {"id": 2, "name": "b", "double": 4}]),
    "select": (select(["name"], next="id + 1"), [{"name": "a", "next": 2}, {"name": "b", "next": 3}]),
    "validate": (validate(large="id > 1"), [{"id": 2, "name": "b"}]),
    "call": (
        call(lambda row: {**row, "seen": True} if row["id"] > 1 else None),
        [{"id": 2, "name": "b", "seen": True}],
    ),
}


@pytest.fixture(params=STEPS)
def step(request: pytest.FixtureRequest) -> tuple[Any, list[dict[str, Any]]]:
    """Each step, and what it makes of two records."""
    return STEPS[request.param]


@pytest.mark.parametrize("make", MAKERS)
def test_batches_and_retractions(through: Through, step: tuple[Any, Any], make: Callable[..., Any]) -> None:
    operator, expected = step
    rows = [make(id=1, name="a"), make(id=2, name="b")]
    given = Batch(rows, list(rows), retractable=True)
    (found,) = through(operator, given)
    assert (found.dicts(), found.dicts(found.retracted), found.retractable) == (expected, expected, True)
    assert Batch(rows).dicts() == [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}], "must not change what came in"


def test_tables(through: Through, step: tuple[Any, Any], table: Callable[..., Table]) -> None:
    operator, expected = step
    rows = [{"id": 1, "name": "a"}]
    (found,) = through(operator, table(rows))
    rows.append({"id": 2, "name": "b"})
    assert found.dicts() == expected, "computed when it is read"


def test_other_elements(through: Through, step: tuple[Any, Any], context: TestContext) -> None:
    assert through(step[0], OriginGone("a"), Batch([]), "x") == [OriginGone("a"), "x"]
    through(step[0], [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}])
    assert context.flow.blocks == 0


@pytest.mark.parametrize("source", ["-----", "|", "--|", "--#"])
def test_marbles(step: tuple[Any, Any], source: str) -> None:
    assert run_marbles(step[0], source) == source.rstrip("-")


@pytest.mark.parametrize(
    ("operator", "reason"),
    [
        (where("id > 1"), "TypeError: '>' not supported"),
        (derive(x="id + 1"), "TypeError: "),
        (select(x="id + 1"), "TypeError: "),
        (validate(large="id > 1"), "BrokenRuleError: rule 'large' (id > 1) cannot be computed: '>' not supported"),
        (call(lambda row: {"x": row["id"] + 1}), "TypeError: "),
    ],
)
def test_a_failing_record_harms_no_others(through: Through, context: TestContext, operator: Any, reason: str) -> None:
    bad, good = {"id": "text"}, {"id": 5}
    (found,) = through(operator, [bad, good, bad])
    assert len(found.rows) == 1
    assert [(error.path, error.start, error.end) for error in context.errors] == [("f", 1, 2)] * 2
    assert all(error.reason.startswith(reason) for error in context.errors), context.errors
    through(operator, Batch([], [bad]))
    assert len(context.errors) == 2, "a retracted record was refused and counted when it came"


@pytest.mark.parametrize("operator", [where("ID > 1"), derive(x="ID"), select(["ID"]), validate(x="ID > 1")])
def test_a_field_that_a_struct_lacks(through: Through, operator: Any) -> None:
    with pytest.raises(ExpressionError, match="unknown field 'ID'"):
        through(operator, [ROW(1, "a")])
    assert len(through(operator, [{"id": 1}])) <= 1, "a dict may lack any"


def test_a_row_of_a_table_that_fails_is_rejected_once(
    through: Through, context: TestContext, table: Callable[..., Table]
) -> None:
    rows: list[dict[str, Any]] = [{"id": 1, "n": "x"}, {"id": 2, "n": 2}]
    found, again = through(derive(m="n + 1"), table(rows), table(rows))
    for _ in range(3):
        assert found.dicts() == again.dicts() == [{"id": 2, "n": 2, "m": 3}]
    assert len(context.errors) == 1
    rows.append({"id": 3, "n": "x"})
    assert len(found.dicts()) == 1
    assert len(context.errors) == 2


def test_derive_replaces_and_builds_on_earlier_columns(through: Through) -> None:
    for make in MAKERS:
        assert through(derive(id="id + 1", x="id * 10"), [make(id=1, name="a")])[0].dicts() == [
            {"id": 2, "name": "a", "x": 20}
        ]


def test_select_of_nothing_there(through: Through) -> None:
    assert through(select(["a"], b="c.d"), [{"x": 1}])[0].dicts() == [{"a": None, "b": None}]


def test_an_expression_is_checked_at_once() -> None:
    with pytest.raises(ParameterError, match="unknown function 'lenn', did you mean 'len'"):
        where("lenn(name) > 1")
    with pytest.raises(ParameterError, match="condition"):
        where()  # type: ignore[call-arg]  # that is the point


def test_validate_names_the_rule(through: Through, context: TestContext) -> None:
    (found,) = through(validate(small="id < 9", named="name"), [{"id": 1, "name": "a"}, {"id": 10}, {"id": 2}])
    assert found.dicts() == [{"id": 1, "name": "a"}]
    assert [error.reason for error in context.errors] == [
        "BrokenRuleError: rule 'small' (id < 9) is not fulfilled",
        "BrokenRuleError: rule 'named' (name) is not fulfilled",
    ]
    assert through(validate(), [{"id": 1}]) == [Batch([{"id": 1}])]


def test_call_returns(through: Through, context: TestContext) -> None:
    made = {1: None, 2: {"a": 1}, 3: [{"a": 2}, {"a": 3}], 4: [], 5: "text", 6: [{"a": 4}, 5]}
    (found,) = through(call(lambda row: made[row["id"]]), [{"id": key} for key in made])
    assert found.dicts() == [{"a": 1}, {"a": 2}, {"a": 3}]
    message = "TypeError: the function must return a dict, a list of dicts or None; got "
    assert [error.reason for error in context.errors] == [f"{message}str", f"{message}int"]


def test_call_gets_a_dict_of_its_own(through: Through) -> None:
    row = ROW(1, "a")
    assert through(call(lambda given: given.update(id=9) or given), [row])[0].dicts() == [{"id": 9, "name": "a"}]
    assert row == ROW(1, "a")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("json", "must be written 'module:name'; got 'json'"),
        ("no_such_module:x", "module 'no_such_module' must be importable"),
        ("json:load_", "must have a function 'load_', did you mean 'loads?'"),
        ("json:__doc__", "must be a function"),
    ],
)
def test_call_of_what_is_not_there(name: str, message: str) -> None:
    with pytest.raises(RxpipeError, match=message):
        call(name)(Subject())


def test_call_by_name(through: Through) -> None:
    assert through(call("copy:copy"), [{"id": 1}]) == [Batch([{"id": 1}])]


def test_of_type(through: Through, table: Callable[..., Table]) -> None:
    line, event, rows = LineDelta("a", "1", 0, 0, b""), FileEvent("create", "a"), table([])
    everything = [1, True, 1.5, "s", {}, Batch([]), line, event, rows, OriginGone("a")]
    expected: dict[Any, object] = {
        "int": 1, "bool": True, "float": 1.5, "str": "s", "dict": {}, "Batch": Batch([]), "LineDelta": line,
        "FileEvent": event, "Table": rows, "OriginGone": OriginGone("a"),
    }  # fmt: skip
    for name, element in expected.items():
        (found,) = through(of_type(name), *everything)
        assert found is element or found == element
        assert type(found) is type(element)
    with pytest.raises(ParameterError, match="must be 'Batch'"):
        of_type("Row")  # type: ignore[arg-type]  # that is the point
    assert run_marbles(of_type("str"), "-a-b-|") == "-a-b-|"
    assert run_marbles(of_type("int"), "-a-b-#") == "-----#"
