"""A graph goes to YAML and comes back equal, whatever is in it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import reactivex as rx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reactivex import operators as rxo

from rxpipe.errors import RxpipeError
from rxpipe.graph import Graph, Param, Sample, StepSpec, stream
from rxpipe.language.config import load_text, read
from rxpipe.language.dump import dump
from rxpipe.operators.batching.buffer import buffer
from rxpipe.operators.flow.merge import merge
from rxpipe.operators.time.throttle import throttle
from rxpipe.registry import registry

Read = Callable[..., Graph]
TRAPS = [
    "on",
    "yes",
    "NO",
    "1e3",
    "1_000",
    "0x1F",
    "0o7",
    "010",
    "~",
    "null",
    "",
    "1:30",
    "2024-01-31",
    ".5",
    "<<",
    "=",
    "!x",
]
TRAPS += [
    "0.75Hz",
    "a: b",
    "- a",
    "#c",
    "a #c",
    "'",
    '"',
    "\\",
    "\n",
    " x ",
    "a\nb\n",
    "*a",
    "&a",
    "%",
    "@",
    "`",
    "{}",
    "[1]",
    ".inf",
]
TRAPS += [
    "\t",
    "\x00",
    "\x85",
    "\u2028",
    "\ufeff",
    "é",
    "😀",
    "${x}",
    "$$",
    "?",
    "? a",
    "true",
    "|",
    ">",
    "---",
    "...",
    "x" * 300,
]

texts = st.sampled_from(TRAPS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4), max_leaves=10
)
names = st.from_regex(r"[a-z_][a-z0-9_-]{0,8}", fullmatch=True)


@st.composite
def step_specs(draw: st.DrawFn) -> StepSpec:
    """A step with a real operator and parameters of its names, of whatever value."""
    operator = registry.get(
        draw(st.sampled_from(["t_files", "t_read", "t_limit", "t_join", "t_merge", "t_derive", "from"]))
    )
    if operator is None:
        return StepSpec("from", {"stream": draw(names)})
    if operator.name == "t_merge":
        return StepSpec("t_merge", {"others": draw(st.lists(names, min_size=1, max_size=3))})
    if operator.name == "t_derive":
        return StepSpec("t_derive", draw(st.dictionaries(texts, texts, max_size=3)))
    known = [name for name in operator.signature.parameters if name not in operator.inputs[:1]]
    return StepSpec(operator.name, draw(st.dictionaries(st.sampled_from(known), values, max_size=3)))


@st.composite
def params(draw: st.DrawFn) -> Param:
    required = draw(st.booleans())
    kind = draw(
        st.sampled_from(["str", "int", "float", "bool", "list", "mapping", "duration", "rate", "size", "secret"])
    )
    choices = tuple(draw(st.lists(values, max_size=2)))
    return Param(kind, None if required else draw(values), draw(texts), required=required, choices=choices)


graphs = st.builds(
    Graph,
    texts.filter(bool),
    st.dictionaries(names, st.lists(step_specs(), max_size=5), max_size=4),
    params=st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), params(), max_size=3),
    settings=st.dictionaries(texts, values, max_size=3),
    plugins=st.lists(texts, max_size=2),
    sample=st.none()
    | st.builds(Sample, texts, texts, texts, texts, st.dictionaries(st.sampled_from("abc"), values, max_size=2)),
    description=texts,
    tests=st.lists(values, max_size=2),
)


@given(graphs)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_graph_comes_back_equal(graph: Graph) -> None:
    draft = read(dump(graph))
    assert [problem for problem in draft.problems if "letters, digits" not in problem.message] == []
    assert draft.graph == graph


@given(values)
def test_any_value_is_read_the_same_by_other_yaml_readers(value: Any) -> None:
    import yaml

    text = dump(Graph("g", {"s": [StepSpec("t_files", {"paths": value})]}))
    other = yaml.safe_load(text)["streams"]["s"][0]["t_files"]
    mine = read(text).graph
    assert mine is not None
    if not (isinstance(other, dict) and set(other) == {"paths"}):
        other = {"paths": other}
    assert other == mine.streams["s"][0].parameters


def test_python_and_yaml_are_the_same_graph() -> None:
    made = Graph(
        "g",
        {
            "ticks": [rx.of(1)],
            "a": [stream("ticks"), throttle("0.75Hz"), buffer(count=10, time=timedelta(milliseconds=100))],
            "b": [merge(stream("a"), stream("ticks"))],
        },
    )
    text = """
        graph: g
        streams:
          a:
            - from: ticks
            - throttle: 0.75Hz
            - buffer: {count: 10, time: 100ms}
          b:
            - merge: [a, ticks]
    """
    draft = read(text)
    assert draft.graph is not None
    del made.streams["ticks"]
    assert made == draft.graph
    assert "    - throttle: 0.75Hz\n    - buffer: {count: 10, time: 100ms}\n  b:\n    - merge: [a, ticks]\n" in dump(
        made
    )


def test_clean_yaml(good: str, read: Read) -> None:
    text = dump(read(good))
    assert text == (
        "graph: good\n"
        "description: Everything once\n"
        "params: {paths: [a, b], rate: {type: rate, default: 0.75Hz, description: How often}}\n"
        "settings: {checkpoint: 5s}\n"
        "plugins: [./lang_ops]\n"
        "streams:\n"
        "  rows:\n"
        "    - t_files: ${paths}\n"
        "    - t_read\n"
        "    - t_parse: {fields: {model: message.model, 'on': '1e3', x: 'on'}}\n"
        "    - t_where: tokens > 3\n"
        "    - t_derive: {cost: tokens * 2}\n"
        "  totals:\n"
        "    - from: rows\n"
        "    - t_table: {by: [model]}\n"
        "    - t_limit: ${rate}\n"
        "  both:\n"
        "    - t_merge: [rows, errors]\n"
        "    - t_join: {other: totals, wait: 3s}\n"
    )
    assert read(text) == read(good)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (rxo.map(len), r"^s\[0\]: .* exists only in Python and has no YAML form; make it an @operator$"),
        (StepSpec("t_files", {"paths": [object()]}), r"^s\[0\]: a object exists only in Python and has no YAML form$"),
    ],
)
def test_python_only(step: Any, message: str) -> None:
    with pytest.raises(RxpipeError, match=message):
        Graph("g", {"s": [step]}).to_yaml()


def test_a_tests_section_is_kept(read: Read) -> None:
    graph = read(
        "graph: g\nplugins: [./lang_ops]\nstreams: {s: [{t_files: {paths: [a]}}]}\ntests: [{name: x, given: [1]}]\n"
    )
    assert graph.tests == [{"name": "x", "given": [1]}]


def test_paths_and_tuples_become_plain(tmp_path: Path) -> None:
    spec = Graph("g", {"s": [buffer(count=3, time=timedelta(seconds=90))]}).streams["s"][0]
    assert spec.parameters == {"count": 3, "time": "1m30s"}
    assert load_text is not None
