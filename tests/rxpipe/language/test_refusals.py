"""What an operator itself refuses is told by the check, with its place, like all other problems of the graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from reactivex import Observable

import rxpipe
from rxpipe import operators as ops
from rxpipe import stream
from rxpipe.cli import GRAPH_WRONG, main
from rxpipe.errors import GraphError
from rxpipe.extras import extra
from rxpipe.language.checkbuild import refusals
from rxpipe.language.config import load_text
from rxpipe.operator import Operator

HEAD = "graph: g\nstreams:\n  s:\n    - read_csv: a.csv\n"

# a step, the characters the caret must point at, the beginning of the message
CASES = {
    "two that exclude each other": ("window: {c: count()}", "window", "window: one of 'size' and 'gap' must be given"),
    "one that needs another": ("dedupe: {key: id, keep: largest}", "dedupe", "dedupe: keep 'largest' needs 'by'"),
    "at its parameter": ("to_sqlite: {path: x, table: t, key: [a]}", "[a]", "to_sqlite: key: belongs to mode 'upsert'"),
    "a key named as a column": (
        "aggregate: {by: [n], n: count()}",
        "aggregate",
        "aggregate: the names of keys and col",
    ),
    "with another stream": ("join: {other: o, 'on': [a, b, c], within: 1s}", "[a, b, c]", "join: on: must be one key"),
    "inside a step": (
        "parallel: {steps: [{where: n > 1}, {explode: {items: n, into: 1x}}]}",
        "{items: n",
        "parallel: steps.1.explode: 'into' and 'index' must be two names",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_told_at_its_place(name: str) -> None:
    step, caret, message = CASES[name]
    text = f"{HEAD}    - {step}\n  o: [{{read_csv: b.csv}}]\n"
    with pytest.raises(GraphError) as caught:
        load_text(text)
    (found,) = caught.value.problems
    assert found.message.startswith(message)
    assert found.where == "s[1]"
    assert found.place is not None
    assert text.split("\n")[found.place.line - 1][found.place.column - 1 :].startswith(caret)


def test_all_at_once_and_none_of_steps_that_are_wrong_anyway() -> None:
    steps = ["moving_average: {of: v}", "sample: {}", "window: {c: cuont()}", "sequence: {into: null}"]
    text = HEAD + "".join(f"    - {step}\n" for step in steps)
    with pytest.raises(GraphError) as caught:
        load_text(text)
    heads = [f"{found.where} {found.message.split(':')[0]}" for found in caught.value.problems]
    assert heads == ["s[1] moving_average", "s[2] sample", "s[3] window", "s[4] sequence"]


def test_the_same_for_a_graph_in_python() -> None:
    graph = rxpipe.Graph("g", {"s": [ops.read_csv("a.csv")], "w": [stream("s"), ops.window(c="count()")]})
    with pytest.raises(GraphError, match=r"w\[1\]: window: one of 'size' and 'gap' must be given"):
        graph.run()


def test_a_run_of_it_exits_as_a_wrong_graph_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "g.yaml"
    path.write_text(f"{HEAD}    - histogram: {{of: v}}\n")
    for command in ("check", "run"):
        assert main([command, str(path)]) == GRAPH_WRONG
        assert "s[1]: histogram: one of 'buckets', 'width' and 'factor' must be given" in capsys.readouterr().err


def test_parameters_that_are_not_set_yet_are_no_refusal() -> None:
    text = HEAD.replace("streams", "params: {most: {type: rate, required: true}}\nstreams")
    graph = load_text(f"{text}    - rate: {{least: 2Hz, most: '${{most}}'}}\n")
    with pytest.raises(GraphError, match="rate: most: must not be below 'least'"):
        graph.plan(most="1Hz")


def test_what_an_environment_variable_says_is_not_shown() -> None:
    text = f"{HEAD}    - window: {{size: 10s, every: '${{STEP}}', c: count()}}\n"
    with pytest.raises(GraphError) as caught:
        load_text(text, environ={"STEP": "1717171s"})
    (found,) = caught.value.problems
    assert "1717171" not in str(found)
    assert "${STEP}" in str(found)


def test_a_package_that_is_missing_is_told_by_the_run() -> None:
    def lacking(source: Observable[Any]) -> Observable[Any]:
        extra("no_such_package", "batch", "lacking")
        return source

    assert refusals(Operator(lacking), {}, {}, behind=True) == []
