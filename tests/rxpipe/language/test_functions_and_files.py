"""Functions and data files that a graph names are looked for when it is checked."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from rxpipe import operators as ops
from rxpipe.cli import main
from rxpipe.elements import Batch
from rxpipe.errors import FunctionError, GraphError
from rxpipe.graph import Graph
from rxpipe.language.check import problems
from rxpipe.language.config import load
from rxpipe.parameters.calls import function_named

GRAPH = """\
graph: wrong
params: {paths: [a], prices: price.json}
sample: {call: "json:lods", sets: paths}
streams:
  s:
    - watch: "${paths}"
    - read_lines
    - parse_json
    - call: json:lods
    - enrich: {key: model, files: [prices.json, price.jsn, "", "${prices}"]}
    - enrich: {key: model, files: prices.jso}
    - tap: {call: jsom:loads}
    - to_callback: "wrong_at_import:x"
    - to_callback: os.pth:join
    - to_terminle
"""


@pytest.fixture
def graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "graphs"
    folder.mkdir()
    (folder / "prices.json").write_text("{}")
    (folder / "wrong_at_import.py").write_text("raise SystemExit(0)\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.chdir(tmp_path)
    file = folder / "wrong.yaml"
    file.write_text(GRAPH)
    return file


def test_all_are_told_at_once_with_their_places(graph: Path) -> None:
    with pytest.raises(GraphError) as caught:
        load(graph)
    found = [(p.where, p.message, p.place and p.place.text[p.place.column - 1 :]) for p in caught.value.problems]
    neither = f"must exist; it is neither in {graph.parent.parent} nor in the graph's folder {graph.parent}"
    function = "'json:lods': 'json' must have a function 'lods', did you mean 'loads'?"
    assert found == [
        ("", f"sample: call: {function}", 'lods", sets: paths}'),
        ("s[3]", f"call: function: {function}", "lods"),
        (
            "s[4]",
            f"enrich: files.1: data file 'price.jsn' {neither}, did you mean 'prices.json'?",
            'price.jsn, "", "${prices}"]}',
        ),
        (
            "s[4]",
            f"enrich: files.3: data file 'price.json' {neither}, did you mean 'prices.json'?",
            '"${prices}"]}',
        ),
        ("s[5]", f"enrich: files: data file 'prices.jso' {neither}, did you mean 'prices.json'?", "prices.jso}"),
        (
            "s[6]",
            (
                "tap: call: 'jsom:loads': module 'jsom' must be importable; "
                "got No module named 'jsom', did you mean 'json'?"
            ),
            "jsom:loads}",
        ),
        (
            "s[7]",
            "to_callback: call: 'wrong_at_import:x': module 'wrong_at_import' must be importable; got SystemExit: 0",
            '"wrong_at_import:x"',
        ),
        (
            "s[8]",
            (
                "to_callback: call: 'os.pth:join': module 'os.pth' must be importable; "
                "got No module named 'os.pth'; 'os' is not a package"
            ),
            "pth:join",
        ),
        ("s[9]", "unknown operator 'to_terminle', did you mean 'to_terminal'?", "to_terminle"),
    ]


@pytest.mark.parametrize("command", ["check", "run"])
def test_the_exit_code(graph: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, str(graph)]) == 78
    told = capsys.readouterr().err
    assert "did you mean 'loads'?\n        - call: json:lods\n                     ^" in told


def test_a_set_file_is_looked_for(graph: Path) -> None:
    good = graph.with_name("good.yaml")
    good.write_text(
        "graph: good\nparams: {prices: ''}\nstreams:\n  s:\n    - from: errors\n"
        "    - enrich: {key: path, files: [prices.json, '${prices}']}\n"
    )
    load(good)
    load(good, sets=[f"prices={graph.parent / 'prices.json'}"])
    with pytest.raises(GraphError, match=r"good\.yaml:6:48: s\[1\]: enrich: files\.1: data file '/no/such' must exist"):
        load(good, sets=["prices=/no/such"])


def test_a_graph_made_in_python(tmp_path: Path) -> None:
    steps = [ops.enrich("model", files="prices.json"), ops.call(lambda record: record)]  # no graph, no folder yet
    made = Graph("g", {"s": [ops.watch(["."]), ops.read_lines(), ops.parse_json(), *steps]}, folder=tmp_path)
    assert [p.where for p in problems(made)] == ["s[3]"]
    (tmp_path / "prices.json").write_text("{}")
    assert problems(made) == []


@pytest.mark.parametrize(
    ("call", "column", "guess"),
    [
        ("json", 0, ""),
        ("json.decodr:JSONDecoder", 5, "did you mean 'json.decoder'?"),
        ("json:JSONDecoder.decod", 17, "did you mean 'decode'?"),
        ("json:__name__", 5, "must be a function; got 'json'"),
    ],
)
def test_where_in_the_text(call: str, column: int, guess: str) -> None:
    with pytest.raises(FunctionError) as caught:
        function_named(call)
    assert caught.value.column == column
    assert guess in str(caught.value)


def test_a_module_that_imports_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wants_more.py").write_text("import jsom\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(FunctionError) as caught:
        function_named("wants_more:x")
    assert str(caught.value).endswith("must be importable; got No module named 'jsom'")
    assert caught.value.column == 0
    assert "wants_more" not in sys.modules


def test_the_function_itself_is_taken_too() -> None:
    step: Any = ops.tap(len)
    assert step.parameters == {"call": len}
    assert function_named(Batch) is Batch
