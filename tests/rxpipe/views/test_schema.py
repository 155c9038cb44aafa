"""The JSON Schema of graph files: what it accepts and refuses."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from rxpipe.cli import main
from rxpipe.errors import GraphError, RxpipeError
from rxpipe.language import shipped
from rxpipe.language.config import load_text
from rxpipe.language.yamltext import compose
from rxpipe.parameters import units
from rxpipe.registry import built_in
from rxpipe.views.schema import graph_schema

ROOT = Path(__file__).parents[3]
SCHEMA = graph_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
YAML = re.compile(r"^```yaml\n(.*?)^```", re.DOTALL | re.MULTILINE)
BLOCKS = [
    (f"{page.name}:{number}", text)
    for page in PAGES
    for number, text in enumerate(YAML.findall(page.read_text(encoding="utf-8")))
    if text.startswith("graph:")
]
SHIPPED = [(name, shipped.find(name).read_text(encoding="utf-8")) for name in shipped.names()]


def plain(text: str) -> Any:
    node, problems = compose(text, "<text>")
    assert node is not None
    assert not problems
    return node.plain()


def refused(text: str) -> bool:
    return not VALIDATOR.is_valid(plain(text))


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert set(built_in()) <= set(SCHEMA["$defs"])


@pytest.mark.parametrize(("name", "text"), [*SHIPPED, *BLOCKS], ids=[name for name, _ in [*SHIPPED, *BLOCKS]])
def test_good_graphs(name: str, text: str) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(plain(text))] == [], name


GOOD_STEPS = [
    "read_lines",
    "read_lines:",
    "read_lines: {}",
    "from: rows",
    "from: rows.late",
    "merge: [a, b]",
    "merge: a",
    "merge: {others: [a, b]}",
    "throttle: 0.75Hz",
    "throttle: 2",
    "throttle: 60/min",
    "throttle: {rate: '${rate}', by: path}",
    "throttle: ${rate}",
    "select: [a, b]",
    "select: {fields: [a], b: a * 2}",
    "where: a > 1",
    "debounce: 1h30m",
    "debounce: {quiet: 100ms, at_most: 1}",
    "read_lines: {block: 64KiB, start: end}",
    "parse_json: {fields: {a: a, b: {path: [x, y], type: int}}}",
    "join: {other: b, on: id, within: 1m}",
    "parallel: {steps: [{where: a > 1}, parse_json]}",
    "parallel: [{where: a > 1}]",
    "to_sqlite: {path: d, table: t, mode: '${mode:-append}'}",
    "map_async: 'module:function'",
    "aggregate: {by: [a], n: count()}",
    "interval: 0.5",
    "rx.take: 3",
    "rx.map: value * 2",
    "rx.throttle_first: {window_duration: 1s}",
]
WRONG_STEPS = [
    "thortle: 2Hz",
    "thortle",
    "throttle",
    "throttle:",
    "throttle: soon",
    "throttle: -1",
    "throttle: {rate: 2Hz, bye: path}",
    "throttle: {by: path}",
    "throttle: [2Hz]",
    "{throttle: 2Hz, where: a > 1}",
    "from: [a, b]",
    "from: 3",
    "merge: [1]",
    "where: {conditions: a}",
    "where: 3",
    "derive: {a: 1}",
    "debounce: {quiet: 100mss}",
    "read_lines: {start: ends}",
    "read_lines: {block: 64kilo}",
    "map_async: function",
    "join: {other: b, within: 1m}",
    "join: {on: id, within: 1m}",
    "parallel: {steps: [thortle]}",
    "parallel: {steps: [], workers: 2}",
    "parallel: {steps: [{where: a > 1}], workers: 0}",
    "parallel: {steps: [{where: a > 1}], workers: two}",
    "parse_json: {fields: {a: {pfad: x}}}",
    "parse_json: {fields: {a: {path: x, type: integer}}}",
    "to_sqlite: t",
    "rx.tkae: 3",
    "rx.take: three",
    "rx.take",
    "3",
    "[where]",
]


ROWS = "from_stdin, parse_json"


def with_step(step: str) -> str:
    before = "" if step.startswith("from") else "    - from: a\n"
    return f"graph: g\nstreams:\n  a: [{ROWS}]\n  b: [{ROWS}]\n  s:\n{before}    - {step}\n"


@pytest.mark.parametrize("step", GOOD_STEPS)
def test_good_steps(step: str) -> None:
    assert not refused(with_step(step))


@pytest.mark.parametrize("step", WRONG_STEPS)
def test_wrong_steps(step: str) -> None:
    text = with_step(step)
    assert refused(text)
    with pytest.raises(GraphError) as caught:  # what the schema refuses, the check does
        load_text(text, environ={})
    problems = [problem for problem in caught.value.problems if ", got " not in problem.message]  # what does not fit
    assert {problem.stream for problem in problems} == {"s"}


PARTS = "graph: g\nstreams: {s: [from_stdin]}\n"


@pytest.mark.parametrize(
    "part",
    [
        "description: What it does.",
        "params: {a: 1, b: [x], c: {x: 1}, f: null}",
        "params: {d: {type: rate, default: 2Hz}, e: {required: true, description: E.}}",
        "settings: {in_flight: 64MB, checkpoint: '${every}', log_level: DEBUG}",
        "plugins: [./operators]",
        "sample: {call: 'rxpipe.graphs.usage_sample:sessions', sets: a}",
        "allow: {unread: s, unbounded: [s, s.dedupe]}",
        "tests: [{name: t, tick: 10ms, given: {s: '-a-|'}, expect: {s: []}}]",
        "params:",
    ],
)
def test_good_parts(part: str) -> None:
    assert not refused(PARTS + part)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "graph: g",
        "streams: {s: [from_stdin]}",
        "graph: 3\nstreams: {s: [from_stdin]}",
        "graph: a b\nstreams: {s: [from_stdin]}",
        "graph: g\nstreams: {}",
        "graph: g\nstreams: {s: from_stdin}",
        "graph: g\nstreams: {s: []}",
        "graph: g\nstreams: {errors: [from_stdin]}",
        "graph: g\nstreams: {'a b': [from_stdin]}",
        PARTS + "param: {a: 1}",
        PARTS + "params: [a]",
        PARTS + "params: {a: {type: integer, default: 1}}",
        PARTS + "params: {a: {default: 1, descripton: A}}",
        PARTS + "settings: {in_fligth: 64MB}",
        PARTS + "settings: {checkpoint: soon}",
        PARTS + "settings: {log_format: xml}",
        PARTS + "plugins: ./operators",
        PARTS + "sample: {call: 'a:b'}",
        PARTS + "allow: [unread]",
        PARTS + "allow: {unread: 3}",
        PARTS + "tests: {name: t}",
    ],
)
def test_wrong_graphs(text: str) -> None:
    assert refused(text)
    with pytest.raises(GraphError):
        load_text(text, environ={})


def test_it_says_what_the_docstrings_say() -> None:
    throttle = SCHEMA["$defs"]["throttle"]
    assert throttle["title"] == "throttle: Any -> the same"
    assert throttle["description"].startswith("Emit at most `rate` elements per second")
    rate = throttle["anyOf"][0]["properties"]["rate"]
    assert rate["description"] == "How many elements per second and key."
    assert rate["examples"] == ["0.75Hz", "60/min", "1000/day"]
    lines = SCHEMA["$defs"]["read_lines"]["anyOf"][0]["properties"]
    assert lines["block"]["default"] == "256KB"
    assert SCHEMA["$defs"]["aggregate"]["anyOf"][0]["additionalProperties"]["description"].startswith("Each column's")
    assert (
        SCHEMA["$defs"]["to_terminal.Column"]["properties"]["unit"]["description"] == "Put behind a number, as `/min`."
    )
    checkpoint = SCHEMA["properties"]["settings"]["properties"]["checkpoint"]
    assert checkpoint["description"] == "Time between checkpoints."


@pytest.mark.parametrize(
    ("kind", "write", "read"),
    [
        ("debounce.quiet", units.format_duration, units.seconds),
        ("throttle.rate", units.format_rate, units.hertz),
        ("read_lines.block", units.format_size, units.nbytes),
    ],
)
@given(data=st.data())
def test_what_is_written_fits_the_pattern(kind: str, write: Any, read: Any, data: st.DataObject) -> None:
    operator, _, name = kind.partition(".")
    validator = VALIDATOR.evolve(schema=SCHEMA["$defs"][operator]["anyOf"][0]["properties"][name])
    number = st.integers(1, 10**12) if read is units.nbytes else st.floats(1e-6, 1e9)
    assert validator.is_valid(write(data.draw(number)))
    text = data.draw(st.text("0123456789.eE+-/ KMGiBHzhms", max_size=12))
    try:
        read(text)
    except RxpipeError:
        return
    assert validator.is_valid(text)


def test_plugins_of_a_graph(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "twice.py").write_text(
        "from reactivex import Observable\nfrom rxpipe import operator\nfrom rxpipe.elements import Batch\n\n\n"
        "@operator\ndef twice(source: Observable[Batch], times: int = 2) -> Observable[Batch]:\n"
        '    """Emit each twice.\n\n    Args:\n        times: How often.\n    """\n    return source\n'
    )
    file = tmp_path / "g.yaml"
    file.write_text("graph: g\nplugins: [./more]\nstreams: {s: [thortle]}\n")  # wrong: that is what it is wanted for
    command = [sys.executable, "-m", "rxpipe", "schema", str(file)]  # a process of its own, where the plugin stays
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    made = json.loads(done.stdout)
    assert made["$defs"]["twice"]["anyOf"][0]["properties"]["times"] == {
        "default": 2,
        "anyOf": [{"type": "integer"}, {"$ref": "#/$defs/variable"}],
        "description": "How often.",
    }


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert main(["schema", "usgae"]) == 78
    assert "did you mean 'usage'?" in capsys.readouterr().err
