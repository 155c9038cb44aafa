"""What passes without pydantic would pass it with the same result."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Required

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ConfigDict, TypeAdapter
from typing_extensions import TypedDict

from rxpipe import operators as ops
from rxpipe.errors import ParameterError
from rxpipe.language.datafiles import DataFiles
from rxpipe.language.hidden import SHORTEST, Hidden
from rxpipe.operator import Operator
from rxpipe.operators.sinks._panel import Panel
from rxpipe.parameters.models import validate
from rxpipe.parameters.plain import NotPlainError, plain
from rxpipe.parameters.types import KNOWN_NAMES_ONLY, AggregationExpr, Expr, Ge, Gt
from rxpipe.parameters.units import Duration, Rate, Size
from rxpipe.registry import registry
from rxpipe.runtime.settings import Level, Settings
from rxpipe.views.document import Part


class Named(TypedDict):
    name: str


class Choice(Named, total=False):
    more: int


class Marked(TypedDict, total=False):
    name: Required[str]


@dataclass
class Thing:
    __pydantic_config__ = KNOWN_NAMES_ONLY

    name: str
    size: Size = "1KB"
    parts: dict[str, Thing] = field(default_factory=dict)


HINTS: list[Any] = [
    Any,
    str,
    int,
    float,
    bool,
    str | None,
    int | float,
    str | list[str],
    list[int],
    dict[str, int | list[str]],
    list[dict[str, Any]],
    Literal["a", 1, "10s"],
    Literal[True, "name"],
    Callable[[int], int] | str,
    Expr,
    AggregationExpr,
    DataFiles,
    Duration,
    Rate,
    Size,
    Level,
    Annotated[int, Ge(1)],
    Annotated[Duration, Gt(0)] | None,
    Choice,
    dict[str, str | Choice],
    Thing,
    list[Thing] | None,
    Thing | Expr,
    list[Panel],
    dict[str, Part],
    Settings,
]

TEXTS = st.sampled_from(
    [
        "",
        "a",
        "name",
        "size",
        "10s",
        "1h",
        "0s",
        "1KB",
        "1Hz",
        "60/min",
        "x + 1",
        "sum(x)",
        "info",
        "INFO",
        "first",
        "value",
    ]
)
KEYS = st.sampled_from(
    ["name", "more", "size", "parts", "table", "columns", "column", "form", "sort", "in_flight", "x"]
)
HIDDEN = TEXTS.filter(lambda text: len(text) < SHORTEST).map(lambda text: Hidden(text, "${NAME}"))
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(-2, 3), st.floats(-1, 2), TEXTS, HIDDEN, st.just(len))
VALUES = st.recursive(
    LEAVES, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)), max_leaves=8
)


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same types all the way down: 1, 1.0 and True are not the same here."""
    return type(one) is type(other) and repr(one) == repr(other)


def named(value: Any) -> str:
    """The value as the same text in each process."""
    return re.sub(" object at 0x[0-9a-f]+", "", str(value))


@pytest.mark.parametrize("hint", HINTS, ids=named)
@given(data=st.data())
def test_what_is_plain_passes_pydantic_unchanged(hint: Any, data: st.DataObject) -> None:
    value = data.draw(VALUES)
    try:
        found = plain(hint, value)
    except NotPlainError:
        return
    config = ConfigDict(strict=True, arbitrary_types_allowed=True)
    within = TypeAdapter(list[hint], config=config)  # the type itself may have its own, and take none
    assert same(found, within.validate_python([value])[0])


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (Any, {"a": [1]}),
        (str | None, None),
        (str | list[str], ["a"]),
        (dict[str, int | list[str]], {"a": 1, "b": ["c"]}),
        (Literal["a", 1], "a"),
        (Expr, "a + 1"),
        (Duration, "10s"),
        (Annotated[Duration, Gt(0)] | None, "1s"),
        (Annotated[int, Ge(1)], 1),
        (Choice, {"name": "a"}),
        (Thing, {"name": "a", "parts": {"b": {"name": "c", "size": "2KB"}}}),
        (Thing | Expr, {"name": "a"}),
        (Thing | Expr, "a"),
    ],
    ids=named,
)
def test_what_graphs_hold_is_plain(hint: Any, value: Any) -> None:
    assert same(plain(hint, value), TypeAdapter(hint).validate_python(value))


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (int, True),
        (int, "1"),
        (int | float, False),
        (Literal[1], True),
        (list[str], ("a",)),
        (Expr, "a +"),
        (Duration, "soon"),
        (Annotated[int, Ge(1)], 0),
        (Annotated[int, Gt(1)], 1),
        (Annotated[int, "note", object()], 1),
        (Choice, {}),
        (Marked, {}),
        (Choice, {"name": "a", "other": 1}),
        (Thing, {"nam": "a"}),
        (Part, {"table": "t", "form": "value"}),
        (str | Expr, "both"),
        (frozenset[str], frozenset("a")),
    ],
    ids=named,
)
def test_what_is_left_to_pydantic(hint: Any, value: Any) -> None:
    with pytest.raises(NotPlainError):
        plain(hint, value)


@pytest.mark.parametrize("name", registry.names())
@given(data=st.data())
def test_parameters_of_every_operator(name: str, data: st.DataObject) -> None:
    operator = registry.get(name)
    assert operator is not None
    names = [parameter.name for parameter in operator.parameters]
    values = data.draw(st.dictionaries(st.sampled_from([*names, "x"]), VALUES, max_size=3))
    try:
        found = operator._plain(values)
    except NotPlainError:
        return
    checked = validate(operator.name, operator.model, values)
    assert same(found, checked)


def test_a_name_of_pydantic_s_own_is_a_name_like_any() -> None:
    def odd(copy: str, model_config: int = 1) -> Any: ...

    made = Operator(odd)
    assert made.validate({"copy": "a"}) == {"copy": "a"}
    with pytest.raises(ParameterError, match=r"odd: copy: must be a text; got 1"):
        made.validate({"copy": 1})
    with pytest.raises(ParameterError, match=r"unknown parameter 'model_confi', did you mean 'model_config'\?"):
        made.validate({"copy": "a", "model_confi": 1})


def imported(code: str, **environment: str) -> set[str]:
    """The modules that a process imports for some code."""
    script = f"import sys\n{code}\nsys.stderr.write(' '.join(sys.modules))"
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_help_imports_next_to_nothing() -> None:
    code = "import contextlib, rxpipe.cli\nwith contextlib.suppress(SystemExit):\n    rxpipe.cli.main(['--help'])"
    heavy = {"asyncio", "dataclasses", "inspect", "loguru", "msgspec", "pydantic", "reactivex", "rxpipe.errors", "yaml"}
    assert imported(code) & heavy == set()


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_graph_without_mistakes_needs_no_pydantic_and_nothing_logged_no_loguru(command: str, tmp_path: Path) -> None:
    (tmp_path / "projects").mkdir()
    options = ["--once"] if command == "run" else []
    code = f"import rxpipe.cli\nassert rxpipe.cli.main({[command, 'usage', *options]!r}) == 0"
    found = imported(code, CLAUDE_CONFIG_DIR=str(tmp_path))
    assert "rxpipe.operators.records.parse_json" in found
    needless = {"annotated_types", "difflib", "importlib.metadata", "loguru", "multiprocessing", "prometheus_client"}
    assert found & {*needless, "pydantic", "pydantic_core", "pydantic_settings", "rich"} == set()


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"type": "itn"}, r"parse_json: fields\.n\.type: must be 'any', .* or 'json'; got 'itn'\Z"),
        ({"path": "n", "typ": "int"}, r"parse_json: fields\.n\.typ: unknown parameter 'typ', did you mean 'type'\?\Z"),
        ({"zzz": 1}, r"unknown parameter 'zzz'; there are 'path', 'type'\Z"),
        (5, r"parse_json: fields\.n: must be a text, or must be a mapping; got 5\Z"),
    ],
)
def test_problems_inside_a_value_of_several_forms(value: Any, problem: str) -> None:
    """What is told is what is wrong in the form that was meant, with the names that are known there."""
    with pytest.raises(ParameterError) as refused:
        ops.parse_json(fields={"n": value})
    assert re.match(rf"(?s).*{problem}", str(refused.value))
    assert len(refused.value.problems) == 1
